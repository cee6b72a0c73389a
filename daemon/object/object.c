#include "object/object.h"

#include <assert.h>
#include <errno.h>
#include <git2.h>
#include <pthread.h>
#include <string.h>

#include "gitfs/macro.h"

_Static_assert((int) OBJECT_COMMIT == (int) GIT_OBJECT_COMMIT, "types are passed on as they are");
_Static_assert((int) OBJECT_TREE == (int) GIT_OBJECT_TREE, "types are passed on as they are");
_Static_assert((int) OBJECT_BLOB == (int) GIT_OBJECT_BLOB, "types are passed on as they are");
_Static_assert((int) OBJECT_TAG == (int) GIT_OBJECT_TAG, "types are passed on as they are");

static const char *const type_names[] = {
        [OBJECT_COMMIT] = "commit",
        [OBJECT_TREE] = "tree",
        [OBJECT_BLOB] = "blob",
        [OBJECT_TAG] = "tag",
};

const char *object_type_name(ObjectType type) {
        assert(type >= OBJECT_COMMIT && type <= OBJECT_TAG);
        return type_names[type];
}

int object_type_from_name(const char *name, size_t len) {
        for (int t = OBJECT_COMMIT; t <= OBJECT_TAG; t++)
                if (strlen(type_names[t]) == len && memcmp(type_names[t], name, len) == 0)
                        return t;
        return -EINVAL;
}

int object_hash(OidAlgo algo, ObjectType type, const void *data, size_t len, Oid *ret) {
        if (algo == OID_SHA256)
                return -EOPNOTSUPP;
        assert(algo == OID_SHA1);

        int r = object_library_init();
        if (r < 0)
                return r;
        git_oid id;
        if (git_odb_hash(&id, data, len, (git_object_t) type) < 0) {
                /* The one thing a hash can find wrong with bytes is a collision attack. */
                const git_error *e = git_error_last();
                return e && e->klass == GIT_ERROR_SHA ? -EBADMSG : -ENOMEM;
        }
        oid_from_raw(ret, algo, id.id);
        return 0;
}

/* A reader has no use for the user's git configuration, and a mistake in it must not hinder us. */
static int ignore_user_configuration(void) {
        static const git_config_level_t levels[] = {
                GIT_CONFIG_LEVEL_PROGRAMDATA,
                GIT_CONFIG_LEVEL_SYSTEM,
                GIT_CONFIG_LEVEL_XDG,
                GIT_CONFIG_LEVEL_GLOBAL,
        };
        for (size_t i = 0; i < ELEMENTSOF(levels); i++)
                if (git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "") < 0)
                        return -ENOMEM;
        return 0;
}

static int start_library(void) {
        /* libgit2 refuses repositories with extensions that it was not told of. The first three do
         * not matter to a reader; the formats are checked when a repository is opened. */
        const char *extensions[] = {
                "partialclone",
                "preciousobjects",
                "worktreeconfig",
                "objectformat",
                "refstorage",
        };

        if (git_libgit2_init() < 0)
                return -ENOMEM;
        /* Who owns a repository matters to programs that run its hooks or obey its configuration;
         * we only read objects. Objects are not cached by libgit2: the store does it. */
        if (git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0) < 0 ||
            git_libgit2_opts(GIT_OPT_ENABLE_CACHING, 0) < 0 ||
            git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, extensions, ELEMENTSOF(extensions)) < 0 ||
            ignore_user_configuration() < 0) {
                (void) git_libgit2_shutdown(); /* as below */
                return -ENOMEM;
        }
        return 0;
}

/* libgit2 also reads the certificates of the machine when it starts, for transports that are not
 * used here. That takes longer than the rest of a start of ours: whoever needs it first waits. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_result = -EINVAL;

static void start_library_once(void) {
        once_result = start_library();
}

int object_library_init(void) {
        int r = -pthread_once(&once, start_library_once);
        return r < 0 ? r : once_result;
}

void object_library_done(void) {
        if (once_result >= 0)
                (void) git_libgit2_shutdown(); /* returns how many others still use it */
        once_result = -EINVAL;
        once = (pthread_once_t) PTHREAD_ONCE_INIT;
}
