#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"
#include "tree/listing-cache.h"
#include "tree/listing.h"
#include "util/buf.h"

static void add_entry(Buf *b, const char *mode, const char *name, uint8_t id) {
        uint8_t raw[OID_SHA1_RAW] = {id};

        ck_assert_int_eq(buf_appendf(b, "%s %s", mode, name), 0);
        ck_assert_int_eq(buf_append(b, "", 1), 0);
        ck_assert_int_eq(buf_append(b, raw, sizeof(raw)), 0);
}

static const Oid tree_id = {.id = {0xee}, .algo = OID_SHA1};

START_TEST(test_names_are_found_whatever_the_order) {
        _cleanup_buf_ Buf b = {0};
        Listing *l;

        /* git's order: a directory sorts as "a/", behind "a-b" and "a.b". */
        add_entry(&b, "100644", "a-b", 1);
        add_entry(&b, "100755", "a.b", 2);
        add_entry(&b, "40000", "a", 3);
        add_entry(&b, "120000", "z\xff", 4);
        add_entry(&b, "160000", "b", 5); /* not where git would put it */
        ck_assert_int_eq(listing_new(&tree_id, b.data, b.len, &l), 0);
        ck_assert_uint_eq(l->n_entries, 5);
        ck_assert_int_eq(listing_find(l, "a", 1)->kind, ENTRY_DIR);
        ck_assert_int_eq(listing_find(l, "a-b", 3)->kind, ENTRY_FILE);
        ck_assert_int_eq(listing_find(l, "a.b", 3)->kind, ENTRY_EXEC);
        ck_assert_int_eq(listing_find(l, "b", 1)->kind, ENTRY_SUBMODULE);
        ck_assert_int_eq(listing_find(l, "z\xff", 2)->kind, ENTRY_SYMLINK);
        ck_assert_ptr_null(listing_find(l, "a.", 2));
        ck_assert_ptr_null(listing_find(l, "", 0));
        ck_assert_ptr_null(listing_find(l, "zz", 2));
        listing_unref(l);
}
END_TEST

START_TEST(test_a_name_that_comes_twice_is_refused) {
        _cleanup_buf_ Buf b = {0};
        Listing *l;

        add_entry(&b, "100644", "x", 1);
        add_entry(&b, "100644", "y", 2);
        add_entry(&b, "40000", "x", 3);
        ck_assert_int_eq(listing_new(&tree_id, b.data, b.len, &l), -EBADMSG);
}
END_TEST

START_TEST(test_a_name_too_long_for_linux_is_left_out) {
        _cleanup_buf_ Buf b = {0};
        char name[257];
        Listing *l;

        memset(name, 'n', 256);
        name[256] = '\0';
        add_entry(&b, "100644", "m", 1);
        add_entry(&b, "100644", name, 2);
        add_entry(&b, "100644", "o", 3);
        ck_assert_int_eq(listing_new(&tree_id, b.data, b.len, &l), 0);
        ck_assert_ptr_null(listing_find(l, name, 256));
        ck_assert_ptr_nonnull(listing_find(l, "m", 1));
        ck_assert_ptr_nonnull(listing_find(l, "o", 1));
        ck_assert_ptr_nonnull(memset(name, 'n', 255));
        name[255] = '\0';
        ck_assert_ptr_null(listing_find(l, name, 255));
        listing_unref(l);
}
END_TEST

START_TEST(test_sizes_survive_a_round_trip) {
        _cleanup_buf_ Buf b = {0};
        Listing *l, *again;

        add_entry(&b, "100644", "a", 1);
        add_entry(&b, "40000", "d", 2);
        add_entry(&b, "100644", "e", 3);
        ck_assert_int_eq(listing_new(&tree_id, b.data, b.len, &l), 0);
        listing_set_size(listing_find(l, "a", 1), 77);
        _cleanup_free_ uint8_t *partial = listing_format_sizes(l);
        listing_set_size(listing_find(l, "e", 1), UINT64_C(5) << 40);
        _cleanup_free_ uint8_t *full = listing_format_sizes(l);

        ck_assert_int_eq(listing_new(&tree_id, b.data, b.len, &again), 0);
        ck_assert_uint_eq(
                listing_apply_sizes(again, full, 23), 2); /* wrong length: nothing is believed */
        ck_assert_uint_eq(listing_apply_sizes(again, partial, 24), 1);
        ck_assert_uint_eq(listing_size(listing_find(again, "a", 1)), 77);
        ck_assert_uint_eq(listing_size(listing_find(again, "e", 1)), SIZE_UNKNOWN);
        ck_assert_uint_eq(listing_apply_sizes(again, full, 24), 0);
        ck_assert_uint_eq(listing_size(listing_find(again, "e", 1)), UINT64_C(5) << 40);
        listing_unref(l);
        listing_unref(again);
}
END_TEST

static Listing *one_entry(uint8_t id) {
        _cleanup_buf_ Buf b = {0};
        const Oid oid = {.id = {id, 1}, .algo = OID_SHA1};
        Listing *l;

        add_entry(&b, "100644", "f", id);
        ck_assert_int_eq(listing_new(&oid, b.data, b.len, &l), 0);
        return l;
}

START_TEST(test_the_cache_holds_its_limit_and_drops_the_coldest) {
        ListingCache *c;
        Listing *sample = one_entry(0);
        size_t size = sample->memory;
        unsigned here = 0;

        listing_unref(sample);
        ck_assert_int_eq(listing_cache_new(size * 16 * 4, &c), 0);
        for (unsigned i = 0; i < 256; i++)
                listing_unref(listing_cache_add(c, one_entry((uint8_t) i)));
        for (unsigned i = 0; i < 256; i++) {
                const Oid oid = {.id = {(uint8_t) i, 1}, .algo = OID_SHA1};
                Listing *l = listing_cache_get(c, &oid);
                here += l != NULL;
                listing_unref(l);
        }
        ck_assert_uint_ge(here, 16);
        ck_assert_uint_le(here, 64);

        /* The one that came last in is the last to go, and of two with one id the first stays. */
        const Oid last = {.id = {255, 1}, .algo = OID_SHA1};
        Listing *first = listing_cache_get(c, &last);
        ck_assert_ptr_nonnull(first);
        Listing *same = listing_cache_add(c, one_entry(255));
        ck_assert_ptr_eq(same, first);
        listing_unref(same);
        listing_cache_clear(c);
        ck_assert_ptr_null(listing_cache_get(c, &last));
        ck_assert_uint_eq(first->n_entries, 1); /* still ours */
        listing_unref(first);
        listing_cache_free(c);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_names_are_found_whatever_the_order);
        tcase_add_test(tc, test_a_name_that_comes_twice_is_refused);
        tcase_add_test(tc, test_a_name_too_long_for_linux_is_left_out);
        tcase_add_test(tc, test_sizes_survive_a_round_trip);
        tcase_add_test(tc, test_the_cache_holds_its_limit_and_drops_the_coldest);
}

CHECK_MAIN("listing", add_tests)
