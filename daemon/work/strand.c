#include "work/strand.h"

#include <errno.h>
#include <stdbool.h>

#include "util/mutex.h"
#include "util/ref.h"

/* A strand is a queue and one task. The task is on the pool exactly while the queue has items
 * (`active`); it runs what was there when it started and then goes to the back of the pool's queue,
 * so that a strand that is fed without end does not keep a worker from others. */

typedef STAILQ_HEAD(StrandQueue, StrandItem) StrandQueue;

struct Strand {
        Task task;
        Ref ref; /* one more while active */
        Pool *pool;
        TaskPriority priority;
        Mutex lock;
        StrandQueue queue; /* protected by lock */
        bool active;       /* protected by lock */
};

static void strand_run(Task *task) {
        Strand *strand = container_of(task, Strand, task);
        StrandQueue batch = STAILQ_HEAD_INITIALIZER(batch);

        mutex_lock(&strand->lock);
        STAILQ_CONCAT(&batch, &strand->queue);
        mutex_unlock(&strand->lock);

        while (!STAILQ_EMPTY(&batch)) {
                StrandItem *item = STAILQ_FIRST(&batch);
                STAILQ_REMOVE_HEAD(&batch, entry);
                item->run(item);
        }

        mutex_lock(&strand->lock);
        bool again = strand->active = !STAILQ_EMPTY(&strand->queue);
        mutex_unlock(&strand->lock);
        if (again)
                pool_submit(strand->pool, &strand->task, strand->priority);
        else
                strand_unref(strand);
}

int strand_new(Pool *pool, TaskPriority priority, Strand **ret) {
        Strand *strand = calloc(1, sizeof(*strand));
        if (!strand)
                return -ENOMEM;
        strand->task.run = strand_run;
        strand->ref = REF_INIT;
        strand->pool = pool;
        strand->priority = priority;
        mutex_init(&strand->lock, LOCK_RANK_STRAND);
        STAILQ_INIT(&strand->queue);
        *ret = strand;
        return 0;
}

Strand *strand_unref(Strand *strand) {
        if (strand && ref_put(&strand->ref)) {
                assert(STAILQ_EMPTY(&strand->queue));
                mutex_destroy(&strand->lock);
                free(strand);
        }
        return NULL;
}

void strand_post(Strand *strand, StrandItem *item) {
        assert(item->run);

        mutex_lock(&strand->lock);
        STAILQ_INSERT_TAIL(&strand->queue, item, entry);
        bool start = !strand->active;
        if (start) {
                strand->active = true;
                ref_get(&strand->ref);
        }
        mutex_unlock(&strand->lock);
        if (start)
                pool_submit(strand->pool, &strand->task, strand->priority);
}
