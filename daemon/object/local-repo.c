#include "object/local-repo.h"

#include <errno.h>
#include <git2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/mutex.h"
#include "util/path.h"

/* Objects are read through one git_odb, which libgit2 allows from several threads. It does not
 * promise that for a git_repository, through which references are looked up: a look-up takes one of
 * the idle handles for itself, or opens another. Handles are kept because opening is slow, and
 * because libgit2 1.5 leaks some memory each time it opens a repository of format version 1.
 */

#define PREFIX_MIN 4 /* as git's own minimum */

#define IDLE_MAX 4

struct LocalRepo {
        char *path;
        git_odb *odb;
        Mutex lock; /* protects what follows */
        git_repository *idle[IDLE_MAX];
        size_t n_idle;
};

DEFINE_CLEANUP(git_repository *, git_repository_free)
DEFINE_CLEANUP(git_config *, git_config_free)
DEFINE_CLEANUP(git_reference *, git_reference_free)
DEFINE_CLEANUP(git_object *, git_object_free)
DEFINE_CLEANUP(git_odb_object *, git_odb_object_free)

/* What libgit2's code and its last error in this thread amount to. */
static int git_errno(int code) {
        const git_error *e = git_error_last();
        int klass = e ? e->klass : GIT_ERROR_NONE;

        if (code == GIT_ENOTFOUND)
                return -ENOENT;
        if (klass == GIT_ERROR_NOMEMORY)
                return -ENOMEM;
        if (code == GIT_EMISMATCH || klass == GIT_ERROR_ZLIB || klass == GIT_ERROR_ODB ||
            klass == GIT_ERROR_SHA || klass == GIT_ERROR_OBJECT)
                return -EBADMSG;
        return -EIO;
}

static void to_git_oid(const Oid *oid, git_oid *ret) {
        assert(oid->algo == OID_SHA1);
        memcpy(ret->id, oid->id, GIT_OID_RAWSZ);
}

/* Says whether the repository keeps its objects and references in a way that we can read:
 * object_library_init() told libgit2 to leave this to us. */
static int check_formats(const git_config *config) {
        static const struct {
                const char *key, *supported;
        } formats[] = {
                {"extensions.objectformat", "sha1"},
                {"extensions.refstorage", "files"},
        };

        for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
                const char *value;
                int g = git_config_get_string(&value, config, formats[i].key);
                if (g == GIT_ENOTFOUND)
                        continue;
                if (g < 0)
                        return git_errno(g);
                if (strcasecmp(value, formats[i].supported) != 0)
                        return -EOPNOTSUPP;
        }
        return 0;
}

static int check_opened(git_repository *repo) {
        _cleanup_(git_config_freep) git_config *config = NULL;

        int g = git_repository_config_snapshot(&config, repo);
        return g < 0 ? git_errno(g) : check_formats(config);
}

/* Before it is opened: libgit2 1.5 leaks memory for every extension of a repository that it opens,
 * and this spares the ones that cannot be read anyway. Only looks where the configuration usually
 * is; check_opened() finds the rest. */
static int check_unopened(const char *path) {
        static const char *const files[] = {".git/config", "config"};

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_(git_config_freep) git_config *file = NULL;
                _cleanup_(git_config_freep) git_config *config = NULL;
                _cleanup_free_ char *p = path_join(path, files[i], NULL);
                if (!p)
                        return -ENOMEM;
                if (access(p, R_OK) < 0)
                        continue;
                if (git_config_open_ondisk(&file, p) < 0 || git_config_snapshot(&config, file) < 0)
                        return 0; /* opening says what is wrong with it */
                return check_formats(config);
        }
        return 0;
}

/* libgit2 takes what it may not read for missing. */
static int explain_failure(const char *path, int error) {
        static const char *const suffixes[] = {"", ".git", ".git/HEAD", "HEAD"};

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
                _cleanup_free_ char *p = path_join(path, suffixes[i], NULL);
                if (!p)
                        return -ENOMEM;
                if (access(p, R_OK) < 0 && errno == EACCES)
                        return -EACCES;
        }
        return error;
}

