#include <signal.h>
#include <string.h>

#include "lib/check-main.h"
#include "util/thread.h"

typedef struct Started {
        pthread_barrier_t looked; /* a thread that has ended has no name any more */
        int n_open;
} Started;

static void *count_open_signals(void *userdata) {
        static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
        Started *started = userdata;
        sigset_t blocked;

        started->n_open = pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 ? 0 : 1;
        for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
                started->n_open += !sigismember(&blocked, signals[i]);
        (void) pthread_barrier_wait(&started->looked); /* one of the two is told so */
        return userdata;
}

START_TEST(a_thread_takes_no_signals) {
        sigset_t before, after;
        pthread_t thread;
        char name[16] = "";
        void *returned;
        Started started = {.n_open = -1};

        ck_assert_int_eq(pthread_barrier_init(&started.looked, NULL, 2), 0);
        (void) sigemptyset(&before);
        ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
        ck_assert_int_eq(thread_start(&thread, "gitfs-test", count_open_signals, &started), 0);
        ck_assert_int_eq(pthread_getname_np(thread, name, sizeof(name)), 0);
        ck_assert_str_eq(name, "gitfs-test");
        (void) pthread_barrier_wait(&started.looked); /* likewise */
        ck_assert_int_eq(pthread_join(thread, &returned), 0);
        ck_assert_ptr_eq(returned, &started);
        ck_assert_int_eq(started.n_open, 0);
        ck_assert_int_eq(pthread_barrier_destroy(&started.looked), 0);

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
