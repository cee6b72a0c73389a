#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "lib/store-fixture.h"
#include "util/stats.h"

#define MIB (UINT64_C(1) << 20)

static StoreConfig config;

static void set_up(void) {
        scratch_store_init(&config, 8 * MIB, MIB);
}

static void tear_down(void) {
        scratch_store_done(&config);
}

START_TEST(put_get_stat) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        static const uint64_t sizes[] = {0, 1, 15, 16, 17, 4096, 100000, 300000, 2000000};
        ObjectType type;
        uint64_t size;

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, sizes[i]);
                ck_assert_int_eq(sample_check(store, &s), 0);
                ck_assert(!store_has(store, STORE_OBJECT, &s.oid));
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_int_eq(sample_check(store, &s), 1);
                ck_assert_int_eq(store_stat(store, STORE_OBJECT, &s.oid, &type, &size), 1);
                ck_assert_int_eq(type, OBJECT_BLOB);
                ck_assert_uint_eq(size, sizes[i]);
                /* the other kind is another name space */
                ck_assert(!store_has(store, STORE_SIZES, &s.oid));
        }
        StoreUsage usage;
        store_usage(store, &usage);
        ck_assert_uint_eq(usage.n_objects, ELEMENTSOF(sizes));
        ck_assert_uint_eq(usage.disk_limit, config.disk_limit);
        ck_assert_uint_gt(usage.disk_bytes, 2000000);
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_BYTES), (int64_t) usage.disk_bytes);
}
END_TEST

START_TEST(survives_restart_and_is_verified_once_F3) {
        const uint64_t sizes[] = {UINT64_MAX, 7, 123456789};
        Sample samples[50];
        Oid tree = {.algo = OID_SHA1, .id = {1, 2, 3}};
        ObjectRef ref = {0};

        Store *store = scratch_store_open(&config);
        for (size_t i = 0; i < ELEMENTSOF(samples); i++) {
                sample_make(&samples[i], i, i * 1000);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &samples[i]), 0);
        }
        ck_assert_int_eq(
                store_put(store, STORE_DISK, STORE_SIZES, &tree, OBJECT_TREE, sizes, sizeof(sizes)),
                0);
        store_close(store);
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_BYTES), 0);

        for (int run = 0; run < 3; run++) {
                store = scratch_store_open(&config);
                ck_assert_int_eq(
                        store_get_resident(store, STORE_OBJECT, &samples[9].oid, &ref), -EAGAIN);
                for (size_t i = 0; i < ELEMENTSOF(samples); i++)
                        ck_assert_int_eq(sample_check(store, &samples[i]), 1);
                ck_assert_int_eq(store_get_resident(store, STORE_OBJECT, &samples[9].oid, &ref), 1);
                object_ref_done(&ref);
                ck_assert_int_eq(store_get(store, STORE_SIZES, &tree, &ref), 1);
                ck_assert_uint_eq(ref.size, sizeof(sizes));
                ck_assert_int_eq(memcmp(ref.data, sizes, sizeof(sizes)), 0);
                object_ref_done(&ref);
                store_close(store);
        }
        for (size_t i = 0; i < ELEMENTSOF(samples); i++)
                sample_done(&samples[i]);
}
END_TEST

/* Ten times the limit flows through; what the directory occupies is looked at after every
 * put. */
