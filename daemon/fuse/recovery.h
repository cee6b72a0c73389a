#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "fuse/journal.h"
#include "util/mutex.h"

/* What a predecessor has read and not answered: see recovery.c. */

typedef struct MountSession MountSession;

typedef struct Recovery {
        /* set before the thread starts */
        JournalSlot **suspects; /* owned; parked slots, in the order in which they are run */
        size_t n;
        uint64_t deadline_usec;

        size_t at; /* the next one: the thread's, then of who has joined it */
        pthread_t thread;
        bool started;

        Mutex mutex;
        pthread_cond_t changed; /* with mutex: any of those below */
        unsigned n_under_way;   /* suspects that wait; guarded by mutex */
        bool stop;              /* guarded by mutex */
} Recovery;

void recovery_init(Recovery *r);
void recovery_done(Recovery *r);

/* Runs or answers what a predecessor has left. Suspects are run on a thread of their own, after
 * this returns. Before the readers start. 0 or a negative errno. */
int recovery_start(MountSession *s);
/* Returns when the thread has ended. Suspects that it has not run are answered with `error`, or
 * with 0 left to a successor. Idempotent. */
void recovery_stop(MountSession *s, int error);

/* For request.c: one of the suspects has to wait; and it has been answered. Any thread. */
void recovery_parked(MountSession *s);
void recovery_ended(MountSession *s);
