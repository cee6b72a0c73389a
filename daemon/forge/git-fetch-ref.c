/* Resolving a name. A full commit id means itself, without a request. A v2 server is asked for just
 * the refs that the name can mean. A v0 server tells all its refs in its advertisement. What came
 * with the capabilities (of a v2 server: git-early-refs.h) is good for the question that follows.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/git-exchange.h"
#include "forge/git-request.h"
#include "forge/git-response.h"
#include "forge/git-source.h"
#include "util/stats.h"

typedef struct RefOp {
        GitExchange exchange;
        GitSource *source; /* a reference */
        GitBasis basis;
        Fetch *fetch;
        GitResponse response;
        GitAdvertisement advertisement; /* v0 */
        GitRefs refs;                   /* v2 */
} RefOp;

static void ref_op_free(RefOp *op) {
        git_exchange_done(&op->exchange);
        git_response_done(&op->response);
        git_advertisement_done(&op->advertisement);
        git_refs_done(&op->refs);
        (void) source_unref(&op->source->source);
        free(op);
}

static int on_ref_packet(PktType type, const char *data, size_t len, void *userdata) {
        RefOp *op = userdata;

        if (op->basis.capabilities.version != 2) {
                int r = git_advertisement_packet(&op->advertisement, type, data, len);
                return r < 0 ? r : op->advertisement.complete;
        }
        return type == PKT_FLUSH   ? 1
               : type == PKT_DELIM ? -EBADMSG
                                   : git_refs_add_line(&op->refs, data, len);
}

static const GitResponseHandler response_handler = {.packet = on_ref_packet};

static int ref_prepare(GitExchange *x) {
        RefOp *op = container_of(x, RefOp, exchange);

        git_advertisement_done(&op->advertisement);
        op->advertisement = (GitAdvertisement){0};
        git_refs_done(&op->refs);
        git_response_done(&op->response);
        git_response_init(
                &op->response, GIT_RESPONSE_LINES, op->source->source.url, &response_handler, op);
        if (x->advertisement)
                return 0;
        return git_request_ls_refs(&op->basis.capabilities, op->fetch->refname, &x->body);
}

static int ref_data(GitExchange *x, const uint8_t *data, size_t len) {
        return git_response_feed(&container_of(x, RefOp, exchange)->response, data, len);
}

static int ref_verdict(GitExchange *x, int result, Failure *failure) {
        GitResponse *response = &container_of(x, RefOp, exchange)->response;

        if (result >= 0)
                result = git_response_finish(response);
        if (result == -EBADMSG && response->failure.class == FAILURE_NONE)
                (void) failure_set(
                        &response->failure,
                        FAILURE_SERVER,
                        "%s: a list of refs that makes no sense",
                        response->origin);
        if (result == -EFBIG)
                (void) failure_set(
                        &response->failure,
                        FAILURE_TOO_LARGE,
                        "%s: too many refs",
                        response->origin);
        *failure = response->failure;
        return result;
}

static void ref_done(GitExchange *x, int result, const Failure *failure) {
        RefOp *op = container_of(x, RefOp, exchange);
        Fetch *fetch = op->fetch;
        Failure copy = *failure;

        if (result < 0 && git_basis_is_doubted(&op->basis, x, failure)) {
                git_source_discover(op->source, fetch, true);
                ref_op_free(op);
                return;
        }
        if (result >= 0)
                result = git_refs_resolve(
                        op->basis.capabilities.version == 2 ? &op->refs : &op->advertisement.refs,
                        fetch,
                        &copy);
        ref_op_free(op);
        fetch->done(fetch, result, &copy);
}

static const GitExchangeOps exchange_ops = {
        .prepare = ref_prepare,
        .data = ref_data,
        .verdict = ref_verdict,
        .done = ref_done,
};

static bool same_name(const char *a, const char *b) {
        return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Takes the refs that came with the capabilities. They are for one question: later they are old. */
static GitRefs take_first_refs(GitSource *source, const char *refname) {
        GitRefs none = {0}, refs;

        MUTEX_GUARD(&source->mutex);
        bool answer = source->capabilities.version != 2 || same_name(source->first_name, refname);
        bool fresh = now_usec() - source->first_usec <= GIT_FIRST_REFS_USEC;
        if (fresh && !answer)
                return none;
        refs = source->first_refs;
        source->first_refs = none;
        if (fresh)
                return refs;
        git_refs_done(&refs);
        return none;
}

/* True if what the server told already answers the question. */
static bool answer_from_first_refs(GitSource *source, Fetch *fetch) {
        Failure failure = {0};
        GitRefs refs;

        if (fetch->priority == FETCH_REFRESH)
                return false;
        refs = take_first_refs(source, fetch->refname);
        if (refs.n == 0)
                return false;
        int r = git_refs_resolve(&refs, fetch, &failure);
        git_refs_done(&refs);
        source_fetch_end(source->context->pool, fetch, r, &failure);
        return true;
}

bool git_fetch_ref_by_name(GitSource *source, Fetch *fetch) {
        Failure failure = {0};
        Oid oid;

        stat_add(STAT_FETCH_REFS, 1);
        if (!fetch->refname)
                return false;
        if (git_refname_is_oid(fetch->refname, &oid)) {
                char hex[OID_HEX_MAX + 1];
                fetch->commit = oid;
                fetch->moves = false;
                (void) snprintf(
                        fetch->resolved, sizeof(fetch->resolved), "%s", oid_to_hex(&oid, hex));
                source_fetch_end(source->context->pool, fetch, 0, NULL);
                return true;
        }
        if (git_refname_is_valid(fetch->refname))
                return false;
        int r = failure_set(&failure, FAILURE_NOT_FOUND, "no ref can have that name");
        source_fetch_end(source->context->pool, fetch, r, &failure);
        return true;
}

void git_fetch_ref(GitSource *source, Fetch *fetch) {
        if (answer_from_first_refs(source, fetch))
                return;

        RefOp *op = calloc(1, sizeof(*op));
        if (!op) {
                source_fetch_end(source->context->pool, fetch, -ENOMEM, NULL);
                return;
        }
        *op = (RefOp){
                .source = source,
                .fetch = fetch,
        };
        (void) source_ref(&source->source);
        git_source_basis(source, &op->basis);
        git_source_exchange(source, &op->basis, fetch, &exchange_ops, &op->exchange);
        op->exchange.advertisement = op->basis.capabilities.version != 2;
        int r = git_exchange_start(&op->exchange, source->source.url);
        if (r < 0) {
                source_fetch_end(source->context->pool, fetch, r, NULL);
                ref_op_free(op);
        }
}
