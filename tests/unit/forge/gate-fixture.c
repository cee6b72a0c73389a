#include "unit/forge/gate-fixture.h"

#include <check.h>
#include <errno.h>
#include <semaphore.h>

#include "util/clock.h"

_Atomic uint64_t fake_now;
GateFixture fixture;

static uint64_t fake_clock(void) {
        return fake_now;
}

typedef struct Barrier {
        Task task;
        sem_t passed;
} Barrier;

void on_admitted(GateTicket *ticket, int result, const Failure *failure) {
        TestTicket *t = container_of(ticket, TestTicket, ticket);

        t->result = result;
        t->class = failure->class;
        t->retry_at = failure->retry_at_usec;
        t->order = ++fixture.n_admitted;
}

void gate_setup_limits(const GateLimits *limits) {
        fake_now = 1000 * USEC_PER_SEC;
        fixture = (GateFixture){0};
        ck_assert_int_eq(pool_new(1, &fixture.pool), 0);
        ck_assert_int_eq(host_gates_new(fixture.pool, limits, &fixture.gates), 0);
        host_gates_set_clock(fixture.gates, fake_clock);
}

void gate_setup(unsigned per_host, unsigned total) {
        gate_setup_limits(&(const GateLimits){.max_per_host = per_host, .max_total = total});
}

static void on_barrier(Task *task) {
        (void) sem_post(&container_of(task, Barrier, task)->passed);
}

/* One worker and the lowest priority: this task runs last. */
void settle(void) {
        Barrier barrier = {.task.run = on_barrier};

        ck_assert_int_eq(sem_init(&barrier.passed, 0, 0), 0);
        pool_submit(fixture.pool, &barrier.task, TASK_BACKGROUND);
        while (sem_wait(&barrier.passed) < 0)
                ck_assert_int_eq(errno, EINTR);
        (void) sem_destroy(&barrier.passed);
}

void gate_teardown(void) {
        host_gates_shut(fixture.gates);
        fixture.pool = pool_free(fixture.pool);
        fixture.gates = host_gates_free(fixture.gates);
}

void enter_as(
        TestTicket *t,
        const char *host,
        FetchPriority priority,
        const char *resource,
        uint64_t account) {
        *t = (TestTicket){
                .result = 1,
                .ticket =
                        {
                                .priority = priority,
                                .deadline_usec = fake_now + 60 * USEC_PER_SEC,
                                .resource = resource,
                                .account = account,
                                .admitted = on_admitted,
                        },
        };
        host_gate_enter(fixture.gates, host, &t->ticket);
}

void enter(TestTicket *t, const char *host, FetchPriority priority) {
        enter_as(t, host, priority, NULL, 0);
}

void leave_with(TestTicket *t, FailureClass class, uint64_t retry_at) {
        Failure failure = {0};
        int r = 0;

        if (class != FAILURE_NONE)
                r = failure_set(&failure, class, "made up");
        failure.retry_at_usec = retry_at;
        host_gate_leave(&t->ticket, r, &failure);
}

void leave(TestTicket *t) {
        leave_with(t, FAILURE_NONE, 0);
}

void leave_telling(TestTicket *t, uint64_t limit, uint64_t remaining, uint64_t seconds) {
        const GateBudget budget = {limit, remaining, fake_now + seconds * USEC_PER_SEC};

        host_gate_budget(&t->ticket, &budget);
        leave(t);
}

void tick_after(uint64_t usec) {
        fake_now += usec;
        host_gates_tick(fixture.gates);
        settle();
}
