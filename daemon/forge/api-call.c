/* Steps of a call, each of which ends in the next or in conclude():
 *
 *   1. begin()        takes the token, or waits until it is read
 *   2. enter()        waits at the gate, possibly for a time (back-off, a limit)
 *   3. on_admitted()  sends the request
 *   4. on_response(), on_data()  keep what comes, or hand it on
 *   5. on_done()      tells the gate, then decides: good, another URL and go to 2, another
 *                     token and go to 1, wait and go to 2, or give up
 *
 * All run on pool threads (the first also on the caller's), one after the other. A token that
 * exists is sent with the first request: some servers lock out who asks without too often. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-link.h"
#include "forge/api-private.h"
#include "util/clock.h"
#include "util/secret-memory.h"

#define MAX_REDIRECTS 5
/* With the token from memory, which may be out of date, and with the one read thereafter. */
#define MAX_REFUSALS 2
/* An error says what it has to say in this; a little more is read to its end to keep the
 * connection.
 */
#define ERROR_MAX_SIZE ((size_t) 64 << 10)
#define ERROR_MAX_DROPPED ((size_t) 256 << 10)

typedef struct ApiCallState State;

static void enter(State *s);

static State *state_free(State *s) {
        if (!s)
                return NULL;
        free(s->url);
        free(s->json_body);
        secret_done(&s->secret);
        buf_done(&s->body);
        free(s);
        return NULL;
}
DEFINE_CLEANUP(State *, state_free)

static void conclude(State *s, int result, const ApiAnswer *answer, const Failure *failure) {
        Secrets *secrets = s->call->server->secrets;
        Failure copy = *failure;

        if (result >= 0 && secrets && s->secret.token)
                secrets_accepted(secrets, &s->secret);
        s->call->state = NULL;
        s->call->done(s->call, result, result < 0 ? NULL : answer, &copy);
        (void) state_free(s);
}

/* --- what came --- */

static int on_response(const HttpResponse *response, void *userdata) {
        State *s = userdata;

        s->response = response;
        return 0;
}

static bool is_success(int code) {
        return code >= 200 && code <= 299;
}

static int collect(State *s, const uint8_t *data, size_t len) {
        ApiCall *call = s->call;
        size_t max = call->max_size > 0 ? call->max_size : API_MAX_SIZE;

        if (len > max - s->body.len)
                return failure_set(
                        &s->failure,
                        FAILURE_TOO_LARGE,
                        "%s: %s: the answer is larger than %zu bytes",
                        call->server->base,
                        call->what,
                        max);
        return buf_append(&s->body, data, len);
}

static int on_data(const uint8_t *data, size_t len, void *userdata) {
        State *s = userdata;

        if (s->response->code == 200 && s->call->raw && s->call->data)
                return s->call->data(s->call, data, len);
        if (is_success(s->response->code))
                return collect(s, data, len);
        if (len <= ERROR_MAX_SIZE - s->body.len)
                return buf_append(&s->body, data, len);
        s->dropped += len;
        return s->dropped <= ERROR_MAX_DROPPED ? 0 : -EFBIG;
}

/* --- what it means --- */

static bool is_json(const HttpResponse *response) {
        const char *type = response->content_type;
        size_t len = strlen(type), n = strlen("+json");

        return strcmp(type, "application/json") == 0 ||
               (len > n && strcmp(type + len - n, "+json") == 0);
}

static int nonsense(const State *s, const char *why, Failure *ret) {
        int r = failure_set(
                ret,
                FAILURE_SERVER,
                "%s: %s: an answer that makes no sense: %s",
                s->call->server->base,
                s->call->what,
                why);

        ret->http_code = s->response->code;
        return r;
}

/* The body of a success as JSON; NULL where there is none, or raw bytes are wanted. */
static int parse_success(const State *s, Json **ret, Failure *ret_failure) {
        char why[200];

        if (s->call->raw || s->response->code == 204 || s->response->code == 205)
                return 0;
        if (!is_json(s->response)) {
                (void) snprintf(
                        why,
                        sizeof(why),
                        "it is \"%.60s\", not JSON; something else may be answering there",
                        s->response->content_type);
                return nonsense(s, why, ret_failure);
        }
        int r = json_parse(s->body.data, s->body.len, ret);
        if (r == -ENOMEM)
                return failure_set(ret_failure, FAILURE_LOCAL, "out of memory");
        if (r < 0)
                return nonsense(
                        s, r == -EFBIG ? "it is too complex" : "it is no JSON", ret_failure);
        return 0;
}

