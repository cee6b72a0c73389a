#include <errno.h>
#include <semaphore.h>

#include "lib/check-main.h"
#include "unit/forge/gate-fixture.h"
#include "util/clock.h"

/* R1: never more requests in flight than the limits, for one host and in all. */
START_TEST(limits_hold_per_host_and_in_all) {
        TestTicket a[3], b[2];

        gate_setup(2, 3);
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
        gate_teardown();
}
END_TEST

/* R3: whoever waits overtakes what is queued in the background, and finds a slot kept free. */
START_TEST(waiting_overtakes_prefetch) {
        TestTicket prefetch[3], waiting[2];

        gate_setup(2, 10);
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
        gate_teardown();
}
END_TEST

/* What somebody has begun to wait for is background work no more. */
START_TEST(who_joins_prefetch_overtakes_with_it) {
        atomic_bool waited = false;
        TestTicket prefetch[3];

        gate_setup(2, 10);
        for (size_t i = 0; i < ELEMENTSOF(prefetch); i++)
                enter(&prefetch[i], A, FETCH_PREFETCH);
        prefetch[2].ticket.waited = &waited;
        tick_after(0);
        ck_assert_int_eq(prefetch[0].result, 0);
        ck_assert_int_eq(prefetch[2].result, 1);
        atomic_store(&waited, true);
        tick_after(0);
        ck_assert_int_eq(prefetch[1].result, 1);
        ck_assert_int_eq(prefetch[2].result, 0);

        leave(&prefetch[2]);
        leave(&prefetch[0]);
        settle();
        leave(&prefetch[1]);
        gate_teardown();
}
END_TEST

/* What is given up must not wait for a slot only to hear that. */
START_TEST(a_cancelled_ticket_waits_no_longer) {
        atomic_bool cancelled = false;
        TestTicket first, second, third;

        gate_setup(2, 10);
        enter(&first, A, FETCH_PREFETCH);
        enter(&second, A, FETCH_PREFETCH);
        enter(&third, A, FETCH_PREFETCH);
        second.ticket.cancelled = &cancelled;
        tick_after(0);
        ck_assert_int_eq(second.result, 1);
        atomic_store(&cancelled, true);
        tick_after(0);
        ck_assert_int_eq(second.result, -ECANCELED);
        ck_assert_int_eq(second.class, FAILURE_CANCELLED);
        ck_assert_int_eq(third.result, 1);
        leave(&first);
        settle();
        ck_assert_int_eq(third.result, 0);
        leave(&third);
        gate_teardown();
}
END_TEST

typedef struct Stopper {
        Task task;
        sem_t go_on;
} Stopper;

static void on_stopper(Task *task) {
        Stopper *stopper = container_of(task, Stopper, task);

        while (sem_wait(&stopper->go_on) < 0 && errno == EINTR)
                ;
}

/* Whoever wants what is held asks for it himself; not because the workers are busy. */
START_TEST(who_has_a_slot_is_not_held) {
        Stopper stopper = {.task.run = on_stopper};
        atomic_bool held[2] = {false, false};
        TestTicket tickets[2];

        gate_setup(2, 10);
        ck_assert_int_eq(sem_init(&stopper.go_on, 0, 0), 0);
        pool_submit(fixture.pool, &stopper.task, TASK_NORMAL);
        for (size_t i = 0; i < ELEMENTSOF(tickets); i++) {
                tickets[i] = (TestTicket){
                        .result = 1,
                        .ticket =
                                {
                                        .priority = FETCH_PREFETCH,
                                        .held = &held[i],
                                        .deadline_usec = fake_now + 60 * USEC_PER_SEC,
                                        .admitted = on_admitted,
                                },
                };
                host_gate_enter(fixture.gates, A, &tickets[i].ticket);
        }
        ck_assert(!atomic_load(&held[0]));
        ck_assert(atomic_load(&held[1]));
        ck_assert_int_eq(sem_post(&stopper.go_on), 0);
        settle();
        ck_assert_int_eq(tickets[0].result, 0);
        leave(&tickets[0]);
        ck_assert(!atomic_load(&held[1]));
        settle();
        leave(&tickets[1]);
        gate_teardown();
        ck_assert_int_eq(sem_destroy(&stopper.go_on), 0);
}
END_TEST

