/* Every fetch is one task on the pool. Reading here is cheap, so nothing is brought that was not
 * asked for, and objects go to the memory tier: they are on this machine already. */

#include "forge/local-source.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/git-refs.h"
#include "object/commit-object.h"
#include "object/tree-object.h"
#include "store/store.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/stats.h"
#include "work/blame.h"

#define MAX_TAG_DEPTH 8

typedef struct LocalSource {
        Source source;
        const ForgeContext *context;
        LocalRepo *repo;
} LocalSource;

typedef struct LocalOp {
        Task task;
        LocalSource *source; /* a reference */
        Fetch *fetch;
        Failure failure; /* the first one; the other objects are brought all the same */
        int result;
} LocalOp;

static void fail(LocalOp *op, int error, FailureClass class, const char *what, const Oid *oid) {
        char hex[OID_HEX_MAX + 1];

        if (op->result < 0)
                return;
        op->result = error;
        (void) failure_set(
                &op->failure,
                class,
                "%s: %s %s",
                op->source->source.url,
                what,
                oid_to_hex(oid, hex));
}

static void fail_read(LocalOp *op, int error, const Oid *oid) {
        switch (error) {
        case -EBADMSG:
                stat_add(STAT_FETCH_CORRUPT, 1);
                fail(op, -EIO, FAILURE_CORRUPT, "damaged object", oid);
                return;
        case -EFBIG:
                fail(op,
                     -EFBIG,
                     FAILURE_TOO_LARGE,
                     "larger than MaxObjectSize= or DiskLimit= allow: object",
                     oid);
                return;
        case -EACCES:
                fail(op, -EACCES, FAILURE_AUTH, "no permission to read object", oid);
                return;
        default:
                fail(op, error, FAILURE_LOCAL, "cannot read object", oid);
        }
}

static void fail_missing(LocalOp *op, const Oid *oid) {
        stat_add(STAT_FETCH_MISSING, 1);
        fail(op, -ENOENT, FAILURE_NOT_FOUND, "no object", oid);
}

static bool out_of_time(LocalOp *op) {
        if (now_usec() < op->fetch->deadline_usec)
                return false;
        op->result =
                failure_set(&op->failure, FAILURE_TIMEOUT, "%s: too slow", op->source->source.url);
        return true;
}

/* --- objects --- */

/* Reads an object into the store. True, with its type, if it is there then. */
static bool bring(LocalOp *op, const Oid *oid, ObjectType *ret_type) {
        LocalSource *s = op->source;
        Store *store = s->context->store;
        uint64_t size, max = s->context->config->max_object_size;
        uint8_t *data;

        if (store_stat(store, STORE_OBJECT, oid, ret_type, &size) <= 0) {
                int r = local_repo_read(s->repo, oid, max, ret_type, &data, &size);
                if (r == 0) {
                        /* It may have come in a pack that was not there yet when we looked. */
                        local_repo_rescan(s->repo);
                        r = local_repo_read(s->repo, oid, max, ret_type, &data, &size);
                }
                if (r == 0) {
                        fail_missing(op, oid);
                        return false;
                }
                if (r > 0)
                        r = store_put_take(store, STORE_OBJECT, oid, *ret_type, data, size);
                if (r < 0) {
                        fail_read(op, r, oid);
                        return false;
                }
                stat_add(STAT_FETCH_OBJECTS_IN, 1);
        }
        if (op->fetch->object)
                op->fetch->object(op->fetch, oid, *ret_type, size);
        return true;
}

/* The id that a commit (its tree) or a tag (its target) leads to. */
static int follow(LocalOp *op, const Oid *oid, ObjectType type, Oid *ret) {
        _cleanup_object_ref_ ObjectRef ref = {0};
        OidAlgo algo = op->source->source.algo;
        CommitObject commit;
        TagObject tag;

        int r = store_get(op->source->context->store, STORE_OBJECT, oid, &ref);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        r = type == OBJECT_TAG ? tag_parse(algo, ref.data, ref.size, &tag)
                               : commit_parse(algo, ref.data, ref.size, &commit);
        if (r >= 0)
                *ret = type == OBJECT_TAG ? tag.target : commit.tree;
        return r;
}

