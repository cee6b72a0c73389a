/* Sizes without content, by the object-info command. */

#include <errno.h>
#include <string.h>

#include "forge/git-exchange.h"
#include "forge/git-request.h"
#include "forge/git-response.h"
#include "forge/git-size-line.h"
#include "forge/git-source.h"
#include "forge/git-wants.h"
#include "util/stats.h"

typedef struct SizesOp {
        GitExchange exchange;
        GitSource *source; /* a reference */
        GitBasis basis;
        Fetch *fetch;
        GitResponse response;
        GitWants wants;
        size_t batch_start, batch_end; /* positions in the wants */
        size_t max_per_request;        /* smaller once a server refused */
} SizesOp;

static void sizes_op_free(SizesOp *op) {
        git_exchange_done(&op->exchange);
        git_response_done(&op->response);
        git_wants_done(&op->wants);
        (void) source_unref(&op->source->source);
        free(op);
}

/* "size", then a line for each object. */
static int on_size_packet(PktType type, const char *data, size_t len, void *userdata) {
        SizesOp *op = userdata;
        Oid oid;
        uint64_t size;

        if (type != PKT_DATA)
                return type == PKT_FLUSH ? 1 : -EBADMSG;
        if (len == 4 && memcmp(data, "size", 4) == 0)
                return 0;
        int r = git_size_line_parse(data, len, &oid, &size);
        if (r == 0)
                (void) git_wants_give_up(&op->wants, &oid);
        else if (r > 0 && git_wants_arrived(&op->wants, &oid) && op->fetch->size)
                op->fetch->size(op->fetch, &oid, size);
        return MIN(r, 0);
}

static const GitResponseHandler response_handler = {.packet = on_size_packet};

static int sizes_prepare(GitExchange *x) {
        SizesOp *op = container_of(x, SizesOp, exchange);

        git_response_done(&op->response);
        git_response_init(
                &op->response, GIT_RESPONSE_LINES, op->source->source.url, &response_handler, op);
        op->batch_end = op->batch_start;
        return git_request_object_info(
                &op->basis.capabilities, &op->wants, op->max_per_request, &op->batch_end, &x->body);
}

static int sizes_data(GitExchange *x, const uint8_t *data, size_t len) {
        return git_response_feed(&container_of(x, SizesOp, exchange)->response, data, len);
}

static int sizes_verdict(GitExchange *x, int result, Failure *failure) {
        GitResponse *response = &container_of(x, SizesOp, exchange)->response;

        if (result >= 0)
                result = git_response_finish(response);
        if (result == -EBADMSG && response->failure.class == FAILURE_NONE)
                (void) failure_set(
                        &response->failure,
                        FAILURE_SERVER,
                        "%s: a list of sizes that makes no sense",
                        response->origin);
        *failure = response->failure;
        return result;
}

static void sizes_end(SizesOp *op, int result, const Failure *failure) {
        Fetch *fetch = op->fetch;
        Failure copy = *failure;

        if (result >= 0 && op->wants.n_open + op->wants.n_missing > 0) {
                size_t n = op->wants.n_open + op->wants.n_missing;
                stat_add(STAT_FETCH_MISSING, (int64_t) n);
                result = failure_set(
                        &copy,
                        FAILURE_NOT_FOUND,
                        "%s does not have %zu of %zu objects",
                        op->source->source.url,
                        n,
                        fetch->n_oids);
        }
        sizes_op_free(op);
        fetch->done(fetch, result, &copy);
}

/* Advertised, but it does not work: others are to ask in another way from now on. */
static void sizes_unsupported(SizesOp *op, const Failure *failure) {
        GitSource *source = op->source;
        Failure copy;

        mutex_lock(&source->mutex);
        source->object_info_failed = true;
        source->source.cheap_sizes = false;
        source->source.no_sizes = true;
        mutex_unlock(&source->mutex);
        (void) failure_set(&copy, FAILURE_UNSUPPORTED, "%s", failure->text);
        sizes_end(op, -EOPNOTSUPP, &copy);
}

/* The server takes requests, but not this one. */
static bool refused_by_server(const GitExchange *x, const Failure *failure) {
        return (x->answered || x->http_code == 200) && failure->class == FAILURE_SERVER;
}

static void sizes_done(GitExchange *x, int result, const Failure *failure) {
        SizesOp *op = container_of(x, SizesOp, exchange);
        Failure copy = *failure;

        if (failure->http_code == 413 && op->max_per_request > 1)
                op->max_per_request /= 2; /* the same batch again, in smaller pieces */
        else if (result < 0 && git_basis_is_doubted(&op->basis, x, failure)) {
                git_source_discover(op->source, op->fetch, true);
                sizes_op_free(op);
                return;
        } else if (result < 0 && refused_by_server(x, failure)) {
                sizes_unsupported(op, failure);
                return;
        } else if (result < 0) {
                sizes_end(op, result, &copy);
                return;
        } else
                op->batch_start = op->batch_end;

        size_t position = op->batch_start;
        if (!git_wants_next(&op->wants, &position)) {
                sizes_end(op, 0, &copy);
                return;
        }
        int r = git_exchange_start(x, op->source->source.url);
        if (r < 0) {
                (void) failure_set(&copy, FAILURE_LOCAL, "out of memory");
                sizes_end(op, r, &copy);
        }
}

static const GitExchangeOps exchange_ops = {
        .prepare = sizes_prepare,
        .data = sizes_data,
        .verdict = sizes_verdict,
        .done = sizes_done,
};

void git_fetch_sizes(GitSource *source, Fetch *fetch) {
        Failure failure = {0};
        GitBasis basis;

        git_source_basis(source, &basis);
        if (!basis.capabilities.object_info) {
                (void) failure_set(
                        &failure,
                        FAILURE_UNSUPPORTED,
                        "%s does not tell sizes without content",
                        source->source.url);
                source_fetch_end(source->context->pool, fetch, -EOPNOTSUPP, &failure);
                return;
        }
        stat_add(STAT_FETCH_SIZES, 1);
        if (fetch->n_oids == 0) {
                source_fetch_end(source->context->pool, fetch, 0, NULL);
                return;
        }
        SizesOp *op = calloc(1, sizeof(*op));
        if (!op) {
                source_fetch_end(source->context->pool, fetch, -ENOMEM, NULL);
                return;
        }
        *op = (SizesOp){
                .source = source,
                .basis = basis,
                .fetch = fetch,
                .max_per_request = GIT_SIZES_MAX,
        };
        (void) source_ref(&source->source);
        git_source_exchange(source, &basis, fetch, &exchange_ops, &op->exchange);
        int r = git_wants_init(&op->wants, fetch->oids, fetch->n_oids);
        if (r >= 0)
                r = git_exchange_start(&op->exchange, source->source.url);
        if (r < 0) {
                source_fetch_end(source->context->pool, fetch, r, NULL);
                sizes_op_free(op);
        }
}
