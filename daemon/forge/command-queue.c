#include "forge/command-queue.h"

#include <assert.h>
#include <errno.h>

void command_queue_init(CommandQueue *q, void (*wake)(CommandQueue *q)) {
        *q = (CommandQueue){.wake = wake};
        mutex_init(&q->mutex, LOCK_RANK_HTTP);
        (void) pthread_cond_init(&q->all_done, NULL); /* cannot fail with glibc */
        STAILQ_INIT(&q->commands);
}

void command_queue_done(CommandQueue *q) {
        (void) pthread_cond_destroy(&q->all_done);
        mutex_destroy(&q->mutex);
}

/* The queue holds a reference. */
static void add_locked(CommandQueue *q, Command *c, unsigned bits) {
        if (c->bits == 0) {
                ref_get(c->ref);
                STAILQ_INSERT_TAIL(&q->commands, c, entry);
        }
        c->bits |= bits;
}

int command_queue_start(CommandQueue *q, Command *c, unsigned bits) {
        {
                MUTEX_GUARD(&q->mutex);
                if (q->shut)
                        return -ESHUTDOWN;
                q->n_live++;
                add_locked(q, c, bits);
        }
        q->wake(q);
        return 0;
}

void command_queue_add(CommandQueue *q, Command *c, unsigned bits) {
        {
                MUTEX_GUARD(&q->mutex);
                if (q->shut)
                        return;
                add_locked(q, c, bits);
        }
        q->wake(q);
}

void command_queue_ended(CommandQueue *q) {
        MUTEX_GUARD(&q->mutex);
        assert(q->n_live > 0);
        if (--q->n_live == 0)
                (void) pthread_cond_broadcast(&q->all_done);
}

Command *command_queue_take(CommandQueue *q, unsigned *ret_bits) {
        MUTEX_GUARD(&q->mutex);
        Command *c = STAILQ_FIRST(&q->commands);
        if (!c)
                return NULL;
        STAILQ_REMOVE_HEAD(&q->commands, entry);
        *ret_bits = c->bits;
        c->bits = 0;
        return c;
}

bool command_queue_is_shut(CommandQueue *q) {
        MUTEX_GUARD(&q->mutex);
        return q->shut;
}

bool command_queue_shut(CommandQueue *q) {
        {
                MUTEX_GUARD(&q->mutex);
                if (q->shut)
                        return false;
                q->shut = true;
        }
        q->wake(q);
        return true;
}

void command_queue_wait(CommandQueue *q) {
        MUTEX_GUARD(&q->mutex);
        while (q->n_live > 0)
                mutex_wait(&q->mutex, &q->all_done);
}
