/* What a crash, a power cut or a bad disk leaves behind: the store opens, serves what is intact,
 * and never a wrong byte. */

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
#define N_SAMPLES 120
#define PAGE 4096

static char *directory, *copy;
static StoreConfig config, copy_config;
static Sample samples[N_SAMPLES];
static const Oid sizes_of = {.algo = OID_SHA1, .id = {9, 9, 9}};
static uint64_t sizes[1000];

static void set_up(void) {
        uint64_t state = 42;

        ck_assert_int_eq(object_library_init(), 0);
        directory = scratch_new();
        copy = scratch_new();
        config = (StoreConfig){.directory = directory, .disk_limit = 8 * MIB, .memory_limit = MIB};
        copy_config = config;
        copy_config.directory = copy;
        for (size_t i = 0; i < N_SAMPLES; i++)
                sample_make(&samples[i], i, random_next(&state) % 12000);
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
                sizes[i] = random_next(&state);
}

static void tear_down(void) {
        for (size_t i = 0; i < N_SAMPLES; i++)
                sample_done(&samples[i]);
        scratch_remove(directory);
        scratch_remove(copy);
        free(directory);
        free(copy);
        object_library_done();
}

static void put_samples(Store *store, size_t from, size_t to) {
        for (size_t i = from; i < to; i++)
                ck_assert_int_eq(sample_put(store, STORE_DISK, &samples[i]), 0);
}

static void put_sizes(Store *store) {
        ck_assert_int_eq(
                store_put(
                        store,
                        STORE_DISK,
                        STORE_SIZES,
                        &sizes_of,
                        OBJECT_TREE,
                        sizes,
                        sizeof(sizes)),
                0);
}

/* Like sample_check() for the list of sizes. */
static int check_sizes(Store *store) {
        _cleanup_object_ref_ ObjectRef ref = {0};

        int r = store_get(store, STORE_SIZES, &sizes_of, &ref);
        if (r <= 0)
                return r;
        return ref.size == sizeof(sizes) && memcmp(ref.data, sizes, sizeof(sizes)) == 0 ? 1 : -1;
}

/* Opens the copy, requires that nothing in it is wrong, and returns how much is there. */
static size_t open_copy(void) {
        Store *store = NULL;
        size_t n = 0;

        ck_assert_int_eq(store_open(&copy_config, &store), 0);
        for (size_t i = 0; i < N_SAMPLES; i++) {
                int r = sample_check(store, &samples[i]);
                if (r < 0) /* a ck_assert() is a system call */
                        ck_abort_msg("object %zu is wrong", i);
                n += (size_t) r;
        }
        int r = check_sizes(store);
        ck_assert_int_ge(r, 0);
        n += (size_t) r;

        /* It takes new objects, whatever happened to the old ones. */
        ck_assert_int_eq(sample_put(store, STORE_DISK, &samples[0]), 0);
        ck_assert_int_eq(sample_check(store, &samples[0]), 1);
        store_close(store);
        ck_assert_uint_le(scratch_usage(copy), config.disk_limit);
        return n;
}

static void renew_copy(void) {
        scratch_remove(copy);
        ck_assert_int_eq(mkdir_parents(copy, 0700), 0);
        scratch_copy(directory, copy);
}

static uint64_t file_size(const char *path) {
        struct stat st;
        ck_assert_int_eq(stat(path, &st), 0);
        return (uint64_t) st.st_size;
}

/* A process that dies loses nothing that was committed, at whichever moment. */
START_TEST(process_dies) {
        Store *store = NULL;

        ck_assert_int_eq(store_open(&config, &store), 0);
        put_sizes(store);
        for (size_t i = 0; i < N_SAMPLES; i += 10) {
                put_samples(store, i, i + 10);
                renew_copy();
                ck_assert_uint_ge(open_copy(), i + 10 + 1);
                ck_assert_uint_ge(open_copy(), i + 10 + 1); /* and once more, now sealed */
        }
        store_close(store);
}
END_TEST

