#pragma once

#include <stdint.h>

#include "gitfs/macro.h"

#include "tree/namespace.h"

struct fuse_session;

/* Tells the kernel what it must no longer believe, on a thread of its own. A notification can wait
 * for a request that is being answered (the kernel holds a directory's lock over a LOOKUP, and a
 * page's over a READ), so no thread that answers requests may send one. */
typedef struct Notifier Notifier;

/* Notifications that may wait; more are replaced by one that drops everything. */
#define NOTIFY_QUEUE_MAX 65536

int notifier_new(struct fuse_session *se, Namespace *ns, Notifier **ret);
int notifier_start(Notifier *n);
/* Drops what is queued and tells the thread to end. */
void notifier_stop(Notifier *n);
/* True when the thread has ended (or never started) before the deadline. */
bool notifier_wait(Notifier *n, uint64_t deadline_usec);
/* Joins the thread: after notifier_stop(). NULL-safe, returns NULL. */
Notifier *notifier_free(Notifier *n);
DEFINE_CLEANUP(Notifier *, notifier_free)

/* All three: any thread, never block, merge with what is queued already. */
void notifier_entry(Notifier *n, uint64_t parent, const char *name);
void notifier_inode(Notifier *n, uint64_t id);
void notifier_everything(Notifier *n);

/* Waits until what was queued before has been sent, or the notifier is stopped. */
void notifier_flush(Notifier *n);
