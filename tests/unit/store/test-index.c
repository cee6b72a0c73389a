#include <malloc.h>
#include <string.h>

#include "lib/check-main.h"
#include "store/index.h"

#define N 250000

static Index index_;
static Segment segments[3]; /* only compared and counted */

static void set_up(void) {
        index_init(&index_);
        for (size_t i = 0; i < ELEMENTSOF(segments); i++) {
                segments[i] = (Segment){.number = i};
                segments[i].owner.ref = REF_INIT;
        }
}

static void tear_down(void) {
        index_done(&index_);
}

static Oid oid_of(uint32_t number) {
        Oid oid = {.algo = OID_SHA1};
        memcpy(oid.id, &number, sizeof(number));
        return oid;
}

static IndexValue value_of(uint32_t number) {
        return (IndexValue){
                .segment = &segments[number % 2],
                .offset = number * UINT64_C(16) + 128,
                .size = number * UINT64_C(977),
                .type = OBJECT_BLOB,
                .clock = (uint16_t) number,
        };
}

static int put(uint32_t number) {
        Oid oid = oid_of(number);
        IndexValue value = value_of(number);
        return index_put(&index_, STORE_OBJECT, &oid, &value);
}

static bool right(uint32_t number) {
        Oid oid = oid_of(number);
        IndexValue want = value_of(number), have;
        return index_peek(&index_, STORE_OBJECT, &oid, &have) && have.segment == want.segment &&
               have.offset == want.offset && have.size == want.size && have.type == want.type &&
               have.clock == want.clock;
}

/* How many of the objects first, first + step, ... are in the index as they were put. */
static size_t count_right(uint32_t first, uint32_t step) {
        size_t n = 0;
        for (uint32_t i = first; i < N; i += step)
                n += right(i);
        return n;
}

static size_t put_many(uint32_t first, uint32_t step) {
        size_t n = 0;
        for (uint32_t i = first; i < N; i += step)
                n += put(i) == 1;
        return n;
}

START_TEST(many_objects_at_64_bytes_each) {
        struct mallinfo2 before = mallinfo2();
        ck_assert_uint_eq(put_many(0, 1), N);
        struct mallinfo2 after = mallinfo2();
        /* Both are 0 where a sanitizer brings its own malloc(). */
        ck_assert_uint_le(after.uordblks - before.uordblks, N * UINT64_C(64));

        ck_assert_uint_eq(index_count(&index_), N);
        ck_assert_uint_eq(atomic_load(&segments[0].n_open), N / 2);
        ck_assert_uint_eq(count_right(0, 1), N);

        index_sweep(&index_, &segments[0]);
        ck_assert_uint_eq(index_count(&index_), N / 2);
        ck_assert_uint_eq(atomic_load(&segments[0].n_open), 0);
        ck_assert_uint_eq(count_right(0, 2), 0);
        ck_assert_uint_eq(count_right(1, 2), N / 2);

        /* What became free is used again. */
        struct mallinfo2 swept = mallinfo2();
        ck_assert_uint_eq(put_many(0, 2), N / 2);
        ck_assert_uint_eq(mallinfo2().uordblks, swept.uordblks);
        ck_assert_uint_eq(count_right(0, 1), N);
}
END_TEST

START_TEST(keep_remove) {
        Oid oid = oid_of(4);
        IndexValue other = {.segment = &segments[2], .offset = 64, .type = OBJECT_TREE}, have;

        ck_assert_int_eq(put(4), 1);
        ck_assert_int_eq(index_put(&index_, STORE_OBJECT, &oid, &other), 0);
        ck_assert(right(4));
        ck_assert_int_eq(index_put(&index_, STORE_SIZES, &oid, &other), 1);
        ck_assert(index_remove(&index_, STORE_OBJECT, &oid, &segments[0]));
        ck_assert_int_eq(index_put(&index_, STORE_OBJECT, &oid, &other), 1);
        ck_assert_uint_eq(atomic_load(&segments[0].n_open), 0);
        ck_assert_uint_eq(atomic_load(&segments[2].n_open), 2);

        ck_assert(index_get(&index_, STORE_OBJECT, &oid, 99, &have));
        ck_assert_uint_eq(atomic_load(&segments[2].owner.ref.n), 2);
        ck_assert(index_peek(&index_, STORE_OBJECT, &oid, &have));
        ck_assert_uint_eq(have.clock, 99);

        ck_assert(!index_remove(&index_, STORE_OBJECT, &oid, &segments[0]));
        ck_assert(index_remove(&index_, STORE_OBJECT, &oid, &segments[2]));
        ck_assert(!index_remove(&index_, STORE_OBJECT, &oid, NULL));
        ck_assert(index_remove(&index_, STORE_SIZES, &oid, NULL));
        ck_assert_uint_eq(index_count(&index_), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, many_objects_at_64_bytes_each);
        tcase_add_test(tc, keep_remove);
}

CHECK_MAIN("store/index", add_tests)
