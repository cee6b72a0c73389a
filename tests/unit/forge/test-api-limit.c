#include <errno.h>
#include <string.h>
#include <time.h>

#include "forge/api-private.h"
#include "lib/check-main.h"
#include "util/clock.h"

#define DATE "Date: Tue, 14 Nov 2023 22:13:20 GMT\n" /* 1700000000 */
#define NOW (1000 * USEC_PER_SEC)

/* An answer with these header lines. */
static HttpResponse response_of(int code, const char *lines, Buf *headers) {
        for (const char *p = lines; *p;) {
                const char *colon = strchr(p, ':'), *end = strchr(p, '\n');
                ck_assert(colon && end && colon < end);
                ck_assert_int_eq(buf_append(headers, p, (size_t) (colon - p)), 0);
                ck_assert_int_eq(buf_append(headers, "", 1), 0);
                ck_assert_int_eq(buf_append(headers, colon + 2, (size_t) (end - colon - 2)), 0);
                ck_assert_int_eq(buf_append(headers, "", 1), 0);
                p = end + 1;
        }
        return (HttpResponse){.code = code, .headers = headers};
}

START_TEST(the_wait_is_on_the_servers_clock) {
        static const struct {
                const char *lines;
                uint64_t seconds;
        } cases[] = {
                {DATE "X-RateLimit-Reset: 1700000000\n", 1},
                {DATE "X-RateLimit-Reset: 1700000010\n", 11},
                {DATE "x-ratelimit-reset: 1700003600\n", 3601},
                {DATE "X-RateLimit-Reset: 1699999990\n", 1}, /* has just passed */
                /* nonsense */
                {DATE "X-RateLimit-Reset: 1600000000\n", 60},
                {DATE "X-RateLimit-Reset: 1700100000\n", 60},
                {DATE "X-RateLimit-Reset: 99999999999999999999\n", 60},
                {DATE "X-RateLimit-Reset: 18446744073709551615\n", 60},
                {DATE "X-RateLimit-Reset: soon\n", 60},
                {DATE "X-RateLimit-Reset: -5\n", 60},
                {DATE "X-RateLimit-Reset: \n", 60},
                {DATE, 60},
                /* seconds from now */
                {"X-RateLimit-Reset: 30\n", 30},
                {"X-RateLimit-Reset: 0\n", 1},
                {"X-RateLimit-Reset: 86400\n", 60},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ Buf headers = {0};
                HttpResponse response = response_of(403, cases[i].lines, &headers);
                GateBudget b;
                ck_assert(!api_budget(&response, NULL, NOW, &b)); /* nothing is said to be left */
                static const char remaining[] = "X-RateLimit-Remaining\0000";
                ck_assert_int_eq(buf_append(&headers, remaining, sizeof(remaining)), 0);
                ck_assert(api_budget(&response, NULL, NOW, &b));
                ck_assert_uint_eq(b.remaining, 0);
                ck_assert_msg(
                        b.reset_usec == NOW + cases[i].seconds * USEC_PER_SEC,
                        "%s: %ju",
                        cases[i].lines,
                        (uintmax_t) (b.reset_usec - NOW));
        }
}
END_TEST

START_TEST(our_clock_serves_where_the_server_tells_none) {
        _cleanup_buf_ Buf lines = {0};
        _cleanup_buf_ Buf headers = {0};
        GateBudget b;

        ck_assert_int_eq(
                buf_appendf(
                        &lines,
                        "Date: yesterday\nRateLimit-Remaining: 3\nRateLimit-Limit: 10\n"
                        "RateLimit-Reset: %lld\n",
                        (long long) time(NULL) + 1000),
                0);
        HttpResponse response = response_of(200, buf_str(&lines), &headers);
        ck_assert(api_budget(&response, NULL, NOW, &b));
        ck_assert_uint_eq(b.limit, 10);
        ck_assert_uint_eq(b.remaining, 3);
        ck_assert_uint_ge(b.reset_usec, NOW + 900 * USEC_PER_SEC);
        ck_assert_uint_le(b.reset_usec, NOW + 1001 * USEC_PER_SEC);
}
END_TEST

