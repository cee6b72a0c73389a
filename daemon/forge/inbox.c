/* The mover appends under the mutex; the pump swaps the buffer for an empty one and hands the bytes
 * on with no lock held. It is queued at most once: whoever finds it idle posts it. It sees
 * `finished` last, so ended() is last. */

#include "forge/inbox.h"

#include <errno.h>

#include "util/stats.h"

/* A larger buffer is given back when there is nothing to do for the moment. */
#define KEPT_SIZE (256u << 10)

/* --- the budget --- */

static void account(Inbox *inbox, size_t more, size_t less) {
        if (inbox->budget) {
                (void) atomic_fetch_add_explicit(
                        &inbox->budget->used, more - less, memory_order_relaxed);
        }
        inbox->held += more - less;
        stat_add(STAT_INBOX_BYTES_NOW, (int64_t) more - (int64_t) less);
}

/* A hint: others add to it and take from it meanwhile. */
static bool over_budget(const Inbox *inbox) {
        const InboxBudget *budget = inbox->budget;

        if (!budget)
                return false;
        size_t limit = inbox->background ? budget->limit - budget->limit / 4 : budget->limit;
        return atomic_load_explicit(&budget->used, memory_order_relaxed) >= limit;
}

static bool is_full(const Inbox *inbox, size_t len) {
        size_t limit = inbox->background ? INBOX_BACKGROUND_LIMIT : INBOX_LIMIT;

        if (inbox->filling.len > 0 && inbox->filling.len + len > limit)
                return true;
        return inbox->held > 0 && over_budget(inbox);
}

/* --- moving --- */

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
                if (is_full(inbox, len)) {
                        inbox->paused = true;
                        return -EAGAIN;
                }
                if (buf_append(&inbox->filling, data, len) < 0)
                        return -ENOMEM;
                account(inbox, len, 0);
        }
        schedule_pump(inbox);
        return 0;
}

void inbox_hold(Inbox *inbox, bool hold) {
        mutex_lock(&inbox->mutex);
        bool released = inbox->on_hold && !hold;
        inbox->on_hold = hold;
        mutex_unlock(&inbox->mutex);
        if (released)
                schedule_pump(inbox);
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
                mutex_lock(&inbox->mutex);
                account(inbox, 0, inbox->draining.len);
                inbox->draining.len = 0;
                if (inbox->on_hold && !inbox->finished) {
                        inbox->pump_queued = false; /* inbox_hold() posts it again */
                        mutex_unlock(&inbox->mutex);
                        return;
                }
                Buf filled = inbox->filling;
                inbox->filling = inbox->draining;
                inbox->draining = filled;
                bool finished = inbox->finished, dropping = inbox->dropping;
                bool resume = inbox->paused && !is_full(inbox, 0);
                bool something = filled.len > 0 || inbox->woken;
                int result = inbox->result;
                Failure failure = inbox->failure;
                inbox->paused = inbox->paused && !resume;
                inbox->woken = false;
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
                else if (idle && inbox->draining.cap > KEPT_SIZE)
                        buf_wipe(&inbox->draining);
                if (finished || idle)
                        return;
        }
}

static void pump_run(StrandItem *item) {
        Inbox *inbox = container_of(item, Inbox, pump);

        pump(inbox);
        inbox->ops->unref(inbox);
}

int inbox_init(
        Inbox *inbox, const InboxOps *ops, Pool *pool, TaskPriority priority, InboxBudget *budget) {
        *inbox = (Inbox){
                .ops = ops,
                .pump.run = pump_run,
                .budget = budget,
                .background = priority == TASK_BACKGROUND,
        };
        mutex_init(&inbox->mutex, LOCK_RANK_HTTP);
        return strand_new(pool, priority, &inbox->strand);
}

void inbox_done(Inbox *inbox) {
        account(inbox, 0, inbox->held);
        /* What comes may be a secret, too (login.h). */
        buf_wipe(&inbox->filling);
        buf_wipe(&inbox->draining);
        (void) strand_unref(inbox->strand);
        mutex_destroy(&inbox->mutex);
}
