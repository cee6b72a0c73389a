/* Commits, trees and blobs, all of which come as a pack.
 *
 * The wants are asked for in batches. A batch is asked again without what arrived when an answer
 * was cut off, in halves when it was too large for the server (413), and without the object that
 * the server named as one it does not have. What was silently left out is asked for once more at
 * the end.
 *
 * All blobs below a tree are best wanted by the tree: the server then knows the paths, reuses the
 * deltas that it has, and is not sent 50 bytes for each. Their trees are here already, so they are
 * filtered out by type. Servers do not tell that they can do that (git 2.32 and later can, where it
 * is allowed), so one that answers such a request with nonsense is asked again without the filter;
 * if that goes well no repository of the host is asked so again.
 *
 * Every object is checked against its id before it is kept. So a batch of blobs that are all here
 * is done, even if the answer was cut off behind them or the pack's own checksum is wrong. */

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <string.h>

#include "forge/git-exchange.h"
#include "forge/git-host.h"
#include "forge/git-pack-sink.h"
#include "forge/git-request.h"
#include "forge/git-response.h"
#include "forge/git-source.h"
#include "forge/git-wants.h"
#include "object/commit-object.h"
#include "object/pack-reader.h"
#include "util/stats.h"

/* 50 bytes each, about 25 when compressed: below the usual limit of 1 MB for a request. */
#define MAX_PER_REQUEST 8000
/* The reader keeps about 50 bytes for each, so this bounds what a server can make us allocate. */
#define MAX_OBJECTS_PER_PACK (5 * 1000 * 1000)
#define MAX_PENDING_BYTES ((size_t) 64 << 20)
/* Objects that the server denies in one fetch before we stop asking for the rest. */
#define MAX_DENIED 64
#define MAX_TAG_DEPTH 8
#define FILTER_NO_BLOBS "blob:none"
#define FILTER_BLOBS_ONLY "object:type=blob"
#define TRIM_BYTES ((size_t) 1 << 20)

typedef struct ObjectsOp {
        GitExchange exchange;
        GitSource *source; /* a reference */
        GitBasis basis;
        Fetch *fetch;
        GitFetchShape shape;
        GitWants wants;
        size_t batch_start, batch_end; /* positions in the wants */
        size_t max_per_request;        /* smaller once a server refused */
        size_t n_denied;
        bool second_pass;
        bool blobs_only;    /* the filter of a closure is in use */
        bool without_types; /* it was, and the server could make nothing of it */

        /* Of the answer being read: */
        GitResponse response;
        PackReader *reader;
        GitPackSink sink;
        Failure pack_failure;
        bool types_doubted; /* no answer at all, to a request with that filter */
} ObjectsOp;

static atomic_size_t n_ops_now, bytes_since_trim;

/* A pack is worked on in tens of megabytes, which glibc keeps for the arenas of the threads that
 * did so. When there is nothing more to do after some large ones, the system gets them back. */
static void return_memory(void) {
        if (atomic_fetch_sub(&n_ops_now, 1) > 1 || atomic_load(&bytes_since_trim) < TRIM_BYTES)
                return;
        atomic_store(&bytes_since_trim, 0);
        (void) malloc_trim(0); /* whether anything was to be had does not matter */
}

static void objects_op_free(ObjectsOp *op) {
        git_exchange_done(&op->exchange);
        git_response_done(&op->response);
        (void) pack_reader_free(op->reader);
        git_wants_done(&op->wants);
        (void) source_unref(&op->source->source);
        free(op);
        return_memory();
}

/* --- reading --- */

static int pack_failed(ObjectsOp *op, int error) {
        const char *url = op->source->source.url;

        if (error == -EBADMSG) {
                stat_add(STAT_FETCH_CORRUPT, 1);
                (void) failure_set(&op->pack_failure, FAILURE_CORRUPT, "%s: a damaged pack", url);
        } else if (error == -EFBIG)
                (void) failure_set(
                        &op->pack_failure,
                        FAILURE_TOO_LARGE,
                        "%s: a pack with too many objects, or one larger than MaxObjectSize= or "
                        "than DiskLimit= allows",
                        url);
        else if (error == -ETIMEDOUT)
                (void) failure_set(
                        &op->pack_failure,
                        FAILURE_TIMEOUT,
                        "%s: no time left for the rest of a pack",
                        url);
        else
                (void) failure_set(
                        &op->pack_failure,
                        FAILURE_LOCAL,
                        "cannot keep objects of %s: %s",
                        url,
                        strerrordesc_np(-error));
        return error;
}

