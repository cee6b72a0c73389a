#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse/journal.h"
#include "fuse/mount.h"
#include "lib/check-main.h"
#include "mount/fixture.h"
#include "mount/server.h"

/* A mount outlives the process that serves it: no call fails, none is answered twice, none hangs.
 */

static Fixture f;
static Server server;

/* --- the tree --- */

typedef struct Tree {
        FakeMode mode;   /* of "slow" and what is in it */
        FakeMode poison; /* of "poison" */
        bool changed;    /* "changes" is another file */
} Tree;

static Tree tree;

static void make_tree(Namespace *ns, void *userdata) {
        const Tree *t = userdata;

        uint64_t slow = fake_add_dir(ns, NS_ROOT_ID, "slow");
        uint64_t file = fake_add_file(ns, slow, "file", "content");
        uint64_t link = fake_add_link(ns, slow, "link", "target");
        uint64_t list = fake_add_dir(ns, slow, "list");
        uint64_t name_in = fake_add_dir(ns, slow, "name");
        fake_add_file(ns, name_in, "inner", "");
        fake_set_mode(ns, file, t->mode, 0);
        fake_set_mode(ns, link, t->mode, 0);
        fake_set_mode(ns, list, t->mode, 0);
        fake_set_mode(ns, name_in, t->mode, 0);
        uint64_t poison = fake_add_link(ns, NS_ROOT_ID, "poison", "");
        fake_set_mode(ns, poison, t->poison, 0);
        fake_add_file(ns, NS_ROOT_ID, "changes", "first");
        if (t->changed)
                fake_add_file(ns, NS_ROOT_ID, "changes", "second");
}

static void start(FakeMode mode) {
        tree = (Tree){.mode = mode, .poison = FAKE_ABORTS};
        fixture_make_dir(&f);
        fixture_start_guard(&f);
        server_init(&server, f.mnt, make_tree, &tree);
}

static void done(void) {
        server_stop(&server);
        fixture_stop_guard(&f);
        fixture_remove_dir(&f);
}

/* --- calls that wait --- */

typedef struct Waiting {
        Call read, link, list, name;
} Waiting;

static void waiting_start(Waiting *w) {
        call_start(&w->read, CALL_READ, fixture_path(&f, "slow/file"));
        call_start(&w->link, CALL_READLINK, fixture_path(&f, "slow/link"));
        call_start(&w->list, CALL_LIST, fixture_path(&f, "slow/list"));
        call_start(&w->name, CALL_STAT, fixture_path(&f, "slow/name/inner"));
        server_wait_parked(&server, 4);
}

static void waiting_join(Waiting *w) {
        ck_assert_int_eq(call_join(&w->read), 0);
        ck_assert_str_eq(w->read.result.text, "content");
        ck_assert_int_eq(call_join(&w->link), 0);
        ck_assert_str_eq(w->link.result.text, "target");
        ck_assert_int_eq(call_join(&w->list), 0);
        ck_assert_str_eq(w->list.result.text, ". .. ");
        ck_assert_int_eq(call_join(&w->name), 0);
        ck_assert_uint_ne(w->name.result.ino, 0);
}

START_TEST(calls_that_wait_are_answered_by_the_successor) {
        Waiting w;

        start(FAKE_PARKS);
        server_start(&server);
        waiting_start(&w);
        server_kill(&server);
        tree.mode = FAKE_RESIDENT;
        server_start(&server);
        waiting_join(&w);
        done();
}
END_TEST

START_TEST(calls_that_wait_again_are_answered_by_a_later_one) {
        Waiting w;

        start(FAKE_PARKS);
        server_start(&server);
        waiting_start(&w);
        /* More often than a call may crash the daemon: waiting is no crime. */
        for (int i = 0; i < 5; i++) {
                server_kill(&server);
                server_start(&server);
                server_wait_parked(&server, 4);
        }
        server_kill(&server);
        tree.mode = FAKE_BLOCKS; /* on the pool */
        server_start(&server);
        waiting_join(&w);
        done();
}
END_TEST

START_TEST(who_leaves_answers_nobody_and_unmounts_nothing) {
        Waiting w;

        start(FAKE_PARKS);
        server_start(&server);
        waiting_start(&w);
        server_leave(&server);
        ck_assert(fixture_is_mounted(&f));
        tree.mode = FAKE_RESIDENT;
        server_start(&server);
        waiting_join(&w);
        done();
        ck_assert(!fixture_is_mounted(&f));
}
END_TEST

START_TEST(a_signal_reaches_a_call_of_the_predecessor) {
        Call call;

        start(FAKE_PARKS);
        server_start(&server);
        call_start(&call, CALL_LIST, fixture_path(&f, "slow/list"));
        server_wait_parked(&server, 1);
        server_kill(&server);
        call_interrupt(&call);
        server_start(&server);
        ck_assert_int_eq(call_join(&call), EINTR);
        done();
}
END_TEST

