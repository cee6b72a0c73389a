#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

#include "forge/host-gate.h"
#include "lib/check-main.h"
#include "util/clock.h"

/* The gate under a clock of our own, and one worker, so that what is submitted first runs first. */

static _Atomic uint64_t fake_now;

static uint64_t fake_clock(void) {
        return fake_now;
}

typedef struct TestTicket {
        GateTicket ticket;
        int result; /* 1: not called yet */
        FailureClass class;
        uint64_t retry_at;
        unsigned order;
} TestTicket;

typedef struct Fixture {
        Pool *pool;
        HostGates *gates;
        unsigned n_admitted;
} Fixture;

static Fixture fixture;

typedef struct Barrier {
        Task task;
        sem_t passed;
} Barrier;

static void on_admitted(GateTicket *ticket, int result, const Failure *failure) {
        TestTicket *t = container_of(ticket, TestTicket, ticket);

        t->result = result;
        t->class = failure->class;
        t->retry_at = failure->retry_at_usec;
        t->order = ++fixture.n_admitted;
}

static void setup_limits(const GateLimits *limits) {
        fake_now = 1000 * USEC_PER_SEC;
        fixture = (Fixture){0};
        ck_assert_int_eq(pool_new(1, &fixture.pool), 0);
        ck_assert_int_eq(host_gates_new(fixture.pool, limits, &fixture.gates), 0);
        host_gates_set_clock(fixture.gates, fake_clock);
}

static void setup(unsigned per_host, unsigned total) {
        setup_limits(&(const GateLimits){.max_per_host = per_host, .max_total = total});
}

static void on_barrier(Task *task) {
        (void) sem_post(&container_of(task, Barrier, task)->passed);
}

/* One worker and the lowest priority: when this task has run, all admissions have been made. */
static void settle(void) {
        Barrier barrier = {.task.run = on_barrier};

        ck_assert_int_eq(sem_init(&barrier.passed, 0, 0), 0);
        pool_submit(fixture.pool, &barrier.task, TASK_BACKGROUND);
        while (sem_wait(&barrier.passed) < 0)
                ck_assert_int_eq(errno, EINTR);
        (void) sem_destroy(&barrier.passed);
}

static void teardown(void) {
        host_gates_shut(fixture.gates);
        fixture.pool = pool_free(fixture.pool);
        fixture.gates = host_gates_free(fixture.gates);
}

