/* Tickets of all kinds at a few hosts, from many threads, with answers that tell budgets, pauses
 * and dead hosts, while somebody looks, and then shuts. Each ticket is answered once, no limit is
 * ever passed, and nobody waits for ever. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "forge/host-gate.h"
#include "lib/check-main.h"
#include "util/clock.h"

#define N_THREADS 4
#define N_TICKETS 2000 /* of each thread */
#define MAX_PER_HOST 3
#define MAX_TOTAL 5

static const char *const hosts[] = {"http://a:80", "http://b:80", "http://c:80"};

typedef struct StressTicket {
        GateTicket ticket;
        unsigned seed, host;
        atomic_uint n_answers;
} StressTicket;

static HostGates *gates;
static StressTicket tickets[N_THREADS][N_TICKETS];
static atomic_uint active[ELEMENTSOF(hosts)], active_in_all, n_ended, n_admitted, n_bad;
static _Atomic uint64_t fake_now = 1000 * USEC_PER_SEC;

static uint64_t fake_clock(void) {
        return fake_now;
}

static void on_admitted(GateTicket *ticket, int result, const Failure *refusal) {
        StressTicket *t = container_of(ticket, StressTicket, ticket);
        uint64_t now = fake_now;
        Failure failure = {0};

        if (atomic_fetch_add(&t->n_answers, 1) != 0)
                atomic_fetch_add(&n_bad, 1);
        if (result < 0) {
                if (refusal->class == FAILURE_NONE)
                        atomic_fetch_add(&n_bad, 1);
                atomic_fetch_add(&n_ended, 1);
                return;
        }
        atomic_fetch_add(&n_admitted, 1);
        if (atomic_fetch_add(&active[t->host], 1) >= MAX_PER_HOST ||
            atomic_fetch_add(&active_in_all, 1) >= MAX_TOTAL)
                atomic_fetch_add(&n_bad, 1);
        if (t->seed % 3 == 0) {
                const GateBudget budget = {100, t->seed % 100, now + t->seed % 5 * USEC_PER_SEC};
                host_gate_budget(ticket, &budget);
        }
        if (t->seed % 17 == 0)
                failure = (Failure){
                        .class = FAILURE_RATE_LIMITED, .retry_at_usec = now + 2 * USEC_PER_SEC};
        else if (t->seed % 11 == 0)
                failure.class = FAILURE_OFFLINE;
        atomic_fetch_sub(&active[t->host], 1);
        atomic_fetch_sub(&active_in_all, 1);
        host_gate_leave(ticket, failure.class == FAILURE_NONE ? 0 : -EIO, &failure);
        atomic_fetch_add(&n_ended, 1);
}

static void *enter_all(void *arg) {
        static const char *const resources[] = {NULL, "core", "graphql"};
        unsigned n = (unsigned) (uintptr_t) arg;

        for (unsigned i = 0; i < N_TICKETS; i++) {
                StressTicket *t = &tickets[n][i];
                t->seed = (n * N_TICKETS + i) * 2654435761u >> 8;
                t->host = t->seed % ELEMENTSOF(hosts);
                t->ticket.priority = t->seed / 7 % (FETCH_REFRESH + 1);
                t->ticket.deadline_usec = fake_now + (1 + t->seed % 10) * USEC_PER_SEC;
                t->ticket.resource = resources[t->seed / 5 % ELEMENTSOF(resources)];
                t->ticket.account = t->seed / 3 % 2;
                t->ticket.admitted = on_admitted;
                host_gate_enter(gates, hosts[t->host], &t->ticket);
        }
        return NULL;
}

static int on_info(const GateInfo *info, void *userdata) {
        if (info->n_active > MAX_TOTAL || info->host[0] == '\0')
                atomic_fetch_add(&n_bad, 1);
        return 0;
}

START_TEST(every_ticket_is_answered_once) {
        const GateLimits limits = {MAX_PER_HOST, MAX_TOTAL, .max_per_second = 5000};
        pthread_t threads[N_THREADS];
        Pool *pool;

        ck_assert_int_eq(pool_new(3, &pool), 0);
        ck_assert_int_eq(host_gates_new(pool, &limits, &gates), 0);
        host_gates_set_clock(gates, fake_clock);
        for (uintptr_t i = 0; i < N_THREADS; i++)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, enter_all, (void *) i), 0);
        /* Time passes, until three quarters have ended in one way or another. */
        while (n_ended < N_THREADS * N_TICKETS / 4 * 3) {
                fake_now += USEC_PER_SEC / 20;
                host_gates_tick(gates);
                ck_assert_int_eq(host_gates_each(gates, on_info, NULL), 0);
                (void) sched_yield();
        }
        host_gates_shut(gates);
        for (unsigned i = 0; i < N_THREADS; i++)
                ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        pool = pool_free(pool);
        ck_assert_uint_eq(n_ended, N_THREADS * N_TICKETS);
        ck_assert_uint_gt(n_admitted, 0);
        ck_assert_uint_eq(n_bad, 0);
        gates = host_gates_free(gates);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, every_ticket_is_answered_once);
}

CHECK_MAIN("stress-gate", add_tests)
