#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>

#include "lib/check-main.h"
#include "work/mailbox.h"

#define N_THREADS 8
#define N_ITEMS 500

typedef struct Counter {
        int per_thread[N_THREADS]; /* the next number expected of each poster */
        int n_run, n_wrong;
} Counter;

typedef struct CountItem {
        MailboxItem item;
        Counter *counter;
        int thread, number;
} CountItem;

static void count_run(MailboxItem *item) {
        CountItem *i = container_of(item, CountItem, item);
        if (i->counter->per_thread[i->thread]++ != i->number)
                i->counter->n_wrong++;
        i->counter->n_run++;
        free(i);
}

typedef struct Poster {
        pthread_t thread;
        Mailbox *mailbox;
        Counter *counter;
        int number;
} Poster;

static void post(Mailbox *mailbox, Counter *counter, int thread, int number) {
        CountItem *item = malloc(sizeof(*item));
        if (!item)
                abort();
        *item = (CountItem){{.run = count_run}, counter, thread, number};
        mailbox_post(mailbox, &item->item);
}

static void *poster_main(void *userdata) {
        Poster *p = userdata;
        for (int i = 0; i < N_ITEMS; i++)
                post(p->mailbox, p->counter, p->number, i);
        return NULL;
}

static bool readable(Mailbox *mailbox) {
        struct pollfd p = {.fd = mailbox_fd(mailbox), .events = POLLIN};
        return poll(&p, 1, 0) == 1;
}

/* The reader sleeps in poll() without a timeout: a lost wake-up would hang the test. */
START_TEST(no_item_is_left_behind) {
        Mailbox *mailbox = NULL;
        Counter counter = {0};
        Poster posters[N_THREADS];

        ck_assert_int_eq(mailbox_new(&mailbox), 0);
        for (int i = 0; i < N_THREADS; i++) {
                posters[i] = (Poster){.mailbox = mailbox, .counter = &counter, .number = i};
                ck_assert_int_eq(
                        pthread_create(&posters[i].thread, NULL, poster_main, &posters[i]), 0);
        }
        while (counter.n_run < N_THREADS * N_ITEMS) {
                struct pollfd p = {.fd = mailbox_fd(mailbox), .events = POLLIN};
                ck_assert(poll(&p, 1, -1) == 1 || errno == EINTR);
                mailbox_drain(mailbox);
        }
        for (int i = 0; i < N_THREADS; i++)
                (void) pthread_join(posters[i].thread, NULL);
        ck_assert_int_eq(counter.n_wrong, 0);
        mailbox_free(mailbox);
}
END_TEST

START_TEST(readable_while_items_are_queued) {
        Mailbox *mailbox = NULL;
        Counter counter = {0};

        ck_assert_ptr_null(mailbox_free(NULL));
        ck_assert_int_eq(mailbox_new(&mailbox), 0);
        ck_assert(!readable(mailbox));
        mailbox_drain(mailbox);
        post(mailbox, &counter, 0, 0);
        post(mailbox, &counter, 0, 1);
        ck_assert(readable(mailbox));
        mailbox_drain(mailbox);
        ck_assert_int_eq(counter.n_run, 2);
        ck_assert(!readable(mailbox));

        post(mailbox, &counter, 0, 2);
        mailbox_free(mailbox);
        ck_assert_int_eq(counter.n_run, 3);
        ck_assert_int_eq(counter.n_wrong, 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, no_item_is_left_behind);
        tcase_add_test(tc, readable_while_items_are_queued);
}

CHECK_MAIN("work/mailbox", add_tests)
