/* What answers of 4xx and 5xx mean, in words that tell what to do about it. They name the server
 * and where the token came from, never the token. */

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "forge/api-private.h"
#include "util/clock.h"

/* Of what the server itself says. */
#define MESSAGE_MAX 150

/* "the token from git credential": where a person has to look. */
static const char *origin_of(const Secret *secret) {
        switch (secret->origin) {
        case SECRET_SYSTEMD:
                return "the token from the systemd credential";
        case SECRET_FILE:
                return "the token from gitfs's credentials directory";
        case SECRET_TOOL:
                return "the token from the forge's own tool (gh or glab)";
        case SECRET_GIT:
                return "the password from git credential";
        case SECRET_NONE:
        default:
                return "the token";
        }
}

/* What the server says, or "". */
static const char *message_of(const Json *json) {
        const Json *error = json_get_object(json, "error");
        const char *message = json_get_string(json, "message");

        if (!message)
                message = json_get_string(error, "message"); /* Mesa */
        if (!message)
                message = json_get_string(json, "error"); /* GitLab */
        return message ? message : "";
}

static int refused(const ApiCall *call, const Secret *sent, Failure *ret) {
        const char *base = call->server->base;
        Failure why = {0};

        if (!sent->token) {
                bool told =
                        call->server->secrets && secrets_explain(call->server->secrets, &why) < 0;
                return failure_set(
                        ret,
                        FAILURE_TOKEN_MISSING,
                        "%s wants to know who asks for %s (401): %s",
                        base,
                        call->what,
                        told ? why.text : "no token is set");
        }
        return failure_set(
                ret,
                FAILURE_TOKEN_REFUSED,
                "%s refuses %s: it is wrong, expired or revoked (401)",
                base,
                origin_of(sent));
}

static bool has_prefix(const char *s, const char *prefix) {
        return strncasecmp(s, prefix, strlen(prefix)) == 0;
}

/* "required; url=https://github.com/orgs/acme/sso?authorization_request=...". It is for a person to
 * open: what is no page, or comes by a lesser way than we ask the server, is not shown. */
static const char *
sso_url(const ApiCall *call, const HttpResponse *response, const char **ret_before, int *ret_len) {
        const char *url = strstr(http_response_header(response, "X-GitHub-SSO"), "url=");

        if (!url)
                return NULL;
        url += strlen("url=");
        bool good = has_prefix(url, "https://") ||
                    (has_prefix(url, "http://") && has_prefix(call->server->base, "http://"));
        *ret_before = good ? " at " : "";
        *ret_len = good ? (int) strcspn(url, "; \t") : 0;
        return url;
}

static bool lacks_permission(const HttpResponse *response, const Json *json) {
        static const char *const phrases[] = {
                "not accessible by", "permission", "insufficient_scope", "scope"};
        const char *message = message_of(json);

        if (http_response_header(response, "X-Accepted-GitHub-Permissions")[0])
                return true;
        for (size_t i = 0; i < ELEMENTSOF(phrases); i++)
                if (strcasestr(message, phrases[i]))
                        return true;
        return false;
}

static int forbidden(
        const ApiCall *call,
        const HttpResponse *response,
        const Json *json,
        const Secret *sent,
        Failure *ret) {
        const char *needed = http_response_header(response, "X-Accepted-GitHub-Permissions");
        const char *before;
        int len;
        const char *url = sso_url(call, response, &before, &len);

        if (url)
                /* Whole, or it is of no use: so it comes before anything that could be long. */
                return failure_set(
                        ret,
                        FAILURE_SSO,
                        "authorize the token for single sign-on%s%.*s to see %s",
                        before,
                        len,
                        url,
                        call->what);
        if (lacks_permission(response, json))
                return failure_set(
                        ret,
                        FAILURE_FORBIDDEN,
                        "%s: %s may not read %s%s%.100s (403)",
                        call->server->base,
                        sent->token ? origin_of(sent) : "who has no token",
                        call->what,
                        needed[0] ? "; it needs " : "",
                        needed);
        return failure_set(
                ret,
                FAILURE_AUTH,
                "%s refuses access to %s%s (403)%s%.*s",
                call->server->base,
                call->what,
                sent->token ? "" : " without a token",
                message_of(json)[0] ? ": " : "",
                MESSAGE_MAX,
                message_of(json));
}

static int by_status(
        const ApiCall *call,
        const HttpResponse *response,
        const Json *json,
        const Secret *sent,
        Failure *ret) {
        const char *base = call->server->base, *what = call->what;

        switch (response->code) {
        case 401:
                return refused(call, sent, ret);
        case 403:
                return forbidden(call, response, json, sent, ret);
        case 404:
                return failure_set(ret, FAILURE_NOT_FOUND, "%s knows no %s (404)", base, what);
        case 409:
                (void) failure_set(
                        ret, FAILURE_NOT_FOUND, "%s: %s has no content (409)", base, what);
                return -ENODATA;
        case 410:
        case 451:
                return failure_set(
                        ret,
                        FAILURE_BLOCKED,
                        "%s has taken down %s (%d)%s%.*s",
                        base,
                        what,
                        response->code,
                        message_of(json)[0] ? ": " : "",
                        MESSAGE_MAX,
                        message_of(json));
        case 413:
                return failure_set(
                        ret, FAILURE_TOO_LARGE, "%s finds %s too large (413)", base, what);
        default:
                return failure_set(
                        ret,
                        FAILURE_SERVER,
                        "%s answers with status %d to %s%s%.*s",
                        base,
                        response->code,
                        what,
                        message_of(json)[0] ? ": " : "",
                        MESSAGE_MAX,
                        message_of(json));
        }
}

static int limited(const ApiCall *call, uint64_t now, uint64_t until, Failure *ret) {
        int r = failure_set(
                ret,
                FAILURE_RATE_LIMITED,
                "%s limits requests; it wants to be left alone for %llu s",
                call->server->base,
                (unsigned long long) ((until - now) / USEC_PER_SEC));

        ret->retry_at_usec = until;
        return r;
}

int api_error(
        const ApiCall *call,
        const HttpResponse *response,
        const Json *json,
        const Secret *sent,
        Failure *ret) {
        const ApiDialect *dialect = call->server->dialect;
        uint64_t now = now_usec();
        int r = 0;

        if (response->code < 500 && response->code != 401 && dialect->explain)
                r = dialect->explain(response, json, call->what, ret);
        if (r >= 0) {
                uint64_t until = api_limited_until(response, json, call->resource, now);
                r = until > 0 ? limited(call, now, until, ret)
                              : by_status(call, response, json, sent, ret);
        }
        ret->http_code = response->code;
        return r;
}
