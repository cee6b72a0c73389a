#include <signal.h>
#include <string.h>

#include "lib/check-main.h"
#include "util/thread.h"

static void *count_open_signals(void *userdata) {
        static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
        int *n_open = userdata;
        sigset_t blocked;

        *n_open = pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 ? 0 : 1;
        for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
                *n_open += !sigismember(&blocked, signals[i]);
        return userdata;
}

START_TEST(a_thread_takes_no_signals) {
        sigset_t before, after;
        pthread_t thread;
        char name[16] = "";
        void *returned;
        int n_open = -1;

        (void) sigemptyset(&before);
        ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
        ck_assert_int_eq(thread_start(&thread, "gitfs-test", count_open_signals, &n_open), 0);
        ck_assert_int_eq(pthread_getname_np(thread, name, sizeof(name)), 0);
        ck_assert_str_eq(name, "gitfs-test");
        ck_assert_int_eq(pthread_join(thread, &returned), 0);
        ck_assert_ptr_eq(returned, &n_open);
        ck_assert_int_eq(n_open, 0);

        /* Whoever starts it takes what he took before. */
        ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
        ck_assert_int_eq(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
        ck_assert_int_eq(sigismember(&after, SIGPIPE), sigismember(&before, SIGPIPE));
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_thread_takes_no_signals);
}

CHECK_MAIN("util/thread", add_tests)
