/* Gitea, and Forgejo, which is so close that it needs no word of its own. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-forges.h"
#include "forge/gitea-sizes.h"
#include "util/base64.h"

static const ApiDialect dialect = {
        .name = "Gitea",
        .accept = "application/json",
        .authorization = "Authorization: token ",
        .username = "oauth2",
};

static int place(const OrgConfig *org, char **ret_api_base, char **ret_git_base, Failure *failure) {
        if (!org->url[0])
                return failure_set(
                        failure,
                        FAILURE_UNSUPPORTED,
                        "there is no public Gitea that everybody means: set Url=");
        _cleanup_free_ char *git = strdup(org->url);
        if (!git)
                return -ENOMEM;
        int r = api_path_append(ret_api_base, org->url, "api/v1", "");
        if (r >= 0)
                *ret_git_base = TAKE_PTR(git);
        return r;
}

static const char *identity(const Json *json) {
        const char *name = json_get_string(json, "login");

        return name && name[0] ? name : NULL;
}

/* --- listings --- */

/* More is not given; an instance may give less. The page's number stands last: see next_page(). */
#define PAGE "?limit=50&page=1"

static int list_url(const ApiForge *forge, const ApiListing *listing, char **ret) {
        int r;

        if (!listing->owner[0] || listing->part > 0 || strchr(listing->owner, '/'))
                return 0;
        if (api_listing_is_own(listing)) {
                /* /user/repos has what others share with one, too: first who that is, then that
                 * user's repositories. */
                if (listing->alternative > 0)
                        return 0;
                r = api_path(ret, "/user");
        } else if (listing->alternative == 0)
                r = api_path(ret, "/orgs/%/repos" PAGE, listing->owner);
        else if (listing->alternative == 1)
                r = api_path(ret, "/users/%/repos" PAGE, listing->owner);
        else
                return 0;
        return r < 0 ? r : 1;
}

/* An instance makes the URLs in Link from what it believes to be its address, which behind a proxy
 * is another host: such URLs are not followed. But that there is a next page is believed, and its
 * address made from that of this one. */
static int next_page(const char *url, ApiPage *page) {
        const char *number = strrchr(url, '=');
        char *next;

        if (!number)
                return -EBADMSG;
        unsigned long n = strtoul(number + 1, NULL, 10);
        if (asprintf(&next, "%.*s=%lu", (int) (number - url), url, n + 1) < 0)
                return -ENOMEM;
        int r = api_page_set_next(page, next);
        free(next);
        return r;
}

static unsigned repo_flags(const Json *repo) {
        return (json_get_bool(repo, "archived") ? API_ENTRY_ARCHIVED : 0) |
               (json_get_bool(repo, "fork") ? API_ENTRY_FORK : 0) |
               (json_get_bool(repo, "empty") ? API_ENTRY_EMPTY : 0);
}

static int list_page(
        const ApiForge *forge, const ApiListing *listing, const ApiAnswer *answer, ApiPage *page) {
        const Json *entries = answer->json;
        const char *me =
                api_listing_is_own(listing) && listing->page == 0 ? identity(entries) : NULL;

        if (me) {
                _cleanup_free_ char *next = NULL;
                int r = api_path(&next, "/users/%/repos" PAGE, me);
                return r < 0 ? r : api_page_set_next(page, next);
        }
        if (!json_is_array(entries))
                return -EBADMSG;
        for (size_t i = 0; i < json_array_size(entries); i++) {
                const Json *entry = json_array_get(entries, i);
                const char *name = json_get_string(entry, "name");
                int r = name ? api_page_add(page, FORGE_REPO, name, repo_flags(entry)) : 0;
                if (r < 0)
                        return r;
        }
        if (json_array_size(entries) == 0 || !answer->more)
                return api_page_set_next(page, NULL);
        return answer->next[0] ? 0 : next_page(listing->url, page);
}

/* --- owners and repositories --- */

/* Organizations are users, too. */
static int owner_url(const ApiForge *forge, const char *owner, unsigned alternative, char **ret) {
        if (!owner[0] || strchr(owner, '/') || alternative > 0)
                return 0;
        int r = api_path(ret, "/users/%", owner);
        return r < 0 ? r : 1;
}

static int owner_found(const ApiForge *forge, const char *owner, const ApiAnswer *answer) {
        return json_get_string(answer->json, "login") ? 1 : -EBADMSG;
}

static int repo_url(
        const ApiForge *forge,
        const char *owner,
        const char *name,
        unsigned alternative,
        char **ret) {
        if (alternative > 0)
                return 0;
        int r = api_path(ret, "/repos/%/%", owner, name);
        return r < 0 ? r : 1;
}

static int
repo_found(const ApiForge *forge, const ApiAnswer *answer, ApiRepo *ret, Failure *failure) {
        const char *owner = json_get_string(json_get_object(answer->json, "owner"), "login");
        const char *name = json_get_string(answer->json, "name");

        if (!owner || !owner[0] || !name || !name[0])
                return -EBADMSG;
        ret->owner = strdup(owner);
        ret->name = strdup(name);
        ret->flags = repo_flags(answer->json);
        return ret->owner && ret->name ? 1 : -ENOMEM;
}

static int blob_path(const ApiSource *source, const Oid *oid, char **ret) {
        char hex[OID_HEX_MAX + 1];

        return api_path(
                ret, "/repos/%/%/git/blobs/%", source->owner, source->name, oid_to_hex(oid, hex));
}

/* Over ten megabytes it gives no content, but says so with a size. */
static int blob_read(const Json *json, Buf *ret) {
        const char *encoding = json_get_string(json, "encoding");
        const char *content = json_get_string(json, "content");

        if (!content)
                return -EFBIG;
        if (!encoding || strcmp(encoding, "base64") != 0)
                return -EBADMSG;
        return base64_decode(content, ret);
}

const ApiForgeOps gitea_api_ops = {
        .forge = API_FORGE_OPS,
        .size = sizeof(ApiForge),
        .dialect = &dialect,
        .place = place,
        .identity_path = "/user",
        .identity = identity,
        .list_url = list_url,
        .list_page = list_page,
        .owner_url = owner_url,
        .owner = owner_found,
        .repo_url = repo_url,
        .repo = repo_found,
        .sizes = gitea_sizes,
        .blob_path = blob_path,
        .blob_read = blob_read,
};
