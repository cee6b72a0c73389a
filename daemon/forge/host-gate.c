/* All state is under one mutex: admitting is a few list operations, and admitted() is never called
 * from here but submitted to the pool.
 *
 * The breaker of a host has three states. Closed: requests pass; BREAKER_FAILURES failures in a row
 * open it. Open, until open_until: every ticket fails at once, so that nobody waits for a dead
 * server. Half open, afterwards: one ticket passes as the probe, the others still fail; its outcome
 * closes the breaker, or opens it for twice as long. */

#include "forge/host-gate.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "util/clock.h"
#include "util/htable.h"
#include "util/mutex.h"
#include "util/stats.h"

#define BREAKER_FAILURES 3
#define BREAKER_MIN_USEC (1 * USEC_PER_SEC)
#define BREAKER_MAX_USEC (30 * USEC_PER_SEC)
/* A server that asks for more than this is asked again after this. */
#define LIMITED_MAX_USEC (3600 * USEC_PER_SEC)
#define N_PRIORITIES (FETCH_REFRESH + 1)

TAILQ_HEAD(TicketQueue, GateTicket);

typedef struct Host {
        HTableLink link;
        TAILQ_ENTRY(Host) entry; /* in HostGates.order */
        HostGates *gates;
        char *name;
        unsigned active;
        struct TicketQueue waiting[N_PRIORITIES];
        uint64_t limited_until; /* the server asked for silence */
        unsigned failures;      /* in a row */
        uint64_t open_for;      /* 0: the breaker is closed */
        uint64_t open_until;
        bool probing; /* half open, and the probe is under way */
        GateTicket *probe;
} Host;

struct HostGates {
        Pool *pool;
        unsigned max_per_host, max_total;
        uint64_t (*now)(void);

        Mutex mutex;
        /* Guarded by mutex: */
        HTable hosts;
        TAILQ_HEAD(, Host) order; /* the one served last is last */
        unsigned active;
        bool shut;
};

static TaskPriority task_priority(const GateTicket *ticket) {
        return ticket->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND;
}

static void ticket_run(Task *task) {
        GateTicket *ticket = container_of(task, GateTicket, task);
        Failure failure = ticket->failure;

        ticket->admitted(ticket, ticket->result, &failure);
}

