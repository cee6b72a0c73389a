#include <signal.h>
#include <string.h>
#include <unistd.h>

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

static void *find_signal_stack(void *userdata) {
        stack_t *stack = userdata;

        return sigaltstack(NULL, stack) == 0 ? stack->ss_sp : NULL;
}

START_TEST(a_thread_has_a_stack_for_the_end_of_its_own) {
        stack_t stack = {.ss_flags = SS_DISABLE};
        pthread_t thread;
        void *at;

        ck_assert_int_eq(thread_start(&thread, "gitfs-test", find_signal_stack, &stack), 0);
        ck_assert_int_eq(pthread_join(thread, &at), 0);
        ck_assert_ptr_nonnull(at);
        ck_assert_int_eq(stack.ss_flags & SS_DISABLE, 0);
        ck_assert_uint_ge(stack.ss_size, (size_t) sysconf(_SC_SIGSTKSZ));
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_thread_takes_no_signals);
        tcase_add_test(tc, a_thread_has_a_stack_for_the_end_of_its_own);
}

CHECK_MAIN("util/thread", add_tests)