static int on_pack(const uint8_t *data, size_t len, void *userdata) {
        ObjectsOp *op = userdata;

        atomic_fetch_add_explicit(&bytes_since_trim, len, memory_order_relaxed);
        int r = pack_reader_feed(op->reader, data, len);
        return r < 0 ? pack_failed(op, r) : 0;
}

static const GitResponseHandler response_handler = {.pack = on_pack};

static int objects_data(GitExchange *x, const uint8_t *data, size_t len) {
        ObjectsOp *op = container_of(x, ObjectsOp, exchange);

        if (fetch_is_cancelled(op->fetch))
                return -ECANCELED;
        return git_response_feed(&op->response, data, len);
}

static int cancelled(ObjectsOp *op, Failure *failure) {
        (void) failure_set(
                failure, FAILURE_CANCELLED, "%s: not wanted any more", op->source->source.url);
        return -ECANCELED;
}

static int objects_verdict(GitExchange *x, int result, Failure *failure) {
        ObjectsOp *op = container_of(x, ObjectsOp, exchange);

        if (result == -ECANCELED && fetch_is_cancelled(op->fetch))
                return cancelled(op, failure);
        if (result >= 0)
                result = git_response_finish(&op->response);
        if (result >= 0) {
                result = pack_reader_finish(op->reader);
                if (result < 0)
                        (void) pack_failed(op, result);
        }
        *failure = op->pack_failure.class != FAILURE_NONE ? op->pack_failure : op->response.failure;
        /* Where a pack has begun the request is not what is wrong with the answer. */
        op->types_doubted =
                op->blobs_only && !op->response.has_pack && failure->class == FAILURE_SERVER;
        if (op->types_doubted)
                x->doubtful = true;
        return result;
}

static bool objects_satisfied(const GitExchange *x) {
        const ObjectsOp *op = container_of(x, const ObjectsOp, exchange);
        size_t position = op->batch_start;

        return op->fetch->kind == FETCH_BLOBS &&
               (!git_wants_next(&op->wants, &position) || position > op->batch_end);
}

/* --- asking --- */

static int objects_prepare(GitExchange *x) {
        ObjectsOp *op = container_of(x, ObjectsOp, exchange);
        const PackLimits limits = {
                .max_object_size = op->source->context->config->max_object_size,
                .max_objects =
                        op->fetch->kind == FETCH_BLOBS ? op->max_per_request : MAX_OBJECTS_PER_PACK,
                .max_pending_bytes = MAX_PENDING_BYTES,
        };

        if (fetch_is_cancelled(op->fetch))
                return -ECANCELED;
        op->pack_failure = (Failure){0};
        op->types_doubted = false;
        x->doubtful = !op->basis.proven;
        op->reader = pack_reader_free(op->reader);
        int r = pack_reader_new(
                op->source->source.algo, &limits, &git_pack_sink, &op->sink, &op->reader);
        if (r < 0)
                return r;
        git_response_done(&op->response);
        git_response_init(
                &op->response,
                op->basis.capabilities.version == 2 ? GIT_RESPONSE_PACK_V2 : GIT_RESPONSE_PACK_V0,
                op->source->source.url,
                &response_handler,
                op);
        /* A blob that came is here whole; below a tree that came, something may be missing. */
        if (op->fetch->kind != FETCH_BLOBS)
                git_wants_reopen(&op->wants, op->batch_start);
        op->batch_end = op->batch_start;
        return git_request_fetch(
                &op->basis.capabilities,
                &op->shape,
                &op->wants,
                op->max_per_request,
                &op->batch_end,
                &x->body);
}

/* --- ending --- */

