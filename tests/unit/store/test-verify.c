/* Checking all of the store, as `gitfsctl verify` does. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "lib/store-fixture.h"
#include "store/segment-index.h"
#include "util/fd.h"
#include "util/stats.h"

#define MIB (UINT64_C(1) << 20)
#define N_SAMPLES 100
#define FILE_HEADER 64
#define RECORD_HEADER 64
#define TRAILER 32
#define INDEX_ENTRY 56

static StoreConfig config;
static Sample samples[N_SAMPLES];

static void set_up(void) {
        scratch_store_init(&config, 16 * MIB, MIB);
        samples_make(samples, N_SAMPLES, 1000, 1);
}

static void tear_down(void) {
        samples_done(samples, N_SAMPLES);
        scratch_store_done(&config);
}

static StoreVerification verify(Store *store) {
        StoreVerification v;
        int r;

        store_verify_start(store, &v);
        while ((r = store_verify_step(store, &v)) > 0)
                ;
        ck_assert_int_eq(r, 0);
        return v;
}

/* Of the first segment. */
static uint64_t flip(uint64_t offset) {
        _cleanup_free_ char *path = NULL;
        struct stat st;
        uint8_t byte;

        ck_assert_int_gt(asprintf(&path, "%s/%016d.seg", config.directory, 0), 0);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        if (offset < (uint64_t) st.st_size) {
                ck_assert_int_eq(pread(fd, &byte, 1, (off_t) offset), 1);
                byte ^= 4;
                ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t) offset), 1);
        }
        return (uint64_t) st.st_size;
}

/* What was just written is looked at, too, and nothing is wrong with it. */
START_TEST(all_is_well) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);

        samples_put(store, samples, N_SAMPLES);
        for (int i = 0; i < 2; i++) {
                StoreVerification v = verify(store);
                ck_assert_uint_eq(v.checked, N_SAMPLES);
                ck_assert_uint_eq(v.total, N_SAMPLES);
                ck_assert_uint_eq(v.damaged, 0);
                ck_assert_uint_eq(v.bytes, 1000 * N_SAMPLES + N_SAMPLES * (N_SAMPLES - 1) / 2);
        }
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
}
END_TEST

START_TEST(an_empty_store_and_one_without_a_disk) {
        const StoreConfig none = {.memory_limit = config.memory_limit};
        Store *store = scratch_store_open(&config);

        ck_assert_uint_eq(verify(store).checked, 0);
        store_close(store);
        store = scratch_store_open(&none);
        samples_put(store, samples, N_SAMPLES);
        ck_assert_uint_eq(verify(store).checked, 0);
        store_close(store);
}
END_TEST

/* Damage is counted once, and gone for good: the next process finds all the rest, and no damage. */
START_TEST(damage_is_dropped_for_good) {
        Store *store = scratch_store_open(&config);

        samples_put(store, samples, N_SAMPLES);
        store_close(store);
        (void) flip(FILE_HEADER + RECORD_HEADER + 500); /* the payload of the first */

        store = scratch_store_open(&config);
        ck_assert_uint_eq(
                samples_count(store, samples, N_SAMPLES),
                N_SAMPLES - 1); /* what was believed is looked at again */
        store_close(store);
        store = scratch_store_open(&config);
        int64_t corrupt = stat_get(STAT_STORE_CORRUPT);
        StoreVerification v = verify(store);
        ck_assert_uint_eq(v.checked, N_SAMPLES);
        ck_assert_uint_eq(v.damaged, 1);
        ck_assert_int_eq(stat_get(STAT_STORE_CORRUPT) - corrupt, 1);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES - 1);
        ck_assert_uint_eq(verify(store).damaged, 0);
        store_close(store);

        store = scratch_store_open(&config);
        v = verify(store);
        ck_assert_uint_eq(v.checked, N_SAMPLES - 1);
        ck_assert_uint_eq(v.damaged, 0);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES - 1);
        store_close(store);
}
END_TEST

/* Nobody has looked at it in this process when it is stored again: then it is right. */
START_TEST(what_is_stored_again_is_right) {
        Store *store = scratch_store_open(&config);

        samples_put(store, samples, N_SAMPLES);
        store_close(store);
        (void) flip(FILE_HEADER + RECORD_HEADER + 500);
        store = scratch_store_open(&config);
        samples_put(store, samples, N_SAMPLES);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
        store_close(store);
}
END_TEST

/* Checked once is not checked for ever: what a process believes of an object is no reason. */
START_TEST(damage_after_the_first_use_is_found) {
        Store *store = scratch_store_open(&config);

        samples_put(store, samples, N_SAMPLES);
        store_close(store);
        store = scratch_store_open(&config);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
        (void) flip(FILE_HEADER + RECORD_HEADER + 500);
        ck_assert_uint_eq(verify(store).damaged, 1);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES - 1);
        store_close(store);
}
END_TEST

/* A block of the index hides 64 records at once. */
START_TEST(damage_in_the_index) {
        Store *store = scratch_store_open(&config);

        samples_put(store, samples, N_SAMPLES);
        store_close(store);
        uint64_t size = flip(UINT64_MAX);
        uint64_t index = size - TRAILER - segment_index_size(N_SAMPLES);
        (void) flip(index + INDEX_ENTRY / 2);

        store = scratch_store_open(&config);
        StoreVerification v = verify(store);
        ck_assert_uint_eq(v.checked, N_SAMPLES);
        ck_assert_uint_eq(v.damaged, 64);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES - 64);
        samples_put(store, samples, N_SAMPLES);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
        store_close(store);
        store = scratch_store_open(&config);
        ck_assert_uint_eq(verify(store).damaged, 0);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
        store_close(store);
}
END_TEST

/* Where nothing can be written the damage stays in the file, and is not served (R35). */
START_TEST(without_room_nothing_good_is_lost) {
        Store *store = scratch_store_open(&config);

        samples_put(store, samples, N_SAMPLES);
        store_close(store);
        (void) flip(FILE_HEADER + RECORD_HEADER + 500);
        config.free_space_floor = UINT64_C(1) << 60;
        store = scratch_store_open(&config);
        StoreVerification v = verify(store);
        ck_assert_uint_eq(v.damaged, 1);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES - 1);
        ck_assert_uint_eq(verify(store).damaged, 0);
        store_close(store);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, all_is_well);
        tcase_add_test(tc, an_empty_store_and_one_without_a_disk);
        tcase_add_test(tc, damage_is_dropped_for_good);
        tcase_add_test(tc, what_is_stored_again_is_right);
        tcase_add_test(tc, damage_after_the_first_use_is_found);
        tcase_add_test(tc, damage_in_the_index);
        tcase_add_test(tc, without_room_nothing_good_is_lost);
}

CHECK_MAIN("store/verify", add_tests)
