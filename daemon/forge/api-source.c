/* A repository on a forge with an API: git brings the objects and refs, and the API tells sizes.
 * The API is asked as well when git refuses, for the reason, and for blobs that git cannot bring.
 *
 * A fetch that is only passed on to git costs nothing here; one whose end matters is wrapped: an
 * operation gives git a fetch of its own, which reports to that of the caller. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-forge-private.h"
#include "forge/git-source.h"
#include "util/clock.h"

/* What was found on the way is the truth for that long. */
#define PRIMED_USEC (30 * USEC_PER_SEC)
/* Files that are fetched for want of their sizes. */
#define DIRECTORY_MAX 4000
/* What git is asked for in one request: more ids are more than web servers take, and an API that
 * tells sizes by the tree tells any number at once. */
#define GIT_SIZES_MAX 20000

typedef struct WrapOp {
        Fetch inner; /* what git is asked for; the rest of it is the caller's */
        Fetch *outer;
        ApiSource *source; /* a reference */
        GitWants wants;    /* blobs and sizes: what has arrived */
        Oid *directory;    /* what is fetched instead of sizes; owned */
        bool from_git;     /* sizes: git is asked for them */
        ApiRepoQuery query;
        Failure failure; /* git's */
        int result;      /* likewise */
        bool moved;      /* to another git source already */
} WrapOp;

static void wrap_op_free(WrapOp *op) {
        git_wants_done(&op->wants);
        (void) source_unref(&op->source->source);
        free(op->directory);
        free(op);
}

static void wrap_end(WrapOp *op, int result, const Failure *failure) {
        Fetch *outer = op->outer;
        Failure copy = *failure;

        outer->commit = op->inner.commit;
        outer->moves = op->inner.moves;
        memcpy(outer->resolved, op->inner.resolved, sizeof(outer->resolved));
        wrap_op_free(op);
        outer->done(outer, result, &copy);
}

static void on_object(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        WrapOp *op = container_of(fetch, WrapOp, inner);

        if (op->wants.n > 0)
                (void) git_wants_arrived(&op->wants, oid);
        if (op->outer->object)
                op->outer->object(op->outer, oid, type, size);
        if (op->directory && op->outer->size && type == OBJECT_BLOB)
                op->outer->size(op->outer, oid, size);
}

static void on_size(Fetch *fetch, const Oid *oid, uint64_t size) {
        WrapOp *op = container_of(fetch, WrapOp, inner);

        (void) git_wants_arrived(&op->wants, oid);
        if (op->outer->size)
                op->outer->size(op->outer, oid, size);
}

static Source *git_of(ApiSource *source) {
        MUTEX_GUARD(&source->mutex);
        return source_ref(source->git);
}

static void fetch_bare(ApiSource *source, Fetch *fetch) {
        Source *git = git_of(source);

        source->source.rtt_usec = atomic_load_explicit(&git->rtt_usec, memory_order_relaxed);
        source_fetch(git, fetch);
        (void) source_unref(git);
}