/* 200 is what GraphQL says of any failure. */
static int judge_graphql(const State *s, const Json *json, Failure *ret) {
        GateBudget budget;
        uint64_t now = now_usec();

        if (!s->json_body)
                return 0;
        int r = api_graphql_error(s->call, json, ret);
        if (r >= 0 || ret->class != FAILURE_RATE_LIMITED)
                return 0; /* the caller looks at the others */
        bool told = api_budget(s->response, s->call->resource, now, &budget);
        ret->retry_at_usec =
                told && budget.remaining == 0 ? budget.reset_usec : now + 60 * USEC_PER_SEC;
        ret->http_code = s->response->code;
        return r;
}

static int judge_error(const State *s, Failure *ret) {
        _cleanup_(json_freep) Json *json = NULL;

        /* Words beside the code are welcome, and nothing more. */
        if (is_json(s->response))
                (void) json_parse(s->body.data, s->body.len, &json);
        return api_error(s->call, s->response, json, &s->secret, ret);
}

/* What HTTP says about an attempt that did not end well. */
static int judge_transfer(const State *s, int result, const Failure *http, Failure *ret) {
        *ret = http->class != FAILURE_NONE ? *http : s->failure;
        if (ret->class == FAILURE_NONE)
                (void) failure_set(
                        ret,
                        FAILURE_LOCAL,
                        "%s: cannot use the answer of %s: %s",
                        s->call->what,
                        s->call->server->base,
                        strerrordesc_np(-result));
        return result;
}

static bool is_redirect(int code) {
        return code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
}

static bool is_conditional(const ApiCall *call) {
        return (call->if_none_match && call->if_none_match[0]) ||
               (call->if_modified_since && call->if_modified_since[0]);
}

/* 0: a success, or a redirect; *ret_json is owned by the caller. */
static int judge(const State *s, int result, const Failure *http, Json **ret_json, Failure *ret) {
        if (!s->response)
                return result < 0 ? judge_transfer(s, result, http, ret)
                                  : failure_set(
                                            ret,
                                            FAILURE_SERVER,
                                            "%s: %s: no answer",
                                            s->call->server->base,
                                            s->call->what);

        int code = s->response->code;
        /* A refusal counts as it stands, however its text ended. */
        if (code >= 400)
                return judge_error(s, ret);
        if (result < 0)
                return judge_transfer(s, result, http, ret);
        if (code == 304 && is_conditional(s->call))
                return 0;
        if (is_redirect(code))
                return 0;
        if (!is_success(code))
                return nonsense(s, "a status that was not asked for", ret);
        int r = parse_success(s, ret_json, ret);
        return r < 0 ? r : judge_graphql(s, *ret_json, ret);
}

/* --- another try --- */

/* Forgets the last attempt. */
static void reset_attempt(State *s) {
        s->response = NULL;
        s->body.len = 0;
        s->dropped = 0;
        s->failure = (Failure){0};
}

/* Points the call at where the redirect leads. The token goes nowhere else than to this server. */
static int follow(State *s, Failure *ret) {
        const char *location = http_response_header(s->response, "Location");
        const ApiCall *call = s->call;
        _cleanup_free_ char *url = NULL;

        if (++s->redirects > MAX_REDIRECTS)
                return nonsense(s, "redirects without end", ret);
        int r = location[0] ? http_url_resolve(s->url, location, &url) : -EINVAL;
        if (r == -ENOMEM)
                return failure_set(ret, FAILURE_LOCAL, "out of memory");
        if (r < 0)
                return nonsense(s, "a redirect to nowhere", ret);
        if (!api_url_same_server(s->url, url)) {
                r = failure_set(
                        ret,
                        FAILURE_SERVER,
                        "%s redirects to %.150s, another server, which is not followed",
                        call->server->base,
                        url);
                ret->http_code = s->response->code;
                return r;
        }
        s->moved = s->moved || s->response->code == 301 || s->response->code == 308;
        free(s->url);
        s->url = TAKE_PTR(url);
        return 0;
}

static void on_secret(SecretWaiter *waiter, int r, Secret *secret) {
        State *s = container_of(waiter, State, waiter);
        Secrets *secrets = s->call->server->secrets;
        Failure failure = {0};

        if (r >= 0) {
                s->secret = *secret;
                *secret = (Secret){0};
                enter(s);
                return;
        }
        /* What the server said about the one that was tried is better than that there is no other.
         */
        if (s->refused.class != FAILURE_NONE) {
                conclude(s, failure_errno(s->refused.class), NULL, &s->refused);
                return;
        }
        if (secrets_explain(secrets, &failure) >= 0)
                (void) failure_set(
                        &failure,
                        r == -ETIMEDOUT ? FAILURE_TIMEOUT : FAILURE_LOCAL,
                        "%s: cannot read the token: %s",
                        s->call->server->base,
                        strerrordesc_np(-r));
        conclude(s, failure_errno(failure.class), NULL, &failure);
}

