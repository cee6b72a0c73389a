/* Tokens from files, and from descriptors that somebody hands over. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "forge/secret-source.h"
#include "lib/check-main.h"
#include "secret-fixture.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/secret-memory.h"

START_TEST(a_file_that_others_may_read_is_refused) { /* issue 3, 5: a 0600 file */
        static const mode_t modes[] = {0640, 0604, 0660, 0700, 0622};
        Fixture f;

        for (size_t i = 0; i < ELEMENTSOF(modes); i++) {
                setup(&f, ORG_GITHUB, "https://github.test/acme");
                write_text(&f, "gh-token", "from-gh\n", 0600);
                write_text(&f, "credentials/acme", "token\n", modes[i]);
                assert_result(&f, -EPERM);
                assert_words(&f, FAILURE_LOCAL, "chmod 600");
                assert_log(&f, ""); /* nobody else is asked instead */
                teardown(&f);
        }
        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "credentials/acme", "token\n", 0400);
        assert_token(&f, SECRET_FILE, "token");
        teardown(&f);
}
END_TEST

START_TEST(what_is_no_plain_file_of_ours_is_refused) {
        Fixture f;
        _cleanup_free_ char *path = NULL, *elsewhere = NULL;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "elsewhere", "token\n", 0600);
        write_text(&f, "credentials/other", "token\n", 0600);
        path = in_dir(&f, "credentials/acme");
        elsewhere = in_dir(&f, "elsewhere");
        ck_assert_int_eq(symlink(elsewhere, path), 0);
        assert_result(&f, -EPERM);
        assert_words(&f, FAILURE_LOCAL, "symbolic link");

        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(mkfifo(path, 0600), 0);
        secrets_flush(f.secrets);
        assert_result(&f, -EPERM);
        assert_words(&f, FAILURE_LOCAL, "no regular file");

        if (geteuid() == 0) { /* else it cannot be given away, which is fine too */
                write_text(&f, "credentials/mine", "token\n", 0600);
                _cleanup_free_ char *mine = in_dir(&f, "credentials/mine");
                ck_assert_int_eq(chown(mine, 65534, 65534), 0);
                ck_assert_int_eq(rename(mine, path), 0);
                secrets_flush(f.secrets);
                assert_result(&f, -EPERM);
                assert_words(&f, FAILURE_LOCAL, "another user");
        }
        teardown(&f);
}
END_TEST

START_TEST(what_is_no_token_is_refused) { /* issue 3, bad input: a token with a newline */
        static const char *const bad[] = {
                "", "\n", "two\nlines\n", "with blank", "tab\tbed", "b\xc3\xa4r", "a\r\nb", "\x7f"};
        Fixture f;
        _cleanup_free_ char *big = malloc(20001);

        ck_assert_ptr_nonnull(big);
        memset(big, 'x', 20000);
        big[20000] = '\0';
        setup(&f, ORG_GITHUB, "https://github.test/acme");
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ck_assert_int_eq(secret_file_write(f.dir.path, "acme", bad[i]), -EINVAL);
                write_text(&f, "credentials/acme", bad[i], 0600);
                secrets_flush(f.secrets);
                assert_result(&f, -EINVAL);
                assert_words(&f, FAILURE_LOCAL, "holds no token");
        }
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", big), -EINVAL);
        write_text(&f, "credentials/acme", big, 0600);
        secrets_flush(f.secrets);
        assert_result(&f, -EINVAL);
        write_text(&f, "credentials/acme", "dos\r\n", 0600);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_FILE, "dos");

        /* What a tool prints goes into headers just the same. */
        ck_assert_int_eq(secret_file_remove(f.dir.path, "acme"), 0);
        write_text(&f, "gh-token", "two\nlines\n", 0600);
        secrets_flush(f.secrets);
        assert_result(&f, 0);
        teardown(&f);
}
END_TEST

/* A file of our own mount would wait for whoever reads it, a terminal is not ours to change. */
START_TEST(what_cannot_be_waited_for_is_refused) {
        static const char *const paths[] = {"/proc/self/stat", "/dev/zero", "/proc/self"};
        char *token = NULL;

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                _cleanup_close_ int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
                Failure failure = {0};

                ck_assert_int_ge(fd, 0);
                ck_assert_int_eq(
                        secret_read_fd(fd, now_usec() + USEC_PER_SEC, -1, &token, &failure),
                        -EINVAL);
                ck_assert_ptr_nonnull(strstr(failure.text, "a pipe"));
                ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
        }
}
END_TEST

START_TEST(a_token_comes_by_pipe_or_memory) {
        for (int memory = 0; memory < 2; memory++) {
                _cleanup_secret_free_ char *token = NULL;
                Failure failure = {0};
                int fds[2] = {-1, -1};

                if (memory)
                        fds[0] = fds[1] = memfd_create("token", MFD_CLOEXEC);
                else
                        ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
                ck_assert_int_eq(write_all(fds[1], "abc\n", 4), 0);
                if (memory)
                        ck_assert_int_eq(lseek(fds[0], 0, SEEK_SET), 0);
                else
                        ck_assert_int_eq(close(fds[1]), 0);
                ck_assert_int_eq(
                        secret_read_fd(
                                fds[0], now_usec() + 10 * USEC_PER_SEC, -1, &token, &failure),
                        1);
                ck_assert_str_eq(token, "abc");
                ck_assert_int_eq(close(fds[0]), 0);
        }
}
END_TEST

START_TEST(a_file_is_written_for_its_owner_only) {
        Fixture f;
        struct stat st;
        _cleanup_free_ char *path = NULL, *directory = NULL;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        (void) umask(0);
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "token"), 0);
        path = in_dir(&f, "credentials/acme");
        directory = in_dir(&f, "credentials");
        ck_assert_int_eq(lstat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
        ck_assert_int_eq(lstat(directory, &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFDIR | 0700);
        ck_assert_int_eq(secret_file_write(f.dir.path, "..", "token"), -EINVAL);
        ck_assert_int_eq(secret_file_write(f.dir.path, "a/b", "token"), -EINVAL);

        ck_assert_int_eq(secret_file_remove(f.dir.path, "acme"), 0);
        ck_assert_int_lt(lstat(path, &st), 0);
        ck_assert_int_eq(secret_file_remove(f.dir.path, "acme"), 0);
        teardown(&f);
}
END_TEST

START_TEST(nobody_waits_for_a_writer_when_the_daemon_stops) {
        char *token = NULL;
        Failure failure;
        int fds[2], stop_fd = eventfd(1, EFD_CLOEXEC);

        ck_assert_int_ge(stop_fd, 0);
        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(
                secret_read_fd(fds[0], now_usec() + 60 * USEC_PER_SEC, stop_fd, &token, &failure),
                -ECANCELED);
        ck_assert_ptr_null(token);
        (void) safe_close(fds[0]);
        (void) safe_close(fds[1]);
        (void) safe_close(stop_fd);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_file_that_others_may_read_is_refused);
        tcase_add_test(tc, what_is_no_plain_file_of_ours_is_refused);
        tcase_add_test(tc, what_is_no_token_is_refused);
        tcase_add_test(tc, what_cannot_be_waited_for_is_refused);
        tcase_add_test(tc, a_token_comes_by_pipe_or_memory);
        tcase_add_test(tc, a_file_is_written_for_its_owner_only);
        tcase_add_test(tc, nobody_waits_for_a_writer_when_the_daemon_stops);
}

CHECK_MAIN("secret-file", add_tests)
