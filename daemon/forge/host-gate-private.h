#pragma once

#include "forge/host-gate.h"
#include "util/htable.h"
#include "util/mutex.h"

/* Private to host-gate*.c. All of it is guarded by HostGates.mutex. */

#define N_PRIORITIES (FETCH_REFRESH + 1)

TAILQ_HEAD(TicketQueue, GateTicket);

/* What one account may ask of one resource of a host. */
typedef struct Budget {
        TAILQ_ENTRY(Budget) entry; /* in Host.budgets */
        char *resource;            /* "": the host's only one, or nobody said */
        uint64_t account;
        GateBudget told;        /* limit 0: nothing is known; the remaining as of the last answer */
        uint64_t limited_until; /* the server asked for silence */
        unsigned active;        /* requests on their way */
        unsigned waiting;       /* tickets */
        uint64_t used_usec;
} Budget;

typedef struct Host {
        HTableLink link;
        TAILQ_ENTRY(Host) entry; /* in HostGates.order */
        HostGates *gates;
        char *name;
        unsigned active;
        struct TicketQueue waiting[N_PRIORITIES];
        TAILQ_HEAD(, Budget) budgets;
        uint64_t limited_until; /* the server asked for silence */
        uint64_t rate_usec;     /* when the token bucket will be full again */
        unsigned failures;      /* in a row */
        uint64_t open_for;      /* 0: the breaker is closed */
        uint64_t open_until;
        bool probing; /* half open, and the probe is under way */
        GateTicket *probe;
        uint64_t used_usec;
} Host;

struct HostGates {
        Pool *pool;
        GateLimits limits;
        uint64_t (*now)(void);

        Mutex mutex;
        HTable hosts;
        TAILQ_HEAD(, Host) order; /* the one served last is last */
        unsigned active;
        bool shut;
};

/* In host-gate-table.c. Find, or make; NULL when out of memory. */
Host *gate_host_find(HostGates *g, const char *name);
Budget *gate_budget_find(Host *host, const char *resource, uint64_t account);
void gate_host_free(HostGates *g, Host *host);
bool gate_host_has_waiting(const Host *host);
/* A server can lead us to any number of hosts by redirects: those with nothing to remember go at
 * once, the others when nobody has asked for them for long. */
void gate_forget_idle(HostGates *g, uint64_t now);

/* In host-gate-budget.c. Until when nothing of this priority may be sent, as the host has told; in
 * the past: it may. */
uint64_t gate_budget_blocked_until(const Budget *b, FetchPriority priority, uint64_t now);
/* True if one more request is covered, counting those on their way. */
bool gate_budget_allows(const Budget *b, FetchPriority priority, uint64_t now);
/* The token bucket of the host. */
bool gate_rate_allows(const HostGates *g, const Host *host, FetchPriority priority, uint64_t now);
void gate_rate_take(const HostGates *g, Host *host, uint64_t now);
