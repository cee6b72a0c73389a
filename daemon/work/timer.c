/* A sorted list, and a thread that sleeps until the first of it is due. Whoever arms one that comes
 * before all others wakes the thread, so that it sleeps for less. */

#include "work/timer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/mutex.h"
#include "util/thread.h"

typedef TAILQ_HEAD(TimerList, Timer) TimerList;

struct Timers {
        Pool *pool;
        int fd; /* wakes the thread */
        pthread_t thread;
        Mutex lock;
        TimerList armed; /* guarded by lock, like the next */
        bool stopping;
};

/* Takes what is due, all of it at the end. Returns when to look again; *ret_stop when never. */
static uint64_t take_due(Timers *t, TimerList *due, bool *ret_stop) {
        uint64_t now = now_usec();

        MUTEX_GUARD(&t->lock);
        for (Timer *timer; (timer = TAILQ_FIRST(&t->armed));) {
                if (!t->stopping && timer->when_usec > now)
                        return timer->when_usec;
                TAILQ_REMOVE(&t->armed, timer, entry);
                timer->armed = false;
                TAILQ_INSERT_TAIL(due, timer, entry);
        }
        *ret_stop = t->stopping;
        return USEC_INFINITY;
}

static void wait_until(Timers *t, uint64_t when) {
        struct pollfd fd = {.fd = t->fd, .events = POLLIN};
        uint64_t now = now_usec();
        uint64_t usec = when > now ? when - now : 0;
        const struct timespec timeout = {
                .tv_sec = (time_t) (usec / USEC_PER_SEC),
                .tv_nsec = (long) (usec % USEC_PER_SEC * 1000),
        };
        eventfd_t n;

        /* However it ends, the list is looked at again. */
        (void) ppoll(&fd, 1, when == USEC_INFINITY ? NULL : &timeout, NULL);
        (void) eventfd_read(t->fd, &n);
}

static void *run(void *userdata) {
        Timers *t = userdata;
        bool stop = false;

        for (;;) {
                TimerList due = TAILQ_HEAD_INITIALIZER(due);
                uint64_t next = take_due(t, &due, &stop);
                for (Timer *timer = TAILQ_FIRST(&due), *after; timer; timer = after) {
                        after = TAILQ_NEXT(timer, entry); /* once submitted, it may be gone */
                        pool_submit(t->pool, &timer->task, TASK_NORMAL);
                }
                if (stop)
                        return NULL;
                wait_until(t, next);
        }
}

int timers_new(Pool *pool, Timers **ret) {
        Timers *t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        t->pool = pool;
        mutex_init(&t->lock, LOCK_RANK_LEAF);
        TAILQ_INIT(&t->armed);
        t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        int r = t->fd < 0 ? -errno : thread_start(&t->thread, "gitfs-timer", run, t);
        if (r < 0) {
                t->fd = safe_close(t->fd);
                mutex_destroy(&t->lock);
                free(t);
                return r;
        }
        *ret = t;
        return 0;
}

Timers *timers_free(Timers *t) {
        if (!t)
                return NULL;
        mutex_lock(&t->lock);
        t->stopping = true;
        mutex_unlock(&t->lock);
        (void) eventfd_write(t->fd, 1);       /* fails only where it is readable anyway */
        (void) pthread_join(t->thread, NULL); /* ours and not detached */
        t->fd = safe_close(t->fd);
        mutex_destroy(&t->lock);
        free(t);
        return NULL;
}

void timers_arm(Timers *t, Timer *timer, uint64_t when_usec) {
        Timer *before;
        bool first;

        assert(timer->task.run);
        timer->when_usec = when_usec;
        mutex_lock(&t->lock);
        timer->armed = true;
        TAILQ_FOREACH_REVERSE (before, &t->armed, TimerList, entry)
                if (before->when_usec <= when_usec)
                        break;
        if (before)
                TAILQ_INSERT_AFTER(&t->armed, before, timer, entry);
        else
                TAILQ_INSERT_HEAD(&t->armed, timer, entry);
        first = !before;
        mutex_unlock(&t->lock);
        if (first)
                (void) eventfd_write(t->fd, 1);
}

bool timers_disarm(Timers *t, Timer *timer) {
        MUTEX_GUARD(&t->lock);
        bool armed = timer->armed;
        if (armed)
                TAILQ_REMOVE(&t->armed, timer, entry);
        timer->armed = false;
        return armed; /* if it was the first, the thread wakes for nothing */
}