static void fetch_commit(LocalOp *op) {
        Oid oid = op->fetch->oids[0], next;
        ObjectType type;
        int r;

        for (unsigned depth = 0; bring(op, &oid, &type); depth++) {
                if (depth >= MAX_TAG_DEPTH || (type != OBJECT_TAG && type != OBJECT_COMMIT)) {
                        fail(op, -ENOENT, FAILURE_NOT_FOUND, "not a commit:", &op->fetch->oids[0]);
                        return;
                }
                r = follow(op, &oid, type, &next);
                if (r < 0) {
                        fail_read(op, r, &oid);
                        return;
                }
                if (type == OBJECT_COMMIT) {
                        op->fetch->commit = oid;
                        (void) bring(op, &next, &type); /* a failure is noted in op */
                        return;
                }
                oid = next;
        }
}

static void fetch_each(LocalOp *op) {
        ObjectType type;

        for (size_t i = 0; i < op->fetch->n_oids && !out_of_time(op); i++)
                (void) bring(op, &op->fetch->oids[i], &type); /* a failure is noted in op */
}

/* Appends what a tree holds to the stack of what is still to be brought. */
static int push_entries(LocalOp *op, const Oid *tree, Buf *stack) {
        _cleanup_object_ref_ ObjectRef ref = {0};
        TreeIter it;
        TreeEntry entry;

        int r = store_get(op->source->context->store, STORE_OBJECT, tree, &ref);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        tree_iter_init(&it, op->source->source.algo, ref.data, ref.size);
        while ((r = tree_iter_next(&it, &entry)) > 0) {
                if (entry.kind == ENTRY_SUBMODULE)
                        continue;
                r = buf_append(stack, &entry.oid, sizeof(entry.oid));
                if (r < 0)
                        return r;
        }
        return r;
}

static void fetch_closure(LocalOp *op) {
        _cleanup_buf_ Buf stack = {0};
        ObjectType type;
        Oid oid;

        int r = buf_append(&stack, op->fetch->oids, op->fetch->n_oids * sizeof(oid));
        if (r < 0)
                fail_read(op, r, &op->fetch->oids[0]);
        while (stack.len > 0 && !out_of_time(op)) {
                stack.len -= sizeof(oid);
                memcpy(&oid, stack.data + stack.len, sizeof(oid));
                if (!bring(op, &oid, &type) || type != OBJECT_TREE)
                        continue;
                r = push_entries(op, &oid, &stack);
                if (r < 0)
                        fail_read(op, r, &oid);
        }
}

static void fetch_sizes(LocalOp *op) {
        const Fetch *fetch = op->fetch;

        for (size_t i = 0; i < fetch->n_oids && !out_of_time(op); i++) {
                const Oid *oid = &fetch->oids[i];
                ObjectType type;
                uint64_t size;
                int r = local_repo_stat(op->source->repo, oid, &type, &size);
                if (r == 0) {
                        local_repo_rescan(op->source->repo);
                        r = local_repo_stat(op->source->repo, oid, &type, &size);
                }
                if (r < 0)
                        fail_read(op, r, oid);
                else if (r == 0)
                        fail_missing(op, oid);
                else if (fetch->size)
                        fetch->size(op->fetch, oid, size);
        }
}

/* --- refs --- */

/* 1 found, 0 not, or a negative errno. */
static int resolve_name(LocalOp *op, const char *prefix) {
        Fetch *fetch = op->fetch;

        if ((size_t) snprintf(
                    fetch->resolved, sizeof(fetch->resolved), "%s%s", prefix, fetch->refname) >=
            sizeof(fetch->resolved))
                return 0;
        int r = local_repo_resolve(op->source->repo, fetch->resolved, &fetch->commit, NULL);
        if (r > 0)
                fetch->moves = strncmp(fetch->resolved, "refs/tags/", 10) != 0;
        return r;
}

static int resolve_default(LocalOp *op) {
        _cleanup_free_ char *target = NULL;
        Fetch *fetch = op->fetch;

        int r = local_repo_resolve(op->source->repo, "HEAD", &fetch->commit, &target);
        if (r < 0)
                return r;
        if (r == 0)
                fetch->commit = (Oid){0};
        (void) snprintf(fetch->resolved, sizeof(fetch->resolved), "%s", target ? target : "");
        fetch->moves = true;
        return 1;
}

