/* All state is under one mutex: admitting is a few list operations, and admitted() is never called
 * from here but submitted to the pool.
 *
 * A ticket goes out when the host and its budget are not blocked, there is a slot, the token bucket
 * is not empty, and what is left of the budget covers it and all that are on their way. What the
 * server said (Retry-After, an empty budget) fails at once those whose deadline comes first; the
 * rest just makes them wait.
 *
 * A background ticket that has waited for AGE_USEC goes up to the end of the next class, but never
 * to those that somebody waits for: the slot that is left to them stays theirs.
 *
 * The breaker of a host has three states. Closed: requests pass; BREAKER_FAILURES failures in a row
 * open it. Open, until open_until: every ticket fails at once, so that nobody waits for a dead
 * server. Half open, afterwards: one ticket passes as the probe, the others still fail; its outcome
 * closes the breaker, or opens it for twice as long. */

#include "forge/host-gate.h"

#include <errno.h>
#include <sys/random.h>

#include "forge/host-gate-private.h"
#include "util/clock.h"
#include "util/stats.h"

#define AGE_USEC (2 * USEC_PER_SEC)
#define BREAKER_FAILURES 3
#define BREAKER_MIN_USEC (1 * USEC_PER_SEC)
#define BREAKER_MAX_USEC (30 * USEC_PER_SEC)
/* A server that asks for more than this is asked again after this: an hour is what budgets are for,
 * and a minute what clocks differ by. */
#define LIMITED_MAX_USEC ((3600 + 60) * USEC_PER_SEC)

static TaskPriority task_priority(const GateTicket *ticket) {
        return ticket->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND;
}

static void ticket_run(Task *task) {
        GateTicket *ticket = container_of(task, GateTicket, task);
        Failure failure = ticket->failure;

        ticket->admitted(ticket, ticket->result, &failure);
}

static void set_held(GateTicket *ticket, bool held) {
        if (ticket->held)
                atomic_store_explicit(ticket->held, held, memory_order_relaxed);
}

/* The ticket waits no longer. */
static void ticket_submit(HostGates *g, GateTicket *ticket, int result) {
        set_held(ticket, false);
        ticket->result = result;
        ticket->task.run = ticket_run;
        pool_submit(g->pool, &ticket->task, task_priority(ticket));
}

static void ticket_fail_offline(HostGates *g, Host *host, GateTicket *ticket) {
        int r = failure_set(
                &ticket->failure,
                FAILURE_OFFLINE,
                "%s does not answer; it is tried again soon",
                host->name);
        ticket->failure.retry_at_usec = host->open_until;
        ticket_submit(g, ticket, r);
}

/* Until when what the server said keeps the ticket. */
static uint64_t blocked_until(const Host *host, const GateTicket *ticket, uint64_t now) {
        return MAX(
                host->limited_until,
                gate_budget_blocked_until(ticket->budget, ticket->priority, now));
}

static void ticket_fail_limited(HostGates *g, Host *host, GateTicket *ticket) {
        uint64_t now = g->now();
        uint64_t until = blocked_until(host, ticket, now);

        int r = failure_set(
                &ticket->failure,
                FAILURE_RATE_LIMITED,
                "%s allows no more requests%s%s for %llu s",
                host->name,
                ticket->budget->resource[0] ? " of the kind " : "",
                ticket->budget->resource,
                (unsigned long long) (until > now ? (until - now) / USEC_PER_SEC : 0));
        ticket->failure.retry_at_usec = until;
        ticket_submit(g, ticket, r);
}

/* --- admission --- */

/* Background work leaves one slot of each limit to whoever waits. */
static bool slot_free(const HostGates *g, const Host *host, FetchPriority priority) {
        unsigned reserve = priority == FETCH_WAITING ? 0 : 1;
        const GateLimits *limits = &g->limits;
        unsigned per_host = limits->max_per_host > 1 ? limits->max_per_host - reserve : 1;
        unsigned total = limits->max_total > 1 ? limits->max_total - reserve : 1;

        return host->active < per_host && g->active < total;
}

static void admit(HostGates *g, Host *host, GateTicket *ticket) {
        host->active++;
        g->active++;
        ticket->budget->active++;
        gate_rate_take(g, host, g->now());
        if (host->open_for > 0) {
                host->probing = true;
                host->probe = ticket;
        }
        ticket_submit(g, ticket, 0);
}

