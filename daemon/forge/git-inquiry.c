#include "forge/git-inquiry.h"

#include <errno.h>

static int on_packet(PktType type, const char *data, size_t len, void *userdata) {
        GitInquiry *q = userdata;

        int r = git_advertisement_packet(&q->advertisement, type, data, len);
        return r < 0 ? r : q->advertisement.complete;
}

static const GitResponseHandler response_handler = {.packet = on_packet};

static int inquiry_prepare(GitExchange *x) {
        GitInquiry *q = container_of(x, GitInquiry, exchange);

        git_advertisement_done(&q->advertisement);
        q->advertisement = (GitAdvertisement){0};
        git_response_done(&q->response);
        git_response_init(&q->response, GIT_RESPONSE_LINES, x->base, &response_handler, q);
        return 0;
}

static int inquiry_data(GitExchange *x, const uint8_t *data, size_t len) {
        return git_response_feed(&container_of(x, GitInquiry, exchange)->response, data, len);
}

static int inquiry_verdict(GitExchange *x, int result, Failure *failure) {
        GitResponse *response = &container_of(x, GitInquiry, exchange)->response;

        if (result >= 0)
                result = git_response_finish(response);
        if (result == -EFBIG)
                (void) failure_set(
                        &response->failure,
                        FAILURE_TOO_LARGE,
                        "%s: too many refs",
                        response->origin);
        else if (result < 0 && response->failure.class == FAILURE_NONE)
                (void) failure_set(
                        &response->failure,
                        FAILURE_SERVER,
                        "%s: an advertisement that makes no sense",
                        response->origin);
        *failure = response->failure;
        return result;
}

static void inquiry_ended(GitExchange *x, int result, const Failure *failure) {
        GitInquiry *q = container_of(x, GitInquiry, exchange);
        Failure copy = *failure;

        if (result >= 0 && q->advertisement.capabilities.algo != OID_SHA1)
                result = failure_set(
                        &copy,
                        FAILURE_UNSUPPORTED,
                        "%s: SHA-256 repositories are not supported yet",
                        x->base);
        q->done(q, result, &copy);
}

static const GitExchangeOps exchange_ops = {
        .prepare = inquiry_prepare,
        .data = inquiry_data,
        .verdict = inquiry_verdict,
        .done = inquiry_ended,
};

int git_inquiry_start(GitInquiry *q, const char *base) {
        q->exchange.ops = &exchange_ops;
        q->exchange.advertisement = q->exchange.v2 = true;
        return git_exchange_start(&q->exchange, base);
}

void git_inquiry_done(GitInquiry *q) {
        git_exchange_done(&q->exchange);
        git_response_done(&q->response);
        git_advertisement_done(&q->advertisement);
}
