#include <errno.h>
#include <semaphore.h>
#include <string.h>

#include "lib/check-main.h"
#include "util/stats.h"
#include "work/flight.h"

/* A waiter that remembers what it was told. */
typedef struct Listener {
        FlightWaiter waiter;
        int n_landed;
        int result;
        Failure failure;
} Listener;

static void listener_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Listener *l = container_of(waiter, Listener, waiter);
        l->n_landed++;
        l->result = result;
        l->failure = *failure;
}

#define LISTENER ((Listener){.waiter.landed = listener_landed, .result = 1})

static const FlightKey key_a = {.kind = 1, .id = {1}};
static const FlightKey key_b = {.kind = 2, .id = {1}};

static Pool *pool;
static FlightTable *table;

static void start(void) {
        ck_assert_int_eq(pool_new(2, &pool), 0);
        ck_assert_int_eq(flight_table_new(pool, &table), 0);
}

/* Everything that landed has run when the pool is gone. */
static void finish(void) {
        pool = pool_free(pool);
        table = flight_table_free(table);
}

START_TEST(one_starts_and_the_others_join_R32) {
        Listener a[3] = {LISTENER, LISTENER, LISTENER}, b = LISTENER;

        start();
        int64_t started = stat_get(STAT_FLIGHT_STARTED), joined = stat_get(STAT_FLIGHT_JOINED);
        ck_assert_int_eq(flight_join(table, &key_a, &a[0].waiter), 1);
        ck_assert_int_eq(flight_join(table, &key_a, &a[1].waiter), 0);
        ck_assert_int_eq(flight_join(table, &key_b, &b.waiter), 1);
        ck_assert_int_eq(flight_join(table, &key_a, &a[2].waiter), 0);
        ck_assert_int_eq(flight_join(table, &key_a, NULL), 0);
        ck_assert_int_eq(stat_get(STAT_FLIGHT_STARTED) - started, 2);
        ck_assert_int_eq(stat_get(STAT_FLIGHT_JOINED) - joined, 3);
        ck_assert_uint_eq(flight_count(table), 2);
        ck_assert(flight_exists(table, &key_a));

        flight_land(table, &key_a, 0, NULL);
        ck_assert(!flight_exists(table, &key_a));
        ck_assert(flight_exists(table, &key_b));
        flight_land(table, &key_b, 0, NULL);
        flight_land(table, &key_b, 0, NULL); /* nobody asked: no-op */
        finish();

        for (size_t i = 0; i < 3; i++) {
                ck_assert_int_eq(a[i].n_landed, 1);
                ck_assert_int_eq(a[i].result, 0);
        }
        ck_assert_int_eq(b.n_landed, 1);
}
END_TEST

START_TEST(failure_reaches_all_and_is_not_kept_R32) {
        Listener l[2] = {LISTENER, LISTENER}, later = LISTENER;
        Failure failure;

        start();
        ck_assert_int_eq(flight_join(table, &key_a, &l[0].waiter), 1);
        ck_assert_int_eq(flight_join(table, &key_a, &l[1].waiter), 0);
        flight_land(table, &key_a, failure_set(&failure, FAILURE_OFFLINE, "no route"), &failure);
        memset(&failure, 0xff, sizeof(failure)); /* the table has its own copy */

        ck_assert_int_eq(flight_join(table, &key_a, &later.waiter), 1);
        flight_land(table, &key_a, 0, NULL);
        finish();

        for (size_t i = 0; i < 2; i++) {
                ck_assert_int_eq(l[i].n_landed, 1);
                ck_assert_int_eq(l[i].result, -EHOSTDOWN);
                ck_assert_int_eq(l[i].failure.class, FAILURE_OFFLINE);
                ck_assert_str_eq(l[i].failure.text, "no route");
        }
        ck_assert_int_eq(later.result, 0);
        ck_assert_int_eq(later.failure.class, FAILURE_NONE);
}
END_TEST

START_TEST(an_errno_alone_is_a_failure_too) {
        Listener l[2] = {LISTENER, LISTENER};

        start();
        ck_assert_int_eq(flight_join(table, &key_a, &l[0].waiter), 1);
        ck_assert_int_eq(flight_join(table, &key_b, &l[1].waiter), 1);
        flight_land(table, &key_a, -ENOENT, NULL);
        flight_land(table, &key_b, -ENOMEM, NULL);
        finish();

        ck_assert_int_eq(l[0].result, -ENOENT);
        ck_assert_int_eq(l[0].failure.class, FAILURE_NOT_FOUND);
        ck_assert_int_eq(l[1].result, -ENOMEM);
        ck_assert_int_eq(l[1].failure.class, FAILURE_LOCAL);
        ck_assert_str_eq(l[1].failure.text, strerrordesc_np(ENOMEM));
}
END_TEST

START_TEST(leaving_is_exact) {
        Listener stays = LISTENER, leaves = LISTENER, never = LISTENER;

        start();
        ck_assert(!flight_leave(table, &never.waiter));
        ck_assert_int_eq(flight_join(table, &key_a, &leaves.waiter), 1);
        ck_assert_int_eq(flight_join(table, &key_a, &stays.waiter), 0);
        ck_assert(flight_leave(table, &leaves.waiter));
        ck_assert(!flight_leave(table, &leaves.waiter));
        ck_assert(flight_exists(table, &key_a)); /* it goes on for the others */
        flight_land(table, &key_a, 0, NULL);
        ck_assert(!flight_leave(table, &stays.waiter));

        /* The one who left may wait again. */
        ck_assert_int_eq(flight_join(table, &key_b, &leaves.waiter), 1);
        flight_land(table, &key_b, 0, NULL);
        finish();
        ck_assert_int_eq(stays.n_landed, 1);
        ck_assert_int_eq(leaves.n_landed, 1);
}
END_TEST

START_TEST(a_flight_without_waiters) {
        start();
        ck_assert_int_eq(flight_join(table, &key_a, NULL), 1);
        ck_assert_int_eq(flight_join(table, &key_a, NULL), 0);
        flight_land(table, &key_a, 0, NULL);
        ck_assert_int_eq(flight_join(table, &key_a, NULL), 1);
        flight_land(table, &key_a, 0, NULL);
        ck_assert_uint_eq(flight_count(table), 0);
        finish();
        ck_assert_ptr_null(flight_table_free(NULL));
}
END_TEST

typedef struct Retry {
        FlightWaiter waiter;
        int n_landed;
        sem_t joined_again;
} Retry;

static void retry_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Retry *retry = container_of(waiter, Retry, waiter);
        if (++retry->n_landed == 1 && flight_join(table, &key_a, waiter) == 1)
                (void) sem_post(&retry->joined_again);
}

START_TEST(a_waiter_may_join_again_while_it_lands) {
        Retry retry = {.waiter.landed = retry_landed};

        start();
        (void) sem_init(&retry.joined_again, 0, 0);
        ck_assert_int_eq(flight_join(table, &key_a, &retry.waiter), 1);
        flight_land(table, &key_a, 0, NULL);
        (void) sem_wait(&retry.joined_again);
        flight_land(table, &key_a, 0, NULL);
        finish();
        ck_assert_int_eq(retry.n_landed, 2);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, one_starts_and_the_others_join_R32);
        tcase_add_test(tc, failure_reaches_all_and_is_not_kept_R32);
        tcase_add_test(tc, an_errno_alone_is_a_failure_too);
        tcase_add_test(tc, leaving_is_exact);
        tcase_add_test(tc, a_flight_without_waiters);
        tcase_add_test(tc, a_waiter_may_join_again_while_it_lands);
}

CHECK_MAIN("work/flight", add_tests)
