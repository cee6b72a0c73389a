#include <string.h>

#include "lib/check-main.h"
#include "tree/ahead.h"
#include "util/stats.h"

static Oid oid_of(uint8_t place, uint8_t name) {
        Oid oid = {.algo = OID_SHA1};

        memset(oid.id, 7, OID_RAW_MAX);
        oid.id[4] = place; /* decides in which row it is kept */
        oid.id[8] = name;
        return oid;
}

START_TEST(what_is_used_is_counted_once) {
        const Oid oid = oid_of(1, 1);
        int64_t useful = stat_get(STAT_PREFETCH_WALK_USEFUL);
        int64_t wasted = stat_get(STAT_PREFETCH_WALK_WASTED);
        AheadPolicy policy;
        unsigned tag;

        ck_assert(!ahead_take(&oid, &policy, &tag));
        ahead_note_tagged(AHEAD_WALK, &oid, 0xabc);
        ck_assert(ahead_take(&oid, &policy, &tag));
        ck_assert_int_eq(policy, AHEAD_WALK);
        ck_assert_uint_eq(tag, 0xabc);
        ck_assert(!ahead_take(&oid, &policy, &tag));
        ahead_used(&oid);
        ahead_lost(&oid);
        ck_assert_int_eq(stat_get(STAT_PREFETCH_WALK_USEFUL), useful + 1);
        ck_assert_int_eq(stat_get(STAT_PREFETCH_WALK_WASTED), wasted);
}
END_TEST

START_TEST(what_is_lost_or_pushed_out_was_wasted) {
        int64_t wasted = stat_get(STAT_PREFETCH_SIBLINGS_WASTED);
        int64_t useful = stat_get(STAT_PREFETCH_SIBLINGS_USEFUL);

        for (uint8_t i = 1; i <= 10; i++) {
                const Oid oid = oid_of(2, i);
                ahead_note(AHEAD_SIBLINGS, &oid);
        }
        int64_t pushed_out = stat_get(STAT_PREFETCH_SIBLINGS_WASTED) - wasted;
        ck_assert_int_gt(pushed_out, 0);
        ck_assert_int_lt(pushed_out, 10);
        for (uint8_t i = 1; i <= 10; i++) {
                const Oid oid = oid_of(2, i);
                ahead_lost(&oid);
                ahead_used(&oid);
        }
        ck_assert_int_eq(stat_get(STAT_PREFETCH_SIBLINGS_WASTED), wasted + 10);
        ck_assert_int_eq(stat_get(STAT_PREFETCH_SIBLINGS_USEFUL), useful);
}
END_TEST

START_TEST(noting_again_counts_nothing) {
        const Oid oid = oid_of(3, 1);
        int64_t useful = stat_get(STAT_PREFETCH_WALK_USEFUL);

        ahead_note(AHEAD_WALK, &oid);
        ahead_note(AHEAD_WALK, &oid);
        ck_assert_int_eq(stat_get(STAT_PREFETCH_WALK_USEFUL), useful);
        ahead_used(&oid);
        ck_assert_int_eq(stat_get(STAT_PREFETCH_WALK_USEFUL), useful + 1);
}
END_TEST

START_TEST(what_is_followed_without_a_policy_counts_nothing) {
        const Oid oid = oid_of(4, 1);
        AheadPolicy policy;
        unsigned tag;

        ahead_note_tagged(AHEAD_NONE, &oid, 6);
        ck_assert(ahead_take(&oid, &policy, &tag));
        ck_assert_int_eq(policy, AHEAD_NONE);
        ck_assert_uint_eq(tag, 6);
        ahead_note_tagged(AHEAD_NONE, &oid, 6);
        ahead_lost(&oid); /* would count out of bounds */
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_is_used_is_counted_once);
        tcase_add_test(tc, what_is_lost_or_pushed_out_was_wasted);
        tcase_add_test(tc, noting_again_counts_nothing);
        tcase_add_test(tc, what_is_followed_without_a_policy_counts_nothing);
}

CHECK_MAIN("tree/ahead", add_tests)