/* R3: what is passed over goes up in time, but not to those that somebody waits for. */
START_TEST(background_ages) {
        TestTicket running, refresh, ahead, waiting;

        gate_setup(2, 10);
        enter(&running, A, FETCH_READAHEAD);
        enter(&refresh, A, FETCH_REFRESH);
        tick_after(2 * USEC_PER_SEC); /* prefetch by now */
        tick_after(2 * USEC_PER_SEC); /* read-ahead, before what comes next */
        enter(&ahead, A, FETCH_READAHEAD);
        tick_after(2 * USEC_PER_SEC);
        enter(&waiting, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(running.result, 0);
        ck_assert_int_eq(waiting.result, 0);
        ck_assert_int_eq(refresh.result, 1);
        leave(&waiting);
        settle();
        ck_assert_int_eq(refresh.result, 1);
        leave(&running);
        settle();
        ck_assert_int_eq(refresh.result, 0);
        ck_assert_int_eq(ahead.result, 1);
        leave(&refresh);
        settle();
        leave(&ahead);
        gate_teardown();
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

        gate_setup(4, 8);
        fail_host(3);
        enter(&t, A, FETCH_WAITING);
        enter(&other, B, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, -EHOSTDOWN);
        ck_assert_int_eq(t.class, FAILURE_OFFLINE);
        ck_assert_int_eq(other.result, 0);
        leave(&other);
        gate_teardown();
}
END_TEST

START_TEST(an_answer_starts_the_count_of_failures_again) {
        TestTicket t;

        gate_setup(4, 8);
        fail_host(2);
        enter(&t, A, FETCH_WAITING);
        settle();
        leave_with(&t, FAILURE_SERVER, 0); /* a 500 is an answer */
        fail_host(2);
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, 0);
        leave(&t);
        gate_teardown();
}
END_TEST

START_TEST(one_probe_closes_the_breaker) {
        TestTicket probe, meanwhile, after;

        gate_setup(4, 8);
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
        gate_teardown();
}
END_TEST

/* Whatever the breaker has come to, another network gets a probe at once; what servers asked for
 * goes by in a sleep, too. */
START_TEST(another_network_is_tried_at_once) {
        TestTicket probe, t;

        gate_setup(4, 8);
        fail_host(3);
        for (unsigned i = 0; i < 6; i++) {
                fake_now += 60 * USEC_PER_SEC;
                enter(&probe, A, FETCH_WAITING);
                settle();
                leave_with(&probe, FAILURE_OFFLINE, 0);
        }
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, -EHOSTDOWN);
        host_gates_retry(fixture.gates, 0);
        enter(&probe, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(probe.result, 0);
        leave_with(&probe, FAILURE_RATE_LIMITED, fake_now + 600 * USEC_PER_SEC);
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, -EAGAIN);
        host_gates_retry(fixture.gates, 601 * USEC_PER_SEC);
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, 0);
        leave(&t);
        gate_teardown();
}
END_TEST

START_TEST(a_failed_probe_doubles_the_time) {
        TestTicket probe, t;

        gate_setup(4, 8);
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
        gate_teardown();
}
END_TEST

START_TEST(a_cancelled_probe_lets_the_next_one_try) {
        TestTicket probe, t;

        gate_setup(4, 8);
        fail_host(3);
        fake_now += 1 * USEC_PER_SEC;
        enter(&probe, A, FETCH_WAITING);
        settle();
        leave_with(&probe, FAILURE_CANCELLED, 0);
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, 0);
        leave(&t);
        gate_teardown();
}
END_TEST

/* R2: Retry-After is obeyed by everybody who asks that host. */
START_TEST(a_pause_is_waited_for_or_refused) {
        TestTicket limited, patient, hurried;

        gate_setup(4, 8);
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
        gate_teardown();
}
END_TEST

START_TEST(a_delayed_ticket_waits_for_its_time) {
        TestTicket t, soon;

        gate_setup(1, 1);
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
        gate_teardown();
}
END_TEST

START_TEST(a_ticket_without_a_slot_expires) {
        TestTicket holder, t;

        gate_setup(1, 1);
        enter(&holder, A, FETCH_WAITING);
        enter(&t, A, FETCH_WAITING);
        fake_now += 61 * USEC_PER_SEC;
        host_gates_tick(fixture.gates);
        settle();
        ck_assert_int_eq(t.result, -ETIMEDOUT);
        ck_assert_int_eq(t.class, FAILURE_TIMEOUT);
        leave(&holder);
        gate_teardown();
}
END_TEST

/* R18: nothing waits for ever once the gates are shut. */
START_TEST(shutting_fails_who_waits_and_who_comes) {
        TestTicket holder, waits, comes;

        gate_setup(1, 1);
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
        gate_teardown();
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, limits_hold_per_host_and_in_all);
        tcase_add_test(tc, waiting_overtakes_prefetch);
        tcase_add_test(tc, who_joins_prefetch_overtakes_with_it);
        tcase_add_test(tc, a_cancelled_ticket_waits_no_longer);
        tcase_add_test(tc, who_has_a_slot_is_not_held);
        tcase_add_test(tc, background_ages);
        tcase_add_test(tc, breaker_fails_fast_while_the_host_is_down);
        tcase_add_test(tc, an_answer_starts_the_count_of_failures_again);
        tcase_add_test(tc, one_probe_closes_the_breaker);
        tcase_add_test(tc, another_network_is_tried_at_once);
        tcase_add_test(tc, a_failed_probe_doubles_the_time);
        tcase_add_test(tc, a_cancelled_probe_lets_the_next_one_try);
        tcase_add_test(tc, a_pause_is_waited_for_or_refused);
        tcase_add_test(tc, a_delayed_ticket_waits_for_its_time);
        tcase_add_test(tc, a_ticket_without_a_slot_expires);
        tcase_add_test(tc, shutting_fails_who_waits_and_who_comes);
}

CHECK_MAIN("host-gate", add_tests)
