/* Single flight under threads (R19, R32, R33): run under ThreadSanitizer, too. */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "lib/check-main.h"
#include "work/flight.h"

#define N_THREADS 64
#define N_ROUNDS 30

static const FlightKey key = {.kind = 7, .id = {1, 2, 3}};

/* What the threads of one round share. `cached` stands for the store: the work fills it, and
 * whoever starts a flight looks there first. */
typedef struct Round {
        Pool *pool;
        FlightTable *table;
        pthread_barrier_t start;
        int outcome;
        atomic_bool cached;
        atomic_int n_work, n_landed, n_failed, n_hit, n_left, n_wrong;
        Task work;
} Round;

typedef struct Reader {
        pthread_t thread;
        Round *round;
        FlightWaiter waiter;
        atomic_int n_landed;
        sem_t landed;
        bool leaves;
} Reader;

static void reader_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Reader *reader = container_of(waiter, Reader, waiter);
        Round *round = reader->round;

        if (atomic_fetch_add(&reader->n_landed, 1) != 0 || result != round->outcome ||
            failure_errno(failure->class) != result)
                (void) atomic_fetch_add(&round->n_wrong, 1);
        (void) atomic_fetch_add(result < 0 ? &round->n_failed : &round->n_landed, 1);
        (void) sem_post(&reader->landed);
}

static void work_run(Task *task) {
        Round *round = container_of(task, Round, work);
        Failure failure = {0};

        (void) atomic_fetch_add(&round->n_work, 1);
        if (round->outcome < 0)
                (void) failure_set(&failure, FAILURE_SERVER, "answered 500");
        else
                atomic_store(&round->cached, true);
        flight_land(round->table, &key, round->outcome, &failure);
}

static void *reader_main(void *userdata) {
        Reader *reader = userdata;
        Round *round = reader->round;

        (void) pthread_barrier_wait(&round->start);
        int r = flight_join(round->table, &key, &reader->waiter);
        if (r == 1) {
                if (atomic_load(&round->cached)) {
                        (void) atomic_fetch_add(&round->n_hit, 1);
                        flight_land(round->table, &key, 0, NULL);
                } else
                        pool_submit(round->pool, &round->work, TASK_NORMAL);
        }
        if (reader->leaves) {
                if (flight_leave(round->table, &reader->waiter)) {
                        (void) atomic_fetch_add(&round->n_left, 1);
                        return NULL;
                }
        }
        (void) sem_wait(&reader->landed);
        return NULL;
}

static void run_round(Round *round, bool leaving) {
        Reader *readers = calloc(N_THREADS, sizeof(*readers));

        ck_assert_ptr_nonnull(readers);
        ck_assert_int_eq(pool_new(4, &round->pool), 0);
        ck_assert_int_eq(flight_table_new(round->pool, &round->table), 0);
        ck_assert_int_eq(pthread_barrier_init(&round->start, NULL, N_THREADS), 0);
        round->work.run = work_run;
        for (size_t i = 0; i < N_THREADS; i++) {
                readers[i].round = round;
                readers[i].waiter.landed = reader_landed;
                readers[i].leaves = leaving && i % 2;
                (void) sem_init(&readers[i].landed, 0, 0);
                ck_assert_int_eq(
                        pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]), 0);
        }
        for (size_t i = 0; i < N_THREADS; i++)
                (void) pthread_join(readers[i].thread, NULL);
        pool_free(round->pool);
        ck_assert_uint_eq(flight_count(round->table), 0);
        flight_table_free(round->table);
        (void) pthread_barrier_destroy(&round->start);
        for (size_t i = 0; i < N_THREADS; i++)
                (void) sem_destroy(&readers[i].landed);
        free(readers);
}

START_TEST(sixty_four_readers_cause_one_piece_of_work_R32_R33) {
        for (int i = 0; i < N_ROUNDS; i++) {
                Round round = {0};
                run_round(&round, /* leaving= */ false);
                ck_assert_int_eq(round.n_work, 1);
                ck_assert_int_eq(round.n_landed, N_THREADS);
                ck_assert_int_eq(round.n_wrong, 0);
        }
}
END_TEST

START_TEST(leave_and_land_have_one_outcome_each) {
        for (int i = 0; i < N_ROUNDS; i++) {
                Round round = {0};
                run_round(&round, /* leaving= */ true);
                ck_assert_int_eq(round.n_work, 1);
                ck_assert_int_eq(round.n_landed + round.n_left, N_THREADS);
                ck_assert_int_ge(round.n_landed, N_THREADS / 2);
                ck_assert_int_eq(round.n_wrong, 0);
        }
}
END_TEST

/* Every failed piece of work reaches all its waiters, and the key is free again: whoever comes
 * later starts the next one. */
START_TEST(failures_reach_all_waiters_R19_R32) {
        for (int i = 0; i < N_ROUNDS; i++) {
                Round *round = calloc(1, sizeof(*round));
                ck_assert_ptr_nonnull(round);
                round->outcome = failure_errno(FAILURE_SERVER);
                run_round(round, /* leaving= */ false);
                ck_assert_int_ge(round->n_work, 1);
                ck_assert_int_eq(round->n_failed, N_THREADS);
                ck_assert_int_eq(round->n_landed, 0);
                ck_assert_int_eq(round->n_wrong, 0);
                free(round);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, sixty_four_readers_cause_one_piece_of_work_R32_R33);
        tcase_add_test(tc, leave_and_land_have_one_outcome_each);
        tcase_add_test(tc, failures_reach_all_waiters_R19_R32);
}

CHECK_MAIN("stress/flight", add_tests)
