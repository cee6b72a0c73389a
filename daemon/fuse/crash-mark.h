#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* What a process that crashes tells its successor. It lies in memory that outlives it. */
typedef struct CrashMark {
        /* It ended by a fault of its own: all the rest is about that. 0: somebody has ended it, or
         * the crash was such that it could say nothing (no memory, or no stack in a thread that is
         * not ours). */
        atomic_uint crashed;
        /* The kernel's number of the request whose operation the thread ran that crashed; 0: none
         */
        atomic_ullong unique;
        /* Whom it worked for otherwise: blame_current(). 0: not known. */
        atomic_uintptr_t scope;
} CrashMark;

/* Has it written when this process crashes; one at a time. A signal that somebody handles already
 * is left to him. */
void crash_mark_watch(CrashMark *mark);
/* Not any more, if it is this one. */
void crash_mark_forget(const CrashMark *mark);
/* The request that this thread runs from now on; 0: none. */
void crash_mark_enter(uint64_t unique);
