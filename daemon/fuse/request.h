#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fuse/caller.h"
#include "fuse/failed-read.h"
#include "fuse/journal.h"
#include "fuse/reply.h"
#include "tree/namespace.h"
#include "util/mutex.h"
#include "work/flight.h"
#include "work/pool.h"

/* Requests that cannot be answered at once: see request.c for how they live and end. */

typedef struct Op Op;

/* One system call as the name space sees it: which function, and its arguments. Lives on the
 * reader's stack; a request that waits has a copy. */
struct Op {
        /* Asks the name space. Replies and returns 0, or returns NS_PARKED, NS_BLOCKS or a negative
         * errno without having replied. May be run again. */
        int (*run)(const Op *op, const NsCall *call, Reply *reply);
        const char *what; /* static, for the log */
        uint64_t id;
        const char *name; /* lookup only, else NULL */
        uint64_t offset;
        size_t size;
        bool background; /* the kernel has few places for it: RequestTable.max_background */
};

typedef struct RequestTable {
        Pool *pool;
        FlightTable *flights;
        uint64_t timeout_usec;
        uint64_t max_pending;
        uint64_t max_background; /* of Op.background; set before the first request, like the next */
        Journal *journal;        /* the session's */
        int drained_fd;          /* eventfd, written when the last request ends while stopping */

        Mutex mutex;
        TAILQ_HEAD(, Request) pending; /* by deadline; guarded by mutex */
        uint64_t n_pending;            /* guarded by mutex */
        uint64_t n_waiting;            /* of them, that have a place; guarded by mutex */
        uint64_t n_background;         /* of those; guarded by mutex */
        CallerTable callers;           /* guarded by mutex */
        FailedReads failed_reads;      /* guarded by mutex */
        bool stopping;                 /* guarded by mutex */
} RequestTable;

/* 0 or a negative errno; requests_done() in either case. */
int requests_init(
        RequestTable *t,
        Pool *pool,
        FlightTable *flights,
        uint64_t timeout_usec,
        uint64_t max_pending);
/* All requests must have ended. */
void requests_done(RequestTable *t);

/* Runs op now, on this thread, and replies; or sees to it that it is replied to later. Consumes
 * req. */
void request_dispatch(MountSession *s, fuse_req_t req, const Op *op);

/* For reply.c: it is about to be replied to, so it waits no more, and another may. Its slot in the
 * journal stays taken until it has been. */
void request_give_place(Request *r);

/* The slot of a request that a predecessor left, when that was replied to or has another one.
 * Clears it and, where it is one for parked requests, gives it back. */
void requests_release_slot(RequestTable *t, JournalSlot *slot);

/* A parked slot that holds the request of this one, which is the same one or is clear now; NULL
 * where there is none for it. */
JournalSlot *requests_keep_slot(RequestTable *t, JournalSlot *slot);

/* Ends those whose deadline is not after `now` with ETIMEDOUT. */
void requests_expire(RequestTable *t, uint64_t now);

/* Ends all with ENOTCONN; from now on none waits. */
void requests_stop(RequestTable *t);
/* Ends all without a reply: a successor finds them in the journal. No reader may run any more. */
void requests_leave(RequestTable *t);
/* After either: true when all have been replied to before the deadline. */
bool requests_wait(RequestTable *t, uint64_t deadline_usec);
