/* Questions that are not answered yet, or not to everybody: limits and tokens. */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "component/api-fixture.h"
#include "component/question-fixture.h"
#include "lib/check-main.h"
#include "util/clock.h"

#define DATE "\nDate: Tue, 14 Nov 2023 22:13:20 GMT" /* 1700000000 */

/* --- tokens --- */

START_TEST(who_has_no_token_is_told_so) {
        SERVE("401 Unauthorized" JSON "\n\n{\"message\": \"Requires authentication\"}");

        ck_assert_int_eq(api_run(&run, "/user", NULL), -EACCES);
        ck_assert_int_eq(run.failure.class, FAILURE_TOKEN_MISSING);
        ck_assert(says(f.server.url));
        ck_assert(says("no token is set"));
        ck_assert_uint_eq(n_requests(), 1);
        teardown();
}
END_TEST

/* Servers lock accounts: a refused token is tried once, not once a question. */
START_TEST(a_refused_token_is_not_repeated) {
        SERVE("401 Unauthorized" JSON "\n\n{\"message\": \"Bad credentials\"}");

        api_fixture_set_token(&f, TOKEN);
        ck_assert_int_eq(api_run(&run, "/user", NULL), -EACCES);
        ck_assert_int_eq(run.failure.class, FAILURE_TOKEN_REFUSED);
        ck_assert(says(f.server.url));
        ck_assert(says("credentials directory"));
        ck_assert(!says(TOKEN));
        ck_assert_uint_eq(n_requests(), 1);
        again();
        ck_assert_int_eq(api_run(&run, "/user", NULL), -EACCES);
        ck_assert_int_eq(run.failure.class, FAILURE_TOKEN_REFUSED);
        ck_assert_uint_eq(n_requests(), 1);
        teardown();
}
END_TEST

static void rotate(ApiRun *r) {
        if (r->n_starts == 1)
                ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "rotated-token"), 0);
}

START_TEST(a_rotated_token_is_read_again) {
        SERVE("401 Unauthorized" JSON "\n\n{}", GOOD);

        api_fixture_set_token(&f, TOKEN);
        run.on_start = rotate;
        ck_assert_int_eq(api_run(&run, "/user", NULL), 0);
        ck_assert_str_eq(run.id, "good");
        ck_assert_uint_eq(n_requests(), 2);
        ck_assert(sent("\nAuthorization: Bearer " TOKEN "\n"));
        ck_assert(sent("\nAuthorization: Bearer rotated-token\n"));
        teardown();
}
END_TEST

START_TEST(the_second_refusal_is_final) {
        SERVE("401 Unauthorized" JSON "\n\n{}");

        api_fixture_set_token(&f, TOKEN);
        run.on_start = rotate;
        ck_assert_int_eq(api_run(&run, "/user", NULL), -EACCES);
        ck_assert_int_eq(run.failure.class, FAILURE_TOKEN_REFUSED);
        ck_assert_uint_eq(n_requests(), 2);
        teardown();
}
END_TEST

START_TEST(a_token_that_cannot_be_read_is_told) {
        SERVE(GOOD);

        temp_dir_write(&f.dir, "credentials/acme", TOKEN, strlen(TOKEN)); /* all may read it */
        ck_assert_int_eq(api_run(&run, "/user", NULL), failure_errno(run.failure.class));
        ck_assert_int_eq(run.failure.class, FAILURE_LOCAL);
        ck_assert_uint_eq(n_requests(), 0); /* nor as nobody */
        teardown();
}
END_TEST

START_TEST(a_token_with_a_line_break_is_not_sent) {
        static const char *const script[] = {GOOD, NULL};
        ApiDialect d = dialect;

        d.authorization = "Authorization: Bearer \r\nX-Injected: ";
        serve(&d, script);
        api_fixture_set_token(&f, TOKEN);
        ck_assert_int_eq(api_run(&run, "/user", NULL), -EACCES);
        ck_assert_int_eq(run.failure.class, FAILURE_TOKEN_REFUSED);
        ck_assert(!says(TOKEN));
        ck_assert_uint_eq(n_requests(), 0);
        teardown();
}
END_TEST

/* --- limits --- */

START_TEST(a_pause_that_fits_is_waited_for) {
        SERVE("429 Too Many Requests\nRetry-After: 1\n\nslow down", GOOD);
        uint64_t start = now_usec();

        ck_assert_int_eq(api_run(&run, "/", NULL), 0);
        ck_assert_uint_eq(n_requests(), 2);
        ck_assert_uint_ge(now_usec() - start, USEC_PER_SEC);
        teardown();
}
END_TEST

/* R2 */
START_TEST(a_longer_pause_is_told_at_once) {
        SERVE("403 Forbidden" JSON "\nRetry-After: 3000\n\n{\"message\": \"wait\"}", GOOD);

        ck_assert_int_eq(api_run(&run, "/", NULL), -EAGAIN);
        ck_assert_int_eq(run.failure.class, FAILURE_RATE_LIMITED);
        ck_assert_uint_gt(run.failure.retry_at_usec, now_usec() + 2900 * USEC_PER_SEC);
        ck_assert_uint_le(run.failure.retry_at_usec, now_usec() + 3000 * USEC_PER_SEC);
        again();
        ck_assert_int_eq(api_run(&run, "/", NULL), -EAGAIN); /* unasked */
        ck_assert_int_eq(run.failure.class, FAILURE_RATE_LIMITED);
        ck_assert_uint_gt(run.failure.retry_at_usec, now_usec() + 2900 * USEC_PER_SEC);
        ck_assert_uint_eq(n_requests(), 1);
        teardown();
}
END_TEST

