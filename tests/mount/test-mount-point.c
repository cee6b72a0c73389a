#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/mount.h"
#include "lib/check-main.h"
#include "mount/fixture.h"
#include "util/clock.h"

/* Where gitfs mounts, and what it finds there (F9). */

static Fixture f;

/* Tries to mount at the fixture's place; the reason is in *failure. */
static int try_mount(Failure *failure) {
        MountConfig config = fixture_config();
        MountSession *session = NULL;

        *failure = (Failure){0};
        config.mount_point = f.mnt;
        int r = mount_session_new(&config, f.ns, f.pool, f.flights, NULL, NULL, &session, failure);
        mount_session_free(session);
        return r;
}

/* A daemon in a process of its own, which serves when this returns. Before any thread runs. */
static pid_t fork_daemon(void) {
        int ready[2];
        char byte;

        ck_assert_int_eq(pipe(ready), 0);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                const MountConfig config = fixture_config();
                MountConfig c = config;
                Pool *pool;
                FlightTable *flights;
                MountSession *session;
                c.mount_point = f.mnt;
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || pool_new(2, &pool) < 0 ||
                    flight_table_new(pool, &flights) < 0 ||
                    mount_session_new(
                            &c, fake_new(flights), pool, flights, NULL, NULL, &session, NULL) < 0 ||
                    mount_session_start(session, NULL) < 0 || write(ready[1], "r", 1) != 1)
                        _exit(1);
                for (;;)
                        pause();
        }
        (void) close(ready[1]);
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
        (void) close(ready[0]);
        return pid;
}

static void kill_daemon(pid_t pid) {
        int status;

        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

START_TEST(a_missing_directory_is_made_private) {
        const MountConfig config = fixture_config();
        struct stat st;

        fixture_init(&f);
        fixture_mount(&f, &config);
        ck_assert(fixture_is_mounted(&f));
        ck_assert_int_eq(mount_session_stop(f.session, 60 * USEC_PER_SEC), 0);
        ck_assert_int_eq(stat(f.mnt, &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0700);
        fixture_done(&f);
}
END_TEST

START_TEST(a_directory_with_something_in_it_is_refused) {
        Failure failure;

        fixture_init(&f);
        ck_assert_int_eq(mkdir(f.mnt, 0700), 0);
        ck_assert_int_eq(mkdir(fixture_path(&f, "precious"), 0700), 0);
        ck_assert_int_eq(try_mount(&failure), -ENOTEMPTY);
        ck_assert_ptr_nonnull(strstr(failure.text, "not empty"));
        ck_assert(!fixture_is_mounted(&f));
        ck_assert_int_eq(rmdir(fixture_path(&f, "precious")), 0);
        fixture_done(&f);
}
END_TEST

START_TEST(a_file_is_refused) {
        Failure failure;

        fixture_init(&f);
        int fd = open(f.mnt, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        (void) close(fd);
        ck_assert_int_eq(try_mount(&failure), -ENOTDIR);
        ck_assert_int_ne(failure.text[0], '\0');
        ck_assert_int_eq(unlink(f.mnt), 0);
        fixture_done(&f);
}
END_TEST

START_TEST(a_relative_path_is_refused) {
        Failure failure = {0};
        char *path;

        ck_assert_int_eq(mount_prepare("relative/path", &path, &failure), -EINVAL);
        ck_assert_int_ne(failure.text[0], '\0');
        ck_assert_int_eq(mount_prepare("/", &path, &failure), -EINVAL);
        ck_assert_int_eq(mount_prepare("/tmp/..", &path, &failure), -EINVAL);
}
END_TEST

START_TEST(what_somebody_else_mounted_is_left_alone) {
        Failure failure;

        if (geteuid() != 0) {
                (void) printf("not run: only root can mount a tmpfs\n");
                return;
        }
        fixture_init(&f);
        ck_assert_int_eq(mkdir(f.mnt, 0700), 0);
        ck_assert_int_eq(mount("tmpfs", f.mnt, "tmpfs", 0, NULL), 0);
        ck_assert_int_eq(try_mount(&failure), -EBUSY);
        ck_assert_ptr_nonnull(strstr(failure.text, "tmpfs"));
        ck_assert_int_eq(umount2(f.mnt, 0), 0); /* still there, once */
        fixture_done(&f);
}
END_TEST

START_TEST(a_mount_that_is_served_is_refused) {
        const MountConfig config = fixture_config();
        Failure failure;
        Call call;

        fixture_init(&f);
        fixture_mount(&f, &config);
        ck_assert_int_eq(try_mount(&failure), -EBUSY);
        ck_assert_ptr_nonnull(strstr(failure.text, "another gitfsd"));
        ck_assert_int_eq(call_now(&call, CALL_STAT, f.mnt), 0);
        fixture_done(&f);
}
END_TEST

START_TEST(a_dead_mount_is_replaced_F9) {
        const MountConfig config = fixture_config();
        Call call;

        fixture_make_dir(&f);
        pid_t first = fork_daemon();
        ck_assert_int_eq(call_now(&call, CALL_STAT, f.mnt), 0);
        kill_daemon(first);
        ck_assert(fixture_is_mounted(&f));
        int error = call_now(&call, CALL_LIST, f.mnt);
        /* A herald may live a moment longer: its end aborts what was asked until then. */
        ck_assert_msg(error == ENOTCONN || error == ECONNABORTED, "%s", strerrordesc_np(error));
        ck_assert_int_eq(rmdir(f.dir), -1);

        Fixture old = f;
        fixture_init(&f);
        ck_assert_int_eq(rmdir(f.dir), 0);
        memcpy(f.dir, old.dir, sizeof(f.dir));
        memcpy(f.mnt, old.mnt, sizeof(f.mnt));
        fake_add_file(f.ns, NS_ROOT_ID, "file", "content");
        fixture_mount(&f, &config);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "file")), 0);
        ck_assert_str_eq(call.result.text, "content");
        fixture_done(&f);
}
END_TEST

