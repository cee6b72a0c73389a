#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/subprocess.h"

#define LONG (60 * USEC_PER_SEC)

static int
run(const char *script,
    const char *input,
    size_t input_len,
    size_t max,
    uint64_t timeout,
    Buf *out) {
        const char *const argv[] = {"sh", "-c", script, NULL};
        const char *const env[] = {"GITFS_TEST=told", NULL};

        return subprocess_run(argv, env, input, input_len, max, timeout, out);
}

START_TEST(test_input_output_status_environment) {
        _cleanup_buf_ Buf out = {0};

        ck_assert_int_eq(run("cat; echo $GITFS_TEST; exit 7", "in\n", 3, 100, LONG, &out), 7);
        ck_assert_str_eq(buf_str(&out), "in\ntold\n");
}
END_TEST

/* A directory can hold a .git/config that names programs. */
START_TEST(test_where_we_are_is_not_where_it_is) {
        _cleanup_buf_ Buf out = {0};
        char before[PATH_MAX];

        ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
        ck_assert_int_eq(chdir("/proc/self"), 0);
        int r = run("pwd -P", NULL, 0, 100, LONG, &out);
        ck_assert_int_eq(chdir(before), 0);
        ck_assert_int_eq(r, 0);
        ck_assert_str_eq(buf_str(&out), "/\n");
}
END_TEST

START_TEST(test_more_than_a_pipe_holds_in_both_directions) {
        static char input[1 << 20];
        _cleanup_buf_ Buf out = {0};

        memset(input, 'x', sizeof(input));
        ck_assert_int_eq(run("cat", input, sizeof(input), 2 * sizeof(input), LONG, &out), 0);
        ck_assert_uint_eq(out.len, sizeof(input));
        ck_assert_int_eq(memcmp(out.data, input, sizeof(input)), 0);
}
END_TEST

START_TEST(test_a_child_that_does_not_read_is_no_error) {
        static char input[1 << 20];
        _cleanup_buf_ Buf out = {0};

        ck_assert_int_eq(run("exec <&-; echo done", input, sizeof(input), 100, LONG, &out), 0);
}
END_TEST

START_TEST(test_limits) {
        _cleanup_buf_ Buf out = {0};

        ck_assert_int_eq(run("yes", NULL, 0, 1000, LONG, &out), -EFBIG);
        ck_assert_uint_eq(out.len, 0);
        /* With a helper of its own that would outlive it. */
        ck_assert_int_eq(run("sleep 1000 & wait", NULL, 0, 1000, USEC_PER_MSEC, &out), -ETIMEDOUT);
        ck_assert_int_eq(
                run("exec >&- <&-; sleep 1000", NULL, 0, 1000, 50 * USEC_PER_MSEC, &out),
                -ETIMEDOUT);
        ck_assert_int_eq(run("kill -9 $$", NULL, 0, 1000, LONG, &out), -EINTR);

        const char *const argv[] = {"/nonexistent/program", NULL};
        ck_assert_int_eq(subprocess_run(argv, NULL, NULL, 0, 10, LONG, &out), -ENOENT);
}
END_TEST

/* Nobody waits for a helper when the daemon stops. */
START_TEST(test_stop) {
        _cleanup_close_ int stop_fd = eventfd(1, EFD_CLOEXEC);
        const char *const scripts[] = {"sleep 1000 & wait", "exec >&- <&-; sleep 1000"};
        _cleanup_buf_ Buf out = {0};

        ck_assert_int_ge(stop_fd, 0);
        for (size_t i = 0; i < ELEMENTSOF(scripts); i++) {
                const char *const argv[] = {"sh", "-c", scripts[i], NULL};
                ck_assert_int_eq(
                        subprocess_run_until(argv, NULL, NULL, 0, 100, LONG, stop_fd, &out),
                        -ECANCELED);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_input_output_status_environment);
        tcase_add_test(tc, test_where_we_are_is_not_where_it_is);
        tcase_add_test(tc, test_more_than_a_pipe_holds_in_both_directions);
        tcase_add_test(tc, test_a_child_that_does_not_read_is_no_error);
        tcase_add_test(tc, test_limits);
        tcase_add_test(tc, test_stop);
}

CHECK_MAIN("subprocess", add_tests)
