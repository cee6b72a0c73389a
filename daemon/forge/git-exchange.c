/* Steps of an exchange, each of which ends in the next or in done():
 *
 *   1. enter()        waits at the gate of the host, possibly for a time (back-off, Retry-After)
 *   2. on_admitted()  builds the request and sends it, with a credential if one is known
 *   3. on_response()  judges status and content type; on_data() hands the body on
 *   4. on_done()      leaves the gate with the outcome, then decides: good, ask for a credential
 * and go to 1, wait and go to 1, or give up
 *
 * All run on pool threads, one after the other. */

#include "forge/git-exchange.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "util/clock.h"
#include "util/stats.h"

#define BACKOFF_USEC (250 * USEC_PER_MSEC)
/* Where a server limits us without telling for how long. */
#define LIMITED_USEC (5 * USEC_PER_SEC)
/* A secret from memory may be stale, so a second one is asked for; the second refusal is final. */
#define MAX_REFUSALS 2
/* The body of a refusal is for browsers. A short one is read to its end, because that keeps the
 * connection. */
#define MAX_DROPPED (256 * 1024)
#define ADVERTISEMENT_PATH "/info/refs?service=git-upload-pack"

static void enter(GitExchange *x);

static void conclude(GitExchange *x, int result, const Failure *failure) {
        Failure copy = *failure;
        Credential credential = x->credential;
        Credentials *credentials = x->context->credentials;

        x->credential = (Credential){0};
        x->ops->done(x, result, &copy);
        /* After done(), because the helper may take its time to store it. */
        if (result >= 0 && credential.password)
                credentials_approve(credentials, &credential);
        credential_done(&credential);
}

void git_exchange_done(GitExchange *x) {
        free(x->base);
        free(x->origin);
        free(x->url);
        free(x->effective_url);
        buf_done(&x->body);
        credential_done(&x->credential);
}

/* --- what an answer means --- */

static const char *expected_type(const GitExchange *x) {
        return x->advertisement ? "application/x-git-upload-pack-advertisement"
                                : "application/x-git-upload-pack-result";
}

static int limited(const GitExchange *x, const HttpResponse *response, Failure *f) {
        uint64_t wait = response->retry_after_usec;

        int r = failure_set(
                f, FAILURE_RATE_LIMITED, "%s limits requests (%d)", x->origin, response->code);
        f->retry_at_usec = now_usec() + (wait > 0 ? wait : LIMITED_USEC);
        return r;
}

static int judge_status(const GitExchange *x, const HttpResponse *response, Failure *f) {
        bool told_to_wait = response->retry_after_usec > 0;

        switch (response->code) {
        case 200:
                return 0;
        case 401:
                return failure_set(f, FAILURE_AUTH, "%s wants credentials (401)", x->origin);
        case 403:
                if (told_to_wait)
                        return limited(x, response, f);
                return failure_set(f, FAILURE_AUTH, "%s refuses access (403)", x->origin);
        case 404:
        case 410:
                return failure_set(
                        f,
                        FAILURE_NOT_FOUND,
                        "%s has no such repository (%d)",
                        x->origin,
                        response->code);
        case 413:
                return failure_set(
                        f, FAILURE_TOO_LARGE, "%s refuses large requests (413)", x->origin);
        case 429:
                return limited(x, response, f);
        case 503:
                if (told_to_wait)
                        return limited(x, response, f);
                break;
        default:
                break;
        }
        return failure_set(
                f, FAILURE_SERVER, "%s answers with status %d", x->origin, response->code);
}

static int on_response(const HttpResponse *response, void *userdata) {
        GitExchange *x = userdata;

        x->http_code = response->code;
        free(x->effective_url);
        x->effective_url = strdup(response->effective_url);
        if (!x->effective_url)
                return -ENOMEM;
        int r = judge_status(x, response, &x->failure);
        if (r >= 0 && strcmp(response->content_type, expected_type(x)) != 0)
                r = failure_set(
                        &x->failure,
                        FAILURE_SERVER,
                        "%s does not speak git's smart HTTP protocol here (content type \"%.60s\")",
                        x->origin,
                        response->content_type);
        x->failure.http_code = response->code;
        return 0;
}