START_TEST(limit_is_held_at_every_put_R35) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        uint64_t state = 1, written = 0, highest = 0;
        int64_t evicted = stat_get(STAT_STORE_EVICTED);
        size_t n_found = 0, n = 0;

        for (; written < 10 * config.disk_limit; n++) {
                _cleanup_sample_ Sample s = {0};
                uint64_t size = random_next(&state) % 60000;
                if (n % 50 == 0)
                        size = 200000 + random_next(&state) % 2000000;
                sample_make(&s, n, size);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_int_eq(sample_check(store, &s), 1);
                written += size;

                StoreUsage usage;
                store_usage(store, &usage);
                uint64_t on_disk = scratch_usage(config.directory);
                ck_assert_uint_le(on_disk, config.disk_limit);
                ck_assert_uint_le(usage.disk_bytes, config.disk_limit);
                ck_assert_uint_le(on_disk, usage.disk_bytes);
                highest = MAX(highest, on_disk);
        }
        ck_assert_int_gt(stat_get(STAT_STORE_EVICTED), evicted);
        /* It is a cache, and not an empty one. */
        ck_assert_uint_gt(highest, config.disk_limit / 2);
        state = 1;
        for (size_t i = 0; i < n; i++) {
                _cleanup_sample_ Sample s = {0};
                uint64_t size = random_next(&state) % 60000;
                if (i % 50 == 0)
                        size = 200000 + random_next(&state) % 2000000;
                sample_make(&s, i, size);
                int r = sample_check(store, &s);
                ck_assert_int_ge(r, 0);
                n_found += r > 0;
        }
        ck_assert_uint_gt(n_found, 0);
}
END_TEST

START_TEST(what_is_used_survives_R35) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        _cleanup_sample_ Sample used = {0}, unused = {0};

        sample_make(&used, 1, 10000);
        sample_make(&unused, 2, 10000);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &used), 0);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &unused), 0);
        for (uint64_t i = 0; i < 4000; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, 100 + i, 10000);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_int_eq(sample_check(store, &used), 1);
        }
        ck_assert(
                !store_has(store, STORE_OBJECT, &unused.oid) || sample_check(store, &unused) == 1);
        ck_assert_int_eq(sample_check(store, &used), 1);
}
END_TEST

START_TEST(eviction_during_a_read_R35) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        _cleanup_sample_ Sample small = {0}, large = {0};
        ObjectRef refs[2] = {{0}};

        sample_make(&small, 1, 5000);
        sample_make(&large, 2, 1500000);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &small), 0);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &large), 0);
        ck_assert_int_eq(store_get(store, STORE_OBJECT, &small.oid, &refs[0]), 1);
        ck_assert_int_eq(store_get(store, STORE_OBJECT, &large.oid, &refs[1]), 1);
        for (uint64_t i = 0; i < 3000; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, 100 + i, 10000);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_uint_le(scratch_usage(config.directory), config.disk_limit);
        }
        ck_assert_int_eq(store_flush_disk(store), 0);
        ck_assert_uint_eq(scratch_usage(config.directory), 0);
        ck_assert_int_eq(sample_check(store, &small), 0);

        ck_assert_uint_eq(refs[0].size, small.size);
        ck_assert_int_eq(memcmp(refs[0].data, small.data, small.size), 0);
        ck_assert_uint_eq(refs[1].size, large.size);
        ck_assert_int_eq(memcmp(refs[1].data, large.data, large.size), 0);

        /* What is still mapped still takes its room. */
        StoreUsage usage;
        store_usage(store, &usage);
        ck_assert_uint_gt(usage.disk_bytes, large.size);
        object_ref_done(&refs[0]);
        object_ref_done(&refs[1]);
        store_usage(store, &usage);
        ck_assert_uint_eq(usage.disk_bytes, 0);
        ck_assert_uint_eq(usage.n_objects, 0);
}
END_TEST

START_TEST(one_daemon_per_directory) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        Store *second = NULL;

        ck_assert_int_eq(store_open(&config, &second), -EBUSY);
        ck_assert_ptr_null(second);
        store = store_close(store);
        store = scratch_store_open(&config);
}
END_TEST

START_TEST(directory_deleted_while_running) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        _cleanup_sample_ Sample before = {0};
        Store *second = NULL;
        struct stat st;

        sample_make(&before, 1, 5000);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &before), 0);
        scratch_remove(config.directory);
        ck_assert_int_eq(sample_check(store, &before), 1);
        for (uint64_t i = 0; i < 400; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, 100 + i, 10000);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_int_eq(sample_check(store, &s), 1);
        }
        ck_assert_uint_gt(scratch_usage(config.directory), 0);
        ck_assert_int_eq(stat(config.directory, &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, 0700);
        ck_assert_int_eq(store_open(&config, &second), -EBUSY);
}
END_TEST

