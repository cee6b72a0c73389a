/* Mesa, whose API has two dialects: one calls what a repository starts from a branch and its head a
 * commit, the other (since 2026) a bookmark and a change. Which one a server speaks is what its
 * answers say; paging, names and the listing of content are the same in both. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-forges.h"
#include "forge/mesa-sizes.h"
#include "forge/mesa.h"
#include "forge/tree-paths.h"
#include "object/commit-object.h"
#include "util/base64.h"
#include "util/clock.h"
#include "util/path.h"

#define MIRROR "github"
#define SYNC_RETRY_USEC (10 * USEC_PER_SEC)

typedef enum MesaVersion {
        MESA_UNKNOWN,
        MESA_DEPOT,   /* branches and commits */
        MESA_CURRENT, /* bookmarks and changes */
} MesaVersion;

typedef struct MesaForge {
        ApiForge forge;
        atomic_uint version; /* MesaVersion; relaxed: a hint */
} MesaForge;

static const ApiDialect dialect = {
        .name = "Mesa",
        .accept = "application/json",
        .authorization = "Authorization: Bearer ",
        .username = "t", /* any */
};

/* Url= is the API's; git is at the root of the same server. */
static int place(const OrgConfig *org, char **ret_api_base, char **ret_git_base, Failure *failure) {
        const char *url = org->url[0] ? org->url : "https://api.mesa.dev/v1";
        const char *authority = strstr(url, "://");

        if (!authority)
                return failure_set(failure, FAILURE_LOCAL, "\"%s\" is no URL", url);
        size_t len = (size_t) (authority + 3 - url);
        len += strcspn(url + len, "/");
        *ret_api_base = strdup(url);
        *ret_git_base = strndup(url, len);
        return *ret_api_base && *ret_git_base ? 0 : -ENOMEM;
}

static const char *identity(const Json *json) {
        const char *name = json_get_string(json_get_object(json, "org"), "slug");

        return name && name[0] ? name : NULL;
}

static void learn_version(const ApiForge *forge, const Json *repo) {
        MesaForge *mesa = container_of(forge, MesaForge, forge);

        if (json_has(repo, "default_bookmark") || json_has(repo, "head_change_id"))
                atomic_store(&mesa->version, MESA_CURRENT);
        else if (json_has(repo, "default_branch") || json_has(repo, "head_sha"))
                atomic_store(&mesa->version, MESA_DEPOT);
}

/* --- names --- */

static bool is_mirror(const char *owner) {
        size_t n = strlen(MIRROR);
        return strncmp(owner, MIRROR, n) == 0 && (owner[n] == '\0' || owner[n] == '/');
}

int mesa_name_encode(const char *owner, const char *name, char **ret_org, char **ret_repo) {
        _cleanup_free_ char *full = NULL;
        _cleanup_free_ char *org = NULL;
        char *repo;

        if (!is_mirror(owner) || !owner[strlen(MIRROR)]) {
                org = strdup(owner);
                repo = strdup(name);
        } else {
                full = path_join(owner + strlen(MIRROR) + 1, name, NULL);
                org = strdup(MIRROR);
                repo = full ? base64_encode(full, strlen(full)) : NULL;
        }
        if (!org || !repo) {
                free(repo);
                return -ENOMEM;
        }
        *ret_org = TAKE_PTR(org);
        *ret_repo = repo;
        return 0;
}

int mesa_name_decode(const char *repo, char **ret_owner, char **ret_name) {
        _cleanup_buf_ Buf full = {0};

        int r = base64_decode(repo, &full);
        if (r < 0)
                return r;
        if (!buf_str(&full))
                return -ENOMEM;
        char *slash = memchr(full.data, '/', full.len);
        if (!slash || memchr(full.data, '\0', full.len))
                return -EBADMSG;
        *slash = '\0';
        if (!name_is_valid((char *) full.data) || !name_is_valid(slash + 1))
                return -EBADMSG;
        char *owner = strdup((char *) full.data), *name = strdup(slash + 1);
        if (!owner || !name) {
                free(owner);
                free(name);
                return -ENOMEM;
        }
        *ret_owner = owner;
        *ret_name = name;
        return 0;
}

/* --- listings --- */

#define PAGE "/%/repos?limit=100"
#define CURSOR "&cursor="

