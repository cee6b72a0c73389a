#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "util/mutex.h"
#include "util/ref.h"

/* The way into a thread that moves bytes: what others want of its transfers. And how many of these
 * live, from their start until they are said to be done, for whoever stops the thread. */

/* Embedded in a transfer. */
typedef struct Command {
        Ref *ref; /* of the transfer; constant */
        /* guarded by the queue: */
        unsigned bits; /* what is wanted; queued while not 0 */
        STAILQ_ENTRY(Command) entry;
} Command;

typedef struct CommandQueue CommandQueue;
struct CommandQueue {
        void (*wake)(CommandQueue *q); /* the thread; any thread, with no lock held */

        /* private */
        Mutex mutex;
        pthread_cond_t all_done;
        STAILQ_HEAD(CommandList, Command) commands;
        size_t n_live;
        bool shut;
};

void command_queue_init(CommandQueue *q, void (*wake)(CommandQueue *q));
void command_queue_done(CommandQueue *q);

/* --- any thread --- */

/* Of a new transfer: it lives from now on. -ESHUTDOWN: it does not. */
int command_queue_start(CommandQueue *q, Command *c, unsigned bits);
/* Of one that lives. Does nothing where the thread ends: it finishes all of them by itself. */
void command_queue_add(CommandQueue *q, Command *c, unsigned bits);
/* A transfer has ended, and nobody hears of it any more. */
void command_queue_ended(CommandQueue *q);

/* --- the thread --- */

/* The next, with a reference to its transfer, and what is wanted of it; or NULL. Also what came
 * before the end is given: a transfer that was never started must be finished, too. */
Command *command_queue_take(CommandQueue *q, unsigned *ret_bits);
/* Whether the thread is to end. */
bool command_queue_is_shut(CommandQueue *q);

/* --- whoever stops the thread --- */

/* Has it end: true, or false if that was done. */
bool command_queue_shut(CommandQueue *q);
/* Until no transfer lives. */
void command_queue_wait(CommandQueue *q);
