#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "util/fd.h"
#include "util/path.h"

static void check_mode(const char *path, mode_t expected) {
        struct stat st;

        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode, expected);
}

static void check_content(const char *path, const char *expected) {
        _cleanup_buf_ Buf text = {0};

        ck_assert_int_eq(read_file(path, 100, &text), 0);
        ck_assert_str_eq(buf_str(&text), expected);
}

START_TEST(directories_on_the_way_are_made) {
        _cleanup_temp_dir_ TempDir t = {0};
        struct stat st;

        temp_dir_init(&t);
        _cleanup_free_ char *dir = path_join(t.path, "a", "b", NULL);
        _cleanup_free_ char *file = path_join(dir, "file", NULL);
        for (int again = 0; again < 2; again++) {
                ck_assert_int_eq(mkdir_above(file, 0700), 0);
                check_mode(dir, S_IFDIR | 0700);
                ck_assert_int_lt(stat(file, &st), 0);
        }
        ck_assert_int_eq(mkdir_parents(file, 0700), 0);
        check_mode(file, S_IFDIR | 0700);

        temp_dir_write(&t, "f", "", 0);
        _cleanup_free_ char *below = path_join(t.path, "f", "file", NULL);
        ck_assert_int_eq(mkdir_above(below, 0700), -ENOTDIR);
        ck_assert_int_eq(mkdir_parents(below, 0700), -ENOTDIR);
        ck_assert_int_eq(mkdir_above("/file", 0700), 0);
        ck_assert_int_eq(mkdir_above("", 0700), -ENAMETOOLONG);
}
END_TEST

/* As orgs, pins and tokens are kept: for this user alone, replaced as a whole. */
START_TEST(a_file_of_our_own_is_written) {
        _cleanup_temp_dir_ TempDir t = {0};
        Failure failure = {0};

        temp_dir_init(&t);
        _cleanup_free_ char *dir = path_join(t.path, "config", NULL);
        _cleanup_free_ char *file = path_join(dir, "file", NULL);
        ck_assert_int_eq(write_own_file(file, "first", 5, &failure), 0);
        check_mode(dir, S_IFDIR | 0700);
        check_mode(file, S_IFREG | 0600);
        check_content(file, "first");
        ck_assert_int_eq(write_own_file(file, "2nd", 3, &failure), 0);
        check_mode(file, S_IFREG | 0600);
        check_content(file, "2nd");
        ck_assert_int_eq(failure.class, FAILURE_NONE);
}
END_TEST

START_TEST(what_cannot_be_written_is_told_why) {
        _cleanup_temp_dir_ TempDir t = {0};
        Failure failure = {0};

        temp_dir_init(&t);
        temp_dir_write(&t, "f", "", 0);
        temp_dir_write(&t, "d/x", "", 0);
        _cleanup_free_ char *below = path_join(t.path, "f", "file", NULL);
        _cleanup_free_ char *directory = path_join(t.path, "d", NULL);
        ck_assert_int_eq(write_own_file(below, "", 0, &failure), -ENOTDIR);
        ck_assert_int_eq(failure.class, FAILURE_LOCAL);
        ck_assert_ptr_nonnull(strstr(failure.text, "/f/file\": Not a directory"));
        ck_assert_int_eq(write_own_file(directory, "", 0, &failure), -EISDIR);
        ck_assert_ptr_nonnull(strstr(failure.text, "/d\": Is a directory"));
        ck_assert_int_eq(write_own_file(below, "", 0, NULL), -ENOTDIR);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, directories_on_the_way_are_made);
        tcase_add_test(tc, a_file_of_our_own_is_written);
        tcase_add_test(tc, what_cannot_be_written_is_told_why);
}

CHECK_MAIN("util/fd", add_tests)
