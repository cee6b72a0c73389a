#include <string.h>
#include <strings.h>
#include <time.h>

#include "forge/api-private.h"
#include "util/clock.h"

#define WAIT_MIN_USEC USEC_PER_SEC
#define WAIT_MAX_USEC ((3600 + 60) * USEC_PER_SEC)
/* Where a server does not tell, or what it tells makes no sense: what GitHub recommends. */
#define WAIT_UNKNOWN_USEC (60 * USEC_PER_SEC)
/* Smaller numbers than this are no dates, but seconds from now (the IETF's draft). */
#define RESET_IS_DATE UINT64_C(1000000000)

/* GitHub's names, and Gitea's proxies'; GitLab's, and the draft's. */
static const struct {
        const char *limit, *remaining, *reset;
} names[] = {
        {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"},
        {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"},
};

/* Digits, with blanks or a list of windows ("100, 100;w=60") behind them. */
static bool parse_number(const char *text, uint64_t *ret) {
        uint64_t n = 0;
        size_t i = 0;

        for (; text[i] >= '0' && text[i] <= '9'; i++)
                if (__builtin_mul_overflow(n, UINT64_C(10), &n) ||
                    __builtin_add_overflow(n, (uint64_t) (text[i] - '0'), &n))
                        return false;
        if (i == 0 || !strchr(" ,;", text[i])) /* the NUL is found, too */
                return false;
        *ret = n;
        return true;
}

static uint64_t wait_clamped(uint64_t usec) {
        return usec < WAIT_MIN_USEC ? WAIT_MIN_USEC : MIN(usec, WAIT_MAX_USEC);
}

/* Dates are on the server's clock, which may differ from ours by more than the time to wait. */
static uint64_t wait_until_date(const HttpResponse *response, uint64_t reset) {
        int64_t server_now;

        if (http_parse_date(http_response_header(response, "Date"), &server_now) < 0)
                server_now = time(NULL);
        /* A reset that has passed, or lies far ahead, is a misunderstanding. */
        if (server_now < 0 || reset + 60 < (uint64_t) server_now ||
            reset > (uint64_t) server_now + WAIT_MAX_USEC / USEC_PER_SEC)
                return WAIT_UNKNOWN_USEC;
        uint64_t now = (uint64_t) server_now;
        /* Both are cut to seconds. */
        return wait_clamped(reset > now ? (reset - now + 1) * USEC_PER_SEC : 0);
}

static uint64_t wait_until_reset(const HttpResponse *response, const char *text) {
        uint64_t reset;

        if (!parse_number(text, &reset))
                return WAIT_UNKNOWN_USEC;
        if (reset < RESET_IS_DATE)
                return reset <= WAIT_MAX_USEC / USEC_PER_SEC ? wait_clamped(reset * USEC_PER_SEC)
                                                             : WAIT_UNKNOWN_USEC;
        return wait_until_date(response, reset);
}

bool api_budget(const HttpResponse *response, const char *resource, uint64_t now, GateBudget *ret) {
        const char *counted = http_response_header(response, "X-RateLimit-Resource");

        if (resource && counted[0] && strcmp(counted, resource) != 0)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                GateBudget b = {0};
                if (!parse_number(http_response_header(response, names[i].remaining), &b.remaining))
                        continue;
                if (!parse_number(http_response_header(response, names[i].limit), &b.limit) ||
                    b.limit == 0)
                        b.limit = MAX(b.remaining, UINT64_C(1));
                b.remaining = MIN(b.remaining, b.limit);
                b.reset_usec =
                        now +
                        wait_until_reset(response, http_response_header(response, names[i].reset));
                *ret = b;
                return true;
        }
        return false;
}

/* GitHub tells its secondary limits by words only. */
static bool says_limited(const Json *json) {
        static const char *const phrases[] = {"rate limit", "abuse detection", "rate-limit"};
        const char *said[] = {
                json_get_string(json, "message"),
                json_get_string(json, "documentation_url"),
        };

        for (size_t i = 0; i < ELEMENTSOF(said); i++)
                for (size_t k = 0; said[i] && k < ELEMENTSOF(phrases); k++)
                        if (strcasestr(said[i], phrases[k]))
                                return true;
        return false;
}

uint64_t api_limited_until(
        const HttpResponse *response, const Json *json, const char *resource, uint64_t now) {
        int code = response->code;
        GateBudget budget;

        if (code != 403 && code != 429 && code != 503)
                return 0;
        if (response->retry_after_usec > 0)
                return now + wait_clamped(response->retry_after_usec);
        if (code == 503)
                return 0;
        if (api_budget(response, resource, now, &budget) && budget.remaining == 0)
                return budget.reset_usec;
        return code == 429 || says_limited(json) ? now + WAIT_UNKNOWN_USEC : 0;
}
