/* The mover appends under the mutex; the pump swaps the buffer for an empty one and hands the bytes
 * on with no lock held. It is queued at most once: whoever finds it idle posts it. It sees
 * `finished` last, so ended() is last. */

#include "forge/inbox.h"

#include <errno.h>

static void schedule_pump(Inbox *inbox) {
        mutex_lock(&inbox->mutex);
        bool post = !inbox->pump_queued;
        inbox->pump_queued = true;
        mutex_unlock(&inbox->mutex);
        if (post) {
                inbox->ops->ref(inbox);
                strand_post(inbox->strand, &inbox->pump);
        }
}

int inbox_put(Inbox *inbox, const void *data, size_t len) {
        {
                MUTEX_GUARD(&inbox->mutex);
                if (inbox->dropping)
                        return -ECANCELED;
                if (inbox->filling.len > 0 && inbox->filling.len + len > INBOX_LIMIT) {
                        inbox->paused = true;
                        return -EAGAIN;
                }
                if (buf_append(&inbox->filling, data, len) < 0)
                        return -ENOMEM;
        }
        schedule_pump(inbox);
        return 0;
}

void inbox_wake(Inbox *inbox) {
        mutex_lock(&inbox->mutex);
        inbox->woken = true;
        mutex_unlock(&inbox->mutex);
        schedule_pump(inbox);
}

void inbox_finish(Inbox *inbox, int result, const Failure *failure) {
        mutex_lock(&inbox->mutex);
        assert(!inbox->finished);
        inbox->finished = true;
        inbox->result = result;
        inbox->failure = *failure;
        mutex_unlock(&inbox->mutex);
        schedule_pump(inbox);
}

/* Hands on what has arrived; a handler that gives up ends it. */
static void deliver(Inbox *inbox) {
        int r = inbox->ops->data(inbox, inbox->draining.data, inbox->draining.len);

        if (r >= 0)
                return;
        inbox->aborted = r;
        mutex_lock(&inbox->mutex);
        inbox->dropping = true;
        mutex_unlock(&inbox->mutex);
        inbox->ops->given_up(inbox);
}

static void deliver_end(Inbox *inbox, int result, Failure *failure) {
        if (inbox->aborted < 0) {
                result = inbox->aborted;
                *failure = (Failure){0};
        }
        inbox->ops->ended(inbox, result, failure);
}

static void pump(Inbox *inbox) {
        for (;;) {
                inbox->draining.len = 0;
                mutex_lock(&inbox->mutex);
                Buf filled = inbox->filling;
                inbox->filling = inbox->draining;
                inbox->draining = filled;
                bool finished = inbox->finished, dropping = inbox->dropping;
                bool resume = inbox->paused, something = filled.len > 0 || inbox->woken;
                int result = inbox->result;
                Failure failure = inbox->failure;
                inbox->paused = inbox->woken = false;
                /* Whatever comes from here on posts the pump again. */
                bool idle = !finished && (!something || dropping);
                inbox->pump_queued = !idle;
                mutex_unlock(&inbox->mutex);

                if (resume)
                        inbox->ops->resume(inbox);
                if (something && !dropping)
                        deliver(inbox);
                if (finished)
                        deliver_end(inbox, result, &failure);
                if (finished || idle)
                        return;
        }
}

static void pump_run(StrandItem *item) {
        Inbox *inbox = container_of(item, Inbox, pump);

        pump(inbox);
        inbox->ops->unref(inbox);
}

int inbox_init(Inbox *inbox, const InboxOps *ops, Pool *pool, TaskPriority priority) {
        *inbox = (Inbox){.ops = ops, .pump.run = pump_run};
        mutex_init(&inbox->mutex, LOCK_RANK_HTTP);
        return strand_new(pool, priority, &inbox->strand);
}

void inbox_done(Inbox *inbox) {
        /* What comes may be a secret, too (login.h). */
        buf_wipe(&inbox->filling);
        buf_wipe(&inbox->draining);
        (void) strand_unref(inbox->strand);
        mutex_destroy(&inbox->mutex);
}