START_TEST(a_mount_that_does_not_answer_is_refused_with_advice) {
        Failure failure = {0};
        char *path;
        int status;

        fixture_make_dir(&f);
        pid_t stopped = fork_daemon();
        ck_assert_int_eq(kill(stopped, SIGSTOP), 0);
        /* Until then one of its threads may still answer. */
        ck_assert_int_eq(waitpid(stopped, &status, WUNTRACED), stopped);
        ck_assert(WIFSTOPPED(status));
        ck_assert_int_eq(mount_prepare(f.mnt, &path, &failure), -EBUSY);
        ck_assert_ptr_nonnull(strstr(failure.text, "does not answer"));
        ck_assert(fixture_is_mounted(&f));
        kill_daemon(stopped);
        ck_assert_int_eq(mount_prepare(f.mnt, &path, &failure), 0);
        ck_assert_str_eq(path, f.mnt);
        free(path);
        fixture_remove_dir(&f);
}
END_TEST

START_TEST(an_unmount_from_outside_is_reported) {
        const MountConfig config = fixture_config();
        unsigned connection;

        fixture_init(&f);
        fixture_mount(&f, &config);
        ck_assert_int_eq(mount_connection(f.mnt, &connection), 0);
        ck_assert_int_eq(mount_remove(f.mnt, connection), 0);
        ck_assert_int_eq(sem_wait(&f.ended), 0);
        ck_assert(!fixture_is_mounted(&f));
        /* Stopping finds nothing to unmount, and must not unmount what is there now. */
        ck_assert_int_eq(mount_session_stop(f.session, 60 * USEC_PER_SEC), 0);
        fixture_done(&f);
}
END_TEST

START_TEST(an_abort_from_outside_leaves_no_dead_mount_F9) {
        const MountConfig config = fixture_config();

        if (geteuid() != 0) {
                (void) printf("not run: only root can abort without fusectl\n");
                return;
        }
        fixture_init(&f);
        fixture_mount(&f, &config);
        fake_add_file(f.ns, NS_ROOT_ID, "file", "content");
        int fd = open(fixture_path(&f, "file"), O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        /* The open file keeps it from being unmounted, but not from being aborted. */
        ck_assert_int_eq(umount2(f.mnt, MNT_FORCE), -1);
        ck_assert_int_eq(errno, EBUSY);
        ck_assert_int_eq(sem_wait(&f.ended), 0);
        ck_assert(fixture_is_mounted(&f));
        ck_assert_int_eq(mount_session_stop(f.session, 60 * USEC_PER_SEC), 0);
        ck_assert(!fixture_is_mounted(&f));
        (void) close(fd);
        fixture_done(&f);
}
END_TEST

START_TEST(a_stop_does_not_unmount_a_successor) {
        const MountConfig config = fixture_config();
        unsigned connection;
        Fixture second;
        Call call;

        fixture_init(&f);
        fixture_mount(&f, &config);
        ck_assert_int_eq(mount_connection(f.mnt, &connection), 0);
        ck_assert_int_eq(mount_remove(f.mnt, connection), 0);

        fixture_init(&second);
        ck_assert_int_eq(rmdir(second.dir), 0);
        memcpy(second.dir, f.dir, sizeof(f.dir));
        memcpy(second.mnt, f.mnt, sizeof(f.mnt));
        fixture_mount(&second, &config);
        f.session = mount_session_free(f.session);
        ck_assert_int_eq(call_now(&call, CALL_STAT, second.mnt), 0);
        second.session = mount_session_free(second.session);
        fixture_done(&f);
        ck_assert_int_eq(mkdir(second.dir, 0700), 0);
        fixture_done(&second);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_missing_directory_is_made_private);
        tcase_add_test(tc, a_directory_with_something_in_it_is_refused);
        tcase_add_test(tc, a_file_is_refused);
        tcase_add_test(tc, a_relative_path_is_refused);
        tcase_add_test(tc, what_somebody_else_mounted_is_left_alone);
        tcase_add_test(tc, a_mount_that_is_served_is_refused);
        tcase_add_test(tc, a_dead_mount_is_replaced_F9);
        tcase_add_test(tc, a_mount_that_does_not_answer_is_refused_with_advice);
        tcase_add_test(tc, an_unmount_from_outside_is_reported);
        tcase_add_test(tc, an_abort_from_outside_leaves_no_dead_mount_F9);
        tcase_add_test(tc, a_stop_does_not_unmount_a_successor);
        skip_without_fuse();
}

CHECK_MAIN("fuse-mount-point", add_tests)
