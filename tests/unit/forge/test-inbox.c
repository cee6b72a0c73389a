/* The inbox between a mover of bytes and their handler: order, limits, and that it goes on. */

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "forge/inbox.h"
#include "lib/check-main.h"
#include "util/stats.h"

#define CHUNK (256u << 10)

/* An inbox whose handler stands still until it is let go. */
typedef struct Slow {
        Inbox inbox;
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        bool open, in_handler, ended;
        unsigned n_resumed;
        size_t n_bytes;
} Slow;

static Pool *pool;
static uint8_t chunk[CHUNK];

static int on_data(Inbox *inbox, const uint8_t *data, size_t len) {
        Slow *s = container_of(inbox, Slow, inbox);

        (void) pthread_mutex_lock(&s->mutex);
        s->in_handler = true;
        (void) pthread_cond_broadcast(&s->changed);
        while (!s->open)
                (void) pthread_cond_wait(&s->changed, &s->mutex);
        s->n_bytes += len;
        (void) pthread_mutex_unlock(&s->mutex);
        return 0;
}

static void on_ended(Inbox *inbox, int result, Failure *failure) {
        Slow *s = container_of(inbox, Slow, inbox);

        (void) pthread_mutex_lock(&s->mutex);
        s->ended = true;
        (void) pthread_cond_broadcast(&s->changed);
        (void) pthread_mutex_unlock(&s->mutex);
}

static void on_resume(Inbox *inbox) {
        Slow *s = container_of(inbox, Slow, inbox);

        (void) pthread_mutex_lock(&s->mutex);
        s->n_resumed++;
        (void) pthread_cond_broadcast(&s->changed);
        (void) pthread_mutex_unlock(&s->mutex);
}

static void ignore(Inbox *inbox) {
}

static const InboxOps ops = {
        .data = on_data,
        .ended = on_ended,
        .resume = on_resume,
        .given_up = ignore,
        .ref = ignore,
        .unref = ignore,
};