static void fail_early(Fetch *fetch) {
        Failure failure;

        (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
        fetch->done(fetch, -ENOMEM, &failure);
}

/* NULL: fetch->done() was called. */
static WrapOp *
wrap_new(ApiSource *source, Fetch *fetch, void (*done)(Fetch *, int, const Failure *)) {
        bool counts = fetch->kind == FETCH_BLOBS || fetch->kind == FETCH_SIZES;
        WrapOp *op = calloc(1, sizeof(*op));

        if (!op || (counts && git_wants_init(&op->wants, fetch->oids, fetch->n_oids) < 0)) {
                free(op);
                fail_early(fetch);
                return NULL;
        }
        op->inner = *fetch;
        op->inner.object = on_object;
        op->inner.size = on_size;
        op->inner.done = done;
        op->outer = fetch;
        op->source = source;
        (void) source_ref(&source->source);
        return op;
}

static void
wrap_fetch(ApiSource *source, Fetch *fetch, void (*done)(Fetch *, int, const Failure *)) {
        WrapOp *op = wrap_new(source, fetch, done);

        if (op)
                fetch_bare(source, &op->inner);
}

/* --- refs --- */

void api_source_proven(ApiSource *source, const Fetch *ref) {
        source->probing = false;
        MUTEX_GUARD(&source->mutex);
        source->primed_until = now_usec() + PRIMED_USEC;
        source->head = ref->commit;
        memcpy(source->head_name, ref->resolved, sizeof(source->head_name));
}

static bool take_primed(ApiSource *source, Fetch *fetch) {
        if (fetch->refname || fetch->priority == FETCH_REFRESH)
                return false;
        MUTEX_GUARD(&source->mutex);
        bool valid = source->primed_until > now_usec();
        source->primed_until = 0;
        if (valid) {
                fetch->commit = source->head;
                fetch->moves = true;
                memcpy(fetch->resolved, source->head_name, sizeof(fetch->resolved));
        }
        return valid;
}

/* The repository has another name: git is asked there from now on. */
static int follow_rename(ApiSource *source, const ApiRepo *repo) {
        Source *git;

        int r = api_forge_git_source(source->forge, repo->owner, repo->name, &git);
        if (r < 0)
                return r;
        {
                MUTEX_GUARD(&source->mutex);
                Source *old = source->git;
                source->git = git;
                git = old;
        }
        (void) source_unref(git);
        return 0;
}

static bool is_renamed(const ApiSource *source, const ApiRepo *repo) {
        return strcmp(source->owner, repo->owner) != 0 || strcmp(source->name, repo->name) != 0;
}

static void on_reason(ApiRepoQuery *query, int result, ApiRepo *repo, const Failure *failure) {
        WrapOp *op = container_of(query, WrapOp, query);

        if (result > 0 && !op->moved && is_renamed(op->source, repo) &&
            follow_rename(op->source, repo) >= 0) {
                op->moved = true;
                fetch_bare(op->source, &op->inner);
        } else if (result == 0)
                wrap_end(op, -ENOENT, failure);
        else if (result < 0 && !api_failure_is_passing(failure))
                wrap_end(op, result, failure);
        else
                wrap_end(op, op->result, &op->failure);
}

static void on_git_done(Fetch *fetch, int result, const Failure *failure) {
        WrapOp *op = container_of(fetch, WrapOp, inner);

        if (result >= 0 || op->moved || !api_failure_needs_reason(failure)) {
                wrap_end(op, result, failure);
                return;
        }
        op->result = result;
        op->failure = *failure;
        op->query = (ApiRepoQuery){
                .owner = op->source->owner,
                .name = op->source->name,
                .priority = fetch->priority,
                .deadline_usec = fetch->deadline_usec,
                .done = on_reason,
        };
        api_repo_query_start(op->source->forge, &op->query);
}

void api_source_fetch_git(ApiSource *source, Fetch *fetch) {
        if (source->probing)
                fetch_bare(source, fetch);
        else
                wrap_fetch(source, fetch, on_git_done);
}

static void fetch_ref(ApiSource *source, Fetch *fetch) {
        if (take_primed(source, fetch))
                source_fetch_end(source->forge->context->pool, fetch, 0, NULL);
        else if (!source->forge->ops->ref || !source->forge->ops->ref(source, fetch))
                api_source_fetch_git(source, fetch);
}

void api_source_probe(ApiSource *source, Fetch *fetch) {
        source->probing = true;
        fetch_ref(source, fetch);
}

/* --- blobs --- */

static bool api_may_help(const WrapOp *op, int result, const Failure *failure) {
        if (result >= 0 || !op->source->forge->ops->blob_path || op->wants.n_open == 0)
                return false;
        switch (failure->class) {
        case FAILURE_NOT_FOUND:
        case FAILURE_CANCELLED:
        case FAILURE_CORRUPT:
        case FAILURE_LOCAL:
        case FAILURE_TOO_LARGE:
                return false;
        default:
                return op->wants.n_open <= API_BLOBS_MAX;
        }
}

static void on_blobs_done(Fetch *fetch, int result, const Failure *failure) {
        WrapOp *op = container_of(fetch, WrapOp, inner);

        if (!api_may_help(op, result, failure)) {
                wrap_end(op, result, failure);
                return;
        }
        Fetch *outer = op->outer;
        ApiSource *source = op->source;
        Failure copy = *failure;
        GitWants wants = op->wants;
        op->wants = (GitWants){0};
        (void) source_ref(&source->source);
        wrap_op_free(op);
        api_blobs_fetch(source, outer, &wants, result, &copy);
        (void) source_unref(&source->source);
}

/* --- sizes --- */

/* The API is rate limited, down, or has nothing to say. git brings the files of the directory that
 * somebody looks at: whoever waits gets an answer, and the next ones are asked for in their turn.
 */
static bool fetch_directory(WrapOp *op) {
        Oid *oids;
        size_t n;

        int r = api_wants_in_tree(
                &op->wants, op->source->forge->context->store, &op->outer->tree, &oids, &n);
        if (r < 0)
                return false;
        if (n == 0 || n > DIRECTORY_MAX) {
                free(oids);
                return false;
        }
        op->directory = oids;
        op->inner.kind = FETCH_BLOBS;
        op->inner.oids = oids;
        op->inner.n_oids = n;
        fetch_bare(op->source, &op->inner);
        return true;
}

static void on_sizes_done(Fetch *fetch, int result, const Failure *failure) {
        WrapOp *op = container_of(fetch, WrapOp, inner);

        if (fetch->kind == FETCH_BLOBS && result < 0)
                wrap_end(op, op->result, &op->failure);
        else if (result >= 0 || fetch->kind == FETCH_BLOBS)
                wrap_end(op, result, failure);
        else if (op->from_git && result == -EOPNOTSUPP) {
                op->from_git = false;
                op->source->forge->ops->sizes(op->source, &op->inner);
        } else {
                op->result = result;
                op->failure = *failure;
                bool other = result == -EOPNOTSUPP || api_failure_is_passing(failure);
                if (!other || !fetch_directory(op))
                        wrap_end(op, result, failure);
        }
}

static void fetch_sizes(ApiSource *source, Fetch *fetch) {
        if (!source->forge->ops->sizes) {
                fetch_bare(source, fetch);
                return;
        }
        WrapOp *op = wrap_new(source, fetch, on_sizes_done);
        if (!op)
                return;
        Source *git = git_of(source);
        op->from_git = fetch->n_oids <= GIT_SIZES_MAX &&
                       atomic_load_explicit(&git->cheap_sizes, memory_order_relaxed);
        (void) source_unref(git);
        if (op->from_git)
                fetch_bare(source, &op->inner);
        else
                source->forge->ops->sizes(source, &op->inner);
}

static void fetch_commit(ApiSource *source, Fetch *fetch) {
        {
                MUTEX_GUARD(&source->mutex);
                source->commit = fetch->oids[0];
        }
        api_source_fetch_git(source, fetch);
}

Oid api_source_commit(const ApiSource *source) {
        MUTEX_GUARD((Mutex *) &source->mutex);
        return source->commit;
}

static void api_source_fetch(Source *s, Fetch *fetch) {
        ApiSource *source = container_of(s, ApiSource, source);

        switch (fetch->kind) {
        case FETCH_REF:
                fetch_ref(source, fetch);
                return;
        case FETCH_SIZES:
                fetch_sizes(source, fetch);
                return;
        case FETCH_BLOBS:
                wrap_fetch(source, fetch, on_blobs_done);
                return;
        case FETCH_COMMIT:
                fetch_commit(source, fetch);
                return;
        case FETCH_TREES:
        case FETCH_CLOSURE:
                fetch_bare(source, fetch);
                return;
        }
}

/* --- life --- */

static void api_source_free(Source *s) {
        ApiSource *source = container_of(s, ApiSource, source);

        (void) source_unref(source->git);
        (void) forge_unref(&source->forge->forge);
        mutex_destroy(&source->mutex);
        free(source->owner);
        free(source->name);
        free(source->source.url);
        free(source);
}

static const SourceOps api_source_ops = {
        .free = api_source_free,
        .fetch = api_source_fetch,
};

int api_forge_git_source(ApiForge *forge, const char *owner, const char *name, Source **ret) {
        _cleanup_free_ char *url = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        if (forge->ops->git_url)
                r = forge->ops->git_url(forge, owner, name, &url);
        else if (asprintf(&path, "%s/%s", owner, name) < 0) {
                path = NULL; /* undefined after a failure */
                r = -ENOMEM;
        } else
                r = api_path_append(&url, forge->git_base, path, ".git");
        return r >= 0 ? git_source_new(forge->context, url, forge->secrets, ret) : r;
}

int api_source_new(ApiForge *forge, const char *owner, const char *name, Source **ret) {
        _cleanup_(source_unrefp) Source *git = NULL;

        int r = api_forge_git_source(forge, owner, name, &git);
        if (r < 0)
                return r;
        ApiSource *source = calloc(1, sizeof(*source));
        if (!source)
                return -ENOMEM;
        *source = (ApiSource){
                .source =
                        {
                                .ops = &api_source_ops,
                                .ref = REF_INIT,
                                .algo = git->algo,
                                .url = strdup(git->url),
                                .cheap_sizes = forge->ops->sizes != NULL,
                                .sizes_per_fetch = forge->ops->sizes_per_fetch,
                        },
                .forge = forge,
                .owner = strdup(owner),
                .name = strdup(name),
                .git = TAKE_PTR(git),
        };
        mutex_init(&source->mutex, LOCK_RANK_FORGE);
        (void) forge_ref(&forge->forge);
        if (!source->owner || !source->name || !source->source.url) {
                (void) source_unref(&source->source);
                return -ENOMEM;
        }
        *ret = &source->source;
        return 0;
}