START_TEST(a_stop_answers_what_the_predecessor_left) {
        Call call;

        start(FAKE_PARKS);
        server_start(&server);
        call_start(&call, CALL_READLINK, fixture_path(&f, "slow/link"));
        server_wait_parked(&server, 1);
        server_kill(&server);
        server_start(&server);
        server_wait_parked(&server, 1);
        done();
        ck_assert_int_eq(call_join(&call), ENOTCONN);
}
END_TEST

/* --- the first word --- */

START_TEST(a_crash_before_the_kernel_was_answered_loses_nothing) {
        Call call;

        start(FAKE_RESIDENT);
        ck_assert_int_eq(server_attach(&server), 0);
        call_start(&call, CALL_READ, fixture_path(&f, "slow/file"));
        server_kill(&server); /* nothing was read */
        ck_assert_int_eq(server_attach(&server), 0);
        server_die_with_init(&server);
        ck_assert_int_eq(server_attach(&server), 0);
        server_kill(&server);
        server_start(&server);
        ck_assert_int_eq(call_join(&call), 0);
        ck_assert_str_eq(call.result.text, "content");
        done();
}
END_TEST

/* --- a call that crashes the daemon --- */

/* How many servers die before the call is answered. */
static int count_crashes(const Call *call) {
        int n = 0;

        for (; server_dies_before(&server, call); n++) {
                ck_assert_int_eq(server_attach(&server), 0);
                (void) server_serve(&server); /* it may die of it */
        }
        return n;
}

START_TEST(a_call_that_crashes_the_daemon_gets_one_error) {
        Call poison, good;
        Waiting w;

        start(FAKE_PARKS);
        server_start(&server);
        waiting_start(&w);
        ck_assert_int_eq(call_now(&good, CALL_STAT, fixture_path(&f, "poison")), 0);
        call_start(&poison, CALL_READLINK, fixture_path(&f, "poison"));
        ck_assert_int_eq(count_crashes(&poison), JOURNAL_ATTEMPTS_MAX);
        ck_assert_int_eq(call_join(&poison), EIO);
        /* Who calls again hears it at once. */
        ck_assert_int_eq(call_now(&poison, CALL_READLINK, fixture_path(&f, "poison")), EIO);
        /* Those who waited all the time go on waiting, and are answered. */
        server_kill(&server);
        tree.mode = FAKE_RESIDENT;
        server_start(&server);
        waiting_join(&w);
        ck_assert_int_eq(call_now(&poison, CALL_READLINK, fixture_path(&f, "poison")), EIO);
        /* An upgrade may have repaired it. */
        server_leave(&server);
        tree.poison = FAKE_RESIDENT;
        server_start(&server);
        ck_assert_int_eq(call_now(&poison, CALL_READLINK, fixture_path(&f, "poison")), 0);
        done();
}
END_TEST

START_TEST(a_call_that_crashes_a_worker_is_told_from_those_that_wait) {
        Call poison;
        Waiting w;

        start(FAKE_PARKS);
        tree.poison = FAKE_ABORTS_BEHIND;
        server_start(&server);
        waiting_start(&w);
        tree.mode = FAKE_BLOCKS; /* of those that come */
        call_start(&poison, CALL_READLINK, fixture_path(&f, "poison"));
        ck_assert_int_eq(count_crashes(&poison), JOURNAL_ATTEMPTS_MAX);
        ck_assert_int_eq(call_join(&poison), EIO);
        waiting_join(&w);
        done();
}
END_TEST

/* Two crashes, after which one of four waits and the others wait for it. */
static void start_suspects(Waiting *w, Call *poison) {
        start(FAKE_PARKS);
        tree.poison = FAKE_ABORTS_BEHIND;
        server_start(&server);
        waiting_start(w);
        call_start(poison, CALL_READLINK, fixture_path(&f, "poison"));
        for (int i = 0; i < 2; i++) {
                ck_assert(server_dies_before(&server, poison));
                ck_assert_int_eq(server_attach(&server), 0);
                (void) server_serve(&server); /* it may die of it */
        }
        server_wait_parked(&server, 1);
}

START_TEST(a_stop_answers_suspects) {
        Call poison;
        Waiting w;

        start_suspects(&w, &poison);
        done();
        /* The kernel asks twice for a page, and the second time may be too late for an answer. */
        int error = call_join(&w.read);
        ck_assert_msg(error == ENOTCONN || error == ECONNABORTED, "%s", strerrordesc_np(error));
        ck_assert_int_eq(call_join(&w.link), ENOTCONN);
        ck_assert_int_eq(call_join(&w.list), ENOTCONN);
        ck_assert_int_eq(call_join(&w.name), ENOTCONN);
        error = call_join(&poison);
        ck_assert_msg(error == ENOTCONN || error == ECONNABORTED, "%s", strerrordesc_np(error));
}
END_TEST

START_TEST(who_leaves_leaves_suspects) {
        Call poison;
        Waiting w;

        start_suspects(&w, &poison);
        server_leave(&server);
        tree.mode = tree.poison = FAKE_RESIDENT;
        server_start(&server);
        waiting_join(&w);
        ck_assert_int_eq(call_join(&poison), 0);
        done();
}
END_TEST

