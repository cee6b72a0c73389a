/* Requests through a real mount that are answered at once, and what the kernel is told. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "mount/fixture.h"
#include "util/clock.h"
#include "util/stats.h"

static Fixture f;

typedef struct Told {
        NotifyWaiter waiter;
        sem_t sem;
} Told;

static void told(NotifyWaiter *waiter) {
        (void) sem_post(&container_of(waiter, Told, waiter)->sem); /* cannot overflow */
}

/* Returns when the kernel has been told of all that was queued. */
static void wait_told(void) {
        Told t = {.waiter.told = told};

        ck_assert_int_eq(sem_init(&t.sem, 0, 0), 0);
        mount_session_when_told(f.session, &t.waiter);
        while (sem_wait(&t.sem) < 0)
                ck_assert_int_eq(errno, EINTR);
        (void) sem_destroy(&t.sem); /* nobody waits */
}

START_TEST(resident_names_and_contents_are_answered_at_once_R31) {
        Call call;
        struct stat st;
        char value[64];

        fixture_start(&f);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        uint64_t file = fake_add_file(f.ns, dir, "file", "content");
        fake_add_link(f.ns, dir, "link", "file");
        int64_t parked = stat_get(STAT_FUSE_PARKED);

        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "dir/file")), 0);
        ck_assert_str_eq(call.result.text, "content");
        ck_assert_int_eq(call_now(&call, CALL_READLINK, fixture_path(&f, "dir/link")), 0);
        ck_assert_str_eq(call.result.text, "file");
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        ck_assert_str_eq(call.result.text, ". .. file link ");
        ck_assert_int_eq(call_now(&call, CALL_STAT, fixture_path(&f, "dir/nothing")), ENOENT);

        ck_assert_int_eq(lstat(fixture_path(&f, "dir/file"), &st), 0);
        ck_assert_uint_eq(st.st_ino, file);
        ck_assert_uint_eq(st.st_mode, S_IFREG | 0444);
        ck_assert_int_eq(st.st_size, 7);
        ck_assert_int_ge(st.st_blocks * 512, st.st_size);
        ck_assert_uint_eq(st.st_nlink, 1);
        ck_assert_uint_eq(st.st_uid, geteuid());
        ck_assert_int_eq(st.st_mtime, 1000000000 + (int64_t) file);
        ck_assert_int_eq(st.st_mtime, st.st_ctime);

        ck_assert_int_eq(getxattr(fixture_path(&f, "dir"), "user.gitfs.fake", NULL, 0), 5);
        ck_assert_int_eq(getxattr(fixture_path(&f, "dir"), "user.gitfs.fake", value, 64), 5);
        ck_assert_int_eq(memcmp(value, "value", 5), 0);
        ck_assert_int_eq(getxattr(fixture_path(&f, "dir"), "user.gitfs.fake", value, 2), -1);
        ck_assert_int_eq(errno, ERANGE);
        ck_assert_int_eq(getxattr(fixture_path(&f, "dir"), "user.other", value, 64), -1);
        ck_assert_int_eq(errno, ENODATA);
        ck_assert_int_eq(listxattr(fixture_path(&f, "dir"), value, 64), 16);

        ck_assert_int_eq(stat_get(STAT_FUSE_PARKED), parked);
        ck_assert_uint_eq(fake_n_blocking(f.ns), 0);
        fixture_done(&f);
}
END_TEST

START_TEST(the_file_system_is_read_only) {
        struct statvfs st;

        fixture_start(&f);
        fake_add_file(f.ns, NS_ROOT_ID, "file", "content");
        ck_assert_int_eq(open(fixture_path(&f, "file"), O_WRONLY | O_CLOEXEC), -1);
        ck_assert_int_eq(errno, EROFS);
        ck_assert_int_eq(mkdir(fixture_path(&f, "new"), 0700), -1);
        ck_assert_int_eq(errno, EROFS);
        ck_assert_int_eq(statvfs(f.mnt, &st), 0);
        ck_assert(st.f_flag & ST_RDONLY);
        ck_assert(st.f_flag & ST_NOSUID);
        ck_assert(st.f_flag & ST_NODEV);
        ck_assert_uint_eq(st.f_namemax, 255);
        fixture_done(&f);
}
END_TEST

static int64_t n_requests(void) {
        static const Stat stats[] = {
                STAT_FUSE_LOOKUP,
                STAT_FUSE_GETATTR,
                STAT_FUSE_READLINK,
                STAT_FUSE_OPEN,
                STAT_FUSE_READ,
                STAT_FUSE_READDIR,
                STAT_FUSE_READDIRPLUS,
                STAT_FUSE_OTHER,
        };
        int64_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(stats); i++)
                n += stat_get(stats[i]);
        return n;
}