/* The active segment ends anywhere. What lies before the cut is there. */
START_TEST(active_segment_is_cut) {
        Store *store = NULL;
        size_t last = 0, all = 0;

        ck_assert_int_eq(store_open(&config, &store), 0);
        put_samples(store, 1, N_SAMPLES);
        put_sizes(store);
        _cleanup_free_ char *path = scratch_segment(copy, 0);
        renew_copy();
        uint64_t full = file_size(path);
        for (uint64_t size = 0; size <= full; size += PAGE) {
                renew_copy();
                ck_assert_int_eq(truncate(path, (off_t) size), 0);
                size_t n = open_copy();
                ck_assert_uint_ge(n, last);
                last = n;
        }
        all = N_SAMPLES; /* all samples but one, and the sizes */
        ck_assert_uint_eq(last, all);
        store_close(store);
}
END_TEST

static void poke(const char *path, uint64_t offset, const void *data, size_t len) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pwrite(fd, data, len, (off_t) offset), (ssize_t) len);
}

static void flip(const char *path, uint64_t offset, uint8_t mask) {
        uint8_t byte;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pread(fd, &byte, 1, (off_t) offset), 1);
        byte ^= mask;
        poke(path, offset, &byte, 1);
}

static void flip_at_random(const char *path, uint64_t from, uint64_t to, uint64_t *state) {
        for (uint64_t n = random_next(state) % 20 + 1; n > 0; n--)
                flip(path,
                     from + random_next(state) % (to - from),
                     (uint8_t) (1U << random_next(state) % 8));
}

/* Anywhere: in headers, payloads, the footer. */
static void damage_at_random(bool sealed, uint64_t seed) {
        uint64_t state = seed;
        size_t best = 0;
        Store *store = NULL;

        ck_assert_int_eq(store_open(&config, &store), 0);
        put_samples(store, 1, N_SAMPLES);
        put_sizes(store);
        if (sealed)
                store = store_close(store);
        _cleanup_free_ char *path = scratch_segment(copy, 0);
        for (int round = 0; round < 200; round++) {
                renew_copy();
                flip_at_random(path, 0, file_size(path), &state);
                best = MAX(best, open_copy());
        }
        ck_assert_uint_gt(best, N_SAMPLES / 2);
        store_close(store);
}

START_TEST(bits_flip_in_a_sealed_segment) {
        damage_at_random(/* sealed= */ true, 7);
}
END_TEST

START_TEST(bits_flip_in_an_unsealed_segment) {
        damage_at_random(/* sealed= */ false, 8);
}
END_TEST

/* As long as the footer names a record, its loss is counted. */
START_TEST(damage_is_found_and_counted) {
        const uint64_t footer = segment_index_size(N_SAMPLES) + 32; /* and the trailer */
        uint64_t state = 9;
        Store *store = NULL;

        ck_assert_int_eq(store_open(&config, &store), 0);
        put_sizes(store);
        put_samples(store, 1, N_SAMPLES);
        store_close(store);
        renew_copy();
        ck_assert_uint_eq(open_copy(), N_SAMPLES);

        _cleanup_free_ char *path = scratch_segment(copy, 0);
        for (int round = 0; round < 50; round++) {
                renew_copy();
                flip_at_random(path, 64, file_size(path) - footer, &state);
                flip(path, 64 + 64 + 100, 1); /* in the sizes, which stand first */
                int64_t corrupt = stat_get(STAT_STORE_CORRUPT);
                size_t n_found = open_copy();
                ck_assert_uint_lt(n_found, N_SAMPLES);
                ck_assert_int_eq(
                        stat_get(STAT_STORE_CORRUPT) - corrupt, (int64_t) (N_SAMPLES - n_found));
        }
}
END_TEST

/* After a power cut any page may be missing. */
START_TEST(pages_are_missing) {
        static const uint8_t zeros[PAGE];
        uint64_t state = 11;
        Store *store = NULL;

        ck_assert_int_eq(store_open(&config, &store), 0);
        put_samples(store, 1, N_SAMPLES);
        put_sizes(store);
        _cleanup_free_ char *path = scratch_segment(copy, 0);
        for (int round = 0; round < 100; round++) {
                renew_copy();
                uint64_t n_pages = file_size(path) / PAGE;
                /* one page of the first half of the segment, then more and more of them */
                for (int n = 0; n <= round; n++)
                        poke(path, (1 + random_next(&state) % (n_pages - 1)) * PAGE, zeros, PAGE);
                size_t n_found = open_copy();
                if (round == 0)
                        ck_assert_uint_ge(n_found, N_SAMPLES - 20);
        }
        store_close(store);
}
END_TEST

