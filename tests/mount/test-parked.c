/* Requests through a real mount that wait, and how waiting ends. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "mount/fixture.h"
#include "util/clock.h"
#include "util/stats.h"

static Fixture f;

/* A mount, and in it "file", for whose content one waits in this way. Returns its id. */
static uint64_t start_with_file(FakeMode mode) {
        fixture_start(&f);
        uint64_t file = fake_add_file(f.ns, NS_ROOT_ID, "file", "content");
        fake_set_mode(f.ns, file, mode, 0);
        return file;
}

/* Likewise "dir", in which all look-ups and listings wait. */
static uint64_t start_with_dir(void) {
        fixture_start(&f);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        fake_set_mode(f.ns, dir, FAKE_PARKS, 0);
        return dir;
}

START_TEST(a_parked_request_is_answered_after_landing) {
        Call lookup, read, list, link;

        fixture_start(&f);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        uint64_t file = fake_add_file(f.ns, NS_ROOT_ID, "file", "content");
        uint64_t target = fake_add_link(f.ns, NS_ROOT_ID, "link", "target");
        uint64_t listed = fake_add_dir(f.ns, NS_ROOT_ID, "listed");
        uint64_t inner = fake_add_file(f.ns, dir, "inner", "");
        fake_set_mode(f.ns, dir, FAKE_PARKS, 0);
        fake_set_mode(f.ns, file, FAKE_PARKS, 0);
        fake_set_mode(f.ns, target, FAKE_PARKS, 0);
        fake_set_mode(f.ns, listed, FAKE_PARKS, 0);

        call_start(&lookup, CALL_STAT, fixture_path(&f, "dir/inner"));
        call_start(&read, CALL_READ, fixture_path(&f, "file"));
        call_start(&link, CALL_READLINK, fixture_path(&f, "link"));
        call_start(&list, CALL_LIST, fixture_path(&f, "listed"));
        fake_wait_parked(f.ns, 4);
        ck_assert_int_eq(stat_get(STAT_FUSE_PARKED_NOW), 4);
        fake_land(f.ns, dir, 0, NULL);
        fake_land(f.ns, file, 0, NULL);
        fake_land(f.ns, target, 0, NULL);
        fake_land(f.ns, listed, 0, NULL);

        ck_assert_int_eq(call_join(&lookup), 0);
        ck_assert_uint_eq(lookup.result.ino, inner);
        ck_assert_int_eq(call_join(&read), 0);
        ck_assert_str_eq(read.result.text, "content");
        ck_assert_int_eq(call_join(&link), 0);
        ck_assert_str_eq(link.result.text, "target");
        ck_assert_int_eq(call_join(&list), 0);
        ck_assert_str_eq(list.result.text, ". .. ");
        fixture_done(&f);
}
END_TEST

START_TEST(others_are_answered_while_requests_are_parked_R9) {
        Call slow[8], quick;

        fixture_start(&f);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "slow");
        fake_add_file(f.ns, NS_ROOT_ID, "quick", "content");
        for (int i = 0; i < 8; i++) {
                char name[16];
                (void) snprintf(name, sizeof(name), "%d", i);
                uint64_t id = fake_add_file(f.ns, dir, name, "");
                fake_set_mode(f.ns, id, FAKE_PARKS, 0);
                char path[32];
                (void) snprintf(path, sizeof(path), "slow/%d", i);
                /* An empty file is not read: ask for a link's target instead. */
                id = fake_add_link(f.ns, dir, name, "x");
                fake_set_mode(f.ns, id, FAKE_PARKS, 0);
                call_start(&slow[i], CALL_READLINK, fixture_path(&f, path));
        }
        fake_wait_parked(f.ns, 8); /* more than there are readers */
        ck_assert_int_eq(call_now(&quick, CALL_READ, fixture_path(&f, "quick")), 0);
        ck_assert_str_eq(quick.result.text, "content");
        mount_session_tick(f.session, now_usec() + 7200 * USEC_PER_SEC);
        for (int i = 0; i < 8; i++)
                ck_assert_int_eq(call_join(&slow[i]), ETIMEDOUT);
        fixture_done(&f);
}
END_TEST

START_TEST(what_blocks_runs_on_the_pool) {
        Call call;

        (void) start_with_file(FAKE_BLOCKS);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "file")), 0);
        ck_assert_str_eq(call.result.text, "content");
        ck_assert_uint_ge(fake_n_blocking(f.ns), 1);
        fixture_done(&f);
}
END_TEST

