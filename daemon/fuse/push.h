#pragma once

#include <stdint.h>

#include "gitfs/macro.h"

#include "tree/namespace.h"

/* Puts the contents of small files that are here into the kernel's page cache, before a walk asks
 * for them: a READ costs more than its bytes. On a thread of its own, because the kernel lets it
 * wait for a READ of the same page; so nothing may ever wait for this thread. */
typedef struct Pusher Pusher;

/* limit: bytes of the largest file that is pushed. */
int pusher_new(Namespace *ns, uint64_t limit, Pusher **ret);
int pusher_start(Pusher *p, int fuse_fd);
/* Drops what is queued and tells the thread to end. */
void pusher_stop(Pusher *p);
/* The same without waiting for what the kernel is being told at the moment. */
void pusher_leave(Pusher *p);
/* True when the thread has ended (or never started) before the deadline. */
bool pusher_wait(Pusher *p, uint64_t deadline_usec);
/* Joins the thread: after pusher_stop(). NULL-safe, returns NULL. */
Pusher *pusher_free(Pusher *p);
DEFINE_CLEANUP(Pusher *, pusher_free)

/* All three: any thread, never block; NULL-safe, as there is no pusher where nothing is to be
 * pushed. */

/* The kernel has taken in all of this directory's listing, with nodes. */
void pusher_listed(Pusher *p, uint64_t dir);
/* It asks for the beginning of this file, which is `size` bytes long. */
void pusher_read(Pusher *p, uint64_t file, uint64_t size);