START_TEST(a_budget_is_told_by_its_name) {
        _cleanup_buf_ Buf headers = {0};
        HttpResponse response = response_of(
                200,
                DATE "X-RateLimit-Limit: 5000\nX-RateLimit-Remaining: 4999\n"
                     "X-RateLimit-Reset: 1700000100\nX-RateLimit-Resource: core\n",
                &headers);
        GateBudget b = {0};

        ck_assert(api_budget(&response, "core", NOW, &b));
        ck_assert_uint_eq(b.limit, 5000);
        ck_assert_uint_eq(b.remaining, 4999);
        ck_assert(api_budget(&response, NULL, NOW, &b));
        ck_assert(!api_budget(&response, "graphql", NOW, &b));
}
END_TEST

START_TEST(odd_budgets_are_made_even) {
        static const struct {
                const char *lines;
                bool known;
                uint64_t limit, remaining;
        } cases[] = {
                {"X-RateLimit-Remaining: 7\n", true, 7, 7},
                {"X-RateLimit-Remaining: 0\nX-RateLimit-Limit: 0\n", true, 1, 0},
                {"X-RateLimit-Remaining: 90\nX-RateLimit-Limit: 60\n", true, 60, 60},
                {"RateLimit-Remaining: 9\nRateLimit-Limit: 10, 10;w=60\n", true, 10, 9},
                {"X-RateLimit-Remaining: -1\nX-RateLimit-Limit: 60\n", false, 0, 0},
                {"X-RateLimit-Remaining: none\nX-RateLimit-Limit: 60\n", false, 0, 0},
                {"X-RateLimit-Limit: 60\n", false, 0, 0},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ Buf headers = {0};
                HttpResponse response = response_of(200, cases[i].lines, &headers);
                GateBudget b = {0};
                ck_assert_msg(
                        api_budget(&response, NULL, NOW, &b) == cases[i].known &&
                                b.limit == cases[i].limit && b.remaining == cases[i].remaining,
                        "%s",
                        cases[i].lines);
        }
}
END_TEST

static uint64_t wait_of(int code, uint64_t retry_after, const char *lines, const char *body) {
        _cleanup_(json_freep) Json *json = NULL;
        _cleanup_buf_ Buf headers = {0};
        HttpResponse response = response_of(code, lines, &headers);

        response.retry_after_usec = retry_after * USEC_PER_SEC;
        if (body)
                ck_assert_int_eq(json_parse(body, strlen(body), &json), 0);
        uint64_t until = api_limited_until(&response, json, "core", NOW);
        return until == 0 ? 0 : (until - NOW) / USEC_PER_SEC;
}

START_TEST(refusals_for_too_many_requests) {
        static const char *const empty =
                DATE "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1700000019\n";
        static const char *const left =
                DATE "X-RateLimit-Remaining: 9\nX-RateLimit-Reset: 1700000019\n";
        static const char *const secondary =
                "{\"message\": \"You have exceeded a secondary rate limit. Please wait.\"}";
        static const char *const linked =
                "{\"documentation_url\": \"https://docs.example.org/rest#abuse-rate-limits\"}";

        ck_assert_uint_eq(wait_of(403, 0, "", NULL), 0);
        ck_assert_uint_eq(wait_of(403, 0, left, "{\"message\": \"Forbidden\"}"), 0);
        ck_assert_uint_eq(wait_of(403, 0, empty, NULL), 20);
        ck_assert_uint_eq(wait_of(403, 5, empty, NULL), 5); /* what it says outright */
        ck_assert_uint_eq(wait_of(403, 86400, "", NULL), 3660);
        ck_assert_uint_eq(wait_of(403, 0, left, secondary), 60);
        ck_assert_uint_eq(wait_of(403, 0, left, linked), 60);
        ck_assert_uint_eq(wait_of(429, 0, "", NULL), 60);
        ck_assert_uint_eq(wait_of(429, 0, empty, NULL), 20);
        ck_assert_uint_eq(wait_of(429, 7, "", NULL), 7);
        ck_assert_uint_eq(wait_of(503, 0, empty, NULL), 0);
        ck_assert_uint_eq(wait_of(503, 3, "", NULL), 3);
        ck_assert_uint_eq(wait_of(404, 3, empty, secondary), 0);
        ck_assert_uint_eq(wait_of(200, 3, empty, NULL), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, the_wait_is_on_the_servers_clock);
        tcase_add_test(tc, our_clock_serves_where_the_server_tells_none);
        tcase_add_test(tc, a_budget_is_told_by_its_name);
        tcase_add_test(tc, odd_budgets_are_made_even);
        tcase_add_test(tc, refusals_for_too_many_requests);
}

CHECK_MAIN("api-limit", add_tests)