static int resolve_id(LocalOp *op) {
        Fetch *fetch = op->fetch;
        size_t len = strlen(fetch->refname);
        char hex[OID_HEX_MAX + 1];
        int r = 1;

        if (!git_refname_is_oid(fetch->refname, &fetch->commit)) {
                if (len < 4 || len >= OID_SHA1_HEX)
                        return 0;
                for (const char *p = fetch->refname; *p; p++)
                        if (!isxdigit((unsigned char) *p))
                                return 0;
                r = local_repo_resolve_prefix(op->source->repo, fetch->refname, &fetch->commit);
        }
        if (r > 0)
                (void) snprintf(
                        fetch->resolved,
                        sizeof(fetch->resolved),
                        "%s",
                        oid_to_hex(&fetch->commit, hex));
        fetch->moves = false;
        return r;
}

static void fetch_ref(LocalOp *op) {
        const char *name = op->fetch->refname;
        const char *url = op->source->source.url;
        int r;

        if (!name)
                r = resolve_default(op);
        else if (!git_refname_is_valid(name))
                r = 0;
        else if (strncmp(name, "refs/", 5) == 0)
                r = resolve_name(op, "");
        else {
                r = resolve_name(op, "refs/heads/");
                if (r == 0)
                        r = resolve_name(op, "refs/tags/");
                if (r == 0)
                        r = resolve_id(op);
        }
        if (r > 0)
                return;
        if (r == -EEXIST)
                op->result = failure_set(
                        &op->failure, FAILURE_NOT_FOUND, "%s: \"%s\" is ambiguous", url, name);
        else if (r == 0)
                op->result = failure_set(
                        &op->failure, FAILURE_NOT_FOUND, "%s has no ref \"%s\"", url, name);
        else {
                op->result = r;
                (void) failure_set(
                        &op->failure,
                        FAILURE_LOCAL,
                        "cannot read refs of %s: %s",
                        url,
                        strerrordesc_np(-r));
        }
}

/* --- the source --- */

static void fetch_run(LocalOp *op) {
        switch (op->fetch->kind) {
        case FETCH_REF:
                stat_add(STAT_FETCH_REFS, 1);
                fetch_ref(op);
                return;
        case FETCH_COMMIT:
                stat_add(STAT_FETCH_TREES, 1);
                if (op->fetch->n_oids > 0)
                        fetch_commit(op);
                return;
        case FETCH_TREES:
                stat_add(STAT_FETCH_TREES, 1);
                fetch_each(op);
                return;
        case FETCH_BLOBS:
                stat_add(STAT_FETCH_BLOBS, 1);
                fetch_each(op);
                return;
        case FETCH_CLOSURE:
                stat_add(STAT_FETCH_BLOBS, 1);
                if (op->fetch->n_oids > 0)
                        fetch_closure(op);
                return;
        case FETCH_SIZES:
                stat_add(STAT_FETCH_SIZES, 1);
                fetch_sizes(op);
                return;
        }
}

static void local_op_run(Task *task) {
        _cleanup_free_ LocalOp *op = container_of(task, LocalOp, task);
        BLAME_GUARD(op->fetch->scope);

        fetch_run(op);
        (void) source_unref(&op->source->source);
        op->fetch->done(op->fetch, op->result, &op->failure);
}

static void local_source_fetch(Source *s, Fetch *fetch) {
        LocalSource *source = container_of(s, LocalSource, source);

        LocalOp *op = calloc(1, sizeof(*op));
        if (!op) {
                Failure failure;
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                fetch->done(fetch, -ENOMEM, &failure);
                return;
        }
        *op = (LocalOp){.task.run = local_op_run, .source = source, .fetch = fetch};
        (void) source_ref(s);
        pool_submit(
                source->context->pool,
                &op->task,
                fetch->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND);
}

static void local_source_free(Source *s) {
        LocalSource *source = container_of(s, LocalSource, source);

        (void) local_repo_free(source->repo);
        free(source->source.url);
        free(source);
}

static const SourceOps local_source_ops = {
        .free = local_source_free,
        .fetch = local_source_fetch,
};

int local_source_new(const ForgeContext *context, const char *path, LocalRepo *repo, Source **ret) {
        char *url = strdup(path);
        LocalSource *source = calloc(1, sizeof(*source));

        if (!url || !source) {
                free(url);
                free(source);
                return -ENOMEM;
        }
        *source = (LocalSource){
                .source =
                        {
                                .ops = &local_source_ops,
                                .ref = REF_INIT,
                                .algo = OID_SHA1,
                                .url = url,
                                .objects_in_memory = true,
                                .cheap_sizes = true,
                        },
                .context = context,
                .repo = repo,
        };
        *ret = &source->source;
        return 0;
}
