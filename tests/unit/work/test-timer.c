#include <pthread.h>
#include <stdatomic.h>

#include "lib/check-main.h"
#include "util/clock.h"
#include "work/timer.h"

enum { N = 64 };

typedef struct Alarm {
        Timer timer;
        struct Alarms *all;
        unsigned number;
        uint64_t when_usec;
} Alarm;

typedef struct Alarms {
        pthread_mutex_t mutex; /* guards what follows */
        pthread_cond_t cond;
        unsigned order[N];
        unsigned n_run, n_early;
        Alarm alarms[N];
} Alarms;

static void ring(Task *task) {
        Alarm *a = container_of(task, Alarm, timer.task);
        Alarms *all = a->all;

        (void) pthread_mutex_lock(&all->mutex);
        all->n_early += now_usec() < a->when_usec;
        all->order[all->n_run++] = a->number;
        (void) pthread_cond_signal(&all->cond);
        (void) pthread_mutex_unlock(&all->mutex);
}

static void arm(Timers *timers, Alarms *all, unsigned i, uint64_t when) {
        all->alarms[i] = (Alarm){
                .timer.task.run = ring,
                .all = all,
                .number = i,
                .when_usec = when,
        };
        timers_arm(timers, &all->alarms[i].timer, when);
}

/* In the order of their times, however they were armed, and none too early. */
START_TEST(in_order_and_not_before) {
        Alarms all = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
        _cleanup_(pool_freep) Pool *pool = NULL;
        Timers *timers;

        ck_assert_int_eq(pool_new(1, &pool), 0);
        ck_assert_int_eq(timers_new(pool, &timers), 0);
        uint64_t start = now_usec() + 20 * USEC_PER_MSEC;
        for (unsigned i = 0; i < N; i++) {
                unsigned at = i * 37 % N;
                arm(timers, &all, at, start + at * 200);
        }
        (void) pthread_mutex_lock(&all.mutex);
        while (all.n_run < N)
                (void) pthread_cond_wait(&all.cond, &all.mutex);
        (void) pthread_mutex_unlock(&all.mutex);
        ck_assert_uint_eq(all.n_early, 0);
        for (unsigned i = 0; i < N; i++)
                ck_assert_uint_eq(all.order[i], i);
        timers_free(timers);
}
END_TEST

START_TEST(the_end_waits_for_nothing_and_forgets_nothing) {
        Alarms all = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
        Timers *timers;
        Pool *pool;

        ck_assert_int_eq(pool_new(2, &pool), 0);
        ck_assert_int_eq(timers_new(pool, &timers), 0);
        for (unsigned i = 0; i < 3; i++)
                arm(timers, &all, i, now_usec() + 3600 * USEC_PER_SEC);
        timers_free(timers);
        pool_free(pool);
        ck_assert_uint_eq(all.n_run, 3);
}
END_TEST

/* The task of a timer that was disarmed never runs, also not at the end; that of one that has run
 * cannot be kept from it. */
START_TEST(disarmed_ones_do_not_run) {
        Alarms all = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
        Timers *timers;
        Pool *pool;

        ck_assert_int_eq(pool_new(1, &pool), 0);
        ck_assert_int_eq(timers_new(pool, &timers), 0);
        arm(timers, &all, 0, now_usec() + 3600 * USEC_PER_SEC);
        arm(timers, &all, 1, now_usec() + 7200 * USEC_PER_SEC);
        ck_assert(timers_disarm(timers, &all.alarms[0].timer));
        ck_assert(!timers_disarm(timers, &all.alarms[0].timer));
        arm(timers, &all, 2, now_usec());
        (void) pthread_mutex_lock(&all.mutex);
        while (all.n_run < 1)
                (void) pthread_cond_wait(&all.cond, &all.mutex);
        (void) pthread_mutex_unlock(&all.mutex);
        ck_assert_uint_eq(all.order[0], 2);
        ck_assert(!timers_disarm(timers, &all.alarms[2].timer));
        timers_free(timers);
        pool_free(pool);
        ck_assert_uint_eq(all.n_run, 2);
        ck_assert_uint_eq(all.order[1], 1);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, in_order_and_not_before);
        tcase_add_test(tc, disarmed_ones_do_not_run);
        tcase_add_test(tc, the_end_waits_for_nothing_and_forgets_nothing);
}

CHECK_MAIN("work/timer", add_tests)
