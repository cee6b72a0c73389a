/* GitHub and GitHub Enterprise Server: the REST API, version 2022-11-28. Sizes are in
 * github-sizes.c, branch heads by GraphQL in github-heads.c. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-forges.h"
#include "forge/github.h"

#define PUBLIC_API "https://api.github.com"
#define PUBLIC_HOST "https://github.com"
#define OWNER_NAME_MAX 100
#define REPO_NAME_MAX 100

/* --- names --- */

static bool consists_of(const char *name, const char *others, size_t max) {
        size_t n = 0;

        for (; name[n]; n++)
                if (n >= max || !(isascii(name[n]) &&
                                  (isalnum((unsigned char) name[n]) || strchr(others, name[n]))))
                        return false;
        return n > 0;
}

/* Others need not be asked for: file managers look for ".Trash", shells for ".git". "_" is in the
 * names of users that an enterprise manages. */
bool github_owner_is_possible(const char *owner) {
        return consists_of(owner, "-_", OWNER_NAME_MAX) && owner[0] != '-';
}

bool github_repo_is_possible(const char *name) {
        size_t n = strlen(name);

        return consists_of(name, "-_.", REPO_NAME_MAX) && strcmp(name, ".") != 0 &&
               strcmp(name, "..") != 0 && !(n >= 4 && strcmp(name + n - 4, ".git") == 0);
}

/* --- the dialect --- */

/* 451 comes with a reason and a page about it. */
static int
explain(const HttpResponse *response, const Json *json, const char *what, Failure *failure) {
        const Json *block = json_get_object(json, "block");
        const char *reason = json_get_string(block, "reason");
        const char *url = json_get_string(block, "html_url");

        if (response->code != 451)
                return 0;
        return failure_set(
                failure,
                FAILURE_BLOCKED,
                "%s is blocked by GitHub (451)%s%s%s%s",
                what,
                reason ? ": " : "",
                reason ? reason : "",
                url ? ", see " : "",
                url ? url : "");
}

static const char *const headers[] = {"X-GitHub-Api-Version: 2022-11-28", NULL};

static const ApiDialect dialect = {
        .name = "GitHub",
        .headers = headers,
        .accept = "application/vnd.github+json",
        .authorization = "Authorization: Bearer ",
        .username = "x-access-token",
        .explain = explain,
};

/* --- places --- */

static int github_place(const OrgConfig *org, char **ret_api, char **ret_git, Failure *failure) {
        bool public = !org->url[0] || strcasecmp(org->url, PUBLIC_HOST) == 0;
        _cleanup_free_ char *git = strdup(public ? PUBLIC_HOST : org->url);
        char *api = NULL;

        if (!git || asprintf(&api, "%s%s", public ? PUBLIC_API : git, public ? "" : "/api/v3") < 0)
                return -ENOMEM;
        *ret_api = api;
        *ret_git = TAKE_PTR(git);
        return 0;
}

static int github_opened(ApiForge *forge) {
        return github_heads_new(forge, &container_of(forge, GithubForge, api)->heads);
}

static void github_closing(ApiForge *forge) {
        GithubForge *f = container_of(forge, GithubForge, api);

        f->heads = github_heads_free(f->heads);
}

static const char *github_identity(const Json *json) {
        const char *login = json_get_string(json, "login");

        return login && github_owner_is_possible(login) ? login : NULL;
}

/* --- listings --- */

/* The oldest first: a new repository changes the last page only, and the others stay as kept. */
static int github_list_url(const ApiForge *forge, const ApiListing *listing, char **ret) {
        static const char order[] = "sort=created&direction=asc&per_page=100";
        _cleanup_free_ char *path = NULL;
        int r;

        bool me = api_listing_is_own(listing);
        if (listing->part > 0 || !(me || github_owner_is_possible(listing->owner)))
                return 0;
        if (me) {
                if (listing->alternative > 0)
                        return 0;
                r = api_path(&path, "/user/repos?affiliation=owner&");
        } else if (listing->alternative == 0)
                r = api_path(&path, "/orgs/%/repos?type=all&", listing->owner);
        else if (listing->alternative == 1)
                r = api_path(&path, "/users/%/repos?type=owner&", listing->owner);
        else
                return 0;
        if (r >= 0 && asprintf(ret, "%s%s", path, order) < 0)
                r = -ENOMEM;
        return r < 0 ? r : 1;
}

