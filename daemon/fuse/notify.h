#pragma once

#include <stdint.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

#include "fuse/journal.h"
#include "tree/namespace.h"

/* Tells the kernel what it must no longer believe, on a thread of its own. A notification can wait
 * for a request that is being answered (the kernel holds a directory's lock over a LOOKUP, and a
 * page's over a READ), so no thread that answers requests may send one. */
typedef struct Notifier Notifier;

/* Notifications that may wait; more are replaced by one that drops everything. */
#define NOTIFY_QUEUE_MAX 65536

int notifier_new(Namespace *ns, Notifier **ret);
/* Both are borrowed. */
int notifier_start(Notifier *n, int fuse_fd, const Journal *journal);
/* Drops what is queued and tells the thread to end. */
void notifier_stop(Notifier *n);
/* The same without waiting for what the kernel is being told at the moment. */
void notifier_leave(Notifier *n);
/* True when the thread has ended (or never started) before the deadline. */
bool notifier_wait(Notifier *n, uint64_t deadline_usec);
/* Joins the thread: after notifier_stop(). NULL-safe, returns NULL. */
Notifier *notifier_free(Notifier *n);
DEFINE_CLEANUP(Notifier *, notifier_free)

/* All four: any thread, never block, merge with what is queued already. */
void notifier_entry(Notifier *n, uint64_t parent, const char *name);
void notifier_inode(Notifier *n, uint64_t id);
void notifier_everything(Notifier *n);
/* The kernel shall ask again for every name that we know and for every listing, and keep what it
 * then hears is the same: whoever stands in a directory goes on standing there. */
void notifier_recheck(Notifier *n);

/* Who wants to know when the kernel has been told. Embedded, zeroed but for told(). */
typedef struct NotifyWaiter NotifyWaiter;
struct NotifyWaiter {
        /* On the notify thread, or on the one that called; exactly once; must not block. */
        void (*told)(NotifyWaiter *waiter);
        /* private to notify.c */
        uint64_t upto;
        STAILQ_ENTRY(NotifyWaiter) entry;
};

/* Calls told() when what was queued before has been sent, or the notifier is stopped. Nobody can
 * wait for that on a thread of the pool: the notification may wait for a request, and the request
 * for the pool. */
void notifier_when_told(Notifier *n, NotifyWaiter *waiter);