static void fill(uint8_t *to, const Sample *s) {
        memcpy(to, s->data, s->size);
}

START_TEST(writer_commit_and_abort) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        static const uint64_t sizes[] = {1, 5000, 3000000};
        StoreWriter *writer;
        uint8_t *data;

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, sizes[i]);

                ck_assert_int_eq(store_writer_begin(store, OBJECT_BLOB, s.size, &writer, &data), 0);
                fill(data, &s);
                ck_assert_int_eq(sample_check(store, &s), 0);
                ck_assert_uint_le(scratch_usage(config.directory), config.disk_limit);
                store_writer_abort(writer);
                ck_assert_int_eq(sample_check(store, &s), 0);

                for (int twice = 0; twice < 2; twice++) {
                        ck_assert_int_eq(
                                store_writer_begin(store, OBJECT_BLOB, s.size, &writer, &data), 0);
                        fill(data, &s);
                        ck_assert_int_eq(store_writer_commit(writer, &s.oid), 0);
                        ck_assert_int_eq(sample_check(store, &s), 1);
                }
        }
        /* The aborted and the doubled one left nothing: one shared segment and one of its own. */
        StoreUsage usage;
        store_usage(store, &usage);
        ck_assert_uint_eq(usage.n_segments, 2);
        ck_assert_uint_eq(usage.n_objects, 3);

        /* Larger than can ever be held. */
        ck_assert_int_eq(
                store_writer_begin(store, OBJECT_BLOB, config.disk_limit, &writer, &data), -EFBIG);
        ck_assert_int_eq(
                store_writer_begin(store, OBJECT_BLOB, UINT64_MAX, &writer, &data), -EFBIG);
}
END_TEST

/* What the disk has no room for while others arrive is collected in memory, within its limit. */
START_TEST(more_writers_than_the_disk_holds_R35) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        StoreWriter *writers[20] = {0};
        uint8_t *data[20];
        Sample samples[20];
        size_t n = 0;
        int r = 0;

        for (; n < ELEMENTSOF(writers); n++) {
                sample_make(&samples[n], n, 600000);
                r = store_writer_begin(store, OBJECT_BLOB, samples[n].size, &writers[n], &data[n]);
                if (r < 0)
                        break;
                fill(data[n], &samples[n]);
                ck_assert_uint_le(scratch_usage(config.directory), config.disk_limit);
        }
        ck_assert_int_eq(r, -ENOSPC);
        ck_assert_uint_gt(n * 600000, config.disk_limit - 600000);
        sample_done(&samples[n]);

        /* The last one has nowhere to go but memory, and is what is left there. */
        for (size_t i = n; i > 0; i--)
                ck_assert_int_eq(store_writer_commit(writers[i - 1], &samples[i - 1].oid), 0);
        StoreUsage usage;
        store_usage(store, &usage);
        ck_assert_uint_gt(usage.memory_bytes, 600000);
        ck_assert_uint_le(usage.memory_bytes, config.memory_limit);
        for (size_t i = 0; i < n; i++) {
                ck_assert_int_eq(sample_check(store, &samples[i]), 1);
                sample_done(&samples[i]);
        }
}
END_TEST

START_TEST(a_writer_that_was_cut_off_leaves_nothing) {
        _cleanup_sample_ Sample s = {0};
        _cleanup_free_ char *copy = scratch_new();
        StoreWriter *writer;
        uint8_t *data;

        sample_make(&s, 1, 3000000);
        Store *store = scratch_store_open(&config);
        ck_assert_int_eq(store_writer_begin(store, OBJECT_BLOB, s.size, &writer, &data), 0);
        fill(data, &s);
        scratch_copy(config.directory, copy);
        store_writer_abort(writer);
        store_close(store);

        StoreConfig other = config;
        other.directory = copy;
        ck_assert_int_eq(store_open(&other, &store), 0);
        ck_assert_int_eq(sample_check(store, &s), 0);
        ck_assert_uint_eq(scratch_usage(copy), 0);
        store_close(store);
        scratch_remove(copy);
}
END_TEST