static unsigned repo_flags(const Json *json) {
        unsigned flags = 0;

        if (json_get_bool(json, "archived"))
                flags |= API_ENTRY_ARCHIVED;
        if (json_get_bool(json, "fork"))
                flags |= API_ENTRY_FORK;
        if (json_get_bool(json, "disabled"))
                flags |= API_ENTRY_DISABLED;
        return flags;
}

static int github_list_page(
        const ApiForge *forge, const ApiListing *listing, const ApiAnswer *answer, ApiPage *page) {
        int r = json_is_array(answer->json) ? 0 : -EBADMSG;

        for (size_t i = 0; i < json_array_size(answer->json) && r >= 0; i++) {
                const Json *entry = json_array_get(answer->json, i);
                const char *name = json_get_string(entry, "name");
                if (name)
                        r = api_page_add(page, FORGE_REPO, name, repo_flags(entry));
        }
        return r;
}

/* --- owners and repositories --- */

static int
github_owner_url(const ApiForge *forge, const char *owner, unsigned alternative, char **ret) {
        if (alternative > 0 || !github_owner_is_possible(owner))
                return 0;
        int r = api_path(ret, "/users/%", owner);
        return r < 0 ? r : 1;
}

static int github_owner(const ApiForge *forge, const char *owner, const ApiAnswer *answer) {
        return json_get_string(answer->json, "login") ? 1 : -EBADMSG;
}

static int github_repo_url(
        const ApiForge *forge,
        const char *owner,
        const char *name,
        unsigned alternative,
        char **ret) {
        if (alternative > 0 || !github_owner_is_possible(owner) || !github_repo_is_possible(name))
                return 0;
        int r = api_path(ret, "/repos/%/%", owner, name);
        return r < 0 ? r : 1;
}

static int
github_repo(const ApiForge *forge, const ApiAnswer *answer, ApiRepo *ret, Failure *failure) {
        const char *owner = json_get_string(json_get_object(answer->json, "owner"), "login");
        const char *name = json_get_string(answer->json, "name");

        if (!owner || !name || !github_owner_is_possible(owner) || !github_repo_is_possible(name))
                return -EBADMSG;
        *ret = (ApiRepo){
                .owner = strdup(owner),
                .name = strdup(name),
                .flags = repo_flags(answer->json),
        };
        return ret->owner && ret->name ? 1 : -ENOMEM;
}

/* --- sources --- */

static bool github_ref(ApiSource *source, Fetch *fetch) {
        return github_heads_fetch(
                container_of(source->forge, GithubForge, api)->heads, source, fetch);
}

static int github_blob_path(const ApiSource *source, const Oid *oid, char **ret) {
        char hex[OID_HEX_MAX + 1];

        return api_path(
                ret, "/repos/%/%/git/blobs/%", source->owner, source->name, oid_to_hex(oid, hex));
}

const ApiForgeOps github_api_ops = {
        .forge = API_FORGE_OPS,
        .size = sizeof(GithubForge),
        .dialect = &dialect,
        .resource = "core",
        .place = github_place,
        .opened = github_opened,
        .closing = github_closing,
        .identity_path = "/user",
        .identity = github_identity,
        .list_url = github_list_url,
        .list_page = github_list_page,
        .owner_url = github_owner_url,
        .owner = github_owner,
        .repo_url = github_repo_url,
        .repo = github_repo,
        .sizes_per_fetch = GITHUB_TREE_MAX,
        .sizes = github_fetch_sizes,
        .ref = github_ref,
        .blob_path = github_blob_path,
        .blob_accept = "application/vnd.github.raw+json",
};
