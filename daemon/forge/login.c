#include "forge/login.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/json.h"
#include "forge/secret-source.h"
#include "util/clock.h"
#include "util/path.h"
#include "util/secret-memory.h"

#define ANSWER_MAX ((size_t) 16 * 1024)
/* What a token may do: read private repositories, for which an OAuth application needs all of
 * "repo", and see which orgs somebody is in. */
#define SCOPE "repo read:org"
#define GRANT_TYPE "urn:ietf:params:oauth:grant-type:device_code"
#define INTERVAL_DEFAULT 5u /* RFC 8628, 3.2 */
#define INTERVAL_MAX 300u
#define EXPIRES_DEFAULT 900u
#define EXPIRES_MAX 3600u

void login_answer_done(LoginAnswer *answer) {
        answer->device_code = secret_free(answer->device_code);
        answer->token = secret_free(answer->token);
}

/* --- answers --- */

static bool is_secret_char(char c) {
        return isalnum((unsigned char) c) || (c != '\0' && strchr("-._~", c));
}

/* Moves the value of a member into secret memory and leaves stars in its place, before anything
 * else is done with the text: a JSON library keeps copies in plain memory. 1, 0 where there is none
 * that consists of unreserved characters only; -ENOMEM. */
static int take_secret(char *text, const char *key, char **ret) {
        char *p = strstr(text, key);
        size_t len = 0;

        if (!p)
                return 0;
        p += strlen(key);
        p += strspn(p, " \t\r\n");
        if (*p++ != ':')
                return 0;
        p += strspn(p, " \t\r\n");
        if (*p++ != '"')
                return 0;
        while (is_secret_char(p[len]))
                len++;
        if (len == 0 || p[len] != '"')
                return 0;
        char *secret = secret_strndup(p, len);
        if (!secret)
                return -ENOMEM;
        memset(p, '*', len);
        *ret = secret;
        return 1;
}

static int bad_answer(Failure *ret, const char *what) {
        return failure_set(ret, FAILURE_SERVER, "the answer to the sign-in has no %s", what);
}

/* 1: go on asking; 0: this is no error; < 0: it is over. */
static int judge_error(const Json *json, LoginAnswer *answer, Failure *ret) {
        const char *error = json_get_string(json, "error");
        const char *text = json_get_string(json, "error_description");

        if (!error)
                return 0;
        if (strcmp(error, "authorization_pending") == 0)
                return 1;
        if (strcmp(error, "slow_down") == 0) {
                answer->slow_down = true;
                return 1;
        }
        if (strcmp(error, "expired_token") == 0)
                return failure_set(ret, FAILURE_AUTH, "the code has expired before it was used");
        if (strcmp(error, "access_denied") == 0)
                return failure_set(ret, FAILURE_AUTH, "the sign-in was refused in the browser");
        if (strcmp(error, "incorrect_client_credentials") == 0)
                return failure_set(
                        ret, FAILURE_AUTH, "the server knows no application of this client id");
        if (strcmp(error, "device_flow_disabled") == 0)
                return failure_set(
                        ret, FAILURE_AUTH, "the device flow is not enabled for this application");
        return failure_set(ret, FAILURE_AUTH, "the sign-in failed: %s", text ? text : error);
}

static uint64_t
bounded_seconds(const Json *json, const char *key, uint64_t otherwise, uint64_t max) {
        uint64_t n;

        if (json_get_uint64(json, key, &n) <= 0)
                n = otherwise;
        n = MAX(n, (uint64_t) 1);
        return MIN(n, max) * USEC_PER_SEC;
}

/* Both are shown at a terminal. */
static bool is_user_code(const char *s) {
        size_t n = 0;

        while (isalnum((unsigned char) s[n]) || s[n] == '-')
                n++;
        return n > 0 && s[n] == '\0' && n < sizeof((LoginAnswer){0}.user_code);
}

