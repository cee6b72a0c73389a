#include <errno.h>

#include "forge/retry.h"
#include "lib/check-main.h"
#include "util/clock.h"

static Retry patient(void) {
        return (Retry){.max = 100, .deadline_usec = now_usec() + 3600 * USEC_PER_SEC};
}

START_TEST(what_may_have_been_an_accident_is_tried_again) {
        static const struct {
                int result;
                Failure failure;
                bool again;
        } cases[] = {
                {-ECONNRESET, {.class = FAILURE_SERVER}, true},
                {-ENODATA, {.class = FAILURE_SERVER}, true},
                {-EIO, {.class = FAILURE_SERVER, .http_code = 502}, true},
                {-EIO, {.class = FAILURE_CORRUPT}, true},
                {-EAGAIN, {.class = FAILURE_RATE_LIMITED, .http_code = 429}, true},
                {-EIO, {.class = FAILURE_SERVER, .http_code = 200}, false},
                {-EIO, {.class = FAILURE_SERVER}, false},
                {-ENOENT, {.class = FAILURE_NOT_FOUND, .http_code = 404}, false},
                {-EACCES, {.class = FAILURE_TOKEN_REFUSED, .http_code = 401}, false},
                {-EHOSTDOWN, {.class = FAILURE_OFFLINE}, false},
                {-ETIMEDOUT, {.class = FAILURE_TIMEOUT}, false},
                {-ECANCELED, {.class = FAILURE_CANCELLED}, false},
                {-EFBIG, {.class = FAILURE_TOO_LARGE}, false},
                {-EIO, {.class = FAILURE_LOCAL}, false},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Retry retry = patient();
                uint64_t when = 0;
                ck_assert_msg(
                        retry_again(&retry, cases[i].result, &cases[i].failure, &when) ==
                                        cases[i].again &&
                                retry.n == (cases[i].again ? 1u : 0u) &&
                                (when != 0) == cases[i].again,
                        "case %zu",
                        i);
        }
}
END_TEST

START_TEST(tries_are_counted) {
        const Failure failure = {.class = FAILURE_SERVER, .http_code = 500};
        Retry retry = patient();
        uint64_t when;

        retry.max = 2;
        ck_assert(retry_again(&retry, -EIO, &failure, &when));
        ck_assert(retry_again(&retry, -EIO, &failure, &when));
        ck_assert(!retry_again(&retry, -EIO, &failure, &when));
        ck_assert_uint_eq(retry.n, 2);
}
END_TEST

START_TEST(patience_ends_before_the_deadline) {
        Failure failure = {.class = FAILURE_RATE_LIMITED, .http_code = 429};
        Retry retry = patient();
        uint64_t when;

        retry.patience_usec = 60 * USEC_PER_SEC;
        failure.retry_at_usec = now_usec() + 120 * USEC_PER_SEC;
        ck_assert(!retry_again(&retry, -EAGAIN, &failure, &when));
        failure.retry_at_usec = now_usec() + 30 * USEC_PER_SEC;
        ck_assert(retry_again(&retry, -EAGAIN, &failure, &when));
        ck_assert_uint_eq(when, failure.retry_at_usec);
}
END_TEST

START_TEST(the_waits_grow_up_to_a_limit) {
        const Failure failure = {.class = FAILURE_SERVER, .http_code = 500};
        Retry retry = patient();

        for (unsigned i = 0; i < 20; i++) {
                uint64_t usec = 250 * USEC_PER_MSEC << MIN(i, 6u);
                uint64_t before = now_usec(), when = 0;
                ck_assert(retry_again(&retry, -EIO, &failure, &when));
                ck_assert_uint_ge(when, before + usec / 2);
                ck_assert_uint_le(when, now_usec() + usec / 2 + usec);
        }
}
END_TEST

START_TEST(what_the_server_asks_for_is_waited_for) {
        Failure failure = {.class = FAILURE_RATE_LIMITED};
        Retry retry = patient();
        uint64_t when = 0;

        failure.retry_at_usec = now_usec() + 100 * USEC_PER_SEC;
        ck_assert(retry_again(&retry, -EAGAIN, &failure, &when));
        ck_assert_uint_eq(when, failure.retry_at_usec);
        retry.deadline_usec = failure.retry_at_usec;
        ck_assert(!retry_again(&retry, -EAGAIN, &failure, &when));
}
END_TEST

START_TEST(nothing_starts_after_the_deadline) {
        const Failure failure = {.class = FAILURE_SERVER, .http_code = 500};
        Retry retry = patient();
        uint64_t when;

        retry.deadline_usec = now_usec() + 100 * USEC_PER_MSEC;
        ck_assert(!retry_again(&retry, -EIO, &failure, &when));
        ck_assert_uint_eq(retry.n, 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_may_have_been_an_accident_is_tried_again);
        tcase_add_test(tc, tries_are_counted);
        tcase_add_test(tc, patience_ends_before_the_deadline);
        tcase_add_test(tc, the_waits_grow_up_to_a_limit);
        tcase_add_test(tc, what_the_server_asks_for_is_waited_for);
        tcase_add_test(tc, nothing_starts_after_the_deadline);
}

CHECK_MAIN("retry", add_tests)
