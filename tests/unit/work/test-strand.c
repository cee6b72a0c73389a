#include <stdatomic.h>

#include "lib/check-main.h"
#include "work/strand.h"

#define N_STRANDS 4
#define N_ITEMS 2000

typedef struct Order {
        atomic_int inside; /* items of this strand running now */
        int next;          /* plain on purpose: the strand alone orders it */
        atomic_int n_wrong;
} Order;

typedef struct OrderItem {
        StrandItem item;
        Order *order;
        int number;
} OrderItem;

static void order_run(StrandItem *item) {
        OrderItem *i = container_of(item, OrderItem, item);
        if (atomic_fetch_add(&i->order->inside, 1) != 0 || i->order->next != i->number)
                (void) atomic_fetch_add(&i->order->n_wrong, 1);
        i->order->next = i->number + 1;
        (void) atomic_fetch_sub(&i->order->inside, 1);
        free(i);
}

START_TEST(items_run_in_order_and_never_together) {
        Pool *pool = NULL;
        Order orders[N_STRANDS] = {0};
        Strand *strands[N_STRANDS];

        ck_assert_int_eq(pool_new(4, &pool), 0);
        for (size_t s = 0; s < N_STRANDS; s++)
                ck_assert_int_eq(strand_new(pool, TASK_NORMAL, &strands[s]), 0);
        for (int i = 0; i < N_ITEMS; i++)
                for (size_t s = 0; s < N_STRANDS; s++) {
                        OrderItem *item = malloc(sizeof(*item));
                        ck_assert_ptr_nonnull(item);
                        *item = (OrderItem){{.run = order_run}, &orders[s], i};
                        strand_post(strands[s], &item->item);
                }
        /* What is queued keeps its strand alive. */
        for (size_t s = 0; s < N_STRANDS; s++)
                ck_assert_ptr_null(strand_unref(strands[s]));
        pool_free(pool);

        for (size_t s = 0; s < N_STRANDS; s++) {
                ck_assert_int_eq(orders[s].next, N_ITEMS);
                ck_assert_int_eq(orders[s].n_wrong, 0);
        }
}
END_TEST

typedef struct ChainItem {
        StrandItem item;
        Strand *strand;
        int left;
} ChainItem;

static void chain_run(StrandItem *item) {
        ChainItem *i = container_of(item, ChainItem, item);
        if (i->left-- > 0)
                strand_post(i->strand, &i->item);
        else
                strand_unref(i->strand);
}

START_TEST(an_item_may_post_itself_again) {
        Pool *pool = NULL;
        ChainItem item = {.item.run = chain_run, .left = 1000};

        ck_assert_int_eq(pool_new(2, &pool), 0);
        ck_assert_int_eq(strand_new(pool, TASK_BACKGROUND, &item.strand), 0);
        strand_post(item.strand, &item.item);
        pool_free(pool);
        ck_assert_int_eq(item.left, -1);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, items_run_in_order_and_never_together);
        tcase_add_test(tc, an_item_may_post_itself_again);
}

CHECK_MAIN("work/strand", add_tests)
