#include "forge/host-gate-private.h"
#include "util/clock.h"

/* The bucket holds what comes in within this time. */
#define RATE_SECONDS 2

/* What background work leaves to those that wait. */
static uint64_t reserve(const Budget *b, FetchPriority priority) {
        return priority == FETCH_WAITING ? 0 : b->told.limit / 10;
}

static bool is_known(const Budget *b, uint64_t now) {
        return b->told.limit > 0 && b->told.reset_usec > now;
}

uint64_t gate_budget_blocked_until(const Budget *b, FetchPriority priority, uint64_t now) {
        uint64_t until = b->limited_until;

        if (is_known(b, now) && b->told.remaining <= reserve(b, priority))
                until = MAX(until, b->told.reset_usec);
        return until;
}

bool gate_budget_allows(const Budget *b, FetchPriority priority, uint64_t now) {
        if (gate_budget_blocked_until(b, priority, now) > now)
                return false;
        /* Answers that are still to come will tell of less. */
        return !is_known(b, now) || b->told.remaining > reserve(b, priority) + b->active;
}

/* The bucket is kept as the time when it will be full: each request puts that off by the time in
 * which one token comes in, up to the time that filling an empty bucket takes. */
static uint64_t rate_interval(const HostGates *g) {
        return USEC_PER_SEC / g->limits.max_per_second;
}

bool gate_rate_allows(const HostGates *g, const Host *host, FetchPriority priority, uint64_t now) {
        /* Background work takes none of the last token either. */
        unsigned wanted = priority == FETCH_WAITING ? 1 : 2;

        if (g->limits.max_per_second == 0)
                return true;
        return MAX(host->rate_usec, now) + wanted * rate_interval(g) <=
               now + RATE_SECONDS * USEC_PER_SEC;
}

void gate_rate_take(const HostGates *g, Host *host, uint64_t now) {
        if (g->limits.max_per_second > 0)
                host->rate_usec = MAX(host->rate_usec, now) + rate_interval(g);
}