static void remove_waiting(Host *host, GateTicket *ticket) {
        TAILQ_REMOVE(&host->waiting[ticket->priority], ticket, entry);
        ticket->budget->waiting--;
}

/* Admits the first ticket of this priority that may go now. */
static bool admit_one(HostGates *g, Host *host, FetchPriority priority, uint64_t now) {
        GateTicket *ticket;

        if (host->limited_until > now || !slot_free(g, host, priority) ||
            !gate_rate_allows(g, host, priority, now))
                return false;
        TAILQ_FOREACH (ticket, &host->waiting[priority], entry)
                if (ticket->not_before_usec <= now &&
                    gate_budget_allows(ticket->budget, priority, now))
                        break;
        if (!ticket)
                return false;
        remove_waiting(host, ticket);
        if (host->open_for > 0 && (host->probing || now < host->open_until))
                ticket_fail_offline(g, host, ticket);
        else
                admit(g, host, ticket);
        return true;
}

/* Fills the free slots: by priority, and within one priority host by host. */
static void dispatch(HostGates *g, uint64_t now) {
        for (FetchPriority p = 0; p < N_PRIORITIES; p++)
                for (bool again = true; again;) {
                        again = false;
                        for (Host *host = TAILQ_FIRST(&g->order), *next; host; host = next) {
                                next = TAILQ_NEXT(host, entry);
                                again = admit_one(g, host, p, now) || again;
                        }
                }
}

static bool ticket_is_beyond_limit(const Host *host, const GateTicket *ticket, uint64_t now) {
        return blocked_until(host, ticket, now) > MAX(ticket->patient_until_usec, now);
}

static bool is_waited_for(const GateTicket *ticket) {
        return (ticket->waited && atomic_load_explicit(ticket->waited, memory_order_relaxed)) ||
               (ticket->is_waited && ticket->is_waited(ticket));
}

void host_gate_enter(HostGates *g, const char *name, GateTicket *ticket) {
        MUTEX_GUARD(&g->mutex);
        uint64_t now = g->now();

        ticket->failure = (Failure){0};
        ticket->host = NULL;
        if (g->shut) {
                (void) failure_set(&ticket->failure, FAILURE_CANCELLED, "gitfs is stopping");
                ticket_submit(g, ticket, -ECANCELED);
                return;
        }
        Host *host = gate_host_find(g, name);
        Budget *budget = host ? gate_budget_find(host, ticket->resource, ticket->account) : NULL;
        if (!budget) {
                (void) failure_set(&ticket->failure, FAILURE_LOCAL, "out of memory");
                ticket_submit(g, ticket, -ENOMEM);
                return;
        }
        ticket->host = host;
        ticket->budget = budget;
        host->used_usec = budget->used_usec = now;
        ticket->aged_usec = MAX(now, ticket->not_before_usec);
        ticket->patient_until_usec = ticket->deadline_usec;
        if (ticket->patience_usec > 0)
                ticket->patient_until_usec =
                        MIN(ticket->deadline_usec, now + ticket->patience_usec);
        if (is_waited_for(ticket))
                ticket->priority = FETCH_WAITING;
        if (ticket_is_beyond_limit(host, ticket, now)) {
                ticket_fail_limited(g, host, ticket);
                return;
        }
        TAILQ_INSERT_TAIL(&host->waiting[ticket->priority], ticket, entry);
        budget->waiting++;
        set_held(ticket, true);
        dispatch(g, now);
}

/* --- outcomes --- */

typedef bool (*TicketTest)(const Host *host, const GateTicket *ticket, uint64_t now);

static bool ticket_may_go(const Host *host, const GateTicket *ticket, uint64_t now) {
        return ticket->not_before_usec <= now;
}

static void fail_waiting(
        HostGates *g,
        Host *host,
        uint64_t now,
        TicketTest test,
        void (*fail)(HostGates *g, Host *host, GateTicket *ticket)) {
        for (unsigned p = 0; p < N_PRIORITIES; p++)
                for (GateTicket *t = TAILQ_FIRST(&host->waiting[p]), *next; t; t = next) {
                        next = TAILQ_NEXT(t, entry);
                        if (!test(host, t, now))
                                continue;
                        remove_waiting(host, t);
                        fail(g, host, t);
                }
}

