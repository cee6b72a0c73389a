#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

#define N_FILES 24
#define FILE_MAX 60000

typedef struct Tree {
        FakeMode mode;   /* of "slow" and what is in it */
        FakeMode poison; /* of "poison" */
        bool changed;    /* "changes" is another file */
} Tree;

static Tree tree;

static char *new_content(unsigned i) {
        size_t len = (i * 7919 + 1) % FILE_MAX;
        char *text = malloc(len + 1);

        if (!text)
                abort();
        for (size_t k = 0; k < len; k++)
                text[k] = (char) ('a' + (i * 31 + k / 3 + k % 11) % 26);
        text[len] = '\0';
        return text;
}

static void make_tree(Namespace *ns, void *userdata) {
        const Tree *t = userdata;
        char name[16];

        uint64_t dir = fake_add_dir(ns, NS_ROOT_ID, "dir");
        for (unsigned i = 0; i < N_FILES; i++) {
                _cleanup_free_ char *content = new_content(i);
                (void) snprintf(name, sizeof(name), "%u", i);
                uint64_t id = fake_add_file(ns, dir, name, content);
                if (i % 3 == 0)
                        fake_set_mode(ns, id, FAKE_BLOCKS, 0);
        }
        fake_add_link(ns, dir, "link", "target");
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

/* --- load --- */

#define N_WORKERS 8
#define N_KILLS 20

typedef struct Load {
        atomic_bool stop;
        sem_t progress; /* posted after each call that went well */
        char trouble[N_WORKERS + 1][128];
} Load;

static Load *load;

#define COMPLAIN(worker, what)                                                                     \
        do {                                                                                       \
                (void) snprintf(                                                                   \
                        load->trouble[worker],                                                     \
                        sizeof(load->trouble[0]),                                                  \
                        "%s: %s",                                                                  \
                        what,                                                                      \
                        strerrordesc_np(errno));                                                   \
                _exit(1);                                                                          \
        } while (0)

/* Past the page cache, so that each is a request. */
static void read_file_of(unsigned worker, unsigned i) {
        static char buffer[FILE_MAX];
        _cleanup_free_ char *content = new_content(i);
        char path[128];
        size_t len = 0;
        ssize_t n;

        (void) snprintf(path, sizeof(path), "%s/dir/%u", f.mnt, i);
        int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0)
                COMPLAIN(worker, "open");
        while ((n = read(fd, buffer + len, sizeof(buffer) - len)) > 0)
                len += (size_t) n;
        if (n < 0)
                COMPLAIN(worker, "read");
        if (len != strlen(content) || memcmp(buffer, content, len) != 0)
                COMPLAIN(worker, "wrong bytes");
        (void) close(fd);
}

static void list_of(unsigned worker) {
        char path[128];
        unsigned n = 0;

        (void) snprintf(path, sizeof(path), "%s/dir", f.mnt);
        DIR *dir = opendir(path);
        if (!dir)
                COMPLAIN(worker, "opendir");
        errno = 0;
        while (readdir(dir)) // NOLINT(concurrency-mt-unsafe): this function's own stream
                n++;
        if (errno != 0 || n != N_FILES + 3)
                COMPLAIN(worker, "listing");
        (void) closedir(dir);
}

static void look_for(unsigned worker, unsigned n) {
        struct stat st;
        char path[128], target[128];

        (void) snprintf(path, sizeof(path), "%s/dir/no-%u-%u", f.mnt, worker, n);
        if (lstat(path, &st) == 0 || errno != ENOENT)
                COMPLAIN(worker, "a name that does not exist");
        (void) snprintf(path, sizeof(path), "%s/dir/link", f.mnt);
        if (readlink(path, target, sizeof(target)) != 6)
                COMPLAIN(worker, "link");
}