START_TEST(files_are_private_and_foreign_ones_stay) {
        _cleanup_free_ char *foreign = NULL, *ours = NULL;
        _cleanup_sample_ Sample s = {0};
        struct stat st;

        ck_assert_int_gt(asprintf(&foreign, "%s/notes.txt", config.directory), 0);
        ck_assert_int_gt(asprintf(&ours, "%s/00000000000000ff.seg", config.directory), 0);
        FILE *f = fopen(foreign, "w");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_gt(fprintf(f, "keep me\n"), 0);
        ck_assert_int_eq(fclose(f), 0);
        f = fopen(ours, "w");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_gt(fprintf(f, "this is no segment, although its name says so. Away!\n"), 0);
        ck_assert_int_eq(fclose(f), 0);

        Store *store = scratch_store_open(&config);
        ck_assert_int_eq(access(foreign, F_OK), 0);
        ck_assert_int_eq(access(ours, F_OK), -1);
        sample_make(&s, 1, 100);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
        ck_assert_int_eq(store_flush_disk(store), 0);
        ck_assert_int_eq(access(foreign, F_OK), 0);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
        store_close(store);

        _cleanup_free_ char *segment = NULL;
        ck_assert_int_gt(asprintf(&segment, "%s/0000000000000001.seg", config.directory), 0);
        ck_assert_int_eq(stat(segment, &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0600);
}
END_TEST

/* What somebody put in the place of our files costs the cache, and nothing else. */
START_TEST(files_that_are_none) {
        _cleanup_sample_ Sample s = {0};
        char path[4][200];

        for (int i = 0; i < 3; i++)
                (void) snprintf(path[i], sizeof(path[i]), "%s/%016d.seg", config.directory, i);
        (void) snprintf(path[3], sizeof(path[3]), "%s/lock", config.directory);
        ck_assert_int_eq(mkfifo(path[0], 0600), 0);
        ck_assert_int_eq(mkdir(path[1], 0700), 0);
        ck_assert_int_eq(symlink("/dev/zero", path[2]), 0);
        ck_assert_int_eq(mkfifo(path[3], 0600), 0);

        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        sample_make(&s, 1, 1000);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
        ck_assert_int_eq(sample_check(store, &s), 1);
}
END_TEST

START_TEST(limits_can_be_lowered) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);

        for (uint64_t i = 0; i < 600; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, 10000);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
        }
        ck_assert_uint_gt(scratch_usage(config.directory), 2 * MIB);
        config.disk_limit = 2 * MIB;
        store_set_limits(store, &config);
        /* Whoever said that does not have to wait for the disk. */
        ck_assert_uint_gt(scratch_usage(config.directory), 2 * MIB);
        store_make_room(store);
        ck_assert_uint_le(scratch_usage(config.directory), 2 * MIB);

        /* and is held by the next process that finds more than it may keep */
        store = store_close(store);
        config.disk_limit = MIB;
        store = scratch_store_open(&config);
        ck_assert_uint_le(scratch_usage(config.directory), MIB);
}
END_TEST

/* No disk is that empty: the floor keeps everything off it, and memory takes over. */
START_TEST(free_space_floor_and_fall_back_to_memory) {
        config.free_space_floor = UINT64_C(1) << 60;
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        _cleanup_sample_ Sample small = {0}, large = {0};
        int64_t refused = stat_get(STAT_STORE_DISK_REFUSED);
        StoreWriter *writer;
        uint8_t *data;

        sample_make(&small, 1, 1000);
        sample_make(&large, 2, 3000000);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &small), 0);
        ck_assert_int_eq(sample_check(store, &small), 1);
        ck_assert_uint_eq(scratch_usage(config.directory), 0);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &large), -ENOSPC);
        ck_assert_int_eq(
                store_writer_begin(store, OBJECT_BLOB, large.size, &writer, &data), -ENOSPC);
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_REFUSED) - refused, 3);

        config.free_space_floor = 0;
        store_set_limits(store, &config);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &large), 0);
        ck_assert_int_eq(sample_check(store, &large), 1);
}
END_TEST

