#include <stdlib.h>
#include <time.h>

#include "ctl/moment.h"
#include "lib/check-main.h"
#include "util/clock.h"

#define HOUR 3600

/* 2001-09-09 01:46:40 UTC, when the machine is up for an hour. */
static const Moment now = {.monotonic_usec = HOUR * USEC_PER_SEC, .wall = 1000000000};

static void check(uint64_t at_sec, const char *expected) {
        char text[MOMENT_TEXT_MAX];

        moment_format(at_sec * USEC_PER_SEC, now, text);
        ck_assert_str_eq(text, expected);
}

START_TEST(test_local_time) {
        ck_assert_int_eq(setenv("TZ", "UTC-2", 1), 0); // NOLINT: one thread
        tzset();
        check(HOUR + 20, "03:47:00");
        check(HOUR + 20 * HOUR, "23:46:40");
        check(HOUR + 25 * HOUR, "2001-09-10 04:46");
}
END_TEST

START_TEST(test_rounded_up) {
        char text[MOMENT_TEXT_MAX];

        ck_assert_int_eq(setenv("TZ", "UTC", 1), 0); // NOLINT: one thread
        tzset();
        moment_format(now.monotonic_usec + 1, now, text);
        ck_assert_str_eq(text, "01:46:41");
}
END_TEST

START_TEST(test_over_and_absurd) {
        char text[MOMENT_TEXT_MAX];

        check(0, "now");
        check(HOUR, "now");
        moment_format(UINT64_MAX, now, text);
        ck_assert_uint_gt(strlen(text), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_local_time);
        tcase_add_test(tc, test_rounded_up);
        tcase_add_test(tc, test_over_and_absurd);
}

CHECK_MAIN("moment", add_tests)