static void begin(State *s) {
        Secrets *secrets = s->call->server->secrets;

        secret_done(&s->secret);
        s->secret = (Secret){0};
        if (!secrets || secrets_get_at_once(secrets, &s->secret) > 0) {
                enter(s);
                return;
        }
        s->waiter = (SecretWaiter){
                .deadline_usec = s->call->deadline_usec,
                .priority = s->call->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND,
                .done = on_secret,
        };
        secrets_get(secrets, &s->waiter);
}

/* True if the call goes on, with another token. */
static bool authenticate(State *s, const Failure *refused) {
        if (!s->secret.token || !secrets_refused(s->call->server->secrets, &s->secret) ||
            ++s->refusals >= MAX_REFUSALS)
                return false;
        s->refused = *refused;
        s->ticket.not_before_usec = 0;
        begin(s);
        return true;
}

static void succeed(State *s, const HttpResponse *response, const Json *json) {
        _cleanup_free_ char *next = NULL;
        const char *link = http_response_header(response, "Link");
        Failure failure = {0};

        if (api_link_next(link, s->url, &next) < 0) {
                int r = failure_set(&failure, FAILURE_LOCAL, "out of memory");
                conclude(s, r, NULL, &failure);
                return;
        }
        bool raw = s->call->raw && response->code != 304;
        const ApiAnswer answer = {
                .code = response->code,
                .json = json,
                .data = raw ? s->body.data : NULL,
                .len = raw ? s->body.len : 0,
                .etag = http_response_header(response, "ETag"),
                .last_modified = http_response_header(response, "Last-Modified"),
                .next = next,
                .more = api_link_has_next(link),
                .moved = s->moved,
                .sso = http_response_header(response, "X-GitHub-SSO"),
        };
        conclude(s, 0, &answer, &failure);
}

/* Tells the gate how the attempt ended. */
static void leave(State *s, int result, const Failure *failure) {
        GateBudget budget;

        if (s->response && api_budget(s->response, s->call->resource, now_usec(), &budget))
                host_gate_budget(&s->ticket, &budget);
        /* A server that has begun to answer is not down, even if it does not finish in time. */
        bool late = failure->class == FAILURE_TIMEOUT && s->response;
        host_gate_leave(&s->ticket, late ? 0 : result, failure);
}

static void on_done(int result, const Failure *http, void *userdata) {
        State *s = userdata;
        _cleanup_(json_freep) Json *json = NULL;
        Failure failure = {0};
        uint64_t when = 0;

        int r = judge(s, result, http, &json, &failure);
        const HttpResponse *response = s->response;
        assert(response || r < 0);
        leave(s, r, &failure);
        if (r >= 0 && !is_redirect(response->code)) {
                succeed(s, response, json);
                return;
        }
        if (r >= 0)
                r = follow(s, &failure);
        else if (response && response->code == 401 && authenticate(s, &failure))
                return;
        else if (retry_again(&s->retry, r, &failure, &when))
                r = 0;
        if (r >= 0) {
                s->ticket.not_before_usec = when;
                enter(s);
                return;
        }
        if (r == -ECONNRESET)
                r = failure_errno(failure.class);
        conclude(s, r, NULL, &failure);
}

static const HttpHandler handler = {
        .on_response = on_response,
        .on_data = on_data,
        .on_done = on_done,
};

/* --- sending --- */

/* "Name: value" at lines[n], owned by the caller; nothing where there is no value, or one that is
 * none: it comes from a server, or from a file. */
