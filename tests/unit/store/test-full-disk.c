/* A disk that is full or read-only, on a small tmpfs of our own: needs root or user namespaces. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "lib/store-fixture.h"
#include "util/fd.h"
#include "util/stats.h"

#define MIB (UINT64_C(1) << 20)
#define DISK "size=6m,mode=0700"

static char *directory;
static StoreConfig config;

static int write_text(const char *path, const char *text) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd < 0 ? -errno : write_all(fd, text, strlen(text));
}

/* In the new name space we are root, and nobody else is anybody. */
static int write_maps(unsigned uid, unsigned gid) {
        char text[64];

        int r = write_text("/proc/self/setgroups", "deny");
        if (r < 0)
                return r;
        (void) snprintf(text, sizeof(text), "0 %u 1", uid);
        r = write_text("/proc/self/uid_map", text);
        if (r < 0)
                return r;
        (void) snprintf(text, sizeof(text), "0 %u 1", gid);
        return write_text("/proc/self/gid_map", text);
}

/* A mount name space in which mount() is allowed and harms nobody. */
static int enter_namespace(void) {
        unsigned uid = geteuid(), gid = getegid();

        if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) < 0)
                return -errno;
        int r = uid != 0 ? write_maps(uid, gid) : 0;
        if (r < 0)
                return r;
        return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

static int mount_disk(void) {
        return mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV, DISK) < 0 ? -errno : 0;
}

/* Before main(): what the tests need is there, or the program is skipped. */
static void __attribute__((constructor)) require_mount(void) {
        int r = enter_namespace();

        directory = scratch_new();
        if (r >= 0)
                r = mount_disk();
        if (r >= 0)
                (void) umount2(directory, MNT_DETACH); /* mounted a moment ago */
        scratch_remove(directory);
        free(directory);
        if (r < 0) {
                (void) printf("cannot mount a tmpfs here: %s\n", strerrorname_np(-r));
                (void) fflush(stdout);
                _exit(77);
        }
}

static void set_up(void) {
        ck_assert_int_eq(object_library_init(), 0);
        directory = scratch_new();
        ck_assert_int_eq(mount_disk(), 0);
        config = (StoreConfig){.directory = directory, .disk_limit = 16 * MIB, .memory_limit = MIB};
}

static void tear_down(void) {
        ck_assert_int_eq(umount2(directory, MNT_DETACH), 0);
        scratch_remove(directory);
        free(directory);
        object_library_done();
}

static void put_many(Store *store, uint64_t from, uint64_t to) {
        for (uint64_t i = from; i < to; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, 10000);
                ck_assert_int_eq(sample_put(store, STORE_DISK, &s), 0);
                ck_assert_int_eq(sample_check(store, &s), 1);
        }
}

static size_t count(Store *store, uint64_t from, uint64_t to) {
        size_t n = 0;

        for (uint64_t i = from; i < to; i++) {
                _cleanup_sample_ Sample s = {0};
                sample_make(&s, i, 10000);
                int r = sample_check(store, &s);
                ck_assert_int_ge(r, 0);
                n += (size_t) r;
        }
        return n;
}

/* The limit promises more than the disk has: the cache gives way to itself. */
START_TEST(disk_smaller_than_the_limit) {
        Store *store = NULL;

        ck_assert_int_eq(store_open(&config, &store), 0);
        int64_t refused = stat_get(STAT_STORE_DISK_REFUSED);
        put_many(store, 0, 3000);
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_REFUSED), refused);
        ck_assert_uint_gt(count(store, 0, 3000), 2 * MIB / 10000);
        store_close(store);
}
END_TEST

START_TEST(disk_filled_by_somebody_else) {
        Store *store = NULL;
        _cleanup_free_ char *path = NULL;

        ck_assert_int_gt(asprintf(&path, "%s/hog", directory), 0);
        ck_assert_int_eq(store_open(&config, &store), 0);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(posix_fallocate(fd, 0, 5 * MIB), 0);

        int64_t refused = stat_get(STAT_STORE_DISK_REFUSED);
        put_many(store, 0, 500);
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_REFUSED) - refused, 500);
        ck_assert_uint_eq(count(store, 490, 500), 10);

        ck_assert_int_eq(ftruncate(fd, 0), 0);
        put_many(store, 1000, 1100);
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_REFUSED) - refused, 500);
        store_flush_memory(store);
        ck_assert_uint_eq(count(store, 1000, 1100), 100);
        store_close(store);
}
END_TEST

START_TEST(disk_is_read_only) {
        Store *store = NULL;

        config.disk_limit = 5 * MIB;
        ck_assert_int_eq(store_open(&config, &store), 0);
        put_many(store, 0, 90);
        store_close(store);
        ck_assert_int_eq(mount(NULL, directory, NULL, MS_REMOUNT | MS_RDONLY, DISK), 0);

        ck_assert_int_eq(store_open(&config, &store), 0);
        ck_assert_uint_eq(count(store, 0, 90), 90);
        int64_t refused = stat_get(STAT_STORE_DISK_REFUSED);
        put_many(store, 1000, 1100);
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_REFUSED) - refused, 100);
        /* What cannot be written evicts nothing. */
        ck_assert_uint_eq(count(store, 0, 90), 90);
        ck_assert_int_eq(store_flush_disk(store), -EROFS);
        ck_assert_uint_eq(count(store, 0, 90), 0);
        store_close(store);
}
END_TEST

/* The file system goes, and an empty directory is in its place: what was mapped stays, what is new
 * goes there. */
START_TEST(the_file_system_goes_away) {
        Store *store = NULL;

        config.disk_limit = 5 * MIB;
        ck_assert_int_eq(mount_disk(), 0); /* over the first, which tear_down() takes */
        ck_assert_int_eq(store_open(&config, &store), 0);
        int64_t refused = stat_get(STAT_STORE_DISK_REFUSED);
        put_many(store, 0, 90);
        ck_assert_int_eq(umount2(directory, MNT_DETACH), 0);
        ck_assert_uint_eq(count(store, 0, 90), 90);
        put_many(store, 1000, 1300);
        ck_assert_int_eq(stat_get(STAT_STORE_DISK_REFUSED), refused);
        store_close(store);
        ck_assert_int_eq(store_open(&config, &store), 0);
        ck_assert_uint_gt(count(store, 1000, 1300), 90);
        store_close(store);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, disk_smaller_than_the_limit);
        tcase_add_test(tc, disk_filled_by_somebody_else);
        tcase_add_test(tc, disk_is_read_only);
        tcase_add_test(tc, the_file_system_goes_away);
}

CHECK_MAIN("store/full-disk", add_tests)