START_TEST(segments_are_swapped_or_missing) {
        _cleanup_free_ char *a = scratch_segment(copy, 0), *b = scratch_segment(copy, 1);
        _cleanup_free_ char *other = scratch_segment(copy, 77);
        Store *store = NULL;

        for (size_t run = 0; run < 2; run++) {
                ck_assert_int_eq(store_open(&config, &store), 0);
                put_samples(store, 1 + run * 60, 60 + run * 60);
                store = store_close(store);
        }
        renew_copy();
        size_t all = open_copy();
        ck_assert_uint_ge(all, 118);

        renew_copy();
        ck_assert_int_eq(rename(a, other), 0);
        ck_assert_int_eq(rename(b, a), 0);
        ck_assert_int_eq(rename(other, b), 0);
        (void) open_copy();

        renew_copy();
        ck_assert_int_eq(unlink(a), 0);
        ck_assert_uint_ge(open_copy(), 59);
        renew_copy();
        ck_assert_int_eq(truncate(b, 0), 0);
        ck_assert_uint_ge(open_copy(), 59);
}
END_TEST

/* A blob that looks like a record, in a segment whose headers are damaged: the scan must not take
 * it for one. The record is a real one, of another segment. */
/* What another version of the program left is not misread, and not taken for damage. */
START_TEST(another_version_is_dropped) {
        Store *store = NULL;
        int64_t corrupt = stat_get(STAT_STORE_CORRUPT);

        ck_assert_int_eq(store_open(&config, &store), 0);
        put_samples(store, 0, N_SAMPLES);
        store_close(store);
        renew_copy();
        _cleanup_free_ char *path = scratch_segment(copy, 0);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pwrite(fd, "gfsseg01", 8, 0), 8);

        ck_assert_int_eq(store_open(&copy_config, &store), 0);
        ck_assert_int_eq(access(path, F_OK), -1);
        ck_assert_int_eq(sample_check(store, &samples[1]), 0);
        ck_assert_int_eq(stat_get(STAT_STORE_CORRUPT), corrupt);
        put_samples(store, 0, N_SAMPLES);
        store_close(store);
        ck_assert_uint_eq(open_copy(), N_SAMPLES);
}
END_TEST

START_TEST(payload_that_looks_like_a_record) {
        static uint8_t forged[64 + sizeof(sizes)];
        _cleanup_free_ char *from = scratch_segment(directory, 0), *to = scratch_segment(copy, 0);
        Store *store = NULL;
        Oid oid;

        ck_assert_int_eq(store_open(&config, &store), 0);
        put_sizes(store);
        store_close(store);
        _cleanup_close_ int fd = open(from, O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pread(fd, forged, sizeof(forged), 64), sizeof(forged));

        ck_assert_int_eq(object_hash(OID_SHA1, OBJECT_BLOB, forged, sizeof(forged), &oid), 0);
        ck_assert_int_eq(store_open(&copy_config, &store), 0);
        ck_assert_int_eq(
                store_put(
                        store, STORE_DISK, STORE_OBJECT, &oid, OBJECT_BLOB, forged, sizeof(forged)),
                0);
        put_samples(store, 1, 2);
        store_close(store);
        flip(to, 64, 1);                 /* the header of the blob */
        flip(to, file_size(to) - 32, 1); /* the trailer, so that the records are looked for */

        ck_assert_int_eq(store_open(&copy_config, &store), 0);
        ck_assert_int_eq(sample_check(store, &samples[1]), 1); /* it was found by the scan */
        ck_assert(!store_has(store, STORE_OBJECT, &oid));
        ck_assert_int_eq(check_sizes(store), 0);
        store_close(store);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, process_dies);
        tcase_add_test(tc, active_segment_is_cut);
        tcase_add_test(tc, bits_flip_in_a_sealed_segment);
        tcase_add_test(tc, bits_flip_in_an_unsealed_segment);
        tcase_add_test(tc, damage_is_found_and_counted);
        tcase_add_test(tc, pages_are_missing);
        tcase_add_test(tc, segments_are_swapped_or_missing);
        tcase_add_test(tc, another_version_is_dropped);
        tcase_add_test(tc, payload_that_looks_like_a_record);
}

CHECK_MAIN("store/crash", add_tests)
