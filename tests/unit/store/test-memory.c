#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "lib/check-main.h"
#include "store/memory.h"

#define SIZE 1000

static Oid oid_of(unsigned number) {
        return (Oid){.algo = OID_SHA1, .id = {(uint8_t) number, (uint8_t) (number >> 8)}};
}

static uint8_t *bytes_of(unsigned number, size_t size) {
        uint8_t *data = malloc(size);
        ck_assert_ptr_nonnull(data);
        memset(data, (int) number, size);
        return data;
}

static int put(MemoryTier *tier, unsigned number, size_t size) {
        Oid oid = oid_of(number);
        return memory_tier_put(tier, STORE_OBJECT, &oid, OBJECT_BLOB, bytes_of(number, size), size);
}

static ObjectRef get(MemoryTier *tier, unsigned number) {
        ObjectRef ref = {0};
        Oid oid = oid_of(number);
        if (memory_tier_get(tier, STORE_OBJECT, &oid, &ref) > 0)
                for (size_t i = 0; i < ref.size; i++)
                        ck_assert_uint_eq(ref.data[i], (uint8_t) number);
        return ref;
}

static bool has(MemoryTier *tier, unsigned number) {
        ObjectType type;
        uint64_t size;
        Oid oid = oid_of(number);
        return memory_tier_stat(tier, STORE_OBJECT, &oid, &type, &size) > 0;
}

static uint64_t bytes(MemoryTier *tier) {
        uint64_t n, b, limit;
        memory_tier_usage(tier, &n, &b, &limit);
        return b;
}

/* The allocator may give one object a few bytes more than the next. */
#define SLACK 64

/* A tier with so many objects of SIZE bytes, and what they take. */
static MemoryTier *full_tier(unsigned n, uint64_t *ret_bytes) {
        MemoryTier *tier = NULL;

        ck_assert_int_eq(memory_tier_new(100 * SIZE, &tier), 0);
        for (unsigned i = 0; i < n; i++)
                ck_assert_int_eq(put(tier, i, SIZE), 0);
        *ret_bytes = bytes(tier);
        ck_assert_uint_gt(*ret_bytes, n * SIZE);
        return tier;
}

START_TEST(least_recently_used_goes_first_R35) {
        uint64_t limit;
        _cleanup_(memory_tier_freep) MemoryTier *tier = full_tier(4, &limit);

        limit += SLACK;
        memory_tier_set_limit(tier, limit);
        ObjectRef ref = get(tier, 0);
        object_ref_done(&ref);
        ck_assert_int_eq(put(tier, 4, SIZE), 0);
        ck_assert(has(tier, 0));
        ck_assert(!has(tier, 1));
        ck_assert(has(tier, 2) && has(tier, 3) && has(tier, 4));
        ck_assert_int_eq(put(tier, 5, SIZE + 2 * SLACK), 0); /* more than fits for one */
        ck_assert(!has(tier, 2) && !has(tier, 3));
        ck_assert(has(tier, 0) && has(tier, 4) && has(tier, 5));
        for (unsigned i = 10; i < 1000; i++) {
                ck_assert_int_eq(put(tier, i, i), 0);
                ck_assert_uint_le(bytes(tier), limit);
        }
}
END_TEST

/* To the byte, and by what the allocator gave rather than by what was asked for. */
START_TEST(limit_is_exact_R35) {
        uint64_t limit;
        _cleanup_(memory_tier_freep) MemoryTier *tier = full_tier(4, &limit);

        memory_tier_set_limit(tier, limit);
        ck_assert(has(tier, 0));
        ck_assert_uint_eq(bytes(tier), limit);
        memory_tier_set_limit(tier, limit - 1); /* for want of one byte */
        ck_assert(!has(tier, 0) && has(tier, 1) && has(tier, 2) && has(tier, 3));
        ck_assert_uint_lt(bytes(tier), limit - SIZE);
        memory_tier_flush(tier);
        ck_assert_uint_eq(bytes(tier), 0);

        /* A buffer that is larger than what is in it. */
        Oid oid = oid_of(7);
        uint8_t *data = malloc(2 * SIZE);
        ck_assert_ptr_nonnull(data);
        size_t usable = malloc_usable_size(data);
        memset(data, 7, 2 * SIZE);
        ck_assert_int_eq(memory_tier_put(tier, STORE_OBJECT, &oid, OBJECT_BLOB, data, 10), 0);
        ck_assert_uint_gt(bytes(tier), usable);
        ck_assert_int_eq(put(tier, 8, 10), 0);
        ck_assert_uint_gt(bytes(tier), usable + 10);
        ck_assert_uint_lt(bytes(tier), usable + SIZE);
}
END_TEST

