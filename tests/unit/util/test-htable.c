#include <string.h>

#include "lib/check-main.h"
#include "util/buf.h"
#include "util/htable.h"

typedef struct Thing {
        HTableLink link;
        unsigned value;
} Thing;

#define N_THINGS 1000

static Thing things[N_THINGS];

static unsigned count(const HTable *t, uint64_t hash) {
        unsigned n = 0;

        HTABLE_FOREACH (l, t, hash)
                n++;
        return n;
}

static void remove_odd(HTableLink *link, void *userdata) {
        if (container_of(link, Thing, link)->value % 2)
                htable_remove(userdata, link);
}

static void remove_all(HTableLink *link, void *userdata) {
        htable_remove(userdata, link);
}

START_TEST(test_many_entries_and_equal_hashes) {
        HTable t = {0};

        ck_assert_ptr_null(htable_first(&t, 1));
        for (unsigned i = 0; i < N_THINGS; i++) {
                things[i].value = i;
                /* Ten share a hash, and all hashes share their low bits. */
                ck_assert_int_eq(htable_add(&t, &things[i].link, (uint64_t) (i / 10) << 32), 0);
        }
        ck_assert_uint_eq(t.n_entries, N_THINGS);
        for (unsigned i = 0; i < N_THINGS / 10; i++)
                ck_assert_uint_eq(count(&t, (uint64_t) i << 32), 10);
        ck_assert_uint_eq(count(&t, 1), 0);

        htable_each(&t, remove_odd, &t);
        ck_assert_uint_eq(t.n_entries, N_THINGS / 2);
        ck_assert_uint_eq(count(&t, 0), 5);
        htable_each(&t, remove_all, &t);
        htable_done(&t);
}
END_TEST

START_TEST(test_hashes) {
        char a[] = "abcdefghi";

        for (size_t i = 0; i < sizeof(a) - 1; i++) {
                uint64_t before = hash_bytes(a, sizeof(a) - 1, 0);
                a[i] ^= 1;
                ck_assert_uint_ne(hash_bytes(a, sizeof(a) - 1, 0), before);
                a[i] ^= 1;
        }
        ck_assert_uint_ne(hash_bytes(a, 3, 0), hash_bytes(a, 3, 1));
        ck_assert_uint_ne(hash_bytes("", 0, 0), hash_bytes("\0", 1, 0));
        /* Ids that outlive a process depend on it: this value may never change. */
        ck_assert_uint_eq(hash_bytes_stable("gitfs", 5, 1), UINT64_C(0x986b2ee0f6f9334b));
}
END_TEST

START_TEST(test_buffers_grow) {
        _cleanup_buf_ Buf b = {0};

        for (unsigned i = 0; i < 1000; i++)
                ck_assert_int_eq(buf_appendf(&b, "%u,", i), 0);
        ck_assert_int_eq(memcmp(b.data, "0,1,2,", 6), 0);
        ck_assert_int_lt(buf_reserve(&b, SIZE_MAX - 10), 0);
        ck_assert_uint_eq(b.len, 10 * 2 + 90 * 3 + 900 * 4);
        ck_assert_uint_eq(strlen(buf_str(&b)), b.len);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_many_entries_and_equal_hashes);
        tcase_add_test(tc, test_hashes);
        tcase_add_test(tc, test_buffers_grow);
}

CHECK_MAIN("htable", add_tests)