static void ticket_submit(HostGates *g, GateTicket *ticket, int result) {
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

static void ticket_fail_limited(HostGates *g, Host *host, GateTicket *ticket) {
        int r = failure_set(
                &ticket->failure,
                FAILURE_RATE_LIMITED,
                "%s asked for a pause that ends after the deadline",
                host->name);
        ticket->failure.retry_at_usec = host->limited_until;
        ticket_submit(g, ticket, r);
}

/* --- hosts --- */

static Host *host_find(HostGates *g, const char *name) {
        uint64_t hash = hash_string(name);

        HTABLE_FOREACH (l, &g->hosts, hash) {
                Host *host = container_of(l, Host, link);
                if (strcmp(host->name, name) == 0)
                        return host;
        }

        Host *host = calloc(1, sizeof(*host));
        if (!host)
                return NULL;
        for (unsigned i = 0; i < N_PRIORITIES; i++)
                TAILQ_INIT(&host->waiting[i]);
        host->gates = g;
        host->name = strdup(name);
        if (!host->name || htable_add(&g->hosts, &host->link, hash) < 0) {
                free(host->name);
                free(host);
                return NULL;
        }
        TAILQ_INSERT_TAIL(&g->order, host, entry);
        return host;
}

static void host_free(HostGates *g, Host *host) {
        htable_remove(&g->hosts, &host->link);
        TAILQ_REMOVE(&g->order, host, entry);
        free(host->name);
        free(host);
}

static bool host_has_waiting(const Host *host) {
        for (unsigned i = 0; i < N_PRIORITIES; i++)
                if (!TAILQ_EMPTY(&host->waiting[i]))
                        return true;
        return false;
}

/* A server can lead us to any number of hosts by redirects: those with nothing to remember go. */
static void forget_idle_hosts(HostGates *g, uint64_t now) {
        for (Host *host = TAILQ_FIRST(&g->order), *next; host; host = next) {
                next = TAILQ_NEXT(host, entry);
                if (host->active == 0 && host->failures == 0 && host->limited_until <= now &&
                    !host_has_waiting(host))
                        host_free(g, host);
        }
}

/* --- admission --- */

/* Background work leaves one slot of each limit to whoever waits. */
static bool slot_free(const HostGates *g, const Host *host, FetchPriority priority) {
        unsigned reserve = priority == FETCH_WAITING ? 0 : 1;
        unsigned per_host = g->max_per_host > 1 ? g->max_per_host - reserve : 1;
        unsigned total = g->max_total > 1 ? g->max_total - reserve : 1;

        return host->active < per_host && g->active < total;
}

static void admit(HostGates *g, Host *host, GateTicket *ticket) {
        host->active++;
        g->active++;
        if (host->open_for > 0) {
                host->probing = true;
                host->probe = ticket;
        }
        ticket_submit(g, ticket, 0);
}

/* Admits the first ticket of this priority that may go now. */
static bool admit_one(HostGates *g, Host *host, FetchPriority priority, uint64_t now) {
        GateTicket *ticket;

        if (host->limited_until > now || !slot_free(g, host, priority))
                return false;
        TAILQ_FOREACH (ticket, &host->waiting[priority], entry)
                if (ticket->not_before_usec <= now)
                        break;
        if (!ticket)
                return false;
        TAILQ_REMOVE(&host->waiting[priority], ticket, entry);
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
        Host *host = host_find(g, name);
        if (!host) {
                (void) failure_set(&ticket->failure, FAILURE_LOCAL, "out of memory");
                ticket_submit(g, ticket, -ENOMEM);
                return;
        }
        ticket->host = host;
        if (host->limited_until > ticket->deadline_usec) {
                ticket_fail_limited(g, host, ticket);
                return;
        }
        TAILQ_INSERT_TAIL(&host->waiting[ticket->priority], ticket, entry);
        dispatch(g, now);
}

/* --- outcomes --- */

typedef bool (*TicketTest)(const Host *host, const GateTicket *ticket, uint64_t now);

static bool ticket_may_go(const Host *host, const GateTicket *ticket, uint64_t now) {
        return ticket->not_before_usec <= now;
}

static bool ticket_is_beyond_limit(const Host *host, const GateTicket *ticket, uint64_t now) {
        return ticket->deadline_usec < host->limited_until;
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
                        TAILQ_REMOVE(&host->waiting[p], t, entry);
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

static void host_answered(HostGates *g, Host *host, const Failure *failure, uint64_t now) {
        host->failures = 0;
        host->open_for = host->open_until = 0;
        if (failure && failure->class == FAILURE_RATE_LIMITED && failure->retry_at_usec > now) {
                uint64_t until = MIN(failure->retry_at_usec, now + LIMITED_MAX_USEC);
                host->limited_until = MAX(host->limited_until, until);
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
        if (was_probe) {
                host->probing = false;
                host->probe = NULL;
        }
        if (class == FAILURE_OFFLINE || class == FAILURE_TIMEOUT)
                host_failed(g, host, was_probe, now);
        else if (class != FAILURE_CANCELLED) /* which tells nothing about the server */
                host_answered(g, host, failure, now);
        dispatch(g, now);
}

void host_gate_budget(GateTicket *ticket, const GateBudget *budget) {
        Host *host = ticket->host;

        MUTEX_GUARD(&host->gates->mutex);
        if (budget->remaining == 0)
                host->limited_until = MAX(host->limited_until, budget->reset_usec);
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

void host_gates_tick(HostGates *g) {
        Host *host;

        MUTEX_GUARD(&g->mutex);
        uint64_t now = g->now();
        TAILQ_FOREACH (host, &g->order, entry)
                fail_waiting(g, host, now, ticket_is_late, ticket_fail_late);
        dispatch(g, now);
        forget_idle_hosts(g, now);
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
                .max_per_host = limits->max_per_host,
                .max_total = limits->max_total,
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
                assert(host->active == 0 && !host_has_waiting(host));
                host_free(g, host);
        }
        htable_done(&g->hosts);
        mutex_destroy(&g->mutex);
        free(g);
        return NULL;
}
