#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

/* A bounded pool of worker threads with two queues. Tasks are embedded in what they work on and are
 * run once per submission, in order of submission within their priority. */

typedef enum TaskPriority {
        TASK_NORMAL,     /* somebody waits */
        TASK_BACKGROUND, /* nobody waits: runs when no normal task is queued, never on all threads
                          */
        _TASK_PRIORITY_MAX,
} TaskPriority;

typedef struct Task Task;
struct Task {
        void (*run)(Task *task); /* may free or resubmit the task */
        STAILQ_ENTRY(Task) entry;
};

typedef struct Pool Pool;

int pool_new(unsigned n_threads, Pool **ret);
/* Runs what is queued, then joins all threads. Tasks submitted meanwhile (by tasks) are still run:
 * callers cancel their work before. NULL-safe, returns NULL. */
Pool *pool_free(Pool *pool);
DEFINE_CLEANUP(Pool *, pool_free)

/* Never blocks, never fails; any thread. The task must not be queued already. */
void pool_submit(Pool *pool, Task *task, TaskPriority priority);
unsigned pool_n_threads(const Pool *pool);
/* Tasks queued and not yet started. */
size_t pool_queued(Pool *pool);
