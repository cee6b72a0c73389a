/* What others do to the cache's directory, before a start and while the store is open: it
 * goes on, on disk wherever that is possible, and never with a wrong byte. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "lib/store-fixture.h"
#include "util/fd.h"
#include "util/stats.h"

#define MIB (UINT64_C(1) << 20)
#define SIZE 10000u

static StoreConfig config;

static void set_up(void) {
        scratch_store_init(&config, 16 * MIB, 2 * MIB);
}

static void tear_down(void) {
        scratch_store_done(&config);
}

static void put(Store *store, uint64_t from, uint64_t to) {
        for (uint64_t i = from; i < to; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, SIZE);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_int_eq(sample_check(store, &s), 1);
        }
}

static uint64_t count(Store *store, uint64_t from, uint64_t to) {
        uint64_t n = 0;

        for (uint64_t i = from; i < to; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, SIZE);
                int r = sample_check(store, &s);
                ck_assert_int_ge(r, 0);
                n += (uint64_t) r;
        }
        return n;
}

static uint64_t count_next(uint64_t from, uint64_t to) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        return count(store, from, to);
}

static bool exists(unsigned number) {
        _cleanup_free_ char *path = scratch_segment(config.directory, number);
        return access(path, F_OK) == 0;
}

/* Where the trailer is damaged the records must be looked for. */
static void damage_trailer(unsigned number) {
        _cleanup_free_ char *path = scratch_segment(config.directory, number);
        struct stat st;

        _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_int_eq(pwrite(fd, "?", 1, st.st_size - 20), 1);
}

/* A start reads a bounded number of bytes, whatever it finds, and the newest first. */
START_TEST(a_start_scans_a_bounded_number_of_bytes) {
        Store *store = scratch_store_open(&config);
        unsigned n = 0;

        put(store, 0, 900);
        store_close(store);
        for (; exists(n); n++)
                damage_trailer(n);
        ck_assert_uint_ge(n, 4);

        config.scan_limit = 2 * MIB;
        int64_t before = stat_get(STAT_STORE_SCANNED);
        store = scratch_store_open(&config);
        int64_t scanned = stat_get(STAT_STORE_SCANNED) - before;
        ck_assert_int_gt(scanned, (int64_t) MIB);
        ck_assert_int_le(scanned, (int64_t) config.scan_limit);
        ck_assert_uint_ge(count(store, 600, 900), 290);
        ck_assert_uint_eq(count(store, 0, 200), 0);
        store_close(store);

        /* What was found is finished, and not looked for again. */
        before = stat_get(STAT_STORE_SCANNED);
        ck_assert_uint_ge(count_next(600, 900), 290);
        ck_assert_int_eq(stat_get(STAT_STORE_SCANNED), before);
}
END_TEST

/* Without a limit of its own everything of this size is found. */
START_TEST(what_is_unfinished_is_found_within_the_bound) {
        Store *store = scratch_store_open(&config);

        put(store, 0, 900);
        store_close(store);
        for (unsigned n = 0; exists(n); n++)
                damage_trailer(n);
        ck_assert_uint_eq(count_next(0, 900), 900);
}
END_TEST

/* The names of our next files are taken: others are used. */
START_TEST(names_that_are_taken) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        int64_t refused = stat_get(STAT_STORE_DISK_REFUSED);

        for (unsigned i = 0; i < 20; i++) {
                _cleanup_free_ char *path = scratch_segment(config.directory, i);
                ck_assert_int_eq(mkdir(path, 0700), 0);
        }
        put(store, 0, 300);
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_REFUSED), refused);
        store = store_close(store);
        ck_assert_uint_eq(count_next(0, 300), 300);
}
END_TEST

START_TEST(a_directory_that_is_moved_away) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        _cleanup_free_ char *away = NULL;
        int64_t refused = stat_get(STAT_STORE_DISK_REFUSED);

        ck_assert_int_gt(asprintf(&away, "%s.away", config.directory), 0);
        put(store, 0, 300);
        ck_assert_int_eq(rename(config.directory, away), 0);
        put(store, 300, 900);
        ck_assert_uint_eq(count(store, 0, 900), 900); /* the others are still mapped */
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_REFUSED), refused);
        store = store_close(store);
        ck_assert_uint_gt(count_next(300, 900), 400);
        scratch_remove(away);
}
END_TEST

