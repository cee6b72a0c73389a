#include <stdbool.h>
#include <string.h>

#include "lib/check-main.h"
#include "tree/node-arena.h"
#include "util/stats.h"

#define N_SLOTS 1000u

static int64_t pages(void) {
        return stat_get(STAT_NODE_BYTES_NOW) / 4096;
}

static bool is_all(const uint8_t *p, size_t len, uint8_t byte) {
        for (size_t i = 0; i < len; i++)
                if (p[i] != byte)
                        return false;
        return true;
}

START_TEST(test_slots_are_apart_zeroed_and_known_by_number) {
        static uint8_t *slots[N_SLOTS];
        NodePool pool = {.number = 3};
        NodeArena *a;

        ck_assert_int_eq(node_arena_new(&a), 0);
        for (unsigned round = 0; round < 2; round++) { /* the second one finds used slots */
                for (unsigned i = 0; i < N_SLOTS; i++) {
                        size_t size = 1 + i * 37 % NODE_SLOT_MAX;
                        slots[i] = node_pool_alloc(a, &pool, size);
                        ck_assert_ptr_nonnull(slots[i]);
                        ck_assert_uint_eq((uintptr_t) slots[i] % 8, 0);
                        ck_assert(is_all(slots[i], size, 0));
                        memset(slots[i], (int) i | 1, size);
                        uint32_t number = node_arena_slot(a, slots[i]);
                        ck_assert_uint_ne(number, 0);
                        ck_assert_ptr_eq(node_arena_at(a, number), slots[i]);
                }
                for (unsigned i = 0; i < N_SLOTS; i++) { /* nobody wrote into another's */
                        size_t size = 1 + i * 37 % NODE_SLOT_MAX;
                        ck_assert(is_all(slots[i], size, (uint8_t) (i | 1)));
                }
                for (unsigned i = 0; i < N_SLOTS; i++)
                        node_arena_give_back(a, node_pool_free(a, &pool, slots[i]));
                ck_assert_int_eq(pages(), 0);
        }
        node_arena_free(a);
}
END_TEST

START_TEST(test_memory_follows_what_is_in_use) { /* M1, R3 */
        static void *slots[51 * 100];            /* 51 of 80 bytes fill a page */
        NodePool pool = {0}, other = {.number = 1};
        NodeArena *a;

        ck_assert_int_eq(node_arena_new(&a), 0);
        for (unsigned i = 0; i < ELEMENTSOF(slots); i++)
                slots[i] = node_pool_alloc(a, &pool, 73 + i % 8);
        ck_assert_int_eq(pages(), 100);

        /* Of another size, or another pool: another page. */
        void *longer = node_pool_alloc(a, &pool, 81);
        void *others = node_pool_alloc(a, &other, 80);
        ck_assert_int_eq(pages(), 102);
        node_arena_give_back(a, node_pool_free(a, &pool, longer));
        node_arena_give_back(a, node_pool_free(a, &other, others));
        ck_assert_int_eq(pages(), 100);

        /* One slot keeps its page; what is free in it is used first. */
        for (unsigned i = 0; i < ELEMENTSOF(slots); i++)
                if (i % 51 != 7)
                        ck_assert_uint_eq(node_pool_free(a, &pool, slots[i]), 0);
        ck_assert_int_eq(pages(), 100);
        for (unsigned i = 0; i < ELEMENTSOF(slots); i++)
                if (i % 51 != 7)
                        slots[i] = node_pool_alloc(a, &pool, 80);
        ck_assert_int_eq(pages(), 100);
        for (unsigned i = 0; i < ELEMENTSOF(slots); i++)
                node_arena_give_back(a, node_pool_free(a, &pool, slots[i]));
        ck_assert_int_eq(pages(), 0);
        node_arena_free(a);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_slots_are_apart_zeroed_and_known_by_number);
        tcase_add_test(tc, test_memory_follows_what_is_in_use);
}

CHECK_MAIN("node-arena", add_tests)
