#include <errno.h>
#include <stdlib.h>

#include "lib/check-main.h"
#include "lib/store-fixture.h"
#include "util/stats.h"

#define MIB (UINT64_C(1) << 20)
#define N_PINNED 600u
#define SIZE 8000u /* together more than half of what may be pinned */

static StoreConfig config;

static void set_up(void) {
        scratch_store_init(&config, 16 * MIB, MIB);
}

static void tear_down(void) {
        scratch_store_done(&config);
}

START_TEST(a_set_has_what_was_added) {
        _cleanup_pinned_ Pinned p = {0}, other = {0};

        for (uint64_t i = 0; i < 1000; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, 10);
                ck_assert_int_eq(pinned_add(i % 2 ? &other : &p, &s.oid), 0);
                ck_assert_int_eq(pinned_add(&p, &s.oid), 0);
        }
        ck_assert_int_eq(pinned_add_all(&p, &other), 0);
        pinned_seal(&p);
        ck_assert_uint_eq(p.n, 1000);
        for (uint64_t i = 0; i < 2000; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, 10);
                ck_assert(pinned_has(&p, &s.oid) == (i < 1000));
        }
        ck_assert(!pinned_has(&(const Pinned){0}, &(const Oid){0}));
}
END_TEST

static void pin(Store *store, uint64_t n) {
        _cleanup_pinned_ Pinned set = {0};

        for (uint64_t i = 0; i < n; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, SIZE);
                ck_assert_int_eq(pinned_add(&set, &s.oid), 0);
        }
        pinned_seal(&set);
        ck_assert_int_eq(store_set_pinned(store, &set), 0);
}

static unsigned count_here(Store *store) {
        unsigned n = 0;

        for (uint64_t i = 0; i < N_PINNED; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, SIZE);
                int r = sample_check(store, &s);
                ck_assert_int_ge(r, 0);
                n += r > 0;
        }
        return n;
}

/* Other objects, `times` as much as the limit; large ones among them. */
static void fill(Store *store, uint64_t seed, unsigned times) {
        for (uint64_t i = 0, bytes = 0; bytes < times * config.disk_limit; i++) {
                _cleanup_sample_ Sample s = {0};
                uint64_t size = i % 60 == 0 ? MIB / 2 : 5000;
                sample_make(&s, seed + i, size);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                bytes += size;
                if (i % 100 == 0)
                        ck_assert_uint_le(scratch_usage(config.directory), config.disk_limit);
        }
}

/* Scattered among others, so that every segment has some. */
static void put_scattered(Store *store) {
        for (uint64_t i = 0; i < N_PINNED; i++) {
                _cleanup_sample_ Sample s = {0}, other = {0};
                sample_make(&s, i, SIZE);
                sample_make(&other, 100000 + i, SIZE);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &other), 0);
        }
}

START_TEST(what_is_pinned_is_never_evicted) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        int64_t lost = stat_get(STAT_STORE_PINNED_LOST);

        ck_assert_uint_le(N_PINNED * SIZE, store_pin_limit(store));
        pin(store, N_PINNED);
        put_scattered(store);
        fill(store, 200000, 3);
        ck_assert_uint_eq(count_here(store), N_PINNED);

        /* The next process has to be told again, and then keeps what it has never looked at. */
        store = store_close(store);
        store = scratch_store_open(&config);
        pin(store, N_PINNED);
        fill(store, 300000, 3);
        ck_assert_uint_eq(count_here(store), N_PINNED);
        ck_assert_int_eq(stat_get(STAT_STORE_PINNED_LOST), lost);
}
END_TEST

START_TEST(what_is_pinned_no_longer_is_evicted) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);

        pin(store, N_PINNED);
        put_scattered(store);
        fill(store, 200000, 2);
        ck_assert_uint_eq(count_here(store), N_PINNED);
        pin(store, 0);
        fill(store, 300000, 3);
        ck_assert_uint_eq(count_here(store), 0);
}
END_TEST

/* More is pinned than may be: others are still taken, and the limit holds. */
START_TEST(too_much_wedges_nothing) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        _cleanup_pinned_ Pinned set = {0};

        for (uint64_t i = 0; i < 5000; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, SIZE);
                ck_assert_int_eq(pinned_add(&set, &s.oid), 0);
        }
        pinned_seal(&set);
        ck_assert_int_eq(store_set_pinned(store, &set), 0);
        for (uint64_t i = 0; i < 5000; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, SIZE);
                /* Where the disk has no more room, memory has. */
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_int_eq(sample_check(store, &s), 1);
        }
        ck_assert_uint_le(scratch_usage(config.directory), config.disk_limit);
        pin(store, 0);
        fill(store, 300000, 1);
}
END_TEST

/* The limit comes first, and new objects find room below it. */
START_TEST(a_lowered_limit_holds_for_what_is_pinned) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);

        pin(store, N_PINNED);
        for (uint64_t i = 0; i < N_PINNED; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, SIZE);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
        }
        fill(store, 200000, 3); /* from here on its segments stay */
        config.disk_limit = 4 * MIB;
        ck_assert_uint_gt(N_PINNED * SIZE, config.disk_limit);
        store_set_limits(store, &config);
        store_make_room(store);
        ck_assert_uint_le(scratch_usage(config.directory), config.disk_limit);

        int64_t refused = stat_get(STAT_STORE_DISK_REFUSED);
        for (uint64_t i = 0; i < 2000; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, 300000 + i, 5000);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
        }
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_REFUSED), refused);
        ck_assert_uint_le(scratch_usage(config.directory), config.disk_limit);
        pin(store, 0);
        fill(store, 400000, 1);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_set_timeout(tc, 300);
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, a_set_has_what_was_added);
        tcase_add_test(tc, what_is_pinned_is_never_evicted);
        tcase_add_test(tc, what_is_pinned_no_longer_is_evicted);
        tcase_add_test(tc, too_much_wedges_nothing);
        tcase_add_test(tc, a_lowered_limit_holds_for_what_is_pinned);
}

CHECK_MAIN("store/pinned", add_tests)
