/* Requests of an exchange by smart HTTP (gitprotocol-http(5)). Callbacks run on the strand of the
 * transfer. */

#include "forge/git-http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/git-transport.h"
#include "forge/http.h"
#include "util/clock.h"

/* Where a server limits us without telling for how long. */
#define LIMITED_USEC (5 * USEC_PER_SEC)
/* The body of a refusal is for browsers. A short one is read to its end, because that keeps the
 * connection. */
#define MAX_DROPPED (256 * 1024)
#define ADVERTISEMENT_PATH "/info/refs?service=git-upload-pack"
#define REQUEST_PATH "/git-upload-pack"

/* --- what a response means --- */

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
                return failure_set(
                        f,
                        git_auth_password(&x->auth) ? FAILURE_FORBIDDEN : FAILURE_AUTH,
                        "%s refuses access (403)",
                        x->origin);
        case 451:
                return failure_set(
                        f, FAILURE_BLOCKED, "%s has blocked the repository (451)", x->origin);
        case 404:
        case 410:
                return failure_set(
                        f,
                        FAILURE_NOT_FOUND,
                        "%s has no such repository (%d)",
                        x->origin,
                        response->code);
        case 511:
                return failure_set(
                        f, FAILURE_OFFLINE, "the network wants somebody to sign in (511)");
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

/* False where a redirect led to another host and to something else than what was asked for, as the
 * sign-in page of a network does, also one that has the question among its arguments: what that
 * refuses, the server has not refused. Who passes the question on speaks for the host that was
 * asked. */
static bool is_about_question(const GitExchange *x) {
        const char *asked = x->advertisement ? ADVERTISEMENT_PATH : REQUEST_PATH;
        size_t len = strlen(x->effective_url), n = strlen(asked);

        return git_http_answered_by_origin(x) ||
               (len >= n && !memchr(x->effective_url, '?', len - n) &&
                strcmp(x->effective_url + len - n, asked) == 0);
}

static int judge(const GitExchange *x, const HttpResponse *response, Failure *f) {
        if (response->code == 200 || is_about_question(x))
                return judge_status(x, response, f);
        return failure_set(
                f,
                FAILURE_SERVER,
                "%s led elsewhere, to \"%s\", which answers with status %d",
                x->origin,
                x->effective_url,
                response->code);
}

static int on_response(const HttpResponse *response, void *userdata) {
        GitExchange *x = userdata;

        x->http_code = response->code;
        x->first_byte_usec = response->first_byte_usec;
        free(x->effective_url);
        x->effective_url = strdup(response->effective_url);
        if (!x->effective_url)
                return -ENOMEM;
        int r = judge(x, response, &x->failure);
        if (r >= 0 && strcmp(response->content_type, expected_type(x)) != 0)
                r = failure_set(
                        &x->failure,
                        FAILURE_SERVER,
                        "%s does not speak git's smart HTTP protocol here (content type \"%.60s\")",
                        x->origin,
                        response->content_type);
        x->failure.http_code = response->code;
        x->answered = r >= 0;
        return 0;
}

static int on_data(const uint8_t *data, size_t len, void *userdata) {
        GitExchange *x = userdata;

        if (x->answered)
                return git_exchange_data(x, data, len);
        x->dropped += len;
        return x->dropped <= MAX_DROPPED ? 0 : -EFBIG;
}

static void on_done(int result, const Failure *failure, void *userdata) {
        git_exchange_ended(userdata, result, failure);
}

static const HttpHandler handler = {
        .on_response = on_response,
        .on_data = on_data,
        .on_done = on_done,
};

/* --- sending --- */

static HttpUrgency urgency(FetchPriority priority) {
        return priority == FETCH_WAITING     ? HTTP_WAITED_FOR
               : priority == FETCH_READAHEAD ? HTTP_READ_AHEAD
                                             : HTTP_BACKGROUND;
}

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
        _cleanup_free_ char *url = NULL;

        if (asprintf(&url, "%s%s", x->base, x->advertisement ? ADVERTISEMENT_PATH : REQUEST_PATH) <
            0) {
                url = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        const HttpRequest request = {
                .url = url,
                .headers = x->advertisement ? get_headers : post_headers,
                .username = git_auth_username(&x->auth),
                .password = git_auth_password(&x->auth),
                .body = x->advertisement ? NULL : x->body.data,
                .body_len = x->body.len,
                .gzip_body = true,
                .no_redirects = x->once,
                .deadline_usec = x->deadline_usec,
                .urgency = urgency(x->priority),
                .waited = x->waited,
        };
        TaskPriority priority = x->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND;

        return http_start(x->context->http, &request, priority, &handler, x);
}

/* --- redirects --- */

bool git_http_follow(GitExchange *x) {
        size_t len = x->effective_url ? strlen(x->effective_url) : 0;
        size_t n = strlen(ADVERTISEMENT_PATH);

        if (!x->advertisement || len <= n || strchr(x->effective_url, '@') ||
            strcmp(x->effective_url + len - n, ADVERTISEMENT_PATH) != 0)
                return false;
        len -= n;
        if (strlen(x->base) == len && strncmp(x->base, x->effective_url, len) == 0)
                return false;
        return git_exchange_move(x, x->effective_url, len) >= 0;
}

bool git_http_answered_by_origin(const GitExchange *x) {
        _cleanup_free_ char *origin = NULL;

        return x->effective_url && http_url_origin(x->effective_url, &origin) >= 0 &&
               strcmp(origin, x->origin) == 0;
}

const GitTransport git_http_transport = {.origin = http_url_origin, .send = send_request};