/* Up to a quarter less, so that many clients of one server do not come back in step. */
static uint64_t with_jitter(uint64_t usec) {
        uint32_t random = 0;

        if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
                return usec;
        return usec - usec / 4 * random / UINT32_MAX;
}

static void host_failed(HostGates *g, Host *host, bool was_probe, uint64_t now) {
        if (host->open_for > 0 && !was_probe)
                return; /* it was on the wire when the breaker opened */
        host->failures++;
        if (!was_probe && host->failures < BREAKER_FAILURES)
                return;
        host->open_for = was_probe ? MIN(host->open_for * 2, BREAKER_MAX_USEC) : BREAKER_MIN_USEC;
        host->open_until = now + with_jitter(host->open_for);
        stat_add(STAT_BREAKER_OPEN, 1);
        fail_waiting(g, host, now, ticket_may_go, ticket_fail_offline);
}

static void host_answered(HostGates *g, GateTicket *ticket, const Failure *failure, uint64_t now) {
        Host *host = ticket->host;

        host->failures = 0;
        host->open_for = host->open_until = 0;
        if (failure && failure->class == FAILURE_RATE_LIMITED && failure->retry_at_usec > now) {
                uint64_t until = MIN(failure->retry_at_usec, now + LIMITED_MAX_USEC);
                /* Who has a budget of their own are told about that; the others speak for all. */
                bool own = ticket->resource || ticket->account != 0;
                uint64_t *limited = own ? &ticket->budget->limited_until : &host->limited_until;
                *limited = MAX(*limited, until);
                fail_waiting(g, host, now, ticket_is_beyond_limit, ticket_fail_limited);
        }
}

void host_gate_leave(GateTicket *ticket, int outcome, const Failure *failure) {
        Host *host = ticket->host;
        HostGates *g = host->gates;

        MUTEX_GUARD(&g->mutex);
        uint64_t now = g->now();
        FailureClass class = outcome < 0 && failure ? failure->class : FAILURE_NONE;
        bool was_probe = host->probe == ticket;

        assert(host->active > 0);
        host->active--;
        g->active--;
        ticket->budget->active--;
        host->used_usec = ticket->budget->used_usec = now;
        if (was_probe) {
                host->probing = false;
                host->probe = NULL;
        }
        if (class == FAILURE_OFFLINE || class == FAILURE_TIMEOUT)
                host_failed(g, host, was_probe, now);
        else if (class != FAILURE_CANCELLED) /* which tells nothing about the server */
                host_answered(g, ticket, failure, now);
        dispatch(g, now);
}

void host_gate_budget(GateTicket *ticket, const GateBudget *budget) {
        Host *host = ticket->host;
        HostGates *g = host->gates;

        MUTEX_GUARD(&g->mutex);
        uint64_t now = g->now();
        ticket->budget->told = *budget;
        ticket->budget->told.reset_usec = MIN(budget->reset_usec, now + LIMITED_MAX_USEC);
        fail_waiting(g, host, now, ticket_is_beyond_limit, ticket_fail_limited);
        dispatch(g, now);
}

/* --- time and end --- */

static bool ticket_is_late(const Host *host, const GateTicket *ticket, uint64_t now) {
        return ticket->deadline_usec <= now;
}

static void ticket_fail_late(HostGates *g, Host *host, GateTicket *ticket) {
        int r = failure_set(
                &ticket->failure,
                FAILURE_TIMEOUT,
                "%s: no request slot before the deadline",
                host->name);
        ticket_submit(g, ticket, r);
}

static bool ticket_is_cancelled(const Host *host, const GateTicket *ticket, uint64_t now) {
        return ticket->cancelled && atomic_load_explicit(ticket->cancelled, memory_order_relaxed);
}

static void ticket_fail_cancelled(HostGates *g, Host *host, GateTicket *ticket) {
        (void) failure_set(&ticket->failure, FAILURE_CANCELLED, "not wanted any more");
        ticket_submit(g, ticket, -ECANCELED);
}