/* The kernel may always drop what it caches; a test of what it keeps has that many attempts. */
#define ATTEMPTS 10

START_TEST(a_warm_pass_makes_no_requests) {
        Call call;
        int64_t n = -1;

        fixture_start(&f);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        fake_add_file(f.ns, dir, "file", "content");
        for (int i = 0; i < ATTEMPTS && n != 0; i++) {
                n = -n_requests();
                ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
                ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "dir/file")), 0);
                n += n_requests();
        }
        ck_assert_int_eq(n, 0);
        fixture_done(&f);
}
END_TEST

START_TEST(a_listing_brings_the_attributes_of_its_children_R12) {
        Call call;
        char path[16];
        int64_t n = -1;

        fixture_start(&f);
        for (int i = 0; i < ATTEMPTS && n != 0; i++) {
                (void) snprintf(path, sizeof(path), "dir%d", i);
                uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, path);
                for (char name[2] = "a"; name[0] <= 'e'; name[0]++)
                        fake_add_file(f.ns, dir, name, "content");
                ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, path)), 0);
                n = -n_requests();
                for (const char *name = "abcde"; *name; name++) {
                        (void) snprintf(path, sizeof(path), "dir%d/%c", i, *name);
                        ck_assert_int_eq(call_now(&call, CALL_STAT, fixture_path(&f, path)), 0);
                }
                n += n_requests();
        }
        ck_assert_int_eq(n, 0);
        fixture_done(&f);
}
END_TEST

START_TEST(listings_are_asked_for_again_where_the_kernel_must_not_keep_them) {
        MountConfig config = fixture_config();
        Call call;

        config.kernel_dir_cache = false;
        fixture_init(&f);
        fixture_mount(&f, &config);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        ck_assert_str_eq(call.result.text, ". .. ");
        fake_add_file(f.ns, dir, "new", "");
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        ck_assert_str_eq(call.result.text, ". .. new ");
        fixture_done(&f);
}
END_TEST

START_TEST(the_kernel_gives_back_every_reference_R21) {
        Call call;
        char path[32];

        fixture_start(&f);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        for (int i = 0; i < 500; i++) {
                (void) snprintf(path, sizeof(path), "%d", i);
                fake_add_file(f.ns, dir, path, "content");
        }
        /* By listing, by name, and both. */
        ck_assert_int_eq(call_now(&call, CALL_STAT, fixture_path(&f, "dir/7")), 0);
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        for (int i = 0; i < 500; i++) {
                (void) snprintf(path, sizeof(path), "dir/%d", i);
                ck_assert_int_eq(call_now(&call, CALL_STAT, fixture_path(&f, path)), 0);
        }
        ck_assert_uint_ge(fake_refs_given(f.ns), 501);
        mount_session_invalidate_all(f.session);
        fake_wait_kernel_refs(f.ns, 0);
        /* And it can look again. */
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "dir/7")), 0);
        ck_assert_str_eq(call.result.text, "content");
        fixture_done(&f);
}
END_TEST

/* Reads the whole directory and counts each name "0".."n-1"; -1 for one that is wrong. */
static int count_names(DIR *dir, unsigned char *seen, int n) {
        struct dirent *e;
        int count = 0;

        while ((e = readdir(dir))) { // NOLINT(concurrency-mt-unsafe): this function's own stream
                if (e->d_name[0] == '.')
                        continue;
                int i = (int) strtol(e->d_name, NULL, 10);
                if (i < 0 || i >= n || e->d_type != DT_REG || e->d_ino == 0)
                        return -1;
                seen[i]++;
                count++;
        }
        return count;
}

START_TEST(a_large_directory_streams_R30) {
        enum { N = 10000 };
        static unsigned char seen[N];
        char name[16];
        struct dirent *e;

        fixture_start(&f);
        uint64_t id = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        for (int i = 0; i < N; i++) {
                (void) snprintf(name, sizeof(name), "%d", i);
                fake_add_file(f.ns, id, name, "");
        }
        DIR *dir = opendir(fixture_path(&f, "dir"));
        ck_assert_ptr_nonnull(dir);
        memset(seen, 0, sizeof(seen));
        ck_assert_int_eq(count_names(dir, seen, N), N);
        for (int i = 0; i < N; i++)
                ck_assert_uint_eq(seen[i], 1);

        /* Back to a place in the middle. */
        rewinddir(dir);
        for (int i = 0; i < N / 2; i++)
                ck_assert_ptr_nonnull(readdir(dir)); // NOLINT(concurrency-mt-unsafe)
        long place = telldir(dir);
        e = readdir(dir); // NOLINT(concurrency-mt-unsafe)
        ck_assert_ptr_nonnull(e);
        long expected = strtol(e->d_name, NULL, 10);
        rewinddir(dir);
        seekdir(dir, place);
        e = readdir(dir); // NOLINT(concurrency-mt-unsafe)
        ck_assert_ptr_nonnull(e);
        ck_assert_int_eq(strtol(e->d_name, NULL, 10), expected);
        ck_assert_int_eq(closedir(dir), 0);
        fixture_done(&f);
}
END_TEST