static void enter_as(
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

static void enter(TestTicket *t, const char *host, FetchPriority priority) {
        enter_as(t, host, priority, NULL, 0);
}

static void leave_with(TestTicket *t, FailureClass class, uint64_t retry_at) {
        Failure failure = {0};
        int r = 0;

        if (class != FAILURE_NONE)
                r = failure_set(&failure, class, "made up");
        failure.retry_at_usec = retry_at;
        host_gate_leave(&t->ticket, r, &failure);
}

static void leave(TestTicket *t) {
        leave_with(t, FAILURE_NONE, 0);
}

#define A "http://a:80"
#define B "http://b:80"

/* R1: never more requests in flight than the limits, for one host and in all. */
START_TEST(limits_hold_per_host_and_in_all) {
        TestTicket a[3], b[2];

        setup(2, 3);
        for (size_t i = 0; i < ELEMENTSOF(a); i++)
                enter(&a[i], A, FETCH_WAITING);
        for (size_t i = 0; i < ELEMENTSOF(b); i++)
                enter(&b[i], B, FETCH_WAITING);
        settle();
        ck_assert_int_eq(a[0].result, 0);
        ck_assert_int_eq(a[1].result, 0);
        ck_assert_int_eq(a[2].result, 1);
        ck_assert_int_eq(b[0].result, 0);
        ck_assert_int_eq(b[1].result, 1);

        leave(&a[0]);
        settle();
        ck_assert_int_eq(a[2].result + b[1].result, 1); /* one of the two */
        leave(&a[1]);
        leave(&b[0]);
        settle();
        ck_assert_int_eq(a[2].result, 0);
        ck_assert_int_eq(b[1].result, 0);
        leave(&a[2]);
        leave(&b[1]);
        teardown();
}
END_TEST

/* R3: whoever waits overtakes what is queued in the background, and finds a slot kept free. */
START_TEST(waiting_overtakes_prefetch) {
        TestTicket prefetch[3], waiting[2];

        setup(2, 10);
        for (size_t i = 0; i < ELEMENTSOF(prefetch); i++)
                enter(&prefetch[i], A, FETCH_PREFETCH);
        settle();
        ck_assert_int_eq(prefetch[0].result, 0);
        ck_assert_int_eq(prefetch[1].result, 1);
        enter(&waiting[0], A, FETCH_WAITING);
        enter(&waiting[1], A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(waiting[0].result, 0);
        ck_assert_int_eq(waiting[1].result, 1);

        leave(&waiting[0]);
        settle();
        ck_assert_int_eq(waiting[1].result, 0);
        ck_assert_int_eq(prefetch[1].result, 1);
        leave(&prefetch[0]);
        leave(&waiting[1]);
        settle();
        ck_assert_int_eq(prefetch[1].result, 0);
        ck_assert_int_eq(prefetch[2].result, 1);
        leave(&prefetch[1]);
        settle();
        leave(&prefetch[2]);
        teardown();
}
END_TEST

static void fail_host(unsigned times) {
        for (unsigned i = 0; i < times; i++) {
                TestTicket t;
                enter(&t, A, FETCH_WAITING);
                settle();
                ck_assert_int_eq(t.result, 0);
                leave_with(&t, FAILURE_OFFLINE, 0);
        }
}

START_TEST(breaker_fails_fast_while_the_host_is_down) {
        TestTicket t, other;

        setup(4, 8);
        fail_host(3);
        enter(&t, A, FETCH_WAITING);
        enter(&other, B, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, -EHOSTDOWN);
        ck_assert_int_eq(t.class, FAILURE_OFFLINE);
        ck_assert_int_eq(other.result, 0);
        leave(&other);
        teardown();
}
END_TEST

START_TEST(an_answer_starts_the_count_of_failures_again) {
        TestTicket t;

        setup(4, 8);
        fail_host(2);
        enter(&t, A, FETCH_WAITING);
        settle();
        leave_with(&t, FAILURE_SERVER, 0); /* a 500 is an answer */
        fail_host(2);
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, 0);
        leave(&t);
        teardown();
}
END_TEST

START_TEST(one_probe_closes_the_breaker) {
        TestTicket probe, meanwhile, after;

        setup(4, 8);
        fail_host(3);
        fake_now += 1 * USEC_PER_SEC;
        enter(&probe, A, FETCH_WAITING);
        enter(&meanwhile, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(probe.result, 0);
        ck_assert_int_eq(meanwhile.result, -EHOSTDOWN);
        leave(&probe);
        enter(&after, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(after.result, 0);
        leave(&after);
        teardown();
}
END_TEST

START_TEST(a_failed_probe_doubles_the_time) {
        TestTicket probe, t;

        setup(4, 8);
        fail_host(3);
        fake_now += 1 * USEC_PER_SEC;
        enter(&probe, A, FETCH_WAITING);
        settle();
        leave_with(&probe, FAILURE_TIMEOUT, 0);
        fake_now += 1 * USEC_PER_SEC; /* 2 s less the jitter of a quarter are not over */
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, -EHOSTDOWN);
        fake_now += 1 * USEC_PER_SEC;
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, 0);
        leave(&t);
        teardown();
}
END_TEST

START_TEST(a_cancelled_probe_lets_the_next_one_try) {
        TestTicket probe, t;

        setup(4, 8);
        fail_host(3);
        fake_now += 1 * USEC_PER_SEC;
        enter(&probe, A, FETCH_WAITING);
        settle();
        leave_with(&probe, FAILURE_CANCELLED, 0);
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, 0);
        leave(&t);
        teardown();
}
END_TEST