START_TEST(secondary_limits_are_told_by_words) {
        SERVE("403 Forbidden" JSON DATE "\nX-RateLimit-Remaining: 4000\nX-RateLimit-Limit: 5000"
              "\n\n{\"message\": \"You have exceeded a secondary rate limit\"}");

        ck_assert_int_eq(api_run(&run, "/", NULL), -EAGAIN);
        ck_assert_int_eq(run.failure.class, FAILURE_RATE_LIMITED);
        teardown();
}
END_TEST

/* The last request of a budget is answered, and the next one not sent. */
START_TEST(an_empty_budget_is_not_asked) {
        SERVE("200 OK" JSON DATE "\nX-RateLimit-Limit: 60\nX-RateLimit-Remaining: 0"
              "\nX-RateLimit-Reset: 1700001000\n\n{\"id\": \"last\"}");

        ck_assert_int_eq(api_run(&run, "/", NULL), 0);
        ck_assert_str_eq(run.id, "last");
        again();
        ck_assert_int_eq(api_run(&run, "/", NULL), -EAGAIN);
        ck_assert_int_eq(run.failure.class, FAILURE_RATE_LIMITED);
        ck_assert_uint_gt(run.failure.retry_at_usec, now_usec() + 900 * USEC_PER_SEC);
        ck_assert_uint_eq(n_requests(), 1);
        teardown();
}
END_TEST

START_TEST(graphql_says_it_with_200) {
        SERVE("200 OK" JSON DATE "\nX-RateLimit-Limit: 5000\nX-RateLimit-Remaining: 0"
              "\nX-RateLimit-Reset: 1700001000\nX-RateLimit-Resource: graphql"
              "\n\n{\"errors\": [{\"type\": \"RATE_LIMITED\", \"message\": \"exceeded\"}]}");

        run.call.resource = "graphql";
        ck_assert_int_eq(api_run(&run, "/graphql", "{}"), -EAGAIN);
        ck_assert_int_eq(run.failure.class, FAILURE_RATE_LIMITED);
        ck_assert_uint_gt(run.failure.retry_at_usec, now_usec() + 900 * USEC_PER_SEC);
        ck_assert_uint_eq(n_requests(), 1);
        teardown();
}
END_TEST

START_TEST(graphql_errors_are_failures) {
        static const struct {
                const char *json;
                int result;
                FailureClass class;
        } cases[] = {
                {"{\"data\": null, \"errors\": [{\"type\": \"NOT_FOUND\", \"message\": \"m\"}]}",
                 -ENOENT,
                 FAILURE_NOT_FOUND},
                {"{\"errors\": [{\"type\": \"FORBIDDEN\", \"message\": \"m\","
                 " \"extensions\": {\"saml_failure\": true}}]}",
                 -EACCES,
                 FAILURE_SSO},
                {"{\"errors\": [{\"type\": \"INSUFFICIENT_SCOPES\", \"message\": \"m\"}]}",
                 -EACCES,
                 FAILURE_FORBIDDEN},
                {"{\"errors\": [{\"message\": \"m\"}]}", -EIO, FAILURE_SERVER},
                {"{\"errors\": []}", -EIO, FAILURE_SERVER},
                {"{\"errors\": \"m\"}", -EIO, FAILURE_SERVER},
                {"[]", -EIO, FAILURE_SERVER},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *answer = NULL;
                ck_assert_int_gt(asprintf(&answer, "200 OK" JSON "\n\n%s", cases[i].json), 0);
                const char *const script[] = {answer, NULL};

                serve(&dialect, script);
                ck_assert_int_eq(api_run(&run, "/graphql", "{}"), 0);
                ck_assert_int_eq(run.graphql_result, cases[i].result);
                ck_assert_int_eq(run.failure.class, cases[i].class);
                teardown();
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, who_has_no_token_is_told_so);
        tcase_add_test(tc, a_refused_token_is_not_repeated);
        tcase_add_test(tc, a_rotated_token_is_read_again);
        tcase_add_test(tc, the_second_refusal_is_final);
        tcase_add_test(tc, a_token_that_cannot_be_read_is_told);
        tcase_add_test(tc, a_token_with_a_line_break_is_not_sent);
        tcase_add_test(tc, a_pause_that_fits_is_waited_for);
        tcase_add_test(tc, a_longer_pause_is_told_at_once);
        tcase_add_test(tc, secondary_limits_are_told_by_words);
        tcase_add_test(tc, an_empty_budget_is_not_asked);
        tcase_add_test(tc, graphql_says_it_with_200);
        tcase_add_test(tc, graphql_errors_are_failures);
}

CHECK_MAIN("api-limits", add_tests)
