#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

#include "forge/forge.h"
#include "util/failure.h"

/* Who may send to a host, and when: at most max_per_host requests to one host and max_total in all,
 * waiting ones by priority (background priorities may use all slots but one, so that a waiting read
 * never queues behind prefetch for longer than the requests already on the wire), Retry-After
 * obeyed, and a breaker that fails fast while a host is down. */
typedef struct HostGates HostGates;

typedef struct GateTicket GateTicket;
struct GateTicket {
        FetchPriority priority; /* may be raised by the gate */
        /* Looked at when the ticket enters, and with each tick: once it is true, the ticket is
         * FETCH_WAITING. NULL: it never is. */
        const atomic_bool *waited;
        /* The same for who has more to look at than one flag; takes no lock. NULL: there is none.
         */
        bool (*is_waited)(const GateTicket *ticket);
        /* Looked at with each tick: once it is true, the ticket fails with -ECANCELED. NULL: it
         * never is. */
        const atomic_bool *cancelled;
        /* Kept up to date: whether the ticket waits for its turn. False as soon as that has come,
         * however long the pool takes to run admitted(). NULL: nobody asks. Relaxed: a hint. */
        atomic_bool *held;
        uint64_t deadline_usec;
        /* How long a limit of the server may hold it; 0: until the deadline. A transfer may take
         * long, but nobody waits that long for it to begin. */
        uint64_t patience_usec;
        uint64_t not_before_usec; /* monotonic; 0: at once. For retries that wait first */
        /* Whose budget it takes: what the server counts ("core", "graphql"; NULL: all is one), and
         * for whom (Secret.serial; 0: nobody in particular). Borrowed until leave. */
        const char *resource;
        uint64_t account;
        /* Runs on a pool thread exactly once: 0, send now and call host_gate_leave() afterwards; or
         * a negative errno with the reason (breaker open, limited beyond the deadline, shutting
         * down), then do not. */
        void (*admitted)(GateTicket *ticket, int result, const Failure *failure);
        /* private */
        uint64_t patient_until_usec;
        uint64_t aged_usec; /* since when it waits in the queue of its priority */
        Task task;
        int result;
        Failure failure;
        struct Host *host;
        struct Budget *budget;
        TAILQ_ENTRY(GateTicket) entry;
};

typedef struct GateLimits {
        unsigned max_per_host, max_total; /* requests on their way */
        unsigned max_per_second; /* to one host: a token bucket that holds two seconds' worth; 0: no
                                    limit */
} GateLimits;
int host_gates_new(Pool *pool, const GateLimits *limits, HostGates **ret);
HostGates *host_gates_free(HostGates *gates);
DEFINE_CLEANUP(HostGates *, host_gates_free)

/* `host` is "scheme://host:port". Never blocks. */
void host_gate_enter(HostGates *gates, const char *host, GateTicket *ticket);
/* The request is over. outcome tells the breaker: 0 for any answer of the server, negative with a
 * failure of class offline or timeout otherwise; rate limiting carries retry_at_usec, and is
 * believed of the ticket's budget if it has one (a resource or an account), else of the host. */
void host_gate_leave(GateTicket *ticket, int outcome, const Failure *failure);
/* What is left of a budget, as the answer to this ticket's request said; before leave. While
 * nothing is left, nothing is admitted before the reset: who cannot wait that long fails with
 * FAILURE_RATE_LIMITED and retry_at_usec. Background priorities leave a tenth of it to those that
 * wait. */
typedef struct GateBudget {
        uint64_t limit, remaining;
        uint64_t reset_usec; /* monotonic; the caller has made it so from the server's clock */
} GateBudget;
void host_gate_budget(GateTicket *ticket, const GateBudget *budget);

/* The state of one host, or of one budget there, for people. Strings are valid during the call. */
typedef struct GateInfo {
        const char *host;
        const char *resource; /* "" where the host tells no budget */
        uint64_t account;
        GateBudget budget; /* limit 0: none is known */
        unsigned n_active, n_waiting;
        uint64_t blocked_until_usec; /* monotonic; 0: not; Retry-After, or no budget, or a closed
                                        breaker */
        bool down;                   /* the breaker has tripped */
} GateInfo;
/* A negative return ends it and is returned. fn is called without a lock. */
int host_gates_each(
        HostGates *gates, int (*fn)(const GateInfo *info, void *userdata), void *userdata);

/* Called regularly (about 4 times a second) from a timer: expires tickets whose deadline has passed
 * and admits what waited for a time. */
void host_gates_tick(HostGates *gates);
/* The network is another one: hosts that did not answer may be asked at once, one request each.
 * slept_usec: of the time that servers asked to be left alone for, so much went by unnoticed. */
void host_gates_retry(HostGates *gates, uint64_t slept_usec);
/* What somebody has begun to wait for (GateTicket.waited) is raised now, not with the next tick. */
void host_gates_raise(HostGates *gates);
/* Fails everything that waits and refuses what comes. */
void host_gates_shut(HostGates *gates);
/* Tests put a clock of their own here, before the first ticket. */
void host_gates_set_clock(HostGates *gates, uint64_t (*now)(void));