static _Noreturn void worker_main(unsigned worker) {
        (void) close_range(3, ~0U, 0);
        for (unsigned n = worker; !atomic_load(&load->stop); n++) {
                if (n % 4 == 0)
                        list_of(worker);
                else if (n % 4 == 1)
                        look_for(worker, n);
                else
                        read_file_of(worker, n * 13 % N_FILES);
                (void) sem_post(&load->progress);
        }
        _exit(0);
}

/* Stands in a directory, with a file open and one mapped. */
static _Noreturn void holder_main(unsigned worker) {
        _cleanup_free_ char *content = new_content(7);
        size_t len = strlen(content);
        char path[128], buffer[64];
        struct stat st;

        (void) close_range(3, ~0U, 0);
        (void) snprintf(path, sizeof(path), "%s/dir", f.mnt);
        if (chdir(path) < 0)
                COMPLAIN(worker, "chdir");
        int fd = open("7", O_RDONLY | O_DIRECT | O_CLOEXEC);
        int mapped = open("7", O_RDONLY | O_CLOEXEC);
        char *map = mmap(NULL, len, PROT_READ, MAP_SHARED, mapped, 0);
        if (fd < 0 || map == MAP_FAILED)
                COMPLAIN(worker, "open and map");
        while (!atomic_load(&load->stop)) {
                if (pread(fd, buffer, sizeof(buffer), 512) != sizeof(buffer) ||
                    memcmp(buffer, content + 512, sizeof(buffer)) != 0)
                        COMPLAIN(worker, "a descriptor that was open");
                (void) madvise(map, len, MADV_DONTNEED);
                if (memcmp(map, content, len) != 0)
                        COMPLAIN(worker, "a mapping");
                if (stat(".", &st) < 0 || stat("7", &st) < 0)
                        COMPLAIN(worker, "the working directory");
                (void) sem_post(&load->progress);
        }
        _exit(0);
}

/* Returns when the load has gone on by that many calls. */
static void await_progress(unsigned n) {
        while (sem_trywait(&load->progress) == 0)
                ;
        for (unsigned i = 0; i < n; i++)
                while (sem_wait(&load->progress) < 0)
                        ck_assert_int_eq(errno, EINTR);
}

static void start_load(pid_t *pids) {
        load = mmap(NULL, sizeof(*load), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(load, MAP_FAILED);
        ck_assert_int_eq(sem_init(&load->progress, /* pshared= */ 1, 0), 0);
        for (unsigned i = 0; i <= N_WORKERS; i++) {
                pids[i] = fork();
                ck_assert_int_ge(pids[i], 0);
                if (pids[i] == 0) {
                        if (i == N_WORKERS)
                                holder_main(i);
                        worker_main(i);
                }
        }
}

static void stop_load(const pid_t *pids) {
        atomic_store(&load->stop, true);
        for (unsigned i = 0; i <= N_WORKERS; i++) {
                ck_assert_int_eq(waitpid(pids[i], NULL, 0), pids[i]);
                ck_assert_str_eq(load->trouble[i], "");
        }
        ck_assert_int_eq(munmap(load, sizeof(*load)), 0);
}

START_TEST(a_load_notices_nothing_of_twenty_kills) {
        pid_t pids[N_WORKERS + 1];

        start(FAKE_RESIDENT);
        server_start(&server);
        start_load(pids);
        for (unsigned i = 0; i < N_KILLS; i++) {
                await_progress(1 + i * 17 % 60);
                if (i % 2)
                        server_invalidate(&server); /* many FORGETs */
                if (i % 5 == 4)
                        server_leave(&server);
                else
                        server_kill(&server);
                if (i % 4 == 3) {
                        /* Before it has served anybody. */
                        ck_assert_int_eq(server_attach(&server), 0);
                        server_kill(&server);
                }
                server_start(&server);
        }
        await_progress(10 * N_WORKERS);
        stop_load(pids);
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
        tcase_add_test(tc, a_load_notices_nothing_of_twenty_kills);
        skip_without_fuse();
}

CHECK_MAIN("mount-takeover", add_tests)
