/* Against the real `git credential`, with a helper that is a shell function and keeps a log. */

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "forge/credential.h"
#include "lib/check-main.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/fd.h"

static char directory[64];
static char log_path[128];
static Pool *pool;
static Helpers *helpers;
static Credentials *c;

/* Logs each verb; answers `get` with this. */
static void setup(const char *answer) {
        static char helper[512];

        (void) snprintf(directory, sizeof(directory), "/tmp/gitfs-credential-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        (void) snprintf(log_path, sizeof(log_path), "%s/log", directory);
        (void) snprintf(
                helper,
                sizeof(helper),
                "!f() { cat >/dev/null; echo $1 >> %s; test $1 = get && printf '%s'; }; f",
                log_path,
                answer);
        ck_assert_int_eq(setenv("HOME", directory, 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_NOSYSTEM", "1", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_COUNT", "1", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_KEY_0", "credential.helper", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_VALUE_0", helper, 1), 0);
        ck_assert_int_eq(pool_new(1, &pool), 0);
        ck_assert_int_eq(helpers_new(pool, &helpers), 0);
        ck_assert_int_eq(credentials_new(true, helpers, &c), 0);
}

static void teardown(void) {
        helpers_stop(helpers);
        pool_free(pool);
        helpers_free(helpers);
        credentials_free(c);
        (void) unlink(log_path); /* a test may not have written it */
        (void) rmdir(directory);
}

/* As soon as as much is there: nobody waits for what git is told. */
static void assert_log(const char *expected) {
        uint64_t deadline = now_usec() + 60 * USEC_PER_SEC;

        for (;;) {
                _cleanup_buf_ Buf b = {0};

                if (access(log_path, F_OK) == 0)
                        ck_assert_int_eq(read_file(log_path, 4096, &b), 0);
                if (b.len >= strlen(expected) || now_usec() >= deadline) {
                        ck_assert_str_eq(buf_str(&b), expected);
                        return;
                }
                (void) sched_yield();
        }
}

typedef struct Run {
        CredentialFill fill;
        sem_t ended;
        int result;
        Credential credential;
} Run;

static void on_filled(CredentialFill *fill, int result, Credential *credential) {
        Run *run = container_of(fill, Run, fill);

        run->result = result;
        run->credential = *credential;
        *credential = (Credential){0};
        (void) sem_post(&run->ended); /* cannot fail */
}

static int fill(const char *url, Credential *ret) {
        Run run = {
                .fill = {
                        .url = url,
                        .deadline_usec = now_usec() + 30 * USEC_PER_SEC,
                        .done = on_filled,
                }};

        ck_assert_int_eq(sem_init(&run.ended, 0, 0), 0);
        credentials_fill(c, &run.fill);
        while (sem_wait(&run.ended) < 0)
                ck_assert_int_eq(errno, EINTR);
        ck_assert_int_eq(sem_destroy(&run.ended), 0);
        *ret = run.credential;
        return run.result;
}

START_TEST(the_helper_is_asked_once_for_an_org) {
        Credential a, b;

        setup("username=alice\\npassword=s3cret\\n");
        ck_assert_int_eq(credentials_peek(c, "https://h.test/org/a", &a), 0);
        ck_assert_int_eq(fill("https://h.test/org/a", &a), 1);
        ck_assert_str_eq(a.username, "alice");
        ck_assert_str_eq(a.password, "s3cret");
        ck_assert_int_eq(credentials_peek(c, "https://h.test/org/b", &b), 1);
        ck_assert_str_eq(b.password, "s3cret");
        credential_done(&b);
        ck_assert_int_eq(fill("https://h.test/org/b", &b), 1);
        assert_log("get\n");
        credential_done(&b);
        /* What lies elsewhere is another question. */
        ck_assert_int_eq(credentials_peek(c, "https://h.test/other/b", &b), 0);
        ck_assert_int_eq(credentials_peek(c, "https://h.test.evil/org/b", &b), 0);
        credential_done(&a);
        teardown();
}
END_TEST

START_TEST(nobody_waits_for_a_helper_when_the_daemon_stops) {
        Credential a;

        setup("'; sleep 1000; printf '");
        helpers_stop(helpers);
        ck_assert_int_eq(fill("https://h.test/org/a", &a), -ECANCELED);
        teardown();
}
END_TEST

START_TEST(a_good_one_is_approved_once) {
        Credential a;

        setup("username=alice\\npassword=s3cret\\n");
        ck_assert_int_eq(fill("https://h.test/org/a", &a), 1);
        credentials_approve(c, &a);
        credentials_approve(c, &a);
        assert_log("get\nstore\n");
        credential_done(&a);
        teardown();
}
END_TEST

START_TEST(a_bad_one_is_rejected_and_not_asked_for_again) {
        Credential a, b;

        setup("username=alice\\npassword=wrong\\n");
        ck_assert_int_eq(fill("https://h.test/org/a", &a), 1);
        credentials_reject(c, &a);
        ck_assert_int_eq(fill("https://h.test/org/a", &b), 0);
        assert_log("get\nerase\n");
        credential_done(&a);
        teardown();
}
END_TEST

/* `git credential reject` deletes what the user stored: one odd 401 must not do that. */
START_TEST(one_that_was_good_is_asked_for_again_before_it_is_rejected) {
        Credential a, b;

        setup("username=alice\\npassword=s3cret\\n");
        ck_assert_int_eq(fill("https://h.test/org/a", &a), 1);
        credentials_approve(c, &a);
        credentials_reject(c, &a);
        assert_log("get\nstore\n");
        ck_assert_int_eq(fill("https://h.test/org/a", &b), 1);
        credentials_reject(c, &b);
        assert_log("get\nstore\nget\nerase\n");
        credential_done(&a);
        credential_done(&b);
        teardown();
}
END_TEST

START_TEST(no_answer_is_remembered) {
        Credential a;

        setup("");
        ck_assert_int_eq(fill("https://h.test/org/a", &a), 0);
        ck_assert_int_eq(fill("https://h.test/org/b", &a), 0);
        assert_log("get\n");
        teardown();
}
END_TEST

START_TEST(without_the_option_nobody_is_asked) {
        Credential a;

        setup("username=alice\\npassword=s3cret\\n");
        credentials_free(c);
        ck_assert_int_eq(credentials_new(false, NULL, &c), 0);
        ck_assert_int_eq(fill("https://h.test/org/a", &a), 0);
        assert_log("");
        teardown();
}
END_TEST

/* All of a server is one URL without a path: what holds for it holds for no other server. */
START_TEST(a_server_is_not_beside_another) {
        Credential a, b;

        setup("username=alice\\npassword=s3cret\\n");
        ck_assert_int_eq(fill("https://h.test", &a), 1);
        ck_assert_int_eq(credentials_peek(c, "https://h.test", &b), 1);
        credential_done(&b);
        ck_assert_int_eq(credentials_peek(c, "https://evil.test", &b), 0);
        ck_assert_int_eq(credentials_peek(c, "https://h.test.evil", &b), 0);
        credential_done(&a);
        teardown();
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_server_is_not_beside_another);
        tcase_add_test(tc, the_helper_is_asked_once_for_an_org);
        tcase_add_test(tc, nobody_waits_for_a_helper_when_the_daemon_stops);
        tcase_add_test(tc, a_good_one_is_approved_once);
        tcase_add_test(tc, a_bad_one_is_rejected_and_not_asked_for_again);
        tcase_add_test(tc, one_that_was_good_is_asked_for_again_before_it_is_rejected);
        tcase_add_test(tc, no_answer_is_remembered);
        tcase_add_test(tc, without_the_option_nobody_is_asked);
}

CHECK_MAIN("credential", add_tests)
