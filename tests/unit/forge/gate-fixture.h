#pragma once

#include <stdatomic.h>

#include "forge/host-gate.h"

/* The gate under a clock of our own, and one worker, so that what is submitted first runs first. */

extern _Atomic uint64_t fake_now;

typedef struct TestTicket {
        GateTicket ticket;
        int result; /* 1: not called yet */
        FailureClass class;
        uint64_t retry_at;
        unsigned order;
} TestTicket;

typedef struct GateFixture {
        Pool *pool;
        HostGates *gates;
        unsigned n_admitted;
} GateFixture;

extern GateFixture fixture;

void gate_setup_limits(const GateLimits *limits);
void gate_setup(unsigned per_host, unsigned total);
void gate_teardown(void);
/* When this returns, all admissions have been made. */
void settle(void);
void tick_after(uint64_t usec);

/* GateTicket.admitted of a TestTicket: writes down how it ended. */
void on_admitted(GateTicket *ticket, int result, const Failure *failure);
/* With a deadline in a minute. */
void enter(TestTicket *t, const char *host, FetchPriority priority);
void enter_as(
        TestTicket *t,
        const char *host,
        FetchPriority priority,
        const char *resource,
        uint64_t account);
void leave(TestTicket *t);
void leave_with(TestTicket *t, FailureClass class, uint64_t retry_at);
/* The answer to this ticket's request says what is left, for so many seconds. */
void leave_telling(TestTicket *t, uint64_t limit, uint64_t remaining, uint64_t seconds);

#define A "http://a:80"
#define B "http://b:80"