/* A tag may be asked for by its id: the answer is the commit that it leads to. */
static int peel_commit(ObjectsOp *op, Failure *failure) {
        Fetch *fetch = op->fetch;
        Oid oid = fetch->oids[0];

        for (unsigned depth = 0; depth < MAX_TAG_DEPTH; depth++) {
                _cleanup_object_ref_ ObjectRef ref = {0};
                TagObject tag;
                int r = store_get(op->source->context->store, STORE_OBJECT, &oid, &ref);
                if (r <= 0)
                        break;
                if (ref.type == OBJECT_COMMIT) {
                        fetch->commit = oid;
                        return 0;
                }
                if (ref.type != OBJECT_TAG ||
                    tag_parse(op->source->source.algo, ref.data, ref.size, &tag) < 0)
                        break;
                oid = tag.target;
        }
        char hex[OID_HEX_MAX + 1];
        return failure_set(
                failure, FAILURE_NOT_FOUND, "%s is not a commit", oid_to_hex(&fetch->oids[0], hex));
}

/* Whether everything that was asked for is here. */
static int check_complete(ObjectsOp *op, Failure *failure) {
        const GitWants *w = &op->wants;

        if (w->n_missing + w->n_open > 0)
                stat_add(STAT_FETCH_MISSING, (int64_t) (w->n_missing + w->n_open));
        if (w->n_open > 0)
                return failure_set(
                        failure,
                        FAILURE_CORRUPT,
                        "%s left %zu of %zu objects out of its answer",
                        op->source->source.url,
                        w->n_open,
                        w->n);
        if (w->n_missing > 0)
                return failure_set(
                        failure,
                        FAILURE_NOT_FOUND,
                        "%s does not have %zu of %zu objects",
                        op->source->source.url,
                        w->n_missing,
                        w->n);
        return op->fetch->kind == FETCH_COMMIT ? peel_commit(op, failure) : 0;
}

static void objects_end(ObjectsOp *op, int result, const Failure *failure) {
        Fetch *fetch = op->fetch;
        Failure copy = *failure;

        if (result >= 0)
                result = check_complete(op, &copy);
        objects_op_free(op);
        fetch->done(fetch, result, &copy);
}

/* Takes note of what a failed batch tells. True if the rest is worth asking for. */
static bool adapt_to_failure(ObjectsOp *op, const Failure *failure) {
        if (failure->http_code == 413 && op->max_per_request > 1) {
                op->max_per_request = MIN(op->max_per_request, op->wants.n_open) / 2;
                op->max_per_request = MAX(op->max_per_request, (size_t) 1);
                return op->wants.n_open > 1;
        }
        if (failure->class == FAILURE_NOT_FOUND && op->exchange.answered &&
            op->n_denied < MAX_DENIED) {
                op->n_denied++;
                return git_wants_give_up(&op->wants, &op->response.not_our_ref);
        }
        return false;
}

/* True, with the batch set up, if there is more to ask for. */
static bool next_batch(ObjectsOp *op) {
        size_t position = op->batch_start;

        if (git_wants_next(&op->wants, &position))
                return true;
        if (op->wants.n_open == 0 || op->second_pass)
                return false;
        op->second_pass = true;
        op->batch_start = 0;
        return true;
}

static void batch_came(ObjectsOp *op) {
        if (op->without_types)
                git_hosts_refuse_types(op->source->context->git_hosts, op->source->origin);
        /* The filter may leave out a tree that was wanted, if it lies below another one. */
        if (op->blobs_only)
                git_wants_settle(&op->wants, op->batch_start, op->batch_end);
        op->batch_start = op->batch_end;
}

static void objects_done(GitExchange *x, int result, const Failure *failure) {
        ObjectsOp *op = container_of(x, ObjectsOp, exchange);
        Failure copy = *failure;

        if (fetch_is_cancelled(op->fetch)) {
                result = cancelled(op, &copy);
                objects_end(op, result, &copy);
                return;
        }
        if (result >= 0)
                batch_came(op);
        else if (op->types_doubted) {
                op->blobs_only = false; /* the same batch again */
                op->shape.filter = NULL;
                op->without_types = true;
        } else if (git_basis_is_doubted(&op->basis, x, failure)) {
                git_source_discover(op->source, op->fetch, true);
                objects_op_free(op);
                return;
        } else if (!adapt_to_failure(op, failure)) {
                objects_end(op, result, &copy);
                return;
        }
        if (!next_batch(op)) {
                objects_end(op, 0, &(Failure){0});
                return;
        }
        int r = git_exchange_start(x, op->source->source.url);
        if (r < 0) {
                (void) failure_set(&copy, FAILURE_LOCAL, "out of memory");
                objects_end(op, r, &copy);
        }
}