/* Whatever was put in the place of the lock. */
START_TEST(a_lock_that_is_none) {
        _cleanup_free_ char *path = NULL, *inside = NULL;
        Store *store = NULL;

        ck_assert_int_gt(asprintf(&path, "%s/lock", config.directory), 0);
        ck_assert_int_gt(asprintf(&inside, "%s/x", path), 0);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        put(store = scratch_store_open(&config), 0, 10);
        ck_assert_int_eq(store_open(&config, &(Store *){NULL}), -EBUSY);
        store_close(store);
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(symlink("/nowhere/at/all", path), 0);
        ck_assert_uint_eq(count_next(0, 10), 10);
        /* Somebody's directory is not emptied: it is told, and the daemon goes without. */
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        ck_assert_int_eq(mkdir(inside, 0700), 0);
        ck_assert_int_eq(store_open(&config, &store), -EISDIR);
}
END_TEST

/* All of them beside good ones, which stay. */
START_TEST(segments_that_are_none_do_no_harm) {
        Store *store = scratch_store_open(&config);
        char *path[6];

        put(store, 0, 50);
        store_close(store);
        for (unsigned i = 0; i < ELEMENTSOF(path); i++)
                path[i] = scratch_segment(config.directory, i + 1);
        _cleanup_close_ int hole = open(path[0], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_eq(mkdir(path[1], 0700), 0);
        ck_assert_int_eq(symlink("0000000000000000.seg", path[2]), 0);
        ck_assert_int_eq(mkfifo(path[3], 0600), 0);
        _cleanup_free_ char *first = scratch_segment(config.directory, 0);
        ck_assert_int_eq(link(first, path[4]), 0); /* a duplicate: its number is another's */
        _cleanup_close_ int empty = open(path[5], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(empty, 0);
        /* More addresses than there are; where such files cannot be, a large one does as well. */
        if (ftruncate(hole, INT64_C(1) << 46) < 0)
                ck_assert_int_eq(ftruncate(hole, INT64_C(1) << 42), 0);

        int64_t corrupt = stat_get(STAT_STORE_CORRUPT);
        store = scratch_store_open(&config);
        ck_assert_int_eq(stat_get(STAT_STORE_CORRUPT) - corrupt, ELEMENTSOF(path));
        ck_assert_uint_eq(count(store, 0, 50), 50);
        for (unsigned i = 0; i < ELEMENTSOF(path); i++) {
                ck_assert_int_eq(access(path[i], F_OK), -1);
                free(path[i]);
        }
        put(store, 50, 100);
        store_close(store);
        ck_assert_uint_eq(count_next(0, 100), 100);
}
END_TEST

/* Files may not be as large as a segment: nothing goes to disk, and nothing has to leave it. */
START_TEST(files_may_not_grow) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        struct rlimit old, limit;
        StoreUsage usage;

        ck_assert_ptr_ne(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
        put(store, 0, 600);
        ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
        limit = (struct rlimit){.rlim_cur = MIB, .rlim_max = old.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        put(store, 600, 950);
        ck_assert_uint_eq(count(store, 0, 600), 600);
        store_usage(store, &usage);
        ck_assert_int_eq(usage.disk_error, -EDQUOT);

        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
        put(store, 1000, 1100);
        store_usage(store, &usage);
        ck_assert_int_eq(usage.disk_error, 0);
        store_flush_memory(store);
        ck_assert_uint_eq(count(store, 1000, 1100), 100);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, a_start_scans_a_bounded_number_of_bytes);
        tcase_add_test(tc, what_is_unfinished_is_found_within_the_bound);
        tcase_add_test(tc, names_that_are_taken);
        tcase_add_test(tc, a_directory_that_is_moved_away);
        tcase_add_test(tc, a_lock_that_is_none);
        tcase_add_test(tc, segments_that_are_none_do_no_harm);
        tcase_add_test(tc, files_may_not_grow);
}

CHECK_MAIN("store/directory", add_tests)