static int list_url(const ApiForge *forge, const ApiListing *listing, char **ret) {
        const char *owner = listing->owner;
        const char *slash = strchr(owner, '/');

        if (!owner[0] || listing->alternative > 0 || listing->part > 0)
                return 0;
        if (slash && (!is_mirror(owner) || strchr(slash + 1, '/')))
                return 0;
        int r = api_listing_is_own(listing)
                        ? api_path(ret, "/whoami")
                        : api_path(ret, PAGE, is_mirror(owner) ? MIRROR : owner);
        return r < 0 ? r : 1;
}

/* Of the mirror, either those who own repositories on GitHub, or what one of them owns. */
static int add_mirrored(ApiPage *page, const char *listed, const char *repo) {
        _cleanup_free_ char *owner = NULL;
        _cleanup_free_ char *name = NULL;
        const char *wanted = listed[strlen(MIRROR)] ? listed + strlen(MIRROR) + 1 : NULL;

        int r = mesa_name_decode(repo, &owner, &name);
        if (r < 0)
                return r == -EBADMSG ? 0 : r;
        if (!wanted)
                return api_page_add(page, FORGE_OWNER, owner, 0);
        return strcmp(owner, wanted) == 0 ? api_page_add(page, FORGE_REPO, name, 0) : 0;
}

/* The same question, from the cursor on. */
static int set_cursor(const char *url, const char *cursor, ApiPage *page) {
        const char *old = strstr(url, CURSOR);
        _cleanup_free_ char *escaped = percent_encode(cursor, "");
        char *next;

        if (!escaped || asprintf(
                                &next,
                                "%.*s" CURSOR "%s",
                                (int) (old ? (size_t) (old - url) : strlen(url)),
                                url,
                                escaped) < 0)
                return -ENOMEM;
        int r = api_page_set_next(page, next);
        free(next);
        return r;
}

static int list_page(
        const ApiForge *forge, const ApiListing *listing, const ApiAnswer *answer, ApiPage *page) {
        const Json *repos = json_get_array(answer->json, "repos");
        const char *cursor = json_get_string(answer->json, "next_cursor");
        const char *me =
                api_listing_is_own(listing) && listing->page == 0 ? identity(answer->json) : NULL;

        if (me) {
                _cleanup_free_ char *next = NULL;
                int r = api_path(&next, PAGE, me);
                return r < 0 ? r : api_page_set_next(page, next);
        }
        if (!repos)
                return -EBADMSG;
        for (size_t i = 0; i < json_array_size(repos); i++) {
                const Json *repo = json_array_get(repos, i);
                const char *name = json_get_string(repo, "name");
                int r = 0;
                learn_version(forge, repo);
                if (name && is_mirror(listing->owner))
                        r = add_mirrored(page, listing->owner, name);
                else if (name)
                        r = api_page_add(page, FORGE_REPO, name, 0);
                if (r < 0)
                        return r;
        }
        /* A cursor behind the last page leads nowhere, whatever else is said. */
        if (cursor && cursor[0] && json_array_size(repos) > 0)
                return set_cursor(listing->url, cursor, page);
        return api_page_set_next(page, NULL);
}

/* --- owners and repositories --- */

/* What there is on GitHub the mirror does not tell: its repositories show it. */
static int owner_url(const ApiForge *forge, const char *owner, unsigned alternative, char **ret) {
        const char *slash = strchr(owner, '/');

        if (!owner[0] || alternative > 0)
                return 0;
        if (slash && (!is_mirror(owner) || strchr(slash + 1, '/')))
                return 0;
        int r = api_path(ret, "/%/repos?limit=1", is_mirror(owner) ? MIRROR : owner);
        return r < 0 ? r : 1;
}

static int owner_found(const ApiForge *forge, const char *owner, const ApiAnswer *answer) {
        return json_get_array(answer->json, "repos") ? 1 : -EBADMSG;
}

static int repo_url(
        const ApiForge *forge,
        const char *owner,
        const char *name,
        unsigned alternative,
        char **ret) {
        _cleanup_free_ char *org = NULL;
        _cleanup_free_ char *repo = NULL;

        /* In the mirror's own directory are owners only. */
        if (alternative > 0 || strcmp(owner, MIRROR) == 0)
                return 0;
        int r = mesa_name_encode(owner, name, &org, &repo);
        if (r >= 0)
                r = api_path(ret, "/%/%", org, repo);
        return r < 0 ? r : 1;
}