START_TEST(a_replaced_name_is_seen_at_once) {
        NsObserver observer;
        Call call;
        char old[16] = "";

        fixture_start(&f);
        mount_session_observer(f.session, &observer);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        fake_add_file(f.ns, dir, "file", "old");
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "dir/file")), 0);
        ck_assert_int_eq(call_now(&call, CALL_STAT, fixture_path(&f, "dir/new")), ENOENT);
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        int fd = open(fixture_path(&f, "dir/file"), O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);

        fake_add_file(f.ns, dir, "file", "other");
        fake_add_file(f.ns, dir, "new", "");
        observer.entry_changed(dir, "file", observer.userdata);
        observer.entry_changed(dir, "new", observer.userdata);
        observer.inode_changed(dir, observer.userdata);
        wait_told();

        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "dir/file")), 0);
        ck_assert_str_eq(call.result.text, "other");
        ck_assert_int_eq(call_now(&call, CALL_STAT, fixture_path(&f, "dir/new")), 0);
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        ck_assert_str_eq(call.result.text, ". .. file new ");
        /* Who has the old one open keeps it. */
        ck_assert_int_eq(pread(fd, old, sizeof(old), 0), 3);
        ck_assert_str_eq(old, "old");
        (void) close(fd);
        fixture_done(&f);
}
END_TEST

/* The kernel takes a notification of a name when the look-up in that directory has been answered:
 * whoever wants to know when it was told must not be what the look-up needs. */
START_TEST(nobody_stands_still_for_a_notification) {
        NsObserver observer;
        Call call;
        Told t = {.waiter.told = told};
        int value;

        fixture_start(&f);
        ck_assert_int_eq(sem_init(&t.sem, 0, 0), 0);
        mount_session_observer(f.session, &observer);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        fake_add_file(f.ns, dir, "file", "");
        ck_assert_int_eq(call_now(&call, CALL_STAT, fixture_path(&f, "dir")), 0);
        fake_set_mode(f.ns, dir, FAKE_PARKS, 0);
        call_start(&call, CALL_STAT, fixture_path(&f, "dir/file"));
        fake_wait_parked(f.ns, 1);

        observer.entry_changed(dir, "other", observer.userdata);
        mount_session_when_told(f.session, &t.waiter);
        ck_assert_int_eq(sem_getvalue(&t.sem, &value), 0);
        ck_assert_int_eq(value, 0);
        fake_land(f.ns, dir, 0, NULL);
        ck_assert_int_eq(call_join(&call), 0);
        while (sem_wait(&t.sem) < 0)
                ck_assert_int_eq(errno, EINTR);
        (void) sem_destroy(&t.sem);
        fixture_done(&f);
}
END_TEST

START_TEST(too_many_notifications_become_one) {
        NsObserver observer;
        Call call;

        fixture_start(&f);
        mount_session_observer(f.session, &observer);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        fake_add_file(f.ns, dir, "file", "old");
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "dir/file")), 0);
        fake_add_file(f.ns, dir, "file", "other");
        int64_t sent = stat_get(STAT_NOTIFY_ENTRY) + stat_get(STAT_NOTIFY_INODE);
        enum { N = 300000 };
        for (uint64_t i = 0; i < N; i++)
                observer.inode_changed(1000000 + i, observer.userdata);
        observer.entry_changed(dir, "file", observer.userdata);
        wait_told();
        /* However many were merged, the last one arrived. */
        ck_assert_int_le(stat_get(STAT_NOTIFY_ENTRY) + stat_get(STAT_NOTIFY_INODE) - sent, N + 2);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "dir/file")), 0);
        ck_assert_str_eq(call.result.text, "other");
        fixture_done(&f);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, resident_names_and_contents_are_answered_at_once_R31);
        tcase_add_test(tc, the_file_system_is_read_only);
        tcase_add_test(tc, a_warm_pass_makes_no_requests);
        tcase_add_test(tc, a_listing_brings_the_attributes_of_its_children_R12);
        tcase_add_test(tc, listings_are_asked_for_again_where_the_kernel_must_not_keep_them);
        tcase_add_test(tc, the_kernel_gives_back_every_reference_R21);
        tcase_add_test(tc, a_large_directory_streams_R30);
        tcase_add_test(tc, a_replaced_name_is_seen_at_once);
        tcase_add_test(tc, nobody_stands_still_for_a_notification);
        tcase_add_test(tc, too_many_notifications_become_one);
        skip_without_fuse();
}

CHECK_MAIN("mount-session", add_tests)
