#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "util/buf.h"
#include "util/failure.h"
#include "util/mutex.h"
#include "work/strand.h"

/* Between a thread that moves bytes and the handler of one answer: a buffer with a limit, which a
 * strand empties. The mover is told to stop when the buffer is full, and to go on when the handler
 * has caught up. Embedded in a transfer. */
typedef struct Inbox Inbox;

#define INBOX_LIMIT (4u << 20)
/* Less, because what a handler has been given cannot be held any more. */
#define INBOX_BACKGROUND_LIMIT (512u << 10)

/* What all inboxes together may hold. Beyond it each takes more only when its handler is through
 * with all that it had: so every transfer goes on, by what is put at a time. Background ones leave
 * a quarter to the others. */
typedef struct InboxBudget {
        size_t limit; /* bytes; constant */
        atomic_size_t used;
} InboxBudget;

typedef struct InboxOps {
        /* On the strand, with no lock held: what has arrived; len 0 after inbox_wake(). A negative
         * return gives the answer up: the rest is dropped, and given_up() called. */
        int (*data)(Inbox *inbox, const uint8_t *data, size_t len);
        /* On the strand, exactly once, last: the result of inbox_finish(), or what data() returned
         * to give up, then without a failure. */
        void (*ended)(Inbox *inbox, int result, Failure *failure);
        /* On the strand: there is room again, after inbox_put() had none. */
        void (*resume)(Inbox *inbox);
        void (*given_up)(Inbox *inbox);
        /* The queued pump holds a reference on what the inbox is part of. */
        void (*ref)(Inbox *inbox);
        void (*unref)(Inbox *inbox);
} InboxOps;

struct Inbox {
        const InboxOps *ops;
        Strand *strand;
        InboxBudget *budget; /* borrowed; NULL: none */
        bool background;

        Mutex mutex;
        /* Guarded by mutex: */
        Buf filling;
        size_t held;   /* bytes that the handler is not through with */
        bool paused;   /* it was full, or all together were */
        bool dropping; /* the handler gave up */
        bool on_hold;
        bool woken;
        bool finished;
        bool pump_queued;
        int result; /* valid when finished */
        Failure failure;

        /* The pump's, that is the strand's: */
        StrandItem pump;
        Buf draining;
        int aborted; /* what the handler returned to give up */
};

/* 0 or -ENOMEM; inbox_done() is for after a failure, too. The budget must outlive it; NULL: none.
 */
int inbox_init(
        Inbox *inbox, const InboxOps *ops, Pool *pool, TaskPriority priority, InboxBudget *budget);
void inbox_done(Inbox *inbox);

/* For the thread that moves bytes. 0; -EAGAIN: there is no room, come back after resume(), nothing
 * was taken; -ECANCELED: nobody wants it; -ENOMEM. */
int inbox_put(Inbox *inbox, const void *data, size_t len);
/* While held nothing is handed on, but for the end: then the rest is. */
void inbox_hold(Inbox *inbox, bool hold);
/* Has data() called, even with nothing. */
void inbox_wake(Inbox *inbox);
/* Nothing comes any more. Once. */
void inbox_finish(Inbox *inbox, int result, const Failure *failure);
