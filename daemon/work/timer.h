#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

#include "work/pool.h"

/* Tasks that run at a time. For waits of milliseconds, of which there are few: one thread, which
 * does nothing but hand tasks to the pool. */
typedef struct Timers Timers;

typedef struct Timer Timer;
struct Timer {
        Task task; /* run() is the caller's; may free the timer or arm it again */

        /* private */
        uint64_t when_usec;
        bool armed; /* in the list */
        TAILQ_ENTRY(Timer) entry;
};

int timers_new(Pool *pool, Timers **ret);
/* What is armed still runs on the pool, at once. NULL-safe, returns NULL. */
Timers *timers_free(Timers *timers);
DEFINE_CLEANUP(Timers *, timers_free)

/* Submits the task, as a normal one, at that time on the monotonic clock. Any thread; never fails.
 * The timer must not be armed already. */
void timers_arm(Timers *timers, Timer *timer, uint64_t when_usec);
/* True if the task will not run any more; false if it has, or is about to, or was never armed. */
bool timers_disarm(Timers *timers, Timer *timer);