static void slow_init(Slow *s, TaskPriority priority, InboxBudget *budget) {
        *s = (Slow){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        ck_assert_int_eq(inbox_init(&s->inbox, &ops, pool, priority, budget), 0);
}

static void wait_until(Slow *s, const bool *flag) {
        (void) pthread_mutex_lock(&s->mutex);
        while (!*flag)
                (void) pthread_cond_wait(&s->changed, &s->mutex);
        (void) pthread_mutex_unlock(&s->mutex);
}

static void let_go(Slow *s) {
        (void) pthread_mutex_lock(&s->mutex);
        s->open = true;
        (void) pthread_cond_broadcast(&s->changed);
        (void) pthread_mutex_unlock(&s->mutex);
}

static void wait_resumed(Slow *s) {
        (void) pthread_mutex_lock(&s->mutex);
        while (s->n_resumed == 0)
                (void) pthread_cond_wait(&s->changed, &s->mutex);
        (void) pthread_mutex_unlock(&s->mutex);
}

/* The pool is gone before the inboxes are: then their last pumps have returned. */
static void slow_end(Slow *s) {
        inbox_finish(&s->inbox, 0, &(Failure){0});
        wait_until(s, &s->ended);
}

static void slow_done(Slow *s) {
        inbox_done(&s->inbox);
        (void) pthread_cond_destroy(&s->changed);
        (void) pthread_mutex_destroy(&s->mutex);
}

static unsigned fill(Slow *s) {
        unsigned n = 0;

        while (inbox_put(&s->inbox, chunk, CHUNK) == 0)
                n++;
        return n;
}

/* R3: memory has a ceiling. */
START_TEST(one_inbox_has_a_limit) {
        Slow s;

        ck_assert_int_eq(pool_new(2, &pool), 0);
        slow_init(&s, TASK_NORMAL, NULL);
        ck_assert_int_eq(inbox_put(&s.inbox, chunk, CHUNK), 0);
        wait_until(&s, &s.in_handler); /* which has the first */
        ck_assert_uint_eq(fill(&s), INBOX_LIMIT / CHUNK);
        ck_assert_int_eq(stat_get(STAT_INBOX_BYTES_NOW), INBOX_LIMIT + CHUNK);
        let_go(&s);
        wait_resumed(&s);
        ck_assert_int_eq(inbox_put(&s.inbox, chunk, CHUNK), 0);
        slow_end(&s);
        ck_assert_uint_eq(s.n_bytes, INBOX_LIMIT + 2 * CHUNK);
        pool = pool_free(pool);
        slow_done(&s);
        ck_assert_int_eq(stat_get(STAT_INBOX_BYTES_NOW), 0);
}
END_TEST

/* R3: all together have one, too; background stops first, and each goes on by one piece. */
START_TEST(all_inboxes_share_a_budget) {
        InboxBudget budget = {.limit = 8 * CHUNK};
        Slow first, background, second;

        ck_assert_int_eq(pool_new(4, &pool), 0);
        slow_init(&first, TASK_NORMAL, &budget);
        slow_init(&background, TASK_BACKGROUND, &budget);
        slow_init(&second, TASK_NORMAL, &budget);

        for (unsigned i = 0; i < 6; i++)
                ck_assert_int_eq(inbox_put(&first.inbox, chunk, CHUNK), 0);
        ck_assert_uint_eq(fill(&background), 1);
        ck_assert_uint_eq(fill(&first), 1);
        ck_assert_uint_eq(fill(&second), 1);
        ck_assert_uint_eq(budget.used, 9 * CHUNK);

        /* Whoever is through with what he had may have more, even if the others are not. */
        let_go(&second);
        wait_resumed(&second);
        ck_assert_int_eq(inbox_put(&second.inbox, chunk, CHUNK), 0);
        ck_assert_uint_eq(first.n_resumed, 0);
        let_go(&first);
        wait_resumed(&first);
        let_go(&background);
        wait_resumed(&background);
        ck_assert_int_eq(inbox_put(&background.inbox, chunk, CHUNK), 0);

        slow_end(&first);
        slow_end(&second);
        slow_end(&background);
        pool = pool_free(pool);
        slow_done(&first);
        slow_done(&second);
        slow_done(&background);
        ck_assert_uint_eq(first.n_bytes, 7 * CHUNK);
        ck_assert_uint_eq(second.n_bytes, 2 * CHUNK);
        ck_assert_uint_eq(background.n_bytes, 2 * CHUNK);
        ck_assert_uint_eq(budget.used, 0);
}
END_TEST

/* What stands back keeps its bytes, until it may go on or nothing more comes. */
START_TEST(what_is_held_is_handed_on_later) {
        Slow released, ended;

        ck_assert_int_eq(pool_new(1, &pool), 0); /* in turn: the second sees what the first did */
        slow_init(&released, TASK_NORMAL, NULL);
        slow_init(&ended, TASK_NORMAL, NULL);
        let_go(&released);
        let_go(&ended);

        inbox_hold(&released.inbox, true);
        ck_assert_int_eq(inbox_put(&released.inbox, chunk, CHUNK), 0);
        inbox_hold(&ended.inbox, true);
        ck_assert_int_eq(inbox_put(&ended.inbox, chunk, CHUNK), 0);
        slow_end(&ended);
        ck_assert_uint_eq(ended.n_bytes, CHUNK);
        ck_assert(!released.in_handler);
        inbox_hold(&released.inbox, false);
        wait_until(&released, &released.in_handler);
        slow_end(&released);
        ck_assert_uint_eq(released.n_bytes, CHUNK);

        pool = pool_free(pool);
        slow_done(&released);
        slow_done(&ended);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, one_inbox_has_a_limit);
        tcase_add_test(tc, all_inboxes_share_a_budget);
        tcase_add_test(tc, what_is_held_is_handed_on_later);
}

CHECK_MAIN("inbox", add_tests)
