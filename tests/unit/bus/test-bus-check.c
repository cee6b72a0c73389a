#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "bus/bus-check.h"
#include "lib/check-main.h"

#define MOUNT "/home/ann/git"

START_TEST(bytes_are_read_in_their_spelling) {
        _cleanup_free_ char *bytes = NULL;
        Failure f;

        ck_assert_int_eq(bus_check_bytes("a\\xffb\\\\", &bytes, &f), 0);
        ck_assert_str_eq(
                bytes,
                "a\xff"
                "b\\");
}
END_TEST

START_TEST(no_string_is_longer_than_a_path) {
        static char text[4 * PATH_MAX + 1];
        char *bytes = NULL;
        Failure f = {0};

        ck_assert_int_eq(bus_check_bytes("nul: \\x00", &bytes, &f), -EINVAL);
        ck_assert_ptr_nonnull(strstr(f.text, "NUL"));
        memset(text, 'x', PATH_MAX);
        ck_assert_int_eq(bus_check_bytes(text, &bytes, &f), -EINVAL);
        ck_assert_ptr_nonnull(strstr(f.text, "too long"));
        text[PATH_MAX - 1] = '\0';
        ck_assert_int_eq(bus_check_bytes(text, &bytes, &f), 0);
        ck_assert_str_eq(bytes, text);
        free(bytes);
        /* It is the bytes that count, not how they are spelled. */
        for (size_t i = 0; i < PATH_MAX - 1; i++)
                memcpy(text + 4 * i, "\\xff", 4);
        ck_assert_int_eq(bus_check_bytes(text, &bytes, &f), 0);
        ck_assert_uint_eq(strlen(bytes), PATH_MAX - 1);
        free(bytes);
}
END_TEST

START_TEST(paths_lie_in_the_mount) {
        static const struct {
                const char *typed, *expected; /* NULL: outside */
        } rows[] = {
                {"", ""},
                {".", ""},
                {"./", ""},
                {"/home/ann/git", ""},
                {"/home/ann/git/", ""},
                {"/home//ann/./git/acme//app/", "acme/app"},
                {"acme/app", "acme/app"},
                {"./acme", "acme"},
                {"acme/.hidden", "acme/.hidden"},
                {".hidden/..x", ".hidden/..x"},
                {"/", NULL},
                {"/home/ann", NULL},
                {"/home/ann/gitfs", NULL},
                {"/home/ann/git/../x", NULL},
                {"..", NULL},
                {"acme/../..", NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *path = NULL;
                Failure f = {0};
                int r = bus_check_path(rows[i].typed, MOUNT, &path, &f);
                ck_assert_msg(r == (rows[i].expected ? 0 : -EXDEV), "%s: %d", rows[i].typed, r);
                if (rows[i].expected)
                        ck_assert_str_eq(path, rows[i].expected);
                else
                        ck_assert_ptr_nonnull(strstr(f.text, rows[i].typed));
        }
}
END_TEST

START_TEST(unknown_flags_are_told) {
        Failure f = {0};

        ck_assert_int_eq(bus_check_flags(0, 3, &f), 0);
        ck_assert_int_eq(bus_check_flags(3, 3, &f), 0);
        ck_assert_int_eq(bus_check_flags(UINT64_C(1) << 63 | 1, 3, &f), -EINVAL);
        ck_assert_str_eq(f.text, "Unknown flags 0x8000000000000001");
}
END_TEST

START_TEST(a_job_has_one_path) {
        static const char *const others[] = {
                "",
                "/",
                GITFS_BUS_JOB_PREFIX,
                GITFS_BUS_JOB_PREFIX "/",
                GITFS_BUS_JOB_PREFIX "/0",
                GITFS_BUS_JOB_PREFIX "/07",
                GITFS_BUS_JOB_PREFIX "/+7",
                GITFS_BUS_JOB_PREFIX "/7x",
                GITFS_BUS_JOB_PREFIX "/4294967296",
                GITFS_BUS_JOB_PREFIX "/99999999999999999999999",
        };
        uint32_t id;

        ck_assert_int_eq(bus_job_id(GITFS_BUS_JOB_PREFIX "/4294967295", &id), 1);
        ck_assert_uint_eq(id, UINT32_MAX);
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                ck_assert_int_eq(bus_job_id(others[i], &id), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, bytes_are_read_in_their_spelling);
        tcase_add_test(tc, no_string_is_longer_than_a_path);
        tcase_add_test(tc, paths_lie_in_the_mount);
        tcase_add_test(tc, unknown_flags_are_told);
        tcase_add_test(tc, a_job_has_one_path);
}

CHECK_MAIN("bus-check", add_tests)