/* R2: Retry-After is obeyed by everybody who asks that host. */
START_TEST(a_pause_is_waited_for_or_refused) {
        TestTicket limited, patient, hurried;

        setup(4, 8);
        enter(&limited, A, FETCH_WAITING);
        settle();
        leave_with(&limited, FAILURE_RATE_LIMITED, fake_now + 30 * USEC_PER_SEC);
        enter(&patient, A, FETCH_WAITING);
        enter(&hurried, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(patient.result, 1);
        ck_assert_int_eq(hurried.result, 1);

        hurried.ticket.deadline_usec = fake_now + 10 * USEC_PER_SEC;
        fake_now += 11 * USEC_PER_SEC;
        host_gates_tick(fixture.gates);
        settle();
        ck_assert_int_eq(hurried.result, -ETIMEDOUT);
        ck_assert_int_eq(patient.result, 1);
        fake_now += 19 * USEC_PER_SEC;
        host_gates_tick(fixture.gates);
        settle();
        ck_assert_int_eq(patient.result, 0);
        leave_with(&patient, FAILURE_RATE_LIMITED, fake_now + 100 * USEC_PER_SEC);

        enter(&hurried, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(hurried.result, -EAGAIN);
        ck_assert_int_eq(hurried.class, FAILURE_RATE_LIMITED);
        teardown();
}
END_TEST

START_TEST(a_delayed_ticket_waits_for_its_time) {
        TestTicket t, soon;

        setup(1, 1);
        t = (TestTicket){
                .result = 1,
                .ticket =
                        {
                                .deadline_usec = fake_now + 60 * USEC_PER_SEC,
                                .not_before_usec = fake_now + 5 * USEC_PER_SEC,
                                .admitted = on_admitted,
                        },
        };
        host_gate_enter(fixture.gates, A, &t.ticket);
        enter(&soon, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, 1);
        ck_assert_int_eq(soon.result, 0); /* the one that waits for its time holds no slot */
        leave(&soon);
        fake_now += 5 * USEC_PER_SEC;
        host_gates_tick(fixture.gates);
        settle();
        ck_assert_int_eq(t.result, 0);
        leave(&t);
        teardown();
}
END_TEST

START_TEST(a_ticket_without_a_slot_expires) {
        TestTicket holder, t;

        setup(1, 1);
        enter(&holder, A, FETCH_WAITING);
        enter(&t, A, FETCH_WAITING);
        fake_now += 61 * USEC_PER_SEC;
        host_gates_tick(fixture.gates);
        settle();
        ck_assert_int_eq(t.result, -ETIMEDOUT);
        ck_assert_int_eq(t.class, FAILURE_TIMEOUT);
        leave(&holder);
        teardown();
}
END_TEST

/* R18: nothing waits for ever once the gates are shut. */
START_TEST(shutting_fails_who_waits_and_who_comes) {
        TestTicket holder, waits, comes;

        setup(1, 1);
        enter(&holder, A, FETCH_WAITING);
        enter(&waits, A, FETCH_WAITING);
        host_gates_shut(fixture.gates);
        enter(&comes, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(holder.result, 0);
        ck_assert_int_eq(waits.result, -ECANCELED);
        ck_assert_int_eq(comes.result, -ECANCELED);
        ck_assert_int_eq(comes.class, FAILURE_CANCELLED);
        leave(&holder);
        teardown();
}
END_TEST

/* --- budgets --- */

/* The answer to this ticket's request says what is left, for so many seconds. */
static void leave_telling(TestTicket *t, uint64_t limit, uint64_t remaining, uint64_t seconds) {
        const GateBudget budget = {limit, remaining, fake_now + seconds * USEC_PER_SEC};

        host_gate_budget(&t->ticket, &budget);
        leave(t);
}

static void tick_after(uint64_t usec) {
        fake_now += usec;
        host_gates_tick(fixture.gates);
        settle();
}

/* R2: the server's own limits are obeyed: who can wait does, and who cannot is told at once. */
START_TEST(nothing_is_asked_of_an_empty_budget) {
        TestTicket first, hurried, patient, queued;

        setup(4, 8);
        enter(&first, A, FETCH_WAITING);
        enter(&queued, A, FETCH_WAITING);
        enter(&patient, A, FETCH_WAITING);
        settle();
        leave(&queued);
        leave(&patient);
        leave_telling(&first, 60, 0, 100);

        enter(&hurried, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(hurried.result, -EAGAIN);
        ck_assert_int_eq(hurried.class, FAILURE_RATE_LIMITED);
        ck_assert_uint_eq(hurried.retry_at, fake_now + 100 * USEC_PER_SEC);

        tick_after(50 * USEC_PER_SEC);
        enter(&patient, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(patient.result, 1);
        tick_after(49 * USEC_PER_SEC);
        ck_assert_int_eq(patient.result, 1);
        tick_after(1 * USEC_PER_SEC);
        ck_assert_int_eq(patient.result, 0);
        leave(&patient);
        teardown();
}
END_TEST

START_TEST(who_waits_already_is_told_too) {
        TestTicket first, waits;

        setup(1, 1);
        enter(&first, A, FETCH_WAITING);
        enter(&waits, A, FETCH_WAITING);
        settle();
        leave_telling(&first, 60, 0, 3000);
        settle();
        ck_assert_int_eq(waits.result, -EAGAIN);
        ck_assert_uint_eq(waits.retry_at, fake_now + 3000 * USEC_PER_SEC);
        teardown();
}
END_TEST

/* R3 */
START_TEST(a_tenth_is_left_to_those_who_wait) {
        TestTicket first, prefetch, waiting;

        setup(4, 8);
        enter(&first, A, FETCH_WAITING);
        settle();
        leave_telling(&first, 100, 10, 30);
        enter(&prefetch, A, FETCH_PREFETCH);
        enter(&waiting, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(prefetch.result, 1);
        ck_assert_int_eq(waiting.result, 0);
        leave_telling(&waiting, 100, 9, 30);
        settle();
        ck_assert_int_eq(prefetch.result, 1);
        tick_after(30 * USEC_PER_SEC);
        ck_assert_int_eq(prefetch.result, 0);
        leave_telling(&prefetch, 100, 99, 3000);
        enter(&prefetch, A, FETCH_REFRESH);
        settle();
        ck_assert_int_eq(prefetch.result, 0);
        leave(&prefetch);
        teardown();
}
END_TEST

/* What is on its way is as good as spent; it is no reason to fail. */
START_TEST(requests_under_way_are_counted) {
        TestTicket first, t[3];

        setup(8, 8);
        enter(&first, A, FETCH_WAITING);
        settle();
        leave_telling(&first, 60, 2, 3000);
        for (size_t i = 0; i < ELEMENTSOF(t); i++)
                enter(&t[i], A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t[0].result, 0);
        ck_assert_int_eq(t[1].result, 0);
        ck_assert_int_eq(t[2].result, 1);
        leave(&t[0]); /* a 304, which was free */
        settle();
        ck_assert_int_eq(t[2].result, 0);
        leave_telling(&t[1], 60, 1, 3000);
        leave_telling(&t[2], 60, 0, 3000);
        teardown();
}
END_TEST

START_TEST(budgets_are_apart) {
        TestTicket core, graphql, other, nobody, elsewhere;

        setup(8, 8);
        enter_as(&core, A, FETCH_WAITING, "core", 7);
        settle();
        leave_telling(&core, 60, 0, 3000);
        enter_as(&core, A, FETCH_WAITING, "core", 7);
        enter_as(&graphql, A, FETCH_WAITING, "graphql", 7);
        enter_as(&other, A, FETCH_WAITING, "core", 8); /* a new token */
        enter(&nobody, A, FETCH_WAITING);
        enter_as(&elsewhere, B, FETCH_WAITING, "core", 7);
        settle();
        ck_assert_int_eq(core.result, -EAGAIN);
        ck_assert_int_eq(graphql.result, 0);
        ck_assert_int_eq(other.result, 0);
        ck_assert_int_eq(nobody.result, 0);
        ck_assert_int_eq(elsewhere.result, 0);
        leave(&graphql);
        leave(&other);
        leave(&nobody);
        leave(&elsewhere);
        teardown();
}
END_TEST

START_TEST(a_pause_is_for_the_budget_it_was_told) {
        TestTicket core, graphql;

        setup(8, 8);
        enter_as(&core, A, FETCH_WAITING, "core", 7);
        enter_as(&graphql, A, FETCH_WAITING, "graphql", 7);
        settle();
        leave(&graphql);
        leave_with(&core, FAILURE_RATE_LIMITED, fake_now + 600 * USEC_PER_SEC);
        enter_as(&core, A, FETCH_WAITING, "core", 7);
        enter_as(&graphql, A, FETCH_WAITING, "graphql", 7);
        settle();
        ck_assert_int_eq(core.result, -EAGAIN);
        ck_assert_int_eq(graphql.result, 0);
        leave(&graphql);
        teardown();
}
END_TEST

/* One ticket that is blocked does not hold up those behind it. */
START_TEST(a_blocked_ticket_is_overtaken) {
        TestTicket holder, blocked, behind;

        setup(1, 1);
        enter_as(&holder, A, FETCH_WAITING, "core", 7);
        settle();
        leave_telling(&holder, 60, 0, 30);
        enter_as(&blocked, A, FETCH_WAITING, "core", 7);
        enter_as(&behind, A, FETCH_WAITING, "graphql", 7);
        settle();
        ck_assert_int_eq(blocked.result, 1);
        ck_assert_int_eq(behind.result, 0);
        leave(&behind);
        tick_after(30 * USEC_PER_SEC);
        ck_assert_int_eq(blocked.result, 0);
        leave(&blocked);
        teardown();
}
END_TEST

/* A reset that a broken server puts into the next year. */
START_TEST(no_reset_is_believed_for_ever) {
        TestTicket t;

        setup(1, 1);
        enter(&t, A, FETCH_WAITING);
        settle();
        leave_telling(&t, 60, 0, 1000000);
        tick_after(3660 * USEC_PER_SEC);
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, 0);
        leave(&t);
        teardown();
}
END_TEST

/* --- rates --- */

/* R2: a burst of two seconds' worth, and then no more than the rate. */
START_TEST(a_rate_is_kept) {
        const GateLimits limits = {.max_per_host = 100, .max_total = 100, .max_per_second = 4};
        TestTicket t[16];
        unsigned n = 0;

        setup_limits(&limits);
        for (size_t i = 0; i < ELEMENTSOF(t); i++)
                enter(&t[i], A, FETCH_WAITING);
        settle();
        ck_assert_uint_eq(fixture.n_admitted, 8);
        for (unsigned quarter = 1; quarter <= 8; quarter++) {
                tick_after(USEC_PER_SEC / 4);
                ck_assert_uint_eq(fixture.n_admitted, 8 + quarter);
        }
        for (size_t i = 0; i < ELEMENTSOF(t); i++) {
                n += t[i].result == 0;
                leave(&t[i]);
        }
        ck_assert_uint_eq(n, ELEMENTSOF(t));
        teardown();
}
END_TEST

START_TEST(a_rate_is_each_hosts_own) {
        const GateLimits limits = {.max_per_host = 100, .max_total = 100, .max_per_second = 1};
        TestTicket a[3], b;

        setup_limits(&limits);
        for (size_t i = 0; i < ELEMENTSOF(a); i++)
                enter(&a[i], A, FETCH_WAITING);
        enter(&b, B, FETCH_WAITING);
        settle();
        ck_assert_int_eq(a[1].result, 0);
        ck_assert_int_eq(a[2].result, 1);
        ck_assert_int_eq(b.result, 0);
        tick_after(USEC_PER_SEC);
        ck_assert_int_eq(a[2].result, 0);
        for (size_t i = 0; i < ELEMENTSOF(a); i++)
                leave(&a[i]);
        leave(&b);
        teardown();
}
END_TEST

/* R3: prefetch never takes the last token. */
START_TEST(the_last_token_is_for_those_who_wait) {
        const GateLimits limits = {.max_per_host = 100, .max_total = 100, .max_per_second = 2};
        TestTicket prefetch[4], waiting;

        setup_limits(&limits);
        for (size_t i = 0; i < ELEMENTSOF(prefetch); i++)
                enter(&prefetch[i], A, FETCH_PREFETCH);
        settle();
        ck_assert_uint_eq(fixture.n_admitted, 3);
        enter(&waiting, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(waiting.result, 0);
        tick_after(USEC_PER_SEC);
        ck_assert_int_eq(prefetch[3].result, 0);
        for (size_t i = 0; i < ELEMENTSOF(prefetch); i++)
                leave(&prefetch[i]);
        leave(&waiting);
        teardown();
}
END_TEST

/* --- what is told --- */

typedef struct Told {
        unsigned n;
        GateInfo infos[8];
} Told;

static int on_info(const GateInfo *info, void *userdata) {
        Told *told = userdata;

        ck_assert_uint_lt(told->n, ELEMENTSOF(told->infos));
        ck_assert(info->host && info->resource);
        told->infos[told->n++] = *info;
        told->infos[told->n - 1].host = strcmp(info->host, A) == 0 ? A : B;
        told->infos[told->n - 1].resource = strcmp(info->resource, "core") == 0 ? "core" : "";
        return info->down ? -ECANCELED : 0;
}

START_TEST(the_state_of_hosts_is_told) {
        TestTicket t, waits, b[3];
        Told told = {0};

        setup(1, 8);
        ck_assert_int_eq(host_gates_each(fixture.gates, on_info, &told), 0);
        ck_assert_uint_eq(told.n, 0);

        enter_as(&t, A, FETCH_WAITING, "core", 7);
        settle();
        leave_telling(&t, 60, 5, 100);
        enter_as(&t, A, FETCH_WAITING, "core", 7);
        enter(&waits, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(host_gates_each(fixture.gates, on_info, &told), 0);
        ck_assert_uint_eq(told.n, 2);
        const GateInfo *host = &told.infos[0], *core = &told.infos[1];
        ck_assert_str_eq(host->resource, "");
        ck_assert_uint_eq(host->budget.limit, 0);
        ck_assert_uint_eq(host->n_active, 1);
        ck_assert_uint_eq(host->n_waiting, 1);
        ck_assert_uint_eq(host->blocked_until_usec, 0);
        ck_assert_str_eq(core->resource, "core");
        ck_assert_uint_eq(core->account, 7);
        ck_assert_uint_eq(core->budget.limit, 60);
        ck_assert_uint_eq(core->budget.remaining, 5);
        ck_assert_uint_eq(core->budget.reset_usec, fake_now + 100 * USEC_PER_SEC);
        ck_assert_uint_eq(core->n_active, 1);
        ck_assert_uint_eq(core->n_waiting, 0);

        leave_telling(&t, 60, 0, 100);
        settle();
        leave_with(&waits, FAILURE_RATE_LIMITED, fake_now + 7 * USEC_PER_SEC);
        told.n = 0;
        ck_assert_int_eq(host_gates_each(fixture.gates, on_info, &told), 0);
        ck_assert_uint_eq(host->blocked_until_usec, fake_now + 7 * USEC_PER_SEC);
        ck_assert_uint_eq(core->blocked_until_usec, fake_now + 100 * USEC_PER_SEC);

        tick_after(101 * USEC_PER_SEC); /* it is not known any more what is left */
        told.n = 0;
        ck_assert_int_eq(host_gates_each(fixture.gates, on_info, &told), 0);
        ck_assert_uint_eq(told.n, 2);
        ck_assert_uint_eq(core->budget.limit, 0);
        ck_assert_uint_eq(core->blocked_until_usec, 0);

        for (size_t i = 0; i < ELEMENTSOF(b); i++) {
                enter(&b[i], B, FETCH_WAITING);
                settle();
                leave_with(&b[i], FAILURE_OFFLINE, 0);
        }
        told.n = 0;
        ck_assert_int_eq(host_gates_each(fixture.gates, on_info, &told), -ECANCELED);
        ck_assert(told.infos[told.n - 1].down);
        ck_assert_uint_gt(told.infos[told.n - 1].blocked_until_usec, fake_now);
        teardown();
}
END_TEST

static unsigned count_infos(void) {
        Told told = {0};

        (void) host_gates_each(fixture.gates, on_info, &told);
        return told.n;
}

/* What a server's redirects may pile up goes again. */
START_TEST(idle_hosts_are_forgotten) {
        TestTicket plain, dead, known;

        setup(4, 8);
        enter(&plain, A, FETCH_WAITING);
        enter_as(&known, B, FETCH_WAITING, "core", 7);
        settle();
        ck_assert_uint_eq(count_infos(), 3); /* two hosts, and a budget with a name */
        leave(&plain);
        leave_telling(&known, 60, 50, 10);
        tick_after(0);
        ck_assert_uint_eq(count_infos(), 2); /* nothing to remember of the other */
        enter(&dead, A, FETCH_WAITING);
        settle();
        leave_with(&dead, FAILURE_OFFLINE, 0);
        tick_after(3599 * USEC_PER_SEC);
        ck_assert_uint_eq(count_infos(), 3);
        tick_after(1 * USEC_PER_SEC);
        ck_assert_uint_eq(count_infos(), 0);
        teardown();
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, limits_hold_per_host_and_in_all);
        tcase_add_test(tc, waiting_overtakes_prefetch);
        tcase_add_test(tc, breaker_fails_fast_while_the_host_is_down);
        tcase_add_test(tc, an_answer_starts_the_count_of_failures_again);
        tcase_add_test(tc, one_probe_closes_the_breaker);
        tcase_add_test(tc, a_failed_probe_doubles_the_time);
        tcase_add_test(tc, a_cancelled_probe_lets_the_next_one_try);
        tcase_add_test(tc, a_pause_is_waited_for_or_refused);
        tcase_add_test(tc, a_delayed_ticket_waits_for_its_time);
        tcase_add_test(tc, a_ticket_without_a_slot_expires);
        tcase_add_test(tc, shutting_fails_who_waits_and_who_comes);
        tcase_add_test(tc, nothing_is_asked_of_an_empty_budget);
        tcase_add_test(tc, who_waits_already_is_told_too);
        tcase_add_test(tc, a_tenth_is_left_to_those_who_wait);
        tcase_add_test(tc, requests_under_way_are_counted);
        tcase_add_test(tc, budgets_are_apart);
        tcase_add_test(tc, a_pause_is_for_the_budget_it_was_told);
        tcase_add_test(tc, a_blocked_ticket_is_overtaken);
        tcase_add_test(tc, no_reset_is_believed_for_ever);
        tcase_add_test(tc, a_rate_is_kept);
        tcase_add_test(tc, a_rate_is_each_hosts_own);
        tcase_add_test(tc, the_last_token_is_for_those_who_wait);
        tcase_add_test(tc, the_state_of_hosts_is_told);
        tcase_add_test(tc, idle_hosts_are_forgotten);
}

CHECK_MAIN("host-gate", add_tests)