static const GitExchangeOps exchange_ops = {
        .prepare = objects_prepare,
        .data = objects_data,
        .verdict = objects_verdict,
        .satisfied = objects_satisfied,
        .done = objects_done,
};

/* --- starting --- */

/* What this server cannot do is told at once. */
static int check_supported(
        const GitSource *source, const GitBasis *basis, const Fetch *fetch, Failure *failure) {
        const GitCapabilities *c = &basis->capabilities;
        const char *lacks = NULL;

        if (!c->side_band)
                lacks = "side-band-64k";
        else if (fetch->kind == FETCH_COMMIT && !c->shallow)
                lacks = "shallow";
        else if (fetch->kind == FETCH_TREES && !c->filter)
                lacks = "filter";
        if (!lacks)
                return 0;
        return failure_set(
                failure,
                FAILURE_UNSUPPORTED,
                "%s does not offer \"%s\"",
                source->source.url,
                lacks);
}

static void count_fetch(FetchKind kind) {
        stat_add(
                kind == FETCH_COMMIT || kind == FETCH_TREES ? STAT_FETCH_TREES : STAT_FETCH_BLOBS,
                1);
}

static bool filters_types(const GitSource *source, const GitBasis *basis) {
        GitHosts *hosts = source->context->git_hosts;

        return basis->capabilities.filter && !git_hosts_refuses_types(hosts, source->origin);
}

static int objects_op_new(GitSource *source, const GitBasis *basis, Fetch *fetch, ObjectsOp **ret) {
        bool trees_only = fetch->kind == FETCH_COMMIT || fetch->kind == FETCH_TREES;

        ObjectsOp *op = calloc(1, sizeof(*op));
        if (!op)
                return -ENOMEM;
        *op = (ObjectsOp){
                .source = source,
                .basis = *basis,
                .fetch = fetch,
                .max_per_request = MAX_PER_REQUEST,
                .shape =
                        {
                                .shallow = fetch->kind == FETCH_COMMIT,
                                .filter = trees_only && basis->capabilities.filter ? FILTER_NO_BLOBS
                                                                                   : NULL,
                                .have = fetch->kind == FETCH_COMMIT ? &fetch->have_tree : NULL,
                        },
        };
        (void) source_ref(&source->source);
        git_source_exchange(source, basis, fetch, &exchange_ops, &op->exchange);
        if (fetch->kind == FETCH_CLOSURE && filters_types(source, basis)) {
                op->blobs_only = true;
                op->shape.filter = FILTER_BLOBS_ONLY;
        }
        atomic_fetch_add(&n_ops_now, 1);
        op->sink = (GitPackSink){
                .store = source->context->store,
                .fetch = fetch,
                .wants = &op->wants,
        };
        int r = git_wants_init(
                &op->wants,
                fetch->oids,
                fetch->kind == FETCH_COMMIT ? MIN(fetch->n_oids, (size_t) 1) : fetch->n_oids);
        if (r < 0) {
                objects_op_free(op);
                return r;
        }
        *ret = op;
        return 0;
}

void git_fetch_objects(GitSource *source, Fetch *fetch) {
        Failure failure = {0};
        GitBasis basis;
        ObjectsOp *op;

        git_source_basis(source, &basis);
        int r = check_supported(source, &basis, fetch, &failure);
        if (r < 0 && !basis.proven) {
                git_source_discover(source, fetch, true);
                return;
        }
        if (r < 0 || fetch->n_oids == 0) {
                source_fetch_end(source->context->pool, fetch, r, &failure);
                return;
        }
        count_fetch(fetch->kind);
        r = objects_op_new(source, &basis, fetch, &op);
        if (r < 0) {
                source_fetch_end(source->context->pool, fetch, r, NULL);
                return;
        }
        r = git_exchange_start(&op->exchange, source->source.url);
        if (r < 0) {
                source_fetch_end(source->context->pool, fetch, r, NULL);
                objects_op_free(op);
        }
}
