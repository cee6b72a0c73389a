#include <errno.h>
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

/* What one object of SIZE bytes costs with its bookkeeping. */
static uint64_t cost_of_one(void) {
        MemoryTier *tier = NULL;
        ck_assert_int_eq(memory_tier_new(100 * SIZE, &tier), 0);
        ck_assert_int_eq(put(tier, 1, SIZE), 0);
        uint64_t cost = bytes(tier);
        memory_tier_free(tier);
        ck_assert_uint_ge(cost, SIZE);
        return cost;
}

START_TEST(least_recently_used_goes_first_R35) {
        _cleanup_(memory_tier_freep) MemoryTier *tier = NULL;
        uint64_t cost = cost_of_one();

        ck_assert_int_eq(memory_tier_new(4 * cost, &tier), 0);
        for (unsigned i = 0; i < 4; i++)
                ck_assert_int_eq(put(tier, i, SIZE), 0);
        ck_assert_uint_eq(bytes(tier), 4 * cost); /* the limit is exact */

        ObjectRef ref = get(tier, 0);
        object_ref_done(&ref);
        ck_assert_int_eq(put(tier, 4, SIZE), 0);
        ck_assert(has(tier, 0));
        ck_assert(!has(tier, 1));
        ck_assert(has(tier, 2) && has(tier, 3) && has(tier, 4));
        ck_assert_int_eq(put(tier, 5, SIZE + 1), 0); /* one byte more than fits for one */
        ck_assert(!has(tier, 2) && !has(tier, 3));
        ck_assert(has(tier, 0) && has(tier, 4) && has(tier, 5));
        for (unsigned i = 10; i < 1000; i++) {
                ck_assert_int_eq(put(tier, i, i), 0);
                ck_assert_uint_le(bytes(tier), 4 * cost);
        }
}
END_TEST

START_TEST(what_is_in_use_stays_R35) {
        _cleanup_(memory_tier_freep) MemoryTier *tier = NULL;
        uint64_t cost = cost_of_one();
        ObjectRef refs[4];

        ck_assert_int_eq(memory_tier_new(4 * cost, &tier), 0);
        for (unsigned i = 0; i < 4; i++) {
                ck_assert_int_eq(put(tier, i, SIZE), 0);
                refs[i] = get(tier, i);
                ck_assert_ptr_nonnull(refs[i].data);
        }
        ck_assert_int_eq(put(tier, 4, SIZE), 0);
        for (unsigned i = 0; i < 4; i++)
                ck_assert(has(tier, i));
        ck_assert_uint_eq(bytes(tier), 5 * cost); /* more, by what is in use alone */

        /* The excess goes with the reference. */
        object_ref_done(&refs[0]);
        ck_assert_uint_eq(bytes(tier), 4 * cost);

        memory_tier_flush(tier);
        ck_assert(!has(tier, 3));
        ck_assert_uint_eq(bytes(tier), 3 * cost);
        for (unsigned i = 1; i < 4; i++) {
                ck_assert_uint_eq(refs[i].data[SIZE - 1], i);
                object_ref_done(&refs[i]);
        }
        ck_assert_uint_eq(bytes(tier), 0);
}
END_TEST

START_TEST(one_takes_at_most_half) {
        _cleanup_(memory_tier_freep) MemoryTier *tier = NULL;

        ck_assert_int_eq(memory_tier_new(10000, &tier), 0);
        ck_assert(!memory_tier_takes(tier, 5000));
        ck_assert(!memory_tier_takes(tier, UINT64_MAX));
        ck_assert_int_eq(put(tier, 1, 5000), -EFBIG);
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
        tcase_add_test(tc, what_is_in_use_stays_R35);
        tcase_add_test(tc, one_takes_at_most_half);
        tcase_add_test(tc, twice_is_once_and_forget);
}

CHECK_MAIN("store/memory", add_tests)