START_TEST(without_a_directory_all_is_in_memory) {
        const StoreConfig none = {.memory_limit = config.memory_limit};
        _cleanup_(store_closep) Store *store = scratch_store_open(&none);
        _cleanup_sample_ Sample s = {0}, large = {0};
        StoreWriter *writer;
        uint8_t *data;

        sample_make(&s, 1, 1000);
        sample_make(&large, 2, config.memory_limit);
        ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
        ck_assert_int_eq(sample_check(store, &s), 1);
        ck_assert_int_eq(sample_put(store, STORE_MEMORY, &large), -EFBIG);
        ck_assert_int_eq(
                store_writer_begin(store, OBJECT_BLOB, large.size, &writer, &data), -EFBIG);

        store_forget(store, STORE_OBJECT, &s.oid);
        ck_assert_int_eq(sample_check(store, &s), 0);
        ck_assert_int_eq(store_writer_begin(store, OBJECT_BLOB, s.size, &writer, &data), 0);
        fill(data, &s);
        ck_assert_int_eq(store_writer_commit(writer, &s.oid), 0);
        ck_assert_int_eq(sample_check(store, &s), 1);
        store_flush_memory(store);
        ck_assert_int_eq(sample_check(store, &s), 0);
}
END_TEST

START_TEST(tiers) {
        _cleanup_(store_closep) Store *store = scratch_store_open(&config);
        _cleanup_sample_ Sample s = {0}, large = {0}, taken = {0};
        StoreUsage usage;

        sample_make(&s, 1, 1000);
        sample_make(&large, 2, config.memory_limit * 3 / 4);
        sample_make(&taken, 3, 1000);
        ck_assert_int_eq(sample_put(store, STORE_MEMORY, &s), 0);
        store_usage(store, &usage);
        ck_assert_uint_eq(usage.disk_bytes, 0);
        ck_assert_int_eq(sample_check(store, &s), 1);

        ck_assert_int_eq(
                store_put_take(
                        store,
                        STORE_OBJECT,
                        &taken.oid,
                        OBJECT_BLOB,
                        memcpy(malloc(taken.size), taken.data, taken.size),
                        taken.size),
                0);
        ck_assert_int_eq(sample_check(store, &taken), 1);

        /* Too much of the memory tier for one object. */
        ck_assert_int_eq(sample_put(store, STORE_MEMORY, &large), 0);
        store_usage(store, &usage);
        ck_assert_uint_gt(usage.disk_bytes, large.size);
        ck_assert_int_eq(sample_check(store, &large), 1);

        store_flush_memory(store);
        ck_assert_int_eq(sample_check(store, &s), 0);
        ck_assert_int_eq(sample_check(store, &large), 1);
        store_forget(store, STORE_OBJECT, &large.oid);
        ck_assert_int_eq(sample_check(store, &large), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, put_get_stat);
        tcase_add_test(tc, survives_restart_and_is_verified_once_F3);
        tcase_add_test(tc, limit_is_held_at_every_put_R35);
        tcase_add_test(tc, what_is_used_survives_R35);
        tcase_add_test(tc, eviction_during_a_read_R35);
        tcase_add_test(tc, one_daemon_per_directory);
        tcase_add_test(tc, directory_deleted_while_running);
        tcase_add_test(tc, writer_commit_and_abort);
        tcase_add_test(tc, more_writers_than_the_disk_holds_R35);
        tcase_add_test(tc, a_writer_that_was_cut_off_leaves_nothing);
        tcase_add_test(tc, files_are_private_and_foreign_ones_stay);
        tcase_add_test(tc, files_that_are_none);
        tcase_add_test(tc, limits_can_be_lowered);
        tcase_add_test(tc, free_space_floor_and_fall_back_to_memory);
        tcase_add_test(tc, without_a_directory_all_is_in_memory);
        tcase_add_test(tc, tiers);
}

CHECK_MAIN("store/store", add_tests)
