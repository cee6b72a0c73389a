/* The disk fails under a mapping: here because the file is cut, which takes its pages away just as
 * a sector does that cannot be read. */

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "lib/store-fixture.h"
#include "store/map-guard.h"
#include "util/stats.h"

#define MIB (UINT64_C(1) << 20)
#define N_SAMPLES 60
#define SIZE 10000u
#define CUT (24 * 4096) /* whole pages, as a disk fails */

static StoreConfig config;
static Sample samples[N_SAMPLES];

static void set_up(void) {
        scratch_store_init(&config, 16 * MIB, MIB);
        samples_make(samples, N_SAMPLES, SIZE, 0);
}

static void tear_down(void) {
        samples_done(samples, N_SAMPLES);
        scratch_store_done(&config);
}

static void cut(unsigned number, off_t size) {
        _cleanup_free_ char *path = scratch_segment(config.directory, number);
        ck_assert_int_eq(truncate(path, size), 0);
}

/* What is lost is not there, is counted, and can be stored again. */
static void check_loss(Store *store) {
        int64_t corrupt = stat_get(STAT_STORE_CORRUPT);

        ck_assert_uint_lt(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
        ck_assert_int_gt(stat_get(STAT_STORE_CORRUPT), corrupt);
        samples_put(store, samples, N_SAMPLES);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
        store_close(store);
        store = scratch_store_open(&config);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
        store_close(store);
}

START_TEST(under_a_finished_segment) {
        Store *store = scratch_store_open(&config);

        samples_put(store, samples, N_SAMPLES);
        store_close(store);
        store = scratch_store_open(&config);
        ck_assert_uint_eq(
                samples_count(store, samples, N_SAMPLES), N_SAMPLES); /* all are believed by now */
        cut(0, CUT);
        check_loss(store);
}
END_TEST

START_TEST(under_the_segment_that_is_written) {
        Store *store = scratch_store_open(&config);

        samples_put(store, samples, N_SAMPLES);
        cut(0, CUT);
        check_loss(store);
}
END_TEST

/* Nobody looks before it is finished: what is gone then is not made up of zeros. */
START_TEST(under_a_segment_that_is_finished_next) {
        Store *store = scratch_store_open(&config);
        StoreVerification v;

        samples_put(store, samples, N_SAMPLES);
        cut(0, CUT);
        store_verify_start(store, &v); /* finishes it */
        ck_assert_int_eq(store_verify_step(store, &v), 0);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), 0);
        samples_put(store, samples, N_SAMPLES);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
        store_close(store);
}
END_TEST

START_TEST(under_a_verification) {
        Store *store = scratch_store_open(&config);
        StoreVerification v;
        int r;

        samples_put(store, samples, N_SAMPLES);
        store_close(store);
        store = scratch_store_open(&config);
        cut(0, CUT);
        store_verify_start(store, &v);
        while ((r = store_verify_step(store, &v)) > 0)
                ;
        ck_assert_int_eq(r, 0);
        ck_assert_uint_gt(v.damaged, 0);
        samples_put(store, samples, N_SAMPLES);
        ck_assert_uint_eq(samples_count(store, samples, N_SAMPLES), N_SAMPLES);
        store_close(store);
}
END_TEST

/* Whoever holds the bytes can tell, and the store knows when it is told. */
START_TEST(under_a_reader) {
        _cleanup_object_ref_ ObjectRef ref = {0}, again = {0};
        Store *store = scratch_store_open(&config);
        const Sample *last = &samples[N_SAMPLES - 1];

        samples_put(store, samples, N_SAMPLES);
        store_close(store);
        store = scratch_store_open(&config);
        ck_assert_int_eq(store_get(store, STORE_OBJECT, &last->oid, &ref), 1);
        ck_assert(!object_ref_is_torn(&ref));
        cut(0, CUT);
        ck_assert(!object_ref_is_torn(&ref));
        object_ref_give_up(&ref);
        ck_assert(object_ref_is_torn(&ref));
        ck_assert_int_eq(store_get(store, STORE_OBJECT, &last->oid, &again), 0);
        ck_assert_int_eq(sample_put(store, STORE_DISK, last), 0);
        ck_assert_int_eq(sample_check(store, last), 1);
        object_ref_done(&ref);
        store_close(store);
}
END_TEST

