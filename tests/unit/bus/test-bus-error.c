#include <errno.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "bus/bus-error.h"
#include "lib/check-main.h"
#include "util/clock.h"
#include "util/text.h"

#define NAME_SPACE "org.gitfs1.Error."

START_TEST(every_class_has_a_name) {
        for (FailureClass c = FAILURE_NONE + 1; c < _FAILURE_CLASS_MAX; c++) {
                Failure f = {.class = c};
                const char *name = bus_error_name(failure_errno(c), &f);

                ck_assert(strncmp(name, NAME_SPACE, strlen(NAME_SPACE)) == 0);
                if (c != FAILURE_LOCAL)
                        ck_assert_str_ne(name, GITFS_BUS_ERROR_FAILED);
        }
}
END_TEST

START_TEST(classes_that_share_an_errno_differ) {
        Failure server = {.class = FAILURE_SERVER}, corrupt = {.class = FAILURE_CORRUPT};

        ck_assert_str_eq(bus_error_name(-EIO, &server), GITFS_BUS_ERROR_SERVER);
        ck_assert_str_eq(bus_error_name(-EIO, &corrupt), GITFS_BUS_ERROR_CORRUPT);
        ck_assert_str_eq(bus_error_name(-EIO, NULL), GITFS_BUS_ERROR_FAILED);
}
END_TEST

START_TEST(arguments_win_over_the_class) {
        Failure f = {.class = FAILURE_NOT_FOUND};

        ck_assert_str_eq(bus_error_name(-EINVAL, &f), GITFS_BUS_ERROR_INVALID);
        ck_assert_str_eq(bus_error_name(-EEXIST, &f), GITFS_BUS_ERROR_EXISTS);
        ck_assert_str_eq(bus_error_name(-EXDEV, &f), GITFS_BUS_ERROR_OUTSIDE);
        ck_assert_str_eq(bus_error_name(-EHOSTDOWN, &f), GITFS_BUS_ERROR_NOT_FOUND);
}
END_TEST

START_TEST(the_errno_speaks_for_local_failures) {
        Failure f = {.class = FAILURE_LOCAL};

        ck_assert_str_eq(bus_error_name(-ENOENT, &f), GITFS_BUS_ERROR_NOT_FOUND);
        ck_assert_str_eq(bus_error_name(-ENOENT, NULL), GITFS_BUS_ERROR_NOT_FOUND);
        ck_assert_str_eq(bus_error_name(-EBUSY, NULL), GITFS_BUS_ERROR_BUSY);
        ck_assert_str_eq(bus_error_name(-ENOMEM, &f), SD_BUS_ERROR_NO_MEMORY);
        ck_assert_str_eq(bus_error_name(-ENOSPC, &f), GITFS_BUS_ERROR_FAILED);
}
END_TEST

START_TEST(the_message_is_the_failures_text) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Failure f;

        int r = failure_set(&f, FAILURE_AUTH, "The server refused\xff\n\"%s\"", "acme");
        ck_assert_int_lt(bus_error_set(&error, r, &f), 0);
        ck_assert_str_eq(error.name, GITFS_BUS_ERROR_AUTH);
        ck_assert_str_eq(error.message, "The server refused? \"acme\"");
}
END_TEST

START_TEST(without_a_text_the_errno_is_described) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        ck_assert_int_lt(bus_error_set(&error, -ENOENT, NULL), 0);
        ck_assert_str_eq(error.message, "No such file or directory");
}
END_TEST

START_TEST(a_retry_time_is_told) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Failure f;

        int r = failure_set(&f, FAILURE_RATE_LIMITED, "Too many requests");
        f.retry_at_usec = now_usec() + 3600 * USEC_PER_SEC;
        ck_assert_int_lt(bus_error_set(&error, r, &f), 0);
        ck_assert_ptr_nonnull(strstr(error.message, "Too many requests (can be tried again in 3"));
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, every_class_has_a_name);
        tcase_add_test(tc, classes_that_share_an_errno_differ);
        tcase_add_test(tc, arguments_win_over_the_class);
        tcase_add_test(tc, the_errno_speaks_for_local_failures);
        tcase_add_test(tc, the_message_is_the_failures_text);
        tcase_add_test(tc, without_a_text_the_errno_is_described);
        tcase_add_test(tc, a_retry_time_is_told);
}

CHECK_MAIN("bus-error", add_tests)
