#include "work/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "util/mutex.h"
#include "util/thread.h"

/* One mutex, one condition, two queues. A task is a few hundred microseconds of inflating or
 * hashing at least, so the one lock is not what threads wait for.
 *
 * Background tasks never hold all threads: whoever waits for a normal task waits for a free thread
 * at most as long as it takes to wake it. A worker that finds only background tasks it must not
 * start goes to sleep; the next one to finish a background task looks at the queue again, so no
 * wake-up is lost. */

typedef STAILQ_HEAD(TaskQueue, Task) TaskQueue;

struct Pool {
        Mutex lock;
        pthread_cond_t wake;                  /* with lock: a queue or `stopping` changed */
        TaskQueue queues[_TASK_PRIORITY_MAX]; /* protected by lock, like all below */
        size_t n_queued;
        unsigned n_running;
        unsigned n_background; /* of n_running */
        bool stopping;

        /* constant once the threads run */
        unsigned max_background;
        unsigned n_threads;
        pthread_t threads[];
};

static Task *next_task_locked(Pool *pool, TaskPriority *ret_priority) {
        for (TaskPriority p = TASK_NORMAL; p < _TASK_PRIORITY_MAX; p++) {
                Task *task = STAILQ_FIRST(&pool->queues[p]);
                if (!task || (p == TASK_BACKGROUND && pool->n_background >= pool->max_background))
                        continue;
                STAILQ_REMOVE_HEAD(&pool->queues[p], entry);
                pool->n_queued--;
                *ret_priority = p;
                return task;
        }
        return NULL;
}

/* Only when nothing runs either can no task come any more. */
static bool finished_locked(const Pool *pool) {
        return pool->stopping && pool->n_running == 0 && pool->n_queued == 0;
}

static void *worker(void *userdata) {
        Pool *pool = userdata;

        mutex_lock(&pool->lock);
        while (!finished_locked(pool)) {
                TaskPriority priority;
                Task *task = next_task_locked(pool, &priority);
                if (!task) {
                        mutex_wait(&pool->lock, &pool->wake);
                        continue;
                }
                pool->n_running++;
                pool->n_background += priority == TASK_BACKGROUND;
                mutex_unlock(&pool->lock);

                task->run(task);

                mutex_lock(&pool->lock);
                pool->n_running--;
                pool->n_background -= priority == TASK_BACKGROUND;
        }
        mutex_unlock(&pool->lock);
        /* The others sleep: there was nothing to start while the last task ran. */
        (void) pthread_cond_broadcast(&pool->wake); /* cannot fail */
        return NULL;
}

int pool_new(unsigned n_threads, Pool **ret) {
        assert(n_threads > 0);

        Pool *pool = calloc(1, sizeof(*pool) + n_threads * sizeof(pool->threads[0]));
        if (!pool)
                return -ENOMEM;
        mutex_init(&pool->lock, LOCK_RANK_POOL);
        (void) pthread_cond_init(&pool->wake, NULL); /* cannot fail on Linux */
        for (size_t p = 0; p < _TASK_PRIORITY_MAX; p++)
                STAILQ_INIT(&pool->queues[p]);
        pool->max_background = n_threads > 1 ? n_threads - 1 : 1;

        for (; pool->n_threads < n_threads; pool->n_threads++) {
                int r = thread_start(&pool->threads[pool->n_threads], "gitfs-worker", worker, pool);
                if (r < 0) {
                        pool_free(pool);
                        return r;
                }
        }
        *ret = pool;
        return 0;
}

Pool *pool_free(Pool *pool) {
        if (!pool)
                return NULL;

        mutex_lock(&pool->lock);
        pool->stopping = true;
        mutex_unlock(&pool->lock);
        (void) pthread_cond_broadcast(&pool->wake); /* cannot fail */
        for (unsigned i = 0; i < pool->n_threads; i++)
                (void) pthread_join(pool->threads[i], NULL); /* ours and not detached */

        assert(pool->n_queued == 0);
        (void) pthread_cond_destroy(&pool->wake); /* nobody waits: cannot fail */
        mutex_destroy(&pool->lock);
        free(pool);
        return NULL;
}

void pool_submit(Pool *pool, Task *task, TaskPriority priority) {
        assert(task->run);
        assert(priority >= 0 && priority < _TASK_PRIORITY_MAX);

        MUTEX_GUARD(&pool->lock);
        STAILQ_INSERT_TAIL(&pool->queues[priority], task, entry);
        pool->n_queued++;
        (void) pthread_cond_signal(&pool->wake); /* cannot fail */
}

unsigned pool_n_threads(const Pool *pool) {
        return pool->n_threads;
}

size_t pool_queued(Pool *pool) {
        MUTEX_GUARD(&pool->lock);
        return pool->n_queued;
}
