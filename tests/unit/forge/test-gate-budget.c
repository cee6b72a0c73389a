/* Budgets, rates, and what is told of them. */

#include <errno.h>
#include <string.h>

#include "lib/check-main.h"
#include "unit/forge/gate-fixture.h"
#include "util/clock.h"

/* R2: the server's own limits are obeyed: who can wait does, and who cannot is told at once. */
START_TEST(nothing_is_asked_of_an_empty_budget) {
        TestTicket first, hurried, patient, queued;

        gate_setup(4, 8);
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
        gate_teardown();
}
END_TEST

/* A transfer may take long, but is not held back for as long as that. */
START_TEST(patience_ends_before_the_deadline) {
        TestTicket first, transfer;

        gate_setup(4, 8);
        enter(&first, A, FETCH_WAITING);
        settle();
        leave_telling(&first, 60, 0, 50);
        transfer = (TestTicket){
                .ticket =
                        {
                                .priority = FETCH_WAITING,
                                .deadline_usec = fake_now + 1000 * USEC_PER_SEC,
                                .patience_usec = 49 * USEC_PER_SEC,
                                .admitted = on_admitted,
                        },
                .result = 1,
        };
        host_gate_enter(fixture.gates, A, &transfer.ticket);
        settle();
        ck_assert_int_eq(transfer.result, -EAGAIN);
        ck_assert_int_eq(transfer.class, FAILURE_RATE_LIMITED);

        transfer.result = 1;
        transfer.ticket.patience_usec = 50 * USEC_PER_SEC;
        host_gate_enter(fixture.gates, A, &transfer.ticket);
        settle();
        ck_assert_int_eq(transfer.result, 1);
        tick_after(50 * USEC_PER_SEC);
        ck_assert_int_eq(transfer.result, 0);
        leave(&transfer);
        gate_teardown();
}
END_TEST

START_TEST(who_waits_already_is_told_too) {
        TestTicket first, waits;

        gate_setup(1, 1);
        enter(&first, A, FETCH_WAITING);
        enter(&waits, A, FETCH_WAITING);
        settle();
        leave_telling(&first, 60, 0, 3000);
        settle();
        ck_assert_int_eq(waits.result, -EAGAIN);
        ck_assert_uint_eq(waits.retry_at, fake_now + 3000 * USEC_PER_SEC);
        gate_teardown();
}
END_TEST

/* R3 */
START_TEST(a_tenth_is_left_to_those_who_wait) {
        TestTicket first, prefetch, waiting;

        gate_setup(4, 8);
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
        gate_teardown();
}
END_TEST

/* What is on its way is as good as spent; it is no reason to fail. */
START_TEST(requests_under_way_are_counted) {
        TestTicket first, t[3];

        gate_setup(8, 8);
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
        gate_teardown();
}
END_TEST

START_TEST(budgets_are_apart) {
        TestTicket core, graphql, other, nobody, elsewhere;

        gate_setup(8, 8);
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
        gate_teardown();
}
END_TEST

START_TEST(a_pause_is_for_the_budget_it_was_told) {
        TestTicket core, graphql;

        gate_setup(8, 8);
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
        gate_teardown();
}
END_TEST

/* One ticket that is blocked does not hold up those behind it. */
START_TEST(a_blocked_ticket_is_overtaken) {
        TestTicket holder, blocked, behind;

        gate_setup(1, 1);
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
        gate_teardown();
}
END_TEST

/* A reset that a broken server puts into the next year. */
START_TEST(no_reset_is_believed_for_ever) {
        TestTicket t;

        gate_setup(1, 1);
        enter(&t, A, FETCH_WAITING);
        settle();
        leave_telling(&t, 60, 0, 1000000);
        tick_after(3660 * USEC_PER_SEC);
        enter(&t, A, FETCH_WAITING);
        settle();
        ck_assert_int_eq(t.result, 0);
        leave(&t);
        gate_teardown();
}
END_TEST

/* --- rates --- */

/* R2: a burst of two seconds' worth, and then no more than the rate. */
START_TEST(a_rate_is_kept) {
        const GateLimits limits = {.max_per_host = 100, .max_total = 100, .max_per_second = 4};
        TestTicket t[16];
        unsigned n = 0;

        gate_setup_limits(&limits);
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
        gate_teardown();
}
END_TEST

START_TEST(a_rate_is_each_hosts_own) {
        const GateLimits limits = {.max_per_host = 100, .max_total = 100, .max_per_second = 1};
        TestTicket a[3], b;

        gate_setup_limits(&limits);
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
        gate_teardown();
}
END_TEST

/* R3: prefetch never takes the last token. */
START_TEST(the_last_token_is_for_those_who_wait) {
        const GateLimits limits = {.max_per_host = 100, .max_total = 100, .max_per_second = 2};
        TestTicket prefetch[4], waiting;

        gate_setup_limits(&limits);
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
        gate_teardown();
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

        gate_setup(1, 8);
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
        gate_teardown();
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

        gate_setup(4, 8);
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
        gate_teardown();
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, nothing_is_asked_of_an_empty_budget);
        tcase_add_test(tc, patience_ends_before_the_deadline);
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

CHECK_MAIN("gate-budget", add_tests)
