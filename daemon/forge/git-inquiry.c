#include "forge/git-inquiry.h"

#include <errno.h>

#include "config/ssh-url.h"

static int on_packet(PktType type, const char *data, size_t len, void *userdata) {
        GitInquiry *q = userdata;

        int r = git_advertisement_packet(&q->advertisement, type, data, len);
        return r < 0 ? r : q->advertisement.complete;
}

static const GitResponseHandler response_handler = {.packet = on_packet};

/* From prepare(), so that the inquiry has its place before the bet takes one. */
static void bet(GitInquiry *q) {
        const GitExchange *x = &q->exchange;
        const GitEarlyQuestion question = {
                .context = x->context,
                .secrets = x->auth.strayed ? NULL : x->auth.secrets,
                .ask_git = x->auth.ask_git,
                .base = x->base,
                .refname = q->refname,
                .deadline_usec = x->deadline_usec,
        };

        /* Without it the refs are asked for later. */
        if (git_early_refs_start(&question, &q->early) < 0)
                q->early = NULL;
}

static int inquiry_prepare(GitExchange *x) {
        GitInquiry *q = container_of(x, GitInquiry, exchange);

        if (q->with_refs)
                bet(q);
        q->with_refs = false; /* one bet, whatever the inquiry takes */
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

/* The bet is decided, and the inquiry has ended well. */
static void on_early_refs(void *userdata) {
        GitInquiry *q = userdata;
        Failure none = {0};
        GitRefs refs;

        if (git_early_refs_take(TAKE_PTR(q->early), q->exchange.base, &refs, &none) >= 0)
                q->advertisement.refs = refs;
        none = (Failure){0};
        q->done(q, 0, &none);
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
        if (result >= 0 && q->early && q->advertisement.capabilities.version == 2) {
                git_early_refs_then(q->early, on_early_refs, q);
                return;
        }
        q->early = git_early_refs_abandon(q->early);
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
        q->with_refs = q->with_refs && !ssh_url_is(base);
        return git_exchange_start(&q->exchange, base);
}

void git_inquiry_done(GitInquiry *q) {
        git_exchange_done(&q->exchange);
        git_response_done(&q->response);
        git_advertisement_done(&q->advertisement);
}
