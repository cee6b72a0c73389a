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
        FetchPriority priority;
        uint64_t deadline_usec;
        uint64_t not_before_usec; /* monotonic; 0: at once. For retries that wait first */
        /* Runs on a pool thread exactly once: 0, send now and call host_gate_leave() afterwards; or
         * a negative errno with the reason (breaker open, limited beyond the deadline, shutting
         * down), then do not. */
        void (*admitted)(GateTicket *ticket, int result, const Failure *failure);
        /* private */
        Task task;
        int result;
        Failure failure;
        struct Host *host;
        TAILQ_ENTRY(GateTicket) entry;
};

int host_gates_new(Pool *pool, unsigned max_per_host, unsigned max_total, HostGates **ret);
HostGates *host_gates_free(HostGates *gates);
DEFINE_CLEANUP(HostGates *, host_gates_free)

/* `host` is "scheme://host:port". Never blocks. */
void host_gate_enter(HostGates *gates, const char *host, GateTicket *ticket);
/* The request is over. outcome tells the breaker: 0 for any answer of the server, negative with a
 * failure of class offline or timeout otherwise; rate limiting carries retry_at_usec. */
void host_gate_leave(GateTicket *ticket, int outcome, const Failure *failure);
/* Called regularly (about 4 times a second) from a timer: expires tickets whose deadline has passed
 * and admits what waited for a time. */
void host_gates_tick(HostGates *gates);
/* Fails everything that waits and refuses what comes. */
void host_gates_shut(HostGates *gates);
/* Tests put a clock of their own here, before the first ticket. */
void host_gates_set_clock(HostGates *gates, uint64_t (*now)(void));
