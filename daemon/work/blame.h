#pragma once

#include "gitfs/macro.h"

/* For whom a thread works: the scope of the flights (work/flight.h) that wait for what it does. If
 * it crashes, those are to blame. An address that is compared and never followed. */

/* Of this thread; NULL: nobody, or it is not known. Async-signal-safe. */
const void *blame_current(void);
/* Returns what it was before. */
const void *blame_set(const void *scope);

static inline void blame_restore(const void **before) {
        (void) blame_set(*before);
}
/* For a function, or the block around it; one in each. */
#define BLAME_GUARD(scope)                                                                         \
        _cleanup_(blame_restore) _unused_ const void *_blame_before = blame_set(scope)