START_TEST(an_error_is_answered_and_not_kept_R32) {
        Failure failure = {0};
        Call call;

        uint64_t file = start_with_file(FAKE_PARKS);
        call_start(&call, CALL_READ, fixture_path(&f, "file"));
        fake_wait_parked(f.ns, 1);
        int r = failure_set(&failure, FAILURE_OFFLINE, "no route to forge.example");
        int64_t errors = stat_get(STAT_FUSE_ERRORS);
        fake_land(f.ns, file, r, &failure);
        ck_assert_int_eq(call_join(&call), EHOSTDOWN);
        ck_assert_int_gt(stat_get(STAT_FUSE_ERRORS), errors);

        fake_set_mode(f.ns, file, FAKE_FAILS, -EBADMSG);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "file")), EIO);
        fake_set_mode(f.ns, file, FAKE_RESIDENT, 0);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "file")), 0);
        ck_assert_str_eq(call.result.text, "content");
        fixture_done(&f);
}
END_TEST

START_TEST(what_never_becomes_resident_fails_in_the_end) {
        Call call;

        (void) start_with_file(FAKE_BOUNCES);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "file")), EIO);
        fixture_done(&f);
}
END_TEST

START_TEST(a_signal_ends_the_wait_of_one_and_not_of_others) {
        Call leaves, stays;

        uint64_t dir = start_with_dir();
        /* valgrind lets a signal into a listing, and not into readlink(). */
        call_start(&leaves, CALL_LIST, fixture_path(&f, "dir"));
        fake_wait_parked(f.ns, 1);
        call_interrupt(&leaves);
        ck_assert_int_eq(call_join(&leaves), EINTR);

        ck_assert_uint_eq(flight_count(f.flights), 1);
        call_start(&stays, CALL_LIST, fixture_path(&f, "dir"));
        fake_wait_parked(f.ns, 2);
        fake_land(f.ns, dir, 0, NULL);
        ck_assert_int_eq(call_join(&stays), 0);
        ck_assert_str_eq(stays.result.text, ". .. ");
        fixture_done(&f);
}
END_TEST

START_TEST(signals_landings_and_timeouts_may_meet_R25) {
        Call calls[8];
        char path[32];

        uint64_t dir = start_with_dir();
        for (unsigned round = 1; round <= 200; round++) {
                fake_set_mode(f.ns, dir, FAKE_PARKS, 0);
                for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                        (void) snprintf(path, sizeof(path), "dir/%u-%zu", round, i);
                        call_start(&calls[i], CALL_STAT, fixture_path(&f, path));
                }
                fake_wait_parked(f.ns, round * (unsigned) ELEMENTSOF(calls));
                for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                        call_interrupt(&calls[i]);
                if (round % 2)
                        mount_session_tick(f.session, now_usec() + 7200 * USEC_PER_SEC);
                fake_land(f.ns, dir, 0, NULL);
                for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                        int error = call_join(&calls[i]);
                        ck_assert(error == ENOENT || error == EINTR || error == ETIMEDOUT);
                }
        }
        fixture_done(&f);
}
END_TEST

START_TEST(a_request_that_waits_too_long_times_out) {
        Call call;

        fixture_start(&f);
        uint64_t link = fake_add_link(f.ns, NS_ROOT_ID, "link", "target");
        fake_set_mode(f.ns, link, FAKE_PARKS, 0);
        call_start(&call, CALL_READLINK, fixture_path(&f, "link"));
        fake_wait_parked(f.ns, 1);
        int64_t timed_out = stat_get(STAT_FUSE_TIMED_OUT);
        mount_session_tick(f.session, now_usec()); /* its time is not up */
        ck_assert_int_eq(stat_get(STAT_FUSE_PARKED_NOW), 1);
        mount_session_tick(f.session, now_usec() + 7200 * USEC_PER_SEC);
        ck_assert_int_eq(call_join(&call), ETIMEDOUT);
        ck_assert_int_eq(stat_get(STAT_FUSE_TIMED_OUT), timed_out + 1);
        fixture_done(&f);
}
END_TEST

START_TEST(the_number_of_waiting_requests_is_bounded) {
        MountConfig config = fixture_config();
        Call waits, refused;

        config.max_pending = 1;
        fixture_init(&f);
        fixture_mount(&f, &config);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        fake_set_mode(f.ns, dir, FAKE_PARKS, 0);
        call_start(&waits, CALL_STAT, fixture_path(&f, "dir/a"));
        fake_wait_parked(f.ns, 1);
        ck_assert_int_eq(call_now(&refused, CALL_STAT, fixture_path(&f, "dir/b")), EAGAIN);
        fake_land(f.ns, dir, 0, NULL);
        ck_assert_int_eq(call_join(&waits), ENOENT);
        fixture_done(&f);
}
END_TEST