/* --- what the kernel keeps --- */

START_TEST(who_stands_in_a_directory_goes_on_standing_there) {
        char path[128], cwd[128];

        start(FAKE_RESIDENT);
        server_start(&server);
        (void) snprintf(path, sizeof(path), "%s/slow/list", f.mnt);
        ck_assert_int_eq(chdir(path), 0);
        server_kill(&server);
        server_start(&server);
        server_settle(&server);
        ck_assert_int_eq(access("../file", R_OK), 0);
        ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
        ck_assert_str_eq(cwd, path);
        ck_assert_int_eq(chdir("/"), 0);
        done();
}
END_TEST

START_TEST(what_changed_meanwhile_is_seen) {
        Call call;

        start(FAKE_RESIDENT);
        server_start(&server);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "changes")), 0);
        ck_assert_str_eq(call.result.text, "first");
        server_kill(&server);
        tree.changed = true;
        server_start(&server);
        server_settle(&server);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "changes")), 0);
        ck_assert_str_eq(call.result.text, "second");
        done();
}
END_TEST

/* --- where nothing can be taken over --- */

/* As who starts a container does, where nothing inside may mount. */
START_TEST(who_is_given_a_mount_serves_it_and_leaves_it_mounted) {
        unsigned connection;
        char options[128];
        Call call;

        start(FAKE_RESIDENT);
        if (geteuid() != 0) {
                (void) printf("skipped: only root can mount without a helper\n");
                fixture_stop_guard(&f);
                return;
        }
        ck_assert_int_eq(mkdir(f.mnt, 0700), 0);
        server.fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        ck_assert_int_ge(server.fuse_fd, 0);
        (void) snprintf(
                options,
                sizeof(options),
                "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions",
                server.fuse_fd);
        ck_assert_int_eq(mount("gitfs", f.mnt, MOUNT_FSTYPE, MS_RDONLY, options), 0);
        server_start(&server);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "slow/file")), 0);
        ck_assert_str_eq(call.result.text, "content");
        /* And a successor as well. */
        server_kill(&server);
        server_start(&server);
        ck_assert_int_eq(call_now(&call, CALL_READLINK, fixture_path(&f, "slow/link")), 0);
        server_stop(&server);
        ck_assert_int_eq(call_now(&call, CALL_LIST, f.mnt), ENOTCONN);
        ck_assert_int_eq(mount_connection(f.mnt, &connection), 0);
        ck_assert_int_eq(mount_remove_dead(f.mnt, connection), 0);
        fixture_stop_guard(&f);
        fixture_remove_dir(&f);
}
END_TEST

START_TEST(a_mount_that_is_gone_is_not_taken_over) {
        unsigned connection;
        Call call;

        start(FAKE_RESIDENT);
        server_start(&server);
        server_kill(&server);
        ck_assert_int_eq(mount_connection(f.mnt, &connection), 0);
        ck_assert_int_eq(mount_remove(f.mnt, connection), 0);
        ck_assert_int_eq(server_attach(&server), -ENOTCONN);
        server_forget(&server);
        server_start(&server);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "slow/file")), 0);
        done();
}
END_TEST

START_TEST(a_journal_of_another_layout_is_refused_and_the_mount_made_anew) {
        const uint32_t version = 200;
        Call call;

        start(FAKE_RESIDENT);
        server_start(&server);
        server_kill(&server);
        ck_assert_int_eq(pwrite(server.journal_fd, &version, sizeof(version), 8), sizeof(version));
        ck_assert_int_eq(server_attach(&server), -EPROTONOSUPPORT);
        /* Nobody keeps the connection: what is mounted is dead, and is replaced. */
        server_forget(&server);
        server_start(&server);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "slow/file")), 0);
        done();
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, calls_that_wait_are_answered_by_the_successor);
        tcase_add_test(tc, calls_that_wait_again_are_answered_by_a_later_one);
        tcase_add_test(tc, who_leaves_answers_nobody_and_unmounts_nothing);
        tcase_add_test(tc, a_signal_reaches_a_call_of_the_predecessor);
        tcase_add_test(tc, a_stop_answers_what_the_predecessor_left);
        tcase_add_test(tc, a_crash_before_the_kernel_was_answered_loses_nothing);
        tcase_add_test(tc, a_call_that_crashes_the_daemon_gets_one_error);
        tcase_add_test(tc, a_call_that_crashes_a_worker_is_told_from_those_that_wait);
        tcase_add_test(tc, a_stop_answers_suspects);
        tcase_add_test(tc, who_leaves_leaves_suspects);
        tcase_add_test(tc, who_stands_in_a_directory_goes_on_standing_there);
        tcase_add_test(tc, what_changed_meanwhile_is_seen);
        tcase_add_test(tc, who_is_given_a_mount_serves_it_and_leaves_it_mounted);
        tcase_add_test(tc, a_mount_that_is_gone_is_not_taken_over);
        tcase_add_test(tc, a_journal_of_another_layout_is_refused_and_the_mount_made_anew);
        skip_without_fuse();
}

CHECK_MAIN("mount-takeover", add_tests)
