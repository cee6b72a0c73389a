#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "mount/fixture.h"
#include "util/clock.h"
#include "util/stats.h"

/* What is put into the kernel's page cache before it is asked for, and that nothing ever waits for
 * that (R9, R25). */

static Fixture f;
static uint64_t dir;
static int64_t pushed_before;

enum { N_FILES = 20 }; /* more than are pushed together */
static uint64_t files[N_FILES];

static const char *path_of(int i) {
        char name[32];

        (void) snprintf(name, sizeof(name), "dir/%d", i);
        return fixture_path(&f, name);
}

static void start(void) {
        const MountConfig config = fixture_config();
        char name[16], content[32];

        fixture_init(&f);
        fixture_mount(&f, &config);
        dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        for (int i = 0; i < N_FILES; i++) {
                (void) snprintf(name, sizeof(name), "%d", i);
                (void) snprintf(content, sizeof(content), "content %d", i);
                files[i] = fake_add_file(f.ns, dir, name, content);
        }
        pushed_before = stat_get(STAT_PUSH_FILES);
}

static void read_it(int i) {
        char content[32];
        Call call;

        (void) snprintf(content, sizeof(content), "content %d", i);
        ck_assert_int_eq(call_now(&call, CALL_READ, path_of(i)), 0);
        ck_assert_str_eq(call.result.text, content);
}

/* Told by nothing but a counter. */
static void wait_pushed(int64_t n) {
        while (stat_get(STAT_PUSH_FILES) < pushed_before + n)
                (void) sched_yield();
        ck_assert_int_eq(stat_get(STAT_PUSH_FILES), pushed_before + n);
}

/* True while a process that this thread has forked to notify waits in the kernel. */
static bool herald_waits(void) {
        char path[64], comm[32], state;
        bool waits = false;
        int pid;

        (void) snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int) gettid());
        FILE *children = fopen(path, "re");
        ck_assert_ptr_nonnull(children);
        while (!waits && fscanf(children, "%d", &pid) == 1) {
                (void) snprintf(path, sizeof(path), "/proc/%d/stat", pid);
                FILE *stat = fopen(path, "re");
                if (!stat)
                        continue;
                waits = fscanf(stat, "%*d (%31[^)]) %c", comm, &state) == 2 &&
                        strcmp(comm, "gitfs-herald") == 0 && state == 'D';
                (void) fclose(stat);
        }
        (void) fclose(children);
        return waits;
}

static void wait_in_push(void) {
        while (!herald_waits())
                (void) sched_yield();
}

START_TEST(what_follows_two_reads_is_pushed) {
        Call call;

        start();
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        read_it(0);
        read_it(1);
        wait_pushed(N_FILES - 2);
        int64_t reads = stat_get(STAT_FUSE_READ);
        for (int i = 0; i < N_FILES; i++)
                read_it(i);
        ck_assert_int_eq(stat_get(STAT_FUSE_READ), reads);
        fixture_done(&f);
}
END_TEST

START_TEST(a_push_goes_on_behind_a_file_that_was_not_there) {
        Call call;

        start();
        fake_set_mode(f.ns, files[3], FAKE_PARKS, 0);
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        read_it(0);
        read_it(1);
        wait_pushed(1);
        call_start(&call, CALL_READ, path_of(3));
        fake_wait_parked(f.ns, 1);
        fake_land(f.ns, files[3], 0, NULL);
        ck_assert_int_eq(call_join(&call), 0);
        wait_pushed(N_FILES - 3);
        fixture_done(&f);
}
END_TEST

/* Leaves the pusher with a file whose READ is not answered: the kernel makes it wait for that. */
static void block_push(Call *reader) {
        Call call;

        start();
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        fake_set_mode(f.ns, files[2], FAKE_PARKS, 0);
        call_start(reader, CALL_READ, path_of(2));
        fake_wait_parked(f.ns, 1);
        /* Who comes now finds it here; who has parked waits on. */
        fake_set_mode(f.ns, files[2], FAKE_RESIDENT, 0);
        read_it(0);
        read_it(1);
        wait_in_push();
}

START_TEST(a_push_that_waits_for_a_read_holds_nobody_up_R9) {
        Call reader, call;
        NsObserver observer;

        block_push(&reader);
        /* Reads, look-ups, listings; and a name that the kernel is told of. */
        for (int i = 3; i < N_FILES; i++)
                read_it(i);
        fake_add_file(f.ns, NS_ROOT_ID, "other", "old");
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "other")), 0);
        mount_session_observer(f.session, &observer);
        uint64_t other = fake_add_file(f.ns, NS_ROOT_ID, "other", "new");
        observer.entry_changed(NS_ROOT_ID, "other", observer.userdata);
        do
                ck_assert_int_eq(call_now(&call, CALL_STAT, fixture_path(&f, "other")), 0);
        while (call.result.ino != other);
        ck_assert_int_eq(stat_get(STAT_PUSH_FILES), pushed_before);

        fake_land(f.ns, files[2], 0, NULL);
        ck_assert_int_eq(call_join(&reader), 0);
        ck_assert_str_eq(reader.result.text, "content 2");
        fixture_done(&f);
}
END_TEST

/* Nor pushes the rest again. */
START_TEST(a_push_goes_on_before_a_reader_whom_it_has_passed) {
        Call reader, call;

        block_push(&reader);
        read_it(3);
        fake_land(f.ns, files[2], 0, NULL);
        ck_assert_int_eq(call_join(&reader), 0);
        /* What is listed now is pushed behind all of that. */
        uint64_t other = fake_add_dir(f.ns, NS_ROOT_ID, "other");
        fake_add_file(f.ns, other, "file", "content");
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "other")), 0);
        wait_pushed(N_FILES - 2 + 1);
        fixture_done(&f);
}
END_TEST

START_TEST(a_stop_while_a_push_waits_R25) {
        Call reader;

        block_push(&reader);
        ck_assert_int_eq(mount_session_stop(f.session, 60 * USEC_PER_SEC), 0);
        ck_assert(!fixture_is_mounted(&f));
        /* Its READ has failed; the push that waited may then have filled the page. */
        if (call_join(&reader) == 0)
                ck_assert_str_eq(reader.result.text, "content 2");
        fixture_done(&f);
}
END_TEST

START_TEST(nothing_is_pushed_where_nothing_was_listed) {
        start();
        for (int i = 0; i < N_FILES; i++)
                read_it(i);
        /* A directory that is: it would come behind. */
        Call call;
        ck_assert_int_eq(call_now(&call, CALL_LIST, fixture_path(&f, "dir")), 0);
        ck_assert_int_eq(mount_session_stop(f.session, 60 * USEC_PER_SEC), 0);
        ck_assert_int_eq(stat_get(STAT_PUSH_FILES), pushed_before);
        fixture_done(&f);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_follows_two_reads_is_pushed);
        tcase_add_test(tc, a_push_goes_on_behind_a_file_that_was_not_there);
        tcase_add_test(tc, a_push_that_waits_for_a_read_holds_nobody_up_R9);
        tcase_add_test(tc, a_push_goes_on_before_a_reader_whom_it_has_passed);
        tcase_add_test(tc, a_stop_while_a_push_waits_R25);
        tcase_add_test(tc, nothing_is_pushed_where_nothing_was_listed);
        skip_without_fuse();
}

CHECK_MAIN("mount-push", add_tests)
