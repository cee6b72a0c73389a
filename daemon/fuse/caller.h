#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "util/htable.h"

/* How many of the requests that wait come from each process, so that one alone does not take all
 * the places: see caller.c for the rule. Embedded in the table of requests, whose lock guards it.
 */

typedef struct Caller Caller;

typedef struct CallerTable {
        HTable by_process;
} CallerTable;

/* Nobody waits any more. */
void callers_done(CallerTable *t);

/* The process that a thread belongs to, which the kernel has named in a request. 0 where it cannot
 * be seen: it has ended, or lives in another PID namespace. System calls, which wait for nothing;
 * to be called without a lock. */
pid_t caller_process(pid_t thread);

/* Requests of some kinds need a place of two sorts: among all, and among their own. */
typedef enum CallerKind {
        CALLER_ALL,
        CALLER_BACKGROUND,
        _CALLER_KIND_MAX,
} CallerKind;

/* One more request of this process waits; of each sort of places up to `kind`, n_free are left for
 * it and all others. 0, with what callers_leave() takes; -EDQUOT where the process has its share;
 * -ENOMEM. */
int callers_enter(
        CallerTable *t,
        pid_t process,
        CallerKind kind,
        const uint64_t n_free[_CALLER_KIND_MAX],
        Caller **ret);
/* It has ended. NULL-safe: one that was not counted. */
void callers_leave(CallerTable *t, CallerKind kind, Caller *caller);