static int add_line(char **lines, size_t *n, const char *name, const char *value) {
        if (!value || !value[0])
                return 0;
        for (const char *p = value; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        return 0;
        if (asprintf(&lines[*n], "%s: %s", name, value) < 0)
                return -ENOMEM;
        (*n)++;
        return 0;
}

static int http_send(State *s, const char *const *headers, const char *authorization) {
        const HttpRequest request = {
                .url = s->url,
                .headers = headers,
                .authorization = authorization,
                .body = s->json_body,
                .body_len = s->json_body ? strlen(s->json_body) : 0,
                .no_redirects = true,
                .deadline_usec = s->call->deadline_usec,
                .urgency = s->call->priority == FETCH_WAITING ? HTTP_WAITED_FOR : HTTP_BACKGROUND,
        };
        TaskPriority priority = s->call->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND;

        return http_start(s->call->server->context->http, &request, priority, &handler, s);
}

#define MAX_DIALECT_HEADERS 12

static int send_with(State *s, const char *authorization) {
        const ApiCall *call = s->call;
        const ApiDialect *dialect = call->server->dialect;
        const char *headers[MAX_DIALECT_HEADERS + 5];
        char *lines[4];
        size_t n_headers = 0, n_lines = 0;

        int r = add_line(lines, &n_lines, "Accept", call->accept ? call->accept : dialect->accept);
        if (r >= 0)
                r = add_line(lines, &n_lines, "If-None-Match", call->if_none_match);
        if (r >= 0)
                r = add_line(lines, &n_lines, "If-Modified-Since", call->if_modified_since);
        if (r >= 0 && s->json_body)
                r = add_line(lines, &n_lines, "Content-Type", "application/json");
        for (const char *const *h = dialect->headers; h && *h; h++) {
                assert(n_headers < MAX_DIALECT_HEADERS);
                headers[n_headers++] = *h;
        }
        for (size_t i = 0; i < n_lines; i++)
                headers[n_headers++] = lines[i];
        headers[n_headers] = NULL;
        if (r >= 0)
                r = http_send(s, headers, authorization);
        /* Copied. The state may be gone. */
        for (size_t i = 0; i < n_lines; i++)
                free(lines[i]);
        return r;
}

static int send_request(State *s) {
        const char *prefix = s->call->server->dialect->authorization;
        _cleanup_secret_free_ char *authorization = NULL;

        if (s->secret.token) {
                size_t size = strlen(prefix) + strlen(s->secret.token) + 1;
                authorization = secret_alloc(size);
                if (!authorization)
                        return -ENOMEM;
                (void) snprintf(authorization, size, "%s%s", prefix, s->secret.token); /* fits */
        }
        return send_with(s, authorization);
}

/* Why the request could not even be sent. */
static int judge_sending(const State *s, int error, Failure *ret) {
        const char *base = s->call->server->base;

        if (error == -ESHUTDOWN) {
                (void) failure_set(ret, FAILURE_CANCELLED, "gitfs is stopping");
                return -ECANCELED;
        }
        if (error == -EINVAL && s->secret.token)
                return failure_set(
                        ret,
                        FAILURE_TOKEN_REFUSED,
                        "the token for %s is none: it holds a line break or a control character",
                        base);
        return failure_set(ret, FAILURE_LOCAL, "cannot ask %s: %s", base, strerrordesc_np(-error));
}

static void on_admitted(GateTicket *ticket, int result, const Failure *refusal) {
        State *s = container_of(ticket, State, ticket);
        Failure failure = *refusal, none;

        if (result < 0) {
                conclude(s, result, NULL, &failure);
                return;
        }
        reset_attempt(s);
        if (s->call->start)
                s->call->start(s->call);
        int r = send_request(s);
        if (r >= 0)
                return; /* the call may be gone */
        (void) failure_set(&none, FAILURE_CANCELLED, "nothing was sent");
        host_gate_leave(&s->ticket, r, &none);
        r = judge_sending(s, r, &failure);
        conclude(s, r, NULL, &failure);
}

static bool is_waited(const GateTicket *ticket) {
        const ApiCall *call = container_of(ticket, State, ticket)->call;

        return call->is_waited && call->is_waited(call);
}

static void enter(State *s) {
        const ApiCall *call = s->call;

        s->ticket.priority = call->priority;
        s->ticket.is_waited = is_waited;
        s->ticket.deadline_usec = call->deadline_usec;
        s->ticket.patience_usec = s->retry.patience_usec;
        s->ticket.resource = call->resource;
        s->ticket.account = s->secret.serial;
        s->ticket.admitted = on_admitted;
        host_gate_enter(call->server->context->gates, call->server->origin, &s->ticket);
}

/* --- start --- */

static int call_url(const ApiServer *server, const char *path, char **ret) {
        _cleanup_free_ char *url = NULL;

        if (asprintf(&url, "%s%s", path[0] == '/' ? server->base : "", path) < 0) {
                url = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        if (!api_url_same_server(server->base, url))
                return -EINVAL;
        *ret = TAKE_PTR(url);
        return 0;
}

int api_call_start(ApiCall *call, const char *path, const char *json_body) {
        _cleanup_(state_freep) State *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        s->call = call;
        s->retry = (Retry){
                .max = call->server->context->config->retries,
                .deadline_usec = call->deadline_usec,
                .patience_usec = forge_patience(call->server->context, call->priority),
        };
        int r = call_url(call->server, path, &s->url);
        if (r < 0)
                return r;
        if (json_body) {
                s->json_body = strdup(json_body);
                if (!s->json_body)
                        return -ENOMEM;
        }
        call->state = s;
        begin(TAKE_PTR(s));
        return 0;
}