static void raise_ticket(Host *host, GateTicket *ticket, FetchPriority priority, uint64_t now) {
        TAILQ_REMOVE(&host->waiting[ticket->priority], ticket, entry);
        ticket->priority = priority;
        ticket->aged_usec = now;
        TAILQ_INSERT_TAIL(&host->waiting[priority], ticket, entry);
}

/* Somebody waits for what began in the background; or it has been passed over for long. */
static void raise_waiting(Host *host, uint64_t now) {
        for (FetchPriority p = FETCH_WAITING + 1; p < N_PRIORITIES; p++)
                for (GateTicket *t = TAILQ_FIRST(&host->waiting[p]), *next; t; t = next) {
                        next = TAILQ_NEXT(t, entry);
                        if (is_waited_for(t))
                                raise_ticket(host, t, FETCH_WAITING, now);
                        else if (p > FETCH_READAHEAD && t->aged_usec + AGE_USEC <= now)
                                raise_ticket(host, t, p - 1, now);
                }
}

void host_gates_tick(HostGates *g) {
        Host *host;

        MUTEX_GUARD(&g->mutex);
        uint64_t now = g->now();
        TAILQ_FOREACH (host, &g->order, entry) {
                fail_waiting(g, host, now, ticket_is_late, ticket_fail_late);
                fail_waiting(g, host, now, ticket_is_cancelled, ticket_fail_cancelled);
                raise_waiting(host, now);
        }
        dispatch(g, now);
        gate_forget_idle(g, now);
}

static uint64_t earlier(uint64_t when, uint64_t usec) {
        return when > usec ? when - usec : 0;
}

void host_gates_retry(HostGates *g, uint64_t slept_usec) {
        Budget *budget;
        Host *host;

        MUTEX_GUARD(&g->mutex);
        uint64_t now = g->now();
        TAILQ_FOREACH (host, &g->order, entry) {
                if (host->open_for > 0) {
                        host->open_for = BREAKER_MIN_USEC;
                        host->open_until = now;
                }
                host->limited_until = earlier(host->limited_until, slept_usec);
                TAILQ_FOREACH (budget, &host->budgets, entry) {
                        budget->limited_until = earlier(budget->limited_until, slept_usec);
                        budget->told.reset_usec = earlier(budget->told.reset_usec, slept_usec);
                }
        }
        dispatch(g, now);
}

void host_gates_raise(HostGates *g) {
        Host *host;

        MUTEX_GUARD(&g->mutex);
        uint64_t now = g->now();
        TAILQ_FOREACH (host, &g->order, entry)
                raise_waiting(host, now);
        dispatch(g, now);
}

static bool ticket_is_any(const Host *host, const GateTicket *ticket, uint64_t now) {
        return true;
}

static void ticket_fail_shut(HostGates *g, Host *host, GateTicket *ticket) {
        (void) failure_set(&ticket->failure, FAILURE_CANCELLED, "gitfs is stopping");
        ticket_submit(g, ticket, -ECANCELED);
}

void host_gates_shut(HostGates *g) {
        Host *host;

        MUTEX_GUARD(&g->mutex);
        g->shut = true;
        TAILQ_FOREACH (host, &g->order, entry)
                fail_waiting(g, host, 0, ticket_is_any, ticket_fail_shut);
}

void host_gates_set_clock(HostGates *g, uint64_t (*now)(void)) {
        g->now = now;
}

int host_gates_new(Pool *pool, const GateLimits *limits, HostGates **ret) {
        HostGates *g = calloc(1, sizeof(*g));
        if (!g)
                return -ENOMEM;
        *g = (HostGates){
                .pool = pool,
                .limits = *limits,
                .now = now_usec,
        };
        TAILQ_INIT(&g->order);
        mutex_init(&g->mutex, LOCK_RANK_FORGE);
        *ret = g;
        return 0;
}

HostGates *host_gates_free(HostGates *g) {
        if (!g)
                return NULL;
        for (Host *host; (host = TAILQ_FIRST(&g->order));) {
                assert(host->active == 0 && !gate_host_has_waiting(host));
                gate_host_free(g, host);
        }
        htable_done(&g->hosts);
        mutex_destroy(&g->mutex);
        free(g);
        return NULL;
}