static int on_data(const uint8_t *data, size_t len, void *userdata) {
        GitExchange *x = userdata;

        if (x->failure.class == FAILURE_NONE)
                return x->ops->data(x, data, len);
        x->dropped += len;
        return x->dropped <= MAX_DROPPED ? 0 : -EFBIG;
}

/* What the reader of the body found. */
static int judge_body(GitExchange *x, int result, Failure *ret) {
        int r = x->ops->verdict(x, result, ret);
        if (r < 0 && ret->class == FAILURE_NONE)
                (void) failure_set(
                        ret,
                        FAILURE_LOCAL,
                        "cannot use the answer of %s: %s",
                        x->origin,
                        strerrordesc_np(-r));
        ret->http_code = x->http_code;
        return r;
}

/* The outcome of one attempt in words: what HTTP, the status, or the reader of the body found. */
static int judge(GitExchange *x, int result, const Failure *http, Failure *ret) {
        *ret = x->failure;
        if (ret->class != FAILURE_NONE)
                return failure_errno(ret->class);
        *ret = *http;
        int r = http->class != FAILURE_NONE ? result : judge_body(x, result, ret);
        if (r < 0 && x->ops->satisfied && x->ops->satisfied(x)) {
                *ret = (Failure){0};
                return 0;
        }
        return r;
}

/* --- another try --- */

/* Half of the time, and up to as much again. */
static uint64_t backoff(unsigned attempt) {
        uint64_t usec = BACKOFF_USEC << MIN(attempt, 6u);
        uint32_t random = UINT32_MAX / 2;

        (void) getrandom(&random, sizeof(random), GRND_NONBLOCK); /* the middle will do */
        return usec / 2 + usec * random / UINT32_MAX;
}

static bool worth_another_try(int result, const Failure *failure) {
        switch (failure->class) {
        case FAILURE_RATE_LIMITED:
        case FAILURE_CORRUPT:
                return true;
        case FAILURE_SERVER:
                return result == -ECONNRESET || result == -ENODATA || failure->http_code >= 500;
        default:
                return false;
        }
}

/* True if the exchange goes on. */
static bool try_again(GitExchange *x, int result, const Failure *failure) {
        uint64_t now = now_usec();
        uint64_t when = now + backoff(x->attempts);

        if (!worth_another_try(result, failure) || x->attempts >= x->context->config->retries)
                return false;
        when = MAX(when, failure->retry_at_usec);
        if (when >= x->deadline_usec)
                return false;
        x->attempts++;
        stat_add(STAT_HTTP_RETRIES, 1);
        x->ticket.not_before_usec = when;
        enter(x);
        return true;
}