START_TEST(what_is_in_use_stays_R35) {
        uint64_t limit, before;
        _cleanup_(memory_tier_freep) MemoryTier *tier = full_tier(4, &limit);
        ObjectRef refs[4];

        memory_tier_set_limit(tier, limit);
        for (unsigned i = 0; i < 4; i++) {
                refs[i] = get(tier, i);
                ck_assert_ptr_nonnull(refs[i].data);
        }
        ck_assert_int_eq(put(tier, 4, SIZE), 0);
        for (unsigned i = 0; i < 5; i++)
                ck_assert(has(tier, i));
        ck_assert_uint_gt(bytes(tier), limit + SIZE); /* more, by what is in use alone */

        /* The excess goes with the reference: what is unused by then, in the order of use. */
        object_ref_done(&refs[0]);
        ck_assert_uint_le(bytes(tier), limit);

        memory_tier_flush(tier);
        ck_assert(!has(tier, 3));
        for (unsigned i = 1; i < 4; i++) {
                before = bytes(tier);
                ck_assert_uint_gt(before, (4 - i) * SIZE);
                ck_assert_uint_eq(refs[i].data[SIZE - 1], i);
                object_ref_done(&refs[i]);
                ck_assert_uint_lt(bytes(tier), before - SIZE);
        }
        ck_assert_uint_eq(bytes(tier), 0);
}
END_TEST

START_TEST(one_should_take_at_most_half) {
        _cleanup_(memory_tier_freep) MemoryTier *tier = NULL;

        ck_assert_int_eq(memory_tier_new(10000, &tier), 0);
        ck_assert(!memory_tier_takes(tier, 5000));
        ck_assert(!memory_tier_takes(tier, UINT64_MAX));
        ck_assert_int_eq(put(tier, 1, 10000), -EFBIG);
        ck_assert_int_eq(put(tier, 3, 9000), 0); /* it can be put all the same */
        ck_assert(has(tier, 3));
        ck_assert_int_eq(put(tier, 1, 4000), 0);
        ck_assert_int_eq(put(tier, 2, 4000), 0);
        ck_assert(has(tier, 1) && has(tier, 2));
        memory_tier_set_limit(tier, 0);
        ck_assert(!has(tier, 1) && !has(tier, 2));
        ck_assert_int_eq(put(tier, 1, 1), -EFBIG);
        ck_assert_uint_eq(bytes(tier), 0);
}
END_TEST

START_TEST(twice_is_once_and_forget) {
        _cleanup_(memory_tier_freep) MemoryTier *tier = NULL;
        Oid oid = oid_of(1);

        ck_assert_int_eq(memory_tier_new(10000, &tier), 0);
        ck_assert_int_eq(put(tier, 1, SIZE), 0);
        uint64_t once = bytes(tier);
        ck_assert_int_eq(put(tier, 1, SIZE), 0);
        ck_assert_uint_eq(bytes(tier), once);

        ObjectRef ref = get(tier, 1);
        memory_tier_forget(tier, STORE_OBJECT, &oid);
        memory_tier_forget(tier, STORE_OBJECT, &oid);
        ck_assert(!has(tier, 1));
        ck_assert_uint_eq(ref.data[0], 1);
        object_ref_done(&ref);
        object_ref_done(&ref); /* empty by now */
        ck_assert_uint_eq(bytes(tier), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, least_recently_used_goes_first_R35);
        tcase_add_test(tc, limit_is_exact_R35);
        tcase_add_test(tc, what_is_in_use_stays_R35);
        tcase_add_test(tc, one_should_take_at_most_half);
        tcase_add_test(tc, twice_is_once_and_forget);
}

CHECK_MAIN("store/memory", add_tests)
