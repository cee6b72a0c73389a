/* The pool under threads that submit, tasks that resubmit and a pool that is freed meanwhile (R10,
 * R18, R19): run under ThreadSanitizer, too. */

#include <pthread.h>
#include <stdatomic.h>

#include "lib/check-main.h"
#include "work/pool.h"
#include "work/strand.h"

#define N_SUBMITTERS 8
#define N_TASKS 200
#define N_ROUNDS 20

/* What a task does is decided by its number: end, fail early, run again, post to the strand. */
typedef struct Shared {
        Pool *pool;
        Strand *strand;
        atomic_int n_finished;
        int n_on_strand; /* plain on purpose: the strand orders it */
} Shared;

typedef struct Unit {
        Task task;
        StrandItem item;
        Shared *shared;
        int number, runs;
} Unit;

static void unit_done(Unit *unit) {
        (void) atomic_fetch_add(&unit->shared->n_finished, 1);
        free(unit);
}

static void unit_on_strand(StrandItem *item) {
        Unit *unit = container_of(item, Unit, item);
        unit->shared->n_on_strand++;
        unit_done(unit);
}

static void unit_run(Task *task) {
        Unit *unit = container_of(task, Unit, task);

        if (unit->number % 3 == 0 && unit->runs++ < 5) {
                pool_submit(
                        unit->shared->pool, task, unit->runs % 2 ? TASK_NORMAL : TASK_BACKGROUND);
                return;
        }
        if (unit->number % 3 == 1) {
                unit->item.run = unit_on_strand;
                strand_post(unit->shared->strand, &unit->item);
                return;
        }
        unit_done(unit);
}

static void *submitter(void *userdata) {
        Shared *shared = userdata;

        for (int i = 0; i < N_TASKS; i++) {
                Unit *unit = calloc(1, sizeof(*unit));
                if (!unit)
                        abort();
                *unit = (Unit){.task.run = unit_run, .shared = shared, .number = i};
                pool_submit(shared->pool, &unit->task, i % 2 ? TASK_NORMAL : TASK_BACKGROUND);
        }
        return NULL;
}

START_TEST(every_task_runs_although_the_pool_is_freed_R18_R19) {
        for (int round = 0; round < N_ROUNDS; round++) {
                Shared shared = {0};
                pthread_t threads[N_SUBMITTERS];

                ck_assert_int_eq(pool_new(4, &shared.pool), 0);
                ck_assert_int_eq(strand_new(shared.pool, TASK_NORMAL, &shared.strand), 0);
                for (size_t i = 0; i < N_SUBMITTERS; i++)
                        ck_assert_int_eq(pthread_create(&threads[i], NULL, submitter, &shared), 0);
                for (size_t i = 0; i < N_SUBMITTERS; i++)
                        (void) pthread_join(threads[i], NULL);
                pool_free(shared.pool);
                strand_unref(shared.strand);

                ck_assert_int_eq(shared.n_finished, N_SUBMITTERS * N_TASKS);
                ck_assert_int_eq(shared.n_on_strand, N_SUBMITTERS * ((N_TASKS + 1) / 3));
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, every_task_runs_although_the_pool_is_freed_R18_R19);
}

CHECK_MAIN("stress/pool", add_tests)
