#include <semaphore.h>
#include <stdatomic.h>

#include "lib/check-main.h"
#include "work/pool.h"

#define N_TASKS 200

/* A task that appends its number to a shared journal. */
typedef struct Journal {
        atomic_uint n;
        int numbers[N_TASKS * 2];
} Journal;

typedef struct NumberTask {
        Task task;
        Journal *journal;
        int number;
} NumberTask;

static void number_run(Task *task) {
        NumberTask *t = container_of(task, NumberTask, task);
        t->journal->numbers[atomic_fetch_add(&t->journal->n, 1)] = t->number;
}

/* A task that holds its thread until it is told to go on. */
typedef struct GateTask {
        Task task;
        sem_t entered, leave;
} GateTask;

static void gate_run(Task *task) {
        GateTask *t = container_of(task, GateTask, task);
        (void) sem_post(&t->entered);
        (void) sem_wait(&t->leave);
}

static void gate_init(GateTask *t) {
        *t = (GateTask){.task.run = gate_run};
        (void) sem_init(&t->entered, 0, 0);
        (void) sem_init(&t->leave, 0, 0);
}

START_TEST(normal_overtakes_background_and_order_is_kept) {
        Pool *pool = NULL;
        GateTask gate;
        Journal journal = {0};
        NumberTask tasks[N_TASKS];

        ck_assert_int_eq(pool_new(1, &pool), 0);
        gate_init(&gate);
        pool_submit(pool, &gate.task, TASK_NORMAL);
        (void) sem_wait(&gate.entered);

        for (int i = 0; i < N_TASKS; i++) {
                tasks[i] = (NumberTask){{.run = number_run}, &journal, i};
                pool_submit(pool, &tasks[i].task, i % 2 ? TASK_NORMAL : TASK_BACKGROUND);
        }
        ck_assert_uint_eq(pool_queued(pool), N_TASKS);
        (void) sem_post(&gate.leave);
        ck_assert_ptr_null(pool_free(pool));

        ck_assert_uint_eq(journal.n, N_TASKS);
        for (int i = 0; i < N_TASKS / 2; i++) {
                ck_assert_int_eq(journal.numbers[i], 2 * i + 1);
                ck_assert_int_eq(journal.numbers[N_TASKS / 2 + i], 2 * i);
        }
}
END_TEST

/* With two threads, the second background task stays queued while the first runs, although a thread
 * is idle; a normal task runs on that thread. */
START_TEST(background_leaves_a_thread_R3) {
        Pool *pool = NULL;
        GateTask background[2], normal;

        ck_assert_int_eq(pool_new(2, &pool), 0);
        for (size_t i = 0; i < 2; i++) {
                gate_init(&background[i]);
                pool_submit(pool, &background[i].task, TASK_BACKGROUND);
        }
        (void) sem_wait(&background[0].entered);
        gate_init(&normal);
        pool_submit(pool, &normal.task, TASK_NORMAL);
        (void) sem_wait(&normal.entered);
        (void) sem_post(&normal.leave);
        ck_assert_uint_eq(pool_queued(pool), 1);
        ck_assert_int_eq(sem_trywait(&background[1].entered), -1);

        (void) sem_post(&background[0].leave);
        (void) sem_wait(&background[1].entered);
        (void) sem_post(&background[1].leave);
        pool_free(pool);
}
END_TEST

typedef struct Respawn {
        Task task;
        Pool *pool;
        int left;
        atomic_int *n_run;
} Respawn;

static void respawn_run(Task *task) {
        Respawn *t = container_of(task, Respawn, task);
        (void) atomic_fetch_add(t->n_run, 1);
        if (t->left-- > 0)
                pool_submit(t->pool, &t->task, t->left % 2 ? TASK_NORMAL : TASK_BACKGROUND);
}

START_TEST(free_runs_what_tasks_resubmit_R18) {
        for (unsigned n_threads = 1; n_threads <= 4; n_threads++) {
                Pool *pool = NULL;
                Respawn tasks[8];
                atomic_int n_run = 0;

                ck_assert_int_eq(pool_new(n_threads, &pool), 0);
                for (size_t i = 0; i < ELEMENTSOF(tasks); i++) {
                        tasks[i] = (Respawn){{.run = respawn_run}, pool, 100, &n_run};
                        pool_submit(pool, &tasks[i].task, TASK_NORMAL);
                }
                pool_free(pool);
                ck_assert_int_eq(n_run, 8 * 101);
        }
}
END_TEST

static void self_free_run(Task *task) {
        free(task);
}

START_TEST(tasks_may_free_themselves) {
        Pool *pool = NULL;

        ck_assert_ptr_null(pool_free(NULL));
        ck_assert_int_eq(pool_new(3, &pool), 0);
        for (size_t i = 0; i < N_TASKS; i++) {
                Task *task = calloc(1, sizeof(*task));
                ck_assert_ptr_nonnull(task);
                task->run = self_free_run;
                pool_submit(pool, task, TASK_BACKGROUND);
        }
        pool_free(pool);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, normal_overtakes_background_and_order_is_kept);
        tcase_add_test(tc, background_leaves_a_thread_R3);
        tcase_add_test(tc, free_runs_what_tasks_resubmit_R18);
        tcase_add_test(tc, tasks_may_free_themselves);
}

CHECK_MAIN("work/pool", add_tests)