/* A page that somebody touched meanwhile is empty for him, and still missing for system calls. */
START_TEST(what_the_kernel_gets_is_right_or_an_error) {
        _cleanup_object_ref_ ObjectRef ref = {0};
        Store *store = scratch_store_open(&config);
        const Sample *last = &samples[N_SAMPLES - 1];
        int ends[2];

        samples_put(store, samples, N_SAMPLES);
        store_close(store);
        store = scratch_store_open(&config);
        ck_assert_int_eq(store_get(store, STORE_OBJECT, &last->oid, &ref), 1);
        ck_assert_int_eq(pipe(ends), 0);
        ck_assert_int_eq(write(ends[1], ref.out, SIZE), SIZE);
        cut(0, CUT);
        ck_assert_uint_eq(*(const volatile uint8_t *) ref.data, 0);
        ck_assert(object_ref_is_torn(&ref));
        ck_assert_int_eq(write(ends[1], ref.out, SIZE), -1);
        ck_assert_int_eq(errno, EFAULT);
        ck_assert_int_eq(close(ends[0]) | close(ends[1]), 0);
        object_ref_done(&ref);
        store_close(store);
}
END_TEST

/* An object that is written in place goes, and its writer goes on. */
START_TEST(under_a_writer) {
        Store *store = scratch_store_open(&config);
        _cleanup_sample_ Sample large = {0};
        StoreWriter *writer;
        uint8_t *data;

        sample_make(&large, 99, 3 * MIB);
        ck_assert_int_eq(store_writer_begin(store, OBJECT_BLOB, large.size, &writer, &data), 0);
        cut(0, CUT);
        memcpy(data, large.data, large.size);
        (void) store_writer_commit(writer, &large.oid); /* either is right: it is not believed */
        ck_assert_int_eq(sample_check(store, &large), 0);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &large), 0);
        ck_assert_int_eq(sample_check(store, &large), 1);
        store_close(store);
}
END_TEST

/* In a process of its own: 0, or the signal that ended it. */
static int touch_in_child(bool guarded) {
        pid_t pid = fork();

        if (pid == 0) {
                const struct rlimit no_core = {0};
                char path[] = "/tmp/gitfs-torn-XXXXXX";
                MapGuard *guard = NULL, *other = NULL;
                int fd = mkstemp(path);
                bool good = setrlimit(RLIMIT_CORE, &no_core) == 0 && fd >= 0 && unlink(path) == 0 &&
                            ftruncate(fd, 65536) == 0;
                volatile char *map = mmap(NULL, 65536, PROT_READ, MAP_SHARED, fd, 0);
                if (!good || map == MAP_FAILED ||
                    map_guard_add(guarded ? (const void *) map : path, 65536, &guard) < 0 ||
                    map_guard_add((const char *) map + 65536, 4096, &other) < 0 ||
                    ftruncate(fd, 0) < 0)
                        _exit(1);
                char byte = map[40000];
                _exit(byte == 0 && map_guard_tripped(guard) && !map_guard_tripped(other) ? 0 : 2);
        }
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (WIFSIGNALED(status))
                return WTERMSIG(status);
        ck_assert_int_eq(WEXITSTATUS(status), 0);
        return 0;
}

START_TEST(elsewhere_it_is_the_end) {
        ck_assert_int_eq(touch_in_child(/* guarded= */ true), 0);
        ck_assert_int_eq(touch_in_child(/* guarded= */ false), SIGBUS);
}
END_TEST

/* More than fit into the first chunk, and used again. */
START_TEST(many_guards) {
        static MapGuard *guards[1000];
        static char bytes[1000];

        for (int round = 0; round < 3; round++) {
                for (size_t i = 0; i < ELEMENTSOF(guards); i++)
                        ck_assert_int_eq(map_guard_add(&bytes[i], 1, &guards[i]), 0);
                for (size_t i = 1; i < ELEMENTSOF(guards); i++)
                        ck_assert_ptr_ne(guards[i], guards[i - 1]);
                for (size_t i = 0; i < ELEMENTSOF(guards); i++)
                        map_guard_remove(guards[i]);
        }
        map_guard_remove(NULL);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, under_a_finished_segment);
        tcase_add_test(tc, under_the_segment_that_is_written);
        tcase_add_test(tc, under_a_segment_that_is_finished_next);
        tcase_add_test(tc, under_a_verification);
        tcase_add_test(tc, under_a_reader);
        tcase_add_test(tc, what_the_kernel_gets_is_right_or_an_error);
        tcase_add_test(tc, under_a_writer);
        tcase_add_test(tc, elsewhere_it_is_the_end);
        tcase_add_test(tc, many_guards);
}

CHECK_MAIN("store/torn", add_tests)
