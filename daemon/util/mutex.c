#include "util/mutex.h"

#include <errno.h>
#include <time.h>

#include "util/clock.h"

#ifdef GITFS_DEVELOPER
/* The ranks this thread holds, innermost last. Deeper nesting than this is a bug by itself. */
static _Thread_local LockRank held[16];
static _Thread_local unsigned n_held;

static void rank_push(const Mutex *m) {
        assert(n_held < ELEMENTSOF(held));
        assert(n_held == 0 || held[n_held - 1] < m->rank);
        held[n_held++] = m->rank;
}

static void rank_pop(const Mutex *m) {
        for (unsigned i = n_held; i > 0; i--)
                if (held[i - 1] == m->rank) {
                        for (unsigned k = i; k < n_held; k++)
                                held[k - 1] = held[k];
                        n_held--;
                        return;
                }
        assert(0 && "unlocking a mutex that this thread does not hold");
}
#else
static inline void rank_push(const Mutex *m) {
}

static inline void rank_pop(const Mutex *m) {
}
#endif

/* The pthread calls below fail only for a mutex that was never initialised or is held by the
 * caller: bugs of ours. */
#define MUST(call)                                                                                 \
        do {                                                                                       \
                int _r = (call);                                                                   \
                assert(_r == 0);                                                                   \
                (void) _r;                                                                         \
        } while (0)

void mutex_init(Mutex *m, LockRank rank) {
        MUST(pthread_mutex_init(&m->m, NULL));
        m->rank = rank;
}

void mutex_destroy(Mutex *m) {
        MUST(pthread_mutex_destroy(&m->m));
}

void mutex_lock(Mutex *m) {
        rank_push(m);
        MUST(pthread_mutex_lock(&m->m));
}

void mutex_unlock(Mutex *m) {
        /* First: once it is unlocked, whoever locks it next may destroy it. */
        rank_pop(m);
        MUST(pthread_mutex_unlock(&m->m));
}

void mutex_wait(Mutex *m, pthread_cond_t *cond) {
        MUST(pthread_cond_wait(cond, &m->m));
}

bool mutex_wait_until(Mutex *m, pthread_cond_t *cond, uint64_t deadline_usec) {
        const struct timespec until = {
                .tv_sec = (time_t) (deadline_usec / USEC_PER_SEC),
                .tv_nsec = (long) (deadline_usec % USEC_PER_SEC) * 1000,
        };
        int r = pthread_cond_clockwait(cond, &m->m, CLOCK_MONOTONIC, &until);

        assert(r == 0 || r == ETIMEDOUT);
        return r == 0;
}