static int
repo_found(const ApiForge *forge, const ApiAnswer *answer, ApiRepo *ret, Failure *failure) {
        const char *org = json_get_string(answer->json, "org");
        const char *name = json_get_string(answer->json, "name");
        const char *status = json_get_string(answer->json, "status");
        _cleanup_free_ char *owner = NULL;

        if (!org || !org[0] || !name || !name[0])
                return -EBADMSG;
        if (answer->code == 202 || (status && strcmp(status, "syncing") == 0)) {
                int r = failure_set(
                        failure,
                        FAILURE_BUSY,
                        "Mesa is still syncing %s/%s from elsewhere",
                        org,
                        name);
                failure->retry_at_usec = now_usec() + SYNC_RETRY_USEC;
                return r;
        }
        learn_version(forge, answer->json);
        if (strcmp(org, MIRROR) == 0) {
                int r = mesa_name_decode(name, &owner, &ret->name);
                if (r < 0)
                        return r;
                ret->owner = path_join(MIRROR, owner, NULL);
        } else {
                ret->owner = strdup(org);
                ret->name = strdup(name);
        }
        return ret->owner && ret->name ? 1 : -ENOMEM;
}

static int git_url(const ApiForge *forge, const char *owner, const char *name, char **ret) {
        _cleanup_free_ char *org = NULL;
        _cleanup_free_ char *repo = NULL;
        _cleanup_free_ char *path = NULL;

        int r = mesa_name_encode(owner, name, &org, &repo);
        if (r >= 0)
                r = api_path(&path, "/%/%.git", org, repo);
        if (r < 0)
                return r;
        if (asprintf(ret, "%s%s", forge->git_base, path) < 0) {
                *ret = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        return 0;
}

int mesa_content_path(
        const ApiSource *source,
        const Oid *commit,
        const char *path,
        const char *query,
        char **ret) {
        const MesaForge *mesa = container_of(source->forge, MesaForge, forge);
        bool by_commit = atomic_load(&mesa->version) == MESA_DEPOT && !oid_is_none(commit);
        _cleanup_free_ char *org = NULL;
        _cleanup_free_ char *repo = NULL;
        _cleanup_free_ char *url = NULL;
        char hex[OID_HEX_MAX + 1];

        int r = mesa_name_encode(source->owner, source->name, &org, &repo);
        if (r < 0)
                return r;
        r = by_commit ? api_path(
                                &url,
                                "/%/%/content?path=%&ref=%",
                                org,
                                repo,
                                path,
                                oid_to_hex(commit, hex))
                      : api_path(&url, "/%/%/content?path=%", org, repo, path);
        if (r < 0)
                return r;
        if (asprintf(ret, "%s%s", url, query) < 0) {
                *ret = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        return 0;
}

static int root_of(Store *store, const Oid *commit, Oid *ret) {
        _cleanup_object_ref_ ObjectRef object = {0};
        CommitObject parsed;

        int r = oid_is_none(commit) ? 0 : store_get(store, STORE_OBJECT, commit, &object);
        if (r <= 0 || object.type != OBJECT_COMMIT)
                return r < 0 ? r : -ENOENT;
        r = commit_parse(commit->algo, object.data, object.size, &parsed);
        if (r >= 0)
                *ret = parsed.tree;
        return r;
}

/* Content is had by path only. */
static int blob_path(const ApiSource *source, const Oid *oid, char **ret) {
        Store *store = source->forge->context->store;
        _cleanup_tree_paths_ TreePaths paths = {0};
        const Oid commit = api_source_commit(source);
        Oid root;

        int r = root_of(store, &commit, &root);
        if (r >= 0)
                r = tree_paths_find(store, &root, oid, 1, &paths);
        if (r < 0)
                return r;
        if (paths.n == 0)
                return -ENOENT;
        return mesa_content_path(source, &commit, paths.items[0].path, "", ret);
}

const ApiForgeOps mesa_api_ops = {
        .forge = API_FORGE_OPS,
        .size = sizeof(MesaForge),
        .dialect = &dialect,
        .nests = true, /* the mirror */
        .api_first = true,
        .place = place,
        .identity_path = "/whoami",
        .identity = identity,
        .list_url = list_url,
        .list_page = list_page,
        .owner_url = owner_url,
        .owner = owner_found,
        .repo_url = repo_url,
        .repo = repo_found,
        .git_url = git_url,
        .sizes = mesa_sizes,
        .blob_path = blob_path,
        .blob_accept = "application/octet-stream",
};