static bool is_uri(const char *s) {
        return (strncmp(s, "https://", 8) == 0 || strncmp(s, "http://", 7) == 0) &&
               secret_token_is_valid(s) && strlen(s) < sizeof((LoginAnswer){0}.verification_uri);
}

static int read_code(const Json *json, LoginAnswer *answer, Failure *ret) {
        const char *user_code = json_get_string(json, "user_code");
        const char *uri = json_get_string(json, "verification_uri");

        if (!answer->device_code)
                return bad_answer(ret, "device code");
        if (!user_code || !is_user_code(user_code))
                return bad_answer(ret, "code to show");
        if (!uri || !is_uri(uri))
                return bad_answer(ret, "address to go to");
        memcpy(answer->user_code, user_code, strlen(user_code) + 1);
        memcpy(answer->verification_uri, uri, strlen(uri) + 1);
        answer->expires_in_usec = bounded_seconds(json, "expires_in", EXPIRES_DEFAULT, EXPIRES_MAX);
        answer->interval_usec = bounded_seconds(json, "interval", INTERVAL_DEFAULT, INTERVAL_MAX);
        return 0;
}

static int
read_answer(char *text, size_t len, bool first, LoginAnswer *answer, Failure *ret_failure) {
        _cleanup_(json_freep) Json *json = NULL;
        _cleanup_secret_free_ char *refresh_token = NULL;

        int r = first ? take_secret(text, "\"device_code\"", &answer->device_code)
                      : take_secret(text, "\"access_token\"", &answer->token);
        if (r >= 0) /* of a token that expires; it is not used */
                r = take_secret(text, "\"refresh_token\"", &refresh_token);
        if (r >= 0)
                r = json_parse(text, len, &json);
        if (r == -ENOMEM)
                return failure_set(ret_failure, FAILURE_LOCAL, "out of memory");
        if (r < 0)
                return bad_answer(ret_failure, "JSON in it");
        r = judge_error(json, answer, ret_failure);
        if (r != 0)
                return first && r > 0 ? bad_answer(ret_failure, "code") : MIN(r, 0);
        if (first)
                return read_code(json, answer, ret_failure);
        return answer->token ? 0 : bad_answer(ret_failure, "token");
}

int login_parse_answer(
        char *text, size_t len, bool first, LoginAnswer *ret_answer, Failure *ret_failure) {
        LoginAnswer answer = {0};

        int r = read_answer(text, len, first, &answer, ret_failure);
        if (r < 0)
                login_answer_done(&answer);
        else
                *ret_answer = answer;
        return r;
}

/* --- one request --- */

static void step_end(LoginStep *s, int result, LoginAnswer *answer, const Failure *failure) {
        Failure copy = *failure;

        free(s->origin);
        free(s->url);
        secret_free(s->body);
        secret_free(s->text);
        s->origin = s->url = s->body = s->text = NULL;
        s->done(s, result, answer, &copy);
}

static int on_response(const HttpResponse *response, void *userdata) {
        LoginStep *s = userdata;

        s->http_code = response->code;
        return 0;
}

static int on_data(const uint8_t *data, size_t len, void *userdata) {
        LoginStep *s = userdata;

        if (len > ANSWER_MAX - s->text_len)
                return -EFBIG;
        memcpy(s->text + s->text_len, data, len);
        s->text_len += len;
        return 0;
}

/* GitHub answers errors of the protocol with 200; the RFC has 400 for them. */
static int judge(LoginStep *s, int result, const Failure *http, LoginAnswer *answer, Failure *ret) {
        *ret = *http;
        if (result == -EFBIG && http->class == FAILURE_NONE)
                return bad_answer(ret, "end");
        if (result < 0)
                return result;
        if (s->http_code == 200 || s->http_code == 400) {
                s->text[s->text_len] = '\0';
                return login_parse_answer(s->text, s->text_len, !s->device_code, answer, ret);
        }
        int r = s->http_code == 404
                        ? failure_set(
                                  ret,
                                  FAILURE_AUTH,
                                  "%s knows no such application, or no device flow (404)",
                                  s->base)
                : s->http_code == 429 || s->http_code == 403
                        ? failure_set(ret, FAILURE_RATE_LIMITED, "%s limits requests", s->base)
                        : failure_set(
                                  ret,
                                  FAILURE_SERVER,
                                  "%s answers the sign-in with status %d",
                                  s->base,
                                  s->http_code);
        ret->http_code = s->http_code;
        return r;
}