START_TEST(sixty_four_callers_get_one_inode_R27) {
        enum { N = 64 };
        static Call calls[N];

        uint64_t dir = start_with_dir();
        uint64_t id = fake_add_file(f.ns, dir, "new", "content");
        for (int i = 0; i < N; i++)
                call_start(&calls[i], CALL_STAT, fixture_path(&f, "dir/new"));
        fake_wait_parked(f.ns, 1);
        fake_land(f.ns, dir, 0, NULL);
        for (int i = 0; i < N; i++) {
                ck_assert_int_eq(call_join(&calls[i]), 0);
                ck_assert_uint_eq(calls[i].result.ino, id);
        }
        fixture_done(&f);
}
END_TEST

START_TEST(a_stop_answers_all_who_wait_R25) {
        enum { N = 100 };
        static Call calls[N];
        char name[16];

        fixture_start(&f);
        for (int i = 0; i < N; i++) {
                (void) snprintf(name, sizeof(name), "%d", i);
                uint64_t id = fake_add_link(f.ns, NS_ROOT_ID, name, "target");
                fake_set_mode(f.ns, id, FAKE_PARKS, 0);
                call_start(&calls[i], CALL_READLINK, fixture_path(&f, name));
        }
        fake_wait_parked(f.ns, N);
        ck_assert(fixture_is_mounted(&f));
        ck_assert_int_eq(mount_session_stop(f.session, 60 * USEC_PER_SEC), 0);
        ck_assert(!fixture_is_mounted(&f));
        for (int i = 0; i < N; i++)
                ck_assert_int_eq(call_join(&calls[i]), ENOTCONN);
        fixture_done(&f);
}
END_TEST

/* Who is told of thousands of names may wait for a request at the first of them. */
START_TEST(a_stop_does_not_wait_for_all_notifications) {
        enum { N = 5000 };
        char name[16];
        Call call;

        fixture_start(&f);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        for (int i = 0; i < N; i++) {
                (void) snprintf(name, sizeof(name), "%d", i);
                fake_add_file(f.ns, dir, name, "");
        }
        ck_assert_int_eq(call_now(&call, CALL_STAT, fixture_path(&f, "dir")), 0);
        fake_set_mode(f.ns, dir, FAKE_PARKS, 0);
        call_start(&call, CALL_STAT, fixture_path(&f, "dir/0"));
        fake_wait_parked(f.ns, 1);
        int64_t sent = stat_get(STAT_NOTIFY_ENTRY);
        mount_session_invalidate_all(f.session);
        ck_assert_int_eq(mount_session_stop(f.session, 60 * USEC_PER_SEC), 0);
        ck_assert_int_eq(call_join(&call), ENOTCONN);
        ck_assert_int_lt(stat_get(STAT_NOTIFY_ENTRY) - sent, N / 10);
        fixture_done(&f);
}
END_TEST

START_TEST(a_stop_succeeds_while_files_are_open) {
        char byte;

        fixture_start(&f);
        fake_add_file(f.ns, NS_ROOT_ID, "file", "content");
        int fd = open(fixture_path(&f, "file"), O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(mount_session_stop(f.session, 60 * USEC_PER_SEC), 0);
        ck_assert(!fixture_is_mounted(&f));
        f.session = mount_session_free(f.session);
        ck_assert_int_eq(pread(fd, &byte, 1, 0), -1);
        ck_assert(errno == ENOTCONN || errno == ECONNABORTED);
        (void) close(fd);
        fixture_done(&f);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_parked_request_is_answered_after_landing);
        tcase_add_test(tc, others_are_answered_while_requests_are_parked_R9);
        tcase_add_test(tc, what_blocks_runs_on_the_pool);
        tcase_add_test(tc, an_error_is_answered_and_not_kept_R32);
        tcase_add_test(tc, what_never_becomes_resident_fails_in_the_end);
        tcase_add_test(tc, a_signal_ends_the_wait_of_one_and_not_of_others);
        tcase_add_test(tc, signals_landings_and_timeouts_may_meet_R25);
        tcase_add_test(tc, a_request_that_waits_too_long_times_out);
        tcase_add_test(tc, the_number_of_waiting_requests_is_bounded);
        tcase_add_test(tc, sixty_four_callers_get_one_inode_R27);
        tcase_add_test(tc, a_stop_answers_all_who_wait_R25);
        tcase_add_test(tc, a_stop_does_not_wait_for_all_notifications);
        tcase_add_test(tc, a_stop_succeeds_while_files_are_open);
        skip_without_fuse();
}

CHECK_MAIN("mount-parked", add_tests)
