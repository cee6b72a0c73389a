/* An org that is a directory of git repositories, bare or with a work tree, or that is one
 * repository itself. "x.git" is shown as "x" unless there is an "x". */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "forge/forge.h"
#include "forge/local-source.h"
#include "object/local-repo.h"
#include "util/path.h"

typedef struct LocalForge {
        Forge forge;
        const ForgeContext *context;
        char *directory;
        char *only; /* its name, when the directory is a repository itself */
} LocalForge;

static void local_close(Forge *forge) {
        LocalForge *f = container_of(forge, LocalForge, forge);

        free(f->directory);
        free(f->only);
        free(f);
}

/* Without ".git" at the end. NULL when out of memory. */
static char *shown_name(const char *name) {
        size_t n = strlen(name);

        return strndup(name, n > 4 && strcmp(name + n - 4, ".git") == 0 ? n - 4 : n);
}

static int local_open(
        const ForgeOps *ops,
        const OrgConfig *org,
        const ForgeContext *context,
        Forge **ret,
        Failure *ret_failure) {
        struct stat st;

        if (stat(org->url, &st) < 0) {
                int r = -errno;
                (void) failure_set(
                        ret_failure,
                        r == -ENOENT ? FAILURE_NOT_FOUND : FAILURE_LOCAL,
                        "cannot use directory \"%s\": %s",
                        org->url,
                        strerrordesc_np(-r));
                return r;
        }
        if (!S_ISDIR(st.st_mode)) {
                (void) failure_set(
                        ret_failure, FAILURE_LOCAL, "\"%s\" is not a directory", org->url);
                return -ENOTDIR;
        }

        LocalForge *f = calloc(1, sizeof(*f));
        if (!f)
                return -ENOMEM;
        f->context = context;
        f->directory = strdup(org->url);
        if (f->directory) {
                path_simplify(f->directory);
                const char *slash = strrchr(f->directory, '/');
                if (slash && slash[1] && local_repo_probe(f->directory))
                        f->only = shown_name(slash + 1);
        }
        if (!f->directory) {
                local_close(&f->forge);
                return -ENOMEM;
        }
        *ret = &f->forge;
        return 0;
}

/* Where the repository of this name is; NULL with -ENOENT or -ENOMEM in *ret_error. */
static char *find_repository(const LocalForge *f, const char *name, int *ret_error) {
        char with_suffix[NAME_MAX + 5];

        *ret_error = -ENOENT;
        if (!name_is_valid(name))
                return NULL;
        if (f->only) {
                if (strcmp(name, f->only) != 0)
                        return NULL;
                char *copy = strdup(f->directory);
                if (!copy)
                        *ret_error = -ENOMEM;
                return copy;
        }
        (void) snprintf(with_suffix, sizeof(with_suffix), "%s.git", name);
        const char *const candidates[] = {name, with_suffix};
        for (size_t i = 0; i < ELEMENTSOF(candidates); i++) {
                _cleanup_free_ char *path = path_join(f->directory, candidates[i], NULL);
                if (!path) {
                        *ret_error = -ENOMEM;
                        return NULL;
                }
                if (local_repo_probe(path))
                        return TAKE_PTR(path);
        }
        return NULL;
}

/* --- list --- */

typedef struct ListOp {
        Task task;
        LocalForge *forge; /* a reference */
        ForgeList *list;
} ListOp;

/* What this entry of the directory is called in the list; NULL when it is not in it. */
static char *listed_name(const LocalForge *f, const char *entry) {
        int error;

        if (strcmp(entry, ".") == 0 || strcmp(entry, "..") == 0 || strcmp(entry, ".git") == 0 ||
            !name_is_valid(entry))
                return NULL;
        _cleanup_free_ char *name = shown_name(entry);
        _cleanup_free_ char *path = name ? find_repository(f, name, &error) : NULL;
        if (!path)
                return NULL;
        /* The name leads somewhere: to this entry, or to one that hides it. */
        if (strcmp(strrchr(path, '/') + 1, entry) == 0)
                return TAKE_PTR(name);
        _cleanup_free_ char *own = find_repository(f, entry, &error);
        return own && strcmp(strrchr(own, '/') + 1, entry) == 0 ? strdup(entry) : NULL;
}