/* Points the exchange at this base. */
static int aim(GitExchange *x, const char *base, size_t len) {
        _cleanup_free_ char *copy = strndup(base, len), *origin = NULL, *url = NULL;

        if (!copy)
                return -ENOMEM;
        int r = http_url_origin(copy, &origin);
        if (r < 0)
                return r;
        if (asprintf(
                    &url,
                    "%s%s",
                    copy,
                    x->advertisement ? ADVERTISEMENT_PATH : "/git-upload-pack") < 0) {
                url = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        free(x->base);
        free(x->origin);
        free(x->url);
        x->base = TAKE_PTR(copy);
        x->origin = TAKE_PTR(origin);
        x->url = TAKE_PTR(url);
        return 0;
}

/* Where an advertisement was found behind redirects, the repository is there: credentials are asked
 * for, and further requests go, to that place. True if it is another place. */
static bool follow_redirect(GitExchange *x) {
        size_t len = x->effective_url ? strlen(x->effective_url) : 0;
        size_t n = strlen(ADVERTISEMENT_PATH);

        if (!x->advertisement || len <= n || strchr(x->effective_url, '@') ||
            strcmp(x->effective_url + len - n, ADVERTISEMENT_PATH) != 0)
                return false;
        len -= n;
        if (strlen(x->base) == len && strncmp(x->base, x->effective_url, len) == 0)
                return false;
        return aim(x, x->effective_url, len) >= 0;
}

/* True if the answer came from the server that we asked, and not from where it sent us. */
static bool answered_by_origin(const GitExchange *x) {
        _cleanup_free_ char *origin = NULL;

        return x->effective_url && http_url_origin(x->effective_url, &origin) >= 0 &&
               strcmp(origin, x->origin) == 0;
}

/* True if the exchange goes on, with a credential that the server has not refused yet. */
static bool authenticate(GitExchange *x) {
        Credentials *c = x->context->credentials;
        Credential fresh = {0};

        /* Another host has not seen what we sent, so it has not refused it. */
        bool refused = x->credential.password && answered_by_origin(x);
        if (!follow_redirect(x) && !answered_by_origin(x))
                return false;
        if (refused)
                credentials_reject(c, &x->credential);
        credential_done(&x->credential);
        if (++x->refusals > MAX_REFUSALS)
                return false;
        int r = credentials_fill(c, x->base, x->deadline_usec, &fresh);
        if (r <= 0)
                return false; /* the server's refusal is the better text */
        x->credential = fresh;
        x->ticket.not_before_usec = 0;
        enter(x);
        return true;
}

static void on_done(int result, const Failure *http, void *userdata) {
        GitExchange *x = userdata;
        Failure failure;

        int r = judge(x, result, http, &failure);
        /* A server that has begun to answer is not down, even if it does not finish in time. */
        bool late = failure.class == FAILURE_TIMEOUT && x->http_code != 0;
        host_gate_leave(&x->ticket, late ? 0 : r, &failure);
        if (r >= 0) {
                (void) follow_redirect(x); /* it answers at the old place, too */
                conclude(x, 0, &failure);
                return;
        }
        if (x->http_code == 401 && authenticate(x))
                return;
        if (try_again(x, r, &failure))
                return;
        if (r == -ECONNRESET || r == -ENODATA || r == -EBADMSG)
                r = failure_errno(failure.class);
        conclude(x, r, &failure);
}

static const HttpHandler handler = {
        .on_response = on_response,
        .on_data = on_data,
        .on_done = on_done,
};

/* --- sending --- */

static int send_request(GitExchange *x) {
        const char *const get_headers[] = {
                "Accept: */*",
                "Pragma: no-cache",
                x->v2 ? "Git-Protocol: version=2" : NULL,
                NULL,
        };
        const char *const post_headers[] = {
                "Content-Type: application/x-git-upload-pack-request",
                "Accept: application/x-git-upload-pack-result",
                x->v2 ? "Git-Protocol: version=2" : NULL,
                NULL,
        };
        const HttpRequest request = {
                .url = x->url,
                .headers = x->advertisement ? get_headers : post_headers,
                .username = x->credential.username,
                .password = x->credential.password,
                .body = x->advertisement ? NULL : x->body.data,
                .body_len = x->body.len,
                .gzip_body = true,
                .deadline_usec = x->deadline_usec,
        };
        TaskPriority priority = x->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND;

        return http_start(x->context->http, &request, priority, &handler, x);
}

static void on_admitted(GateTicket *ticket, int result, const Failure *refusal) {
        GitExchange *x = container_of(ticket, GitExchange, ticket);
        Failure failure = *refusal;

        if (result < 0) {
                conclude(x, result, &failure);
                return;
        }
        x->http_code = 0;
        x->failure = (Failure){0};
        x->body.len = 0;
        x->dropped = 0;
        int r = x->ops->prepare(x);
        if (r >= 0 && !x->credential.password)
                r = credentials_peek(x->context->credentials, x->base, &x->credential);
        if (r >= 0)
                r = send_request(x);
        if (r >= 0)
                return; /* x may be gone */
        (void) failure_set(
                &failure, FAILURE_CANCELLED, "cannot ask %s: %s", x->origin, strerrordesc_np(-r));
        host_gate_leave(&x->ticket, r, &failure);
        if (r != -ESHUTDOWN)
                failure.class = FAILURE_LOCAL;
        conclude(x, r == -ESHUTDOWN ? -ECANCELED : r, &failure);
}

static void enter(GitExchange *x) {
        x->ticket.priority = x->priority;
        x->ticket.deadline_usec = x->deadline_usec;
        x->ticket.admitted = on_admitted;
        host_gate_enter(x->context->gates, x->origin, &x->ticket);
}

int git_exchange_start(GitExchange *x, const char *base) {
        int r = aim(x, base, strlen(base));
        if (r < 0)
                return r;
        x->attempts = x->refusals = 0;
        x->ticket.not_before_usec = 0;
        enter(x);
        return 0;
}