static int open_repository(const char *path, git_repository **ret) {
        _cleanup_(git_repository_freep) git_repository *repo = NULL;

        int r = object_library_init();
        if (r >= 0)
                r = check_unopened(path);
        if (r < 0)
                return r;
        int g = git_repository_open_ext(&repo, path, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
        if (g < 0)
                return explain_failure(path, git_errno(g));
        r = check_opened(repo);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(repo);
        return 0;
}

int local_repo_open(const char *path, LocalRepo **ret) {
        _cleanup_(git_repository_freep) git_repository *repo = NULL;
        _cleanup_(local_repo_freep) LocalRepo *l = NULL;

        int r = open_repository(path, &repo);
        if (r < 0)
                return r;
        l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;
        mutex_init(&l->lock, LOCK_RANK_LEAF);
        l->path = strdup(path);
        if (!l->path)
                return -ENOMEM;
        int g = git_repository_odb(&l->odb, repo);
        if (g < 0)
                return git_errno(g);
        l->idle[l->n_idle++] = TAKE_PTR(repo);
        *ret = TAKE_PTR(l);
        return 0;
}

LocalRepo *local_repo_free(LocalRepo *repo) {
        if (!repo)
                return NULL;
        while (repo->n_idle > 0)
                git_repository_free(repo->idle[--repo->n_idle]);
        mutex_destroy(&repo->lock);
        git_odb_free(repo->odb);
        free(repo->path);
        free(repo);
        return NULL;
}

/* A handle that nobody else uses, until give_handle(). */
static int take_handle(LocalRepo *repo, git_repository **ret) {
        {
                MUTEX_GUARD(&repo->lock);
                if (repo->n_idle > 0) {
                        *ret = repo->idle[--repo->n_idle];
                        return 0;
                }
        }
        return open_repository(repo->path, ret);
}

static void give_handle(LocalRepo *repo, git_repository *handle) {
        {
                MUTEX_GUARD(&repo->lock);
                if (repo->n_idle < IDLE_MAX) {
                        repo->idle[repo->n_idle++] = handle;
                        return;
                }
        }
        git_repository_free(handle);
}

static bool has(const char *path, const char *name, mode_t type) {
        _cleanup_free_ char *p = path_join(path, name, NULL);
        struct stat st;

        return p && stat(p, &st) == 0 && (type == 0 || (st.st_mode & S_IFMT) == type);
}

bool local_repo_probe(const char *path) {
        /* .git is a directory, or a file in linked work trees and submodules. */
        return has(path, ".git/HEAD", 0) || has(path, ".git", S_IFREG) ||
               (has(path, "HEAD", 0) && has(path, "objects", S_IFDIR) &&
                has(path, "refs", S_IFDIR));
}

/* Finds the commit behind a reference: 1, 0 when there is none yet, or it is not one. */
static int peel_to_commit(git_reference *ref, Oid *ret) {
        _cleanup_(git_reference_freep) git_reference *direct = NULL;
        _cleanup_(git_object_freep) git_object *commit = NULL;

        int g = git_reference_resolve(&direct, ref);
        if (g == GIT_ENOTFOUND)
                return 0;
        if (g < 0)
                return git_errno(g);
        g = git_reference_peel(&commit, direct, GIT_OBJECT_COMMIT);
        if (g == GIT_EPEEL || g == GIT_EINVALIDSPEC)
                return 0;
        if (g == GIT_ENOTFOUND)
                return -EBADMSG; /* the reference names an object that is not there */
        if (g < 0)
                return git_errno(g);
        oid_from_raw(ret, OID_SHA1, git_object_id(commit)->id);
        return 1;
}

static int
resolve(git_repository *handle, const char *refname, Oid *ret_commit, char **ret_target) {
        _cleanup_(git_reference_freep) git_reference *ref = NULL;
        _cleanup_free_ char *target = NULL;

        int g = git_reference_lookup(&ref, handle, refname);
        if (g < 0 && g != GIT_ENOTFOUND && g != GIT_EINVALIDSPEC)
                return git_errno(g);

        int r = 0;
        if (ref) {
                const char *symbolic = git_reference_symbolic_target(ref);
                if (symbolic && strcmp(refname, "HEAD") == 0) {
                        target = strdup(symbolic);
                        if (!target)
                                return -ENOMEM;
                }
                r = peel_to_commit(ref, ret_commit);
                if (r < 0)
                        return r;
        }
        if (ret_target)
                *ret_target = TAKE_PTR(target);
        return r;
}

int local_repo_resolve(LocalRepo *repo, const char *refname, Oid *ret_commit, char **ret_target) {
        _cleanup_(git_repository_freep) git_repository *handle = NULL;

        int r = take_handle(repo, &handle);
        if (r < 0)
                return r;
        r = resolve(handle, refname, ret_commit, ret_target);
        /* After an error the next call starts with a fresh one. */
        if (r >= 0)
                give_handle(repo, TAKE_PTR(handle));
        return r;
}

int local_repo_resolve_prefix(LocalRepo *repo, const char *hex, Oid *ret_commit) {
        size_t len = strlen(hex);
        git_oid prefix, full;
        ObjectType type;
        uint64_t size;
        Oid oid;

        if (len < PREFIX_MIN || len > GIT_OID_HEXSZ || git_oid_fromstrn(&prefix, hex, len) < 0)
                return 0;
        int g = git_odb_exists_prefix(&full, repo->odb, &prefix, len);
        if (g == GIT_ENOTFOUND)
                return 0;
        if (g == GIT_EAMBIGUOUS)
                return -EEXIST;
        if (g < 0)
                return git_errno(g);

        oid_from_raw(&oid, OID_SHA1, full.id);
        int r = local_repo_stat(repo, &oid, &type, &size);
        if (r <= 0)
                return r;
        if (type != OBJECT_COMMIT)
                return 0;
        *ret_commit = oid;
        return 1;
}

int local_repo_stat(LocalRepo *repo, const Oid *oid, ObjectType *ret_type, uint64_t *ret_size) {
        git_object_t type;
        git_oid id;
        size_t size;

        if (oid->algo != OID_SHA1)
                return -EOPNOTSUPP;
        to_git_oid(oid, &id);
        int g = git_odb_read_header(&size, &type, repo->odb, &id);
        if (g == GIT_ENOTFOUND)
                return 0;
        if (g < 0)
                return git_errno(g);
        if (type < GIT_OBJECT_COMMIT || type > GIT_OBJECT_TAG)
                return -EBADMSG;
        *ret_type = (ObjectType) type;
        *ret_size = size;
        return 1;
}

int local_repo_read(
        LocalRepo *repo,
        const Oid *oid,
        uint64_t max_size,
        ObjectType *ret_type,
        uint8_t **ret_data,
        uint64_t *ret_size) {
        _cleanup_(git_odb_object_freep) git_odb_object *o = NULL;
        _cleanup_free_ uint8_t *data = NULL;
        ObjectType type;
        uint64_t size;
        git_oid id;

        /* Before anything of that size is allocated. */
        int r = local_repo_stat(repo, oid, &type, &size);
        if (r <= 0)
                return r;
        if (size > max_size)
                return -EFBIG;

        /* Verifies the id, by libgit2's default. */
        to_git_oid(oid, &id);
        int g = git_odb_read(&o, repo->odb, &id);
        if (g == GIT_ENOTFOUND)
                return 0;
        if (g < 0)
                return git_errno(g);
        if (git_odb_object_size(o) != size || git_odb_object_type(o) != (git_object_t) type)
                return -EBADMSG;
        if (size > 0) {
                data = malloc(size);
                if (!data)
                        return -ENOMEM;
                memcpy(data, git_odb_object_data(o), size);
        }
        *ret_type = type;
        *ret_data = TAKE_PTR(data);
        *ret_size = size;
        return 1;
}

void local_repo_rescan(LocalRepo *repo) {
        /* A failure shows when an object is not found, and the next call tries again. */
        (void) git_odb_refresh(repo->odb);
}
