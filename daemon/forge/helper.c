/* Jobs wait in one list. What may run goes to a pool of as many threads as may run, so what is
 * there runs at once; who is ready looks what may run next. */

#include "forge/helper.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "util/fd.h"
#include "util/mutex.h"

typedef TAILQ_HEAD(JobList, HelperJob) JobList;

struct Helpers {
        Pool *pool;    /* not owned */
        Pool *threads; /* where jobs run */
        int stop;
        Mutex lock;
        pthread_cond_t ended;
        /* Guarded by lock: */
        JobList waiting;
        uint64_t running[HELPERS_MAX]; /* of which server */
        unsigned n_running;
        unsigned n_awaited; /* of these, those that somebody waits for */
        bool stopping;
};

/* --- what may run --- */

static bool may_run(const Helpers *h, const HelperJob *job) {
        unsigned n = 0;

        for (unsigned i = 0; i < h->n_running; i++)
                n += h->running[i] == job->server;
        return n < job->limit;
}

static HelperJob *take_next(Helpers *h) {
        HelperJob *job;

        MUTEX_GUARD(&h->lock);
        if (h->n_running == HELPERS_MAX)
                return NULL;
        TAILQ_FOREACH (job, &h->waiting, entry)
                if (may_run(h, job))
                        break;
        if (!job)
                return NULL;
        TAILQ_REMOVE(&h->waiting, job, entry);
        h->running[h->n_running++] = job->server;
        h->n_awaited += job->done != NULL;
        return job;
}

static void has_ended(Helpers *h, uint64_t server, bool awaited) {
        unsigned i = 0;

        MUTEX_GUARD(&h->lock);
        while (h->running[i] != server)
                i++;
        h->running[i] = h->running[--h->n_running];
        h->n_awaited -= awaited;
        if (h->n_awaited == 0)
                (void) pthread_cond_broadcast(&h->ended); /* cannot fail */
}

/* --- running --- */

static void tell(Task *task) {
        HelperJob *job = container_of(task, HelperJob, task);

        job->done(job, job->cancelled);
}

static void deliver(Helpers *h, HelperJob *job, bool cancelled) {
        job->cancelled = cancelled;
        job->task.run = tell;
        pool_submit(h->pool, &job->task, TASK_NORMAL);
}

static void start_next(Helpers *h);

static void run(Task *task) {
        HelperJob *job = container_of(task, HelperJob, task);
        Helpers *h = job->helpers;
        uint64_t server = job->server;
        bool awaited = job->done != NULL;

        job->run(job);
        if (awaited)
                deliver(h, job, /* cancelled= */ false);
        has_ended(h, server, awaited);
        start_next(h);
}

static void start_next(Helpers *h) {
        HelperJob *job;

        while ((job = take_next(h))) {
                job->task.run = run;
                pool_submit(h->threads, &job->task, TASK_NORMAL);
        }
}

void helpers_submit(Helpers *h, HelperJob *job) {
        mutex_lock(&h->lock);
        bool cancelled = h->stopping && job->done;
        job->helpers = h;
        if (!cancelled)
                TAILQ_INSERT_TAIL(&h->waiting, job, entry);
        mutex_unlock(&h->lock);
        if (cancelled)
                deliver(h, job, /* cancelled= */ true);
        else
                start_next(h);
}

/* --- life --- */

int helpers_new(Pool *pool, Helpers **ret) {
        _cleanup_(helpers_freep) Helpers *h = calloc(1, sizeof(*h));
        if (!h)
                return -ENOMEM;
        mutex_init(&h->lock, LOCK_RANK_FORGE);
        (void) pthread_cond_init(&h->ended, NULL); /* cannot fail on Linux */
        TAILQ_INIT(&h->waiting);
        h->pool = pool;
        h->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (h->stop < 0)
                return -errno;
        int r = pool_new(HELPERS_MAX, &h->threads);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(h);
        return 0;
}

static void take_awaited(Helpers *h, JobList *ret) {
        HelperJob *job, *next;

        MUTEX_GUARD(&h->lock);
        h->stopping = true;
        for (job = TAILQ_FIRST(&h->waiting); job; job = next) {
                next = TAILQ_NEXT(job, entry);
                if (!job->done)
                        continue;
                TAILQ_REMOVE(&h->waiting, job, entry);
                TAILQ_INSERT_TAIL(ret, job, entry);
        }
}

void helpers_stop(Helpers *h) {
        JobList cancelled = TAILQ_HEAD_INITIALIZER(cancelled);
        HelperJob *job;

        take_awaited(h, &cancelled);
        (void) eventfd_write(h->stop, 1); /* full is as good */
        while ((job = TAILQ_FIRST(&cancelled))) {
                TAILQ_REMOVE(&cancelled, job, entry);
                deliver(h, job, /* cancelled= */ true);
        }
        MUTEX_GUARD(&h->lock);
        while (h->n_awaited > 0)
                mutex_wait(&h->lock, &h->ended);
}

int helpers_stop_fd(const Helpers *h) {
        return h->stop;
}

Helpers *helpers_free(Helpers *h) {
        if (!h)
                return NULL;
        /* What a job leaves waiting it has put there before it ends. */
        pool_free(h->threads);
        safe_close(h->stop);
        (void) pthread_cond_destroy(&h->ended);
        mutex_destroy(&h->lock);
        free(h);
        return NULL;
}
