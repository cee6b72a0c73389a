#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "fuse/notify.h"
#include "tree/namespace.h"
#include "util/failure.h"
#include "work/flight.h"
#include "work/pool.h"

/* A name space mounted into the file system: the mount, the threads that read its requests, the
 * requests that wait and the notifications to the kernel. */
typedef struct MountSession MountSession;

/* Descriptors that this process was given instead of having to mount. */
typedef struct MountInherited {
        int fuse_fd;    /* of /dev/fuse, mounted */
        int journal_fd; /* what a predecessor has left (fuse/journal.h); -1: nobody has read from it
                         */
} MountInherited;

typedef struct MountConfig {
        const char *mount_point;       /* absolute; created if missing */
        unsigned n_threads;            /* readers; 0: MOUNT_THREADS_DEFAULT */
        uint64_t request_timeout_usec; /* how long a request may wait */
        uint64_t max_pending;          /* requests that may wait at once; more get EAGAIN */
        uint64_t spin_usec;      /* how long a reader looks again before it sleeps; 0: not at all */
        bool kernel_dir_cache;   /* the kernel may keep listings */
        unsigned max_background; /* READs that the kernel may have on their way; 0: as many as it
                                    allows */
        uint64_t push_limit;     /* bytes of the largest file to push (fuse/push.h); 0: none */
        const MountInherited *inherited; /* NULL: mounts. The descriptors are the session's, and are
                                            closed also where it fails */
} MountConfig;

#define MOUNT_THREADS_DEFAULT 3

/* The session ended although nobody called mount_session_stop(): unmounted or aborted from outside.
 * Called at most once, on a reader thread; must not block and must not stop or free the session
 * there. */
typedef void (*MountEnded)(void *userdata);

/* Prepares the mount point (fuse/mount.h) and mounts, or goes on with an inherited mount. Until
 * mount_session_start() everybody who touches the mount waits. The name space, the pool and the
 * table must outlive the session; the flights that name space calls join are those of `flights`.
 * `ended` may be NULL. 0, or a negative errno with the reason. */
int mount_session_new(
        const MountConfig *config,
        Namespace *ns,
        Pool *pool,
        FlightTable *flights,
        MountEnded ended,
        void *userdata,
        MountSession **ret,
        Failure *ret_failure);

/* What a successor needs: to be kept by somebody who outlives this process, from before
 * mount_session_start() on. Borrowed. */
MountInherited mount_session_legacy(const MountSession *s);
/* It goes on where a process ended that crashed. */
bool mount_session_follows_crash(const MountSession *s);
/* The mount lies in this process's view of the file system, as it does unless somebody else mounted
 * it elsewhere. */
bool mount_session_is_visible(const MountSession *s);

/* Agrees on a protocol with the kernel, answers what a predecessor has read and starts the threads.
 * 0 or a negative errno with the reason; then the session can only be freed. */
int mount_session_start(MountSession *s, Failure *ret_failure);

/* Answers every request that waits with ENOTCONN, lets no new one wait, unmounts (lazily when files
 * are open) and joins all threads. The pool must still run: requests end on it. What does not end
 * within timeout_usec is ended by aborting the connection. Idempotent; not on a reader or pool
 * thread. 0, or -ETIMEDOUT where an abort was needed. */
int mount_session_stop(MountSession *s, uint64_t timeout_usec);

/* Ends this process's part and leaves the mount, and what waits in it, to a successor that is given
 * mount_session_legacy(). Otherwise as mount_session_stop(). */
void mount_session_leave(MountSession *s);

/* Stops if that was not done. The pool must be gone by then if requests ever waited: the task that
 * replied last may not have returned. NULL-safe, returns NULL. */
MountSession *mount_session_free(MountSession *s);
DEFINE_CLEANUP(MountSession *, mount_session_free)

/* Where the name space's observer calls go: they queue a notification to the kernel and return.
 * Valid until the session is freed. */
void mount_session_observer(MountSession *s, NsObserver *ret);

/* Ends the requests whose time is up with ETIMEDOUT. To be called a few times a second; any thread.
 * `now` is on the monotonic clock. */
void mount_session_tick(MountSession *s, uint64_t now);

/* Queues the dropping of everything that the kernel caches: names, attributes, contents. Any
 * thread. */
void mount_session_invalidate_all(MountSession *s);

/* Calls waiter->told() when the notifications queued before have been given to the kernel, or the
 * session stopped: see notify.h. */
void mount_session_when_told(MountSession *s, NotifyWaiter *waiter);