static int list_directory(const LocalForge *f, ForgeList *list, Failure *failure) {
        struct dirent **entries;

        int n = scandir(f->directory, &entries, NULL, alphasort);
        if (n < 0) {
                int r = -errno;
                (void) failure_set(
                        failure,
                        r == -EACCES ? FAILURE_AUTH : FAILURE_LOCAL,
                        "cannot list \"%s\": %s",
                        f->directory,
                        strerrordesc_np(-r));
                return r;
        }
        bool more = true;
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *name = more ? listed_name(f, entries[i]->d_name) : NULL;
                if (name) {
                        const ForgeEntry entry = {.name = name, .kind = FORGE_REPO};
                        more = list->found(list, &entry);
                }
                free(entries[i]);
        }
        free(entries);
        return 0;
}

static void list_run(Task *task) {
        ListOp *op = container_of(task, ListOp, task);
        LocalForge *f = op->forge;
        ForgeList *list = op->list;
        Failure failure = {0};
        int r = 0;

        if (f->only) {
                const ForgeEntry entry = {.name = f->only, .kind = FORGE_REPO};
                (void) list->found(list, &entry); /* whether to go on does not matter here */
        } else
                r = list_directory(f, list, &failure);
        (void) forge_unref(&f->forge);
        free(op);
        list->done(list, r, &failure);
}

static void local_list(Forge *forge, ForgeList *list) {
        LocalForge *f = container_of(forge, LocalForge, forge);
        ListOp *op = calloc(1, sizeof(*op));

        if (!op) {
                Failure failure;
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                list->done(list, -ENOMEM, &failure);
                return;
        }
        *op = (ListOp){.task.run = list_run, .forge = f, .list = list};
        (void) forge_ref(forge);
        pool_submit(f->context->pool, &op->task, TASK_NORMAL);
}

/* --- lookup --- */

typedef struct LookupOp {
        Task task;
        LocalForge *forge; /* a reference */
        ForgeLookup *lookup;
} LookupOp;

static int open_failure(int error, const char *path, Failure *failure) {
        switch (error) {
        case -ENOENT:
                return failure_set(failure, FAILURE_NOT_FOUND, "no repository at \"%s\"", path);
        case -EOPNOTSUPP:
                return failure_set(
                        failure,
                        FAILURE_UNSUPPORTED,
                        "\"%s\": SHA-256 repositories are not supported yet",
                        path);
        case -EACCES:
                return failure_set(failure, FAILURE_AUTH, "no permission to read \"%s\"", path);
        default:
                (void) failure_set(
                        failure,
                        FAILURE_LOCAL,
                        "cannot open repository \"%s\": %s",
                        path,
                        strerrordesc_np(-error));
                return error;
        }
}

static int look_up(LocalForge *f, const char *name, Source **ret, Failure *failure) {
        LocalRepo *repo;
        int r;

        _cleanup_free_ char *path = find_repository(f, name, &r);
        if (!path && r == -ENOENT)
                return failure_set(
                        failure,
                        FAILURE_NOT_FOUND,
                        "no repository \"%s\" in \"%s\"",
                        name,
                        f->directory);
        if (!path)
                return failure_set(failure, FAILURE_LOCAL, "out of memory");
        r = local_repo_open(path, &repo);
        if (r < 0)
                return open_failure(r, path, failure);
        r = local_source_new(f->context, path, repo, ret);
        if (r < 0) {
                (void) local_repo_free(repo);
                return failure_set(failure, FAILURE_LOCAL, "out of memory");
        }
        return 0;
}

static void lookup_run(Task *task) {
        LookupOp *op = container_of(task, LookupOp, task);
        ForgeLookup *lookup = op->lookup;
        ForgeFound found = {.kind = FORGE_REPO};
        Failure failure = {0};

        int r = look_up(op->forge, lookup->name, &found.source, &failure);
        (void) forge_unref(&op->forge->forge);
        free(op);
        lookup->done(lookup, r, r < 0 ? NULL : &found, &failure);
}

static void local_lookup(Forge *forge, ForgeLookup *lookup) {
        LocalForge *f = container_of(forge, LocalForge, forge);
        LookupOp *op = calloc(1, sizeof(*op));

        if (!op) {
                Failure failure;
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                lookup->done(lookup, -ENOMEM, NULL, &failure);
                return;
        }
        *op = (LookupOp){.task.run = lookup_run, .forge = f, .lookup = lookup};
        (void) forge_ref(forge);
        pool_submit(f->context->pool, &op->task, TASK_NORMAL);
}

const ForgeOps forge_local_ops = {
        .open = local_open,
        .close = local_close,
        .list = local_list,
        .lookup = local_lookup,
};