static void on_done(int result, const Failure *http, void *userdata) {
        LoginStep *s = userdata;
        LoginAnswer answer = {0};
        Failure failure;

        int r = judge(s, result, http, &answer, &failure);
        /* The breaker is for servers that are down. */
        host_gate_leave(&s->ticket, result < 0 ? result : 0, http);
        step_end(s, r, &answer, &failure);
        login_answer_done(&answer);
}

static void on_admitted(GateTicket *ticket, int result, const Failure *refusal) {
        static const HttpHandler handler = {
                .on_response = on_response,
                .on_data = on_data,
                .on_done = on_done,
        };
        static const char *const headers[] = {
                "Accept: application/json",
                "Content-Type: application/x-www-form-urlencoded",
                NULL,
        };
        LoginStep *s = container_of(ticket, LoginStep, ticket);
        const HttpRequest request = {
                .url = s->url,
                .headers = headers,
                .body = s->body,
                .body_len = strlen(s->body),
                .no_redirects = true,
                .deadline_usec = s->deadline_usec,
        };
        LoginAnswer none = {0};
        Failure failure = *refusal;

        int r = result;
        if (r >= 0) {
                r = http_start(s->context->http, &request, TASK_NORMAL, &handler, s);
                if (r >= 0)
                        return; /* the step may be gone */
                (void) failure_set(&failure, FAILURE_CANCELLED, "nothing was sent");
                host_gate_leave(&s->ticket, r, &failure);
                r = r == -ESHUTDOWN ? -ECANCELED : r;
        }
        step_end(s, r, &none, &failure);
}

/* The form that is posted. A device code is unreserved already. */
static int make_body(LoginStep *s) {
        _cleanup_free_ char *id = percent_encode(s->client_id, "");
        const char *key = s->device_code ? "grant_type" : "scope";
        _cleanup_free_ char *value = percent_encode(s->device_code ? GRANT_TYPE : SCOPE, "");
        const char *code = s->device_code ? s->device_code : "";

        if (!id || !value)
                return -ENOMEM;
        size_t size = strlen(id) + strlen(value) + strlen(code) + 64;
        s->body = secret_alloc(size);
        if (!s->body)
                return -ENOMEM;
        (void) snprintf(/* it fits */
                        s->body,
                        size,
                        "client_id=%s&%s=%s%s%s",
                        id,
                        key,
                        value,
                        s->device_code ? "&device_code=" : "",
                        code);
        return 0;
}

static int step_prepare(LoginStep *s) {
        s->text = secret_alloc(ANSWER_MAX + 1);
        if (!s->text)
                return -ENOMEM;
        if (asprintf(
                    &s->url,
                    "%s%s",
                    s->base,
                    s->device_code ? "/login/oauth/access_token" : "/login/device/code") < 0) {
                s->url = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        int r = http_url_origin(s->url, &s->origin);
        return r < 0 ? r : make_body(s);
}

int login_step_start(LoginStep *s) {
        s->origin = s->url = s->body = s->text = NULL;
        s->text_len = 0;
        s->http_code = 0;
        int r = step_prepare(s);
        if (r < 0) {
                free(s->origin);
                free(s->url);
                secret_free(s->body);
                secret_free(s->text);
                return r;
        }
        s->ticket = (GateTicket){
                .priority = FETCH_WAITING,
                .deadline_usec = s->deadline_usec,
                .admitted = on_admitted,
        };
        host_gate_enter(s->context->gates, s->origin, &s->ticket);
        return 0;
}
