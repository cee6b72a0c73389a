#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "gitfs/macro.h"

/* A mutex with a rank. A thread may only lock a mutex of a higher rank than those it holds;
 * developer builds assert it, so that a wrong lock order fails in the first test that runs the path
 * and not as a deadlock in the field. The order is explained in ARCHITECTURE.md. */
typedef enum LockRank {
        LOCK_RANK_MANAGER = 1,
        LOCK_RANK_ORG,         /* tree: the table of orgs, one org's repositories */
        LOCK_RANK_REPO,        /* tree: one repository, its checkouts and queues */
        LOCK_RANK_CHECKOUT,    /* tree: the commit that a repository@ref shows */
        LOCK_RANK_NODE_TABLE,  /* tree: one shard of the inode table */
        LOCK_RANK_REQUEST,     /* fuse: the list of parked requests, one request */
        LOCK_RANK_FORGE,       /* forge: host gates, credentials, server capabilities */
        LOCK_RANK_HTTP,        /* forge: the queue into the network thread */
        LOCK_RANK_STORE,       /* store: segment list */
        LOCK_RANK_STORE_SHARD, /* store: one shard of the index, the memory tier */
        LOCK_RANK_FLIGHT,      /* work: single flight */
        LOCK_RANK_STRAND,      /* work: one strand's inbox */
        LOCK_RANK_JOB,         /* manager: a job's progress; posts to the mailbox */
        LOCK_RANK_POOL,        /* work: the queue of the pool */
        LOCK_RANK_NOTIFY,      /* fuse: the queue of kernel notifications */
        LOCK_RANK_LEAF,        /* anything that locks nothing else */
} LockRank;

typedef struct Mutex {
        pthread_mutex_t m;
        LockRank rank;
} Mutex;

#define MUTEX_INIT(r)                                                                              \
        { .m = PTHREAD_MUTEX_INITIALIZER, .rank = (r) }

void mutex_init(Mutex *m, LockRank rank);
void mutex_destroy(Mutex *m);
void mutex_lock(Mutex *m);
void mutex_unlock(Mutex *m);
/* Waits on cond with m locked, as pthread_cond_wait(). */
void mutex_wait(Mutex *m, pthread_cond_t *cond);
/* Likewise, until now_usec() says so at the latest: false then. May end early. */
bool mutex_wait_until(Mutex *m, pthread_cond_t *cond, uint64_t deadline_usec);

static inline void mutex_unlockp(Mutex **m) {
        if (*m)
                mutex_unlock(*m);
}

static inline Mutex *mutex_lock_ret(Mutex *m) {
        mutex_lock(m);
        return m;
}

#define _MUTEX_GUARD_NAME2(line) _mutex_guard_##line
#define _MUTEX_GUARD_NAME(line) _MUTEX_GUARD_NAME2(line)
/* Holds m until the end of the enclosing scope. */
#define MUTEX_GUARD(m)                                                                             \
        _cleanup_(mutex_unlockp) _unused_ Mutex *_MUTEX_GUARD_NAME(__LINE__) = mutex_lock_ret(m)
