/* GitLab: groups that hold projects and further groups, and users that hold projects. A path of
 * either is looked for through the API first: to git, a group and a project that is not to be seen
 * are the same 401, and asking with a wrong password too often gets an address locked out. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-forges.h"
#include "forge/gitlab-sizes.h"

#define MAX_NESTING 20 /* GitLab's own limit, for groups below each other */

static const ApiDialect dialect = {
        .name = "GitLab",
        .accept = "application/json",
        .authorization = "Authorization: Bearer ",
        .username = "oauth2",
};

static int place(const OrgConfig *org, char **ret_api_base, char **ret_git_base, Failure *failure) {
        const char *url = org->url[0] ? org->url : "https://gitlab.com";
        _cleanup_free_ char *git = strdup(url);

        if (!git)
                return -ENOMEM;
        int r = api_path_append(ret_api_base, url, "api/v4", "");
        if (r >= 0)
                *ret_git_base = TAKE_PTR(git);
        return r;
}

static unsigned n_slashes(const char *path) {
        unsigned n = 0;

        for (; *path; path++)
                n += *path == '/';
        return n;
}

static const char *identity(const Json *json) {
        const char *name = json_get_string(json, "username");

        return name && name[0] ? name : NULL;
}

/* --- listings --- */

/* Without what is left out anyway, and with few members where these are enough. In the order of
 * their making, so that no page shifts when one is added. */
static int projects_url(const ApiForge *forge, const char *format, const char *owner, char **ret) {
        _cleanup_free_ char *path = NULL;
        _cleanup_buf_ Buf url = {0};

        int r = api_path(&path, format, owner);
        if (r >= 0)
                r = buf_appendf(
                        &url,
                        "%s?with_shared=false&order_by=id&sort=asc&per_page=100%s%s",
                        path,
                        forge->org->no_archived ? "&archived=false" : "",
                        forge->org->no_forks ? "" : "&simple=true");
        if (r < 0 || !buf_str(&url))
                return -ENOMEM;
        *ret = (char *) TAKE_PTR(url.data);
        return 1;
}

static int list_url(const ApiForge *forge, const ApiListing *listing, char **ret) {
        const char *owner = listing->owner;
        unsigned depth = n_slashes(owner);
        int r;

        if (api_listing_is_own(listing)) {
                /* What one owns includes what others let one own: first who that is, then that
                 * user's projects. */
                if (listing->alternative > 0 || listing->part > 0)
                        return 0;
                r = api_path(ret, "/user");
                return r < 0 ? r : 1;
        }
        if (!owner[0] || depth > MAX_NESTING)
                return 0;
        if (listing->alternative == 0 && listing->part == 0)
                return projects_url(forge, "/groups/%/projects", owner, ret);
        if (listing->alternative == 0 && listing->part == 1 && depth < MAX_NESTING) {
                r = api_path(ret, "/groups/%/subgroups?order_by=id&sort=asc&per_page=100", owner);
                return r < 0 ? r : 1;
        }
        if (listing->alternative == 1 && listing->part == 0 && depth == 0)
                return projects_url(forge, "/users/%/projects", owner, ret);
        return 0;
}

static unsigned project_flags(const Json *project) {
        const char *access = json_get_string(project, "repository_access_level");

        return (json_get_bool(project, "archived") ? API_ENTRY_ARCHIVED : 0) |
               (json_get_object(project, "forked_from_project") ? API_ENTRY_FORK : 0) |
               (json_get_bool(project, "empty_repo") ? API_ENTRY_EMPTY : 0) |
               (access && strcmp(access, "disabled") == 0 ? API_ENTRY_DISABLED : 0);
}

static int list_page(
        const ApiForge *forge, const ApiListing *listing, const ApiAnswer *answer, ApiPage *page) {
        const Json *entries = answer->json;
        const char *me =
                api_listing_is_own(listing) && listing->page == 0 ? identity(entries) : NULL;
        bool groups = !api_listing_is_own(listing) && listing->part == 1;

        if (me) {
                _cleanup_free_ char *next = NULL;
                int r = projects_url(forge, "/users/%/projects", me, &next);
                return r < 0 ? r : api_page_set_next(page, next);
        }
        if (!json_is_array(entries))
                return -EBADMSG;
        for (size_t i = 0; i < json_array_size(entries); i++) {
                const Json *entry = json_array_get(entries, i);
                const char *path = json_get_string(entry, "path"); /* "name" is for people */
                int r = path ? api_page_add(
                                       page,
                                       groups ? FORGE_OWNER : FORGE_REPO,
                                       path,
                                       groups ? 0 : project_flags(entry))
                             : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- owners and projects --- */

static int owner_url(const ApiForge *forge, const char *owner, unsigned alternative, char **ret) {
        int r = 0;

        if (!owner[0] || n_slashes(owner) > MAX_NESTING)
                return 0;
        if (alternative == 0)
                r = api_path(ret, "/groups/%?with_projects=false", owner);
        else if (alternative == 1 && n_slashes(owner) == 0)
                r = api_path(ret, "/users?username=%", owner);
        else
                return 0;
        return r < 0 ? r : 1;
}

/* A group, or an array of the one user, or of none. */
static int owner_found(const ApiForge *forge, const char *owner, const ApiAnswer *answer) {
        if (json_is_array(answer->json))
                return json_get_string(json_array_get(answer->json, 0), "username") != NULL;
        return json_get_string(answer->json, "path") ? 1 : -EBADMSG;
}

static int project_path(const char *owner, const char *name, char **ret) {
        if (asprintf(ret, "%s/%s", owner, name) < 0) {
                *ret = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        return 0;
}

static int repo_url(
        const ApiForge *forge,
        const char *owner,
        const char *name,
        unsigned alternative,
        char **ret) {
        _cleanup_free_ char *project = NULL;

        if (alternative > 0)
                return 0;
        int r = project_path(owner, name, &project);
        if (r >= 0)
                r = api_path(ret, "/projects/%", project);
        return r < 0 ? r : 1;
}

static int
repo_found(const ApiForge *forge, const ApiAnswer *answer, ApiRepo *ret, Failure *failure) {
        const char *path = json_get_string(answer->json, "path_with_namespace");
        const char *slash = path ? strrchr(path, '/') : NULL;

        if (!slash || slash == path || !slash[1])
                return -EBADMSG;
        ret->owner = strndup(path, (size_t) (slash - path));
        ret->name = strdup(slash + 1);
        ret->flags = project_flags(answer->json);
        return ret->owner && ret->name ? 1 : -ENOMEM;
}

static int blob_path(const ApiSource *source, const Oid *oid, char **ret) {
        _cleanup_free_ char *project = NULL;
        char hex[OID_HEX_MAX + 1];

        int r = project_path(source->owner, source->name, &project);
        return r < 0 ? r
                     : api_path(
                               ret,
                               "/projects/%/repository/blobs/%/raw",
                               project,
                               oid_to_hex(oid, hex));
}

const ApiForgeOps gitlab_api_ops = {
        .forge = API_FORGE_OPS,
        .size = sizeof(ApiForge),
        .dialect = &dialect,
        .nests = true,
        .api_first = true,
        .sizes_per_fetch = GITLAB_SIZES_MAX,
        .place = place,
        .identity_path = "/user",
        .identity = identity,
        .list_url = list_url,
        .list_page = list_page,
        .owner_url = owner_url,
        .owner = owner_found,
        .repo_url = repo_url,
        .repo = repo_found,
        .sizes = gitlab_sizes,
        .blob_path = blob_path,
        .blob_accept = "application/octet-stream",
};
