#include "mount/fixture.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/mount.h"
#include "util/clock.h"
#include "util/stats.h"

void skip_without_fuse(void) {
        int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        if (fd < 0) {
                (void) printf("skipped: cannot open /dev/fuse: %s\n", strerrordesc_np(errno));
                exit(77);
        }
        (void) close(fd);
}

MountConfig fixture_config(void) {
        return (MountConfig){
                .n_threads = MOUNT_THREADS_DEFAULT,
                .request_timeout_usec = 3600 * USEC_PER_SEC,
                .max_pending = 1000,
                .spin_usec = 50,
                .kernel_dir_cache = true,
                .push_limit = 4096,
        };
}

void fixture_make_dir(Fixture *f) {
        *f = (Fixture){.dir = "/tmp/gitfs-test-XXXXXX"};
        ck_assert_ptr_nonnull(mkdtemp(f->dir));
        (void) snprintf(f->mnt, sizeof(f->mnt), "%s/mnt", f->dir);
}

void fixture_remove_dir(Fixture *f) {
        if (rmdir(f->mnt) < 0)
                ck_assert_int_eq(errno, ENOENT);
        ck_assert_int_eq(rmdir(f->dir), 0);
}

void fixture_init(Fixture *f) {
        fixture_make_dir(f);
        ck_assert_int_eq(sem_init(&f->ended, 0, 0), 0);
        ck_assert_int_eq(pool_new(4, &f->pool), 0);
        ck_assert_int_eq(flight_table_new(f->pool, &f->flights), 0);
        f->ns = fake_new(f->flights);
}

static void on_ended(void *userdata) {
        Fixture *f = userdata;
        (void) sem_post(&f->ended);
}

/* Runs until the test has died, which leaves a dead mount behind. */
static _Noreturn void guard_main(const char *mnt, const char *dir, pid_t parent) {
        sigset_t set;
        int number;

        (void) setsid(); /* libcheck kills a failed test's process group */
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        if (close_range(0, ~0U, 0) < 0 || sigprocmask(SIG_SETMASK, &set, NULL) < 0 ||
            prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
                _exit(1);
        if (getppid() == parent)
                (void) sigwait(&set, &number);
        (void) umount2(mnt, MNT_FORCE);
        (void) umount2(mnt, MNT_DETACH);
        (void) rmdir(mnt);
        (void) rmdir(dir);
        _exit(0);
}

void fixture_start_guard(Fixture *f) {
        pid_t self = getpid();

        f->guard = fork();
        ck_assert_int_ge(f->guard, 0);
        if (f->guard == 0)
                guard_main(f->mnt, f->dir, self);
}

void fixture_stop_guard(Fixture *f) {
        if (f->guard == 0)
                return;
        ck_assert_int_eq(kill(f->guard, SIGKILL), 0);
        ck_assert_int_eq(waitpid(f->guard, NULL, 0), f->guard);
}

void fixture_mount(Fixture *f, const MountConfig *config) {
        MountConfig c = *config;
        Failure failure = {0};

        fixture_start_guard(f);
        c.mount_point = f->mnt;
        int r = mount_session_new(
                &c, f->ns, f->pool, f->flights, on_ended, f, &f->session, &failure);
        ck_assert_msg(r == 0, "%d: %s", r, failure.text);
        r = mount_session_start(f->session, &failure);
        ck_assert_msg(r == 0, "%d: %s", r, failure.text);
}

void fixture_start(Fixture *f) {
        const MountConfig config = fixture_config();

        fixture_init(f);
        fixture_mount(f, &config);
}

void fixture_done(Fixture *f) {
        /* In the daemon's order: the last task to reply is in the session until the pool is gone.
         */
        if (f->session)
                (void) mount_session_stop(
                        f->session, 4 * USEC_PER_SEC); /* a test may have aborted */
        fixture_stop_guard(f);
        ck_assert_int_eq(stat_get(STAT_FUSE_PARKED_NOW), 0);
        fake_land_all(f->ns);
        f->pool = pool_free(f->pool);
        f->session = mount_session_free(f->session);
        ck_assert_uint_eq(fake_contents_in_use(f->ns), 0);
        f->flights = flight_table_free(f->flights);
        f->ns = fake_free(f->ns);
        ck_assert_int_eq(sem_destroy(&f->ended), 0);
        fixture_remove_dir(f);
}

const char *fixture_path(Fixture *f, const char *name) {
        static char paths[8][PATH_MAX];
        static unsigned next;
        char *p = paths[next++ % ELEMENTSOF(paths)];

        (void) snprintf(p, sizeof(paths[0]), "%s/%s", f->mnt, name);
        return p;
}

bool fixture_is_mounted(Fixture *f) {
        unsigned connection;
        return mount_connection(f->mnt, &connection) == 0;
}

static int do_stat(const char *path, CallResult *ret) {
        struct stat st;

        if (lstat(path, &st) < 0)
                return errno;
        ret->ino = st.st_ino;
        return 0;
}

static int do_read(const char *path, CallResult *ret) {
        size_t len = 0;
        ssize_t n;

        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno;
        while ((n = read(fd, ret->text + len, sizeof(ret->text) - 1 - len)) > 0)
                len += (size_t) n;
        return n < 0 ? errno : 0;
}

static int do_readlink(const char *path, CallResult *ret) {
        return readlink(path, ret->text, sizeof(ret->text) - 1) < 0 ? errno : 0;
}

static int do_list(const char *path, CallResult *ret) {
        struct dirent *e;
        size_t len = 0;

        DIR *dir = opendir(path);
        if (!dir)
                return errno;
        errno = 0;
        /* The stream is this function's own. */
        while ((e = readdir(dir))) { // NOLINT(concurrency-mt-unsafe)
                size_t left = sizeof(ret->text) - len;
                len += MIN((size_t) snprintf(ret->text + len, left, "%s ", e->d_name), left - 1);
        }
        return errno;
}

static int (*const call_kinds[])(const char *, CallResult *) = {
        [CALL_STAT] = do_stat,
        [CALL_READ] = do_read,
        [CALL_READLINK] = do_readlink,
        [CALL_LIST] = do_list,
};

static void on_signal(int number) {
}

static _Noreturn void call_main(CallKind kind, const char *path, CallResult *result) {
        /* Without SA_RESTART: the system call returns EINTR. */
        struct sigaction action = {.sa_handler = on_signal};

        if (close_range(3, ~0U, 0) < 0 || sigaction(SIGUSR1, &action, NULL) < 0)
                _exit(1);
        result->error = call_kinds[kind](path, result);
        _exit(0);
}

void call_start(Call *call, CallKind kind, const char *path) {
        void *shared =
                mmap(NULL,
                     sizeof(CallResult),
                     PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS,
                     -1,
                     0);
        ck_assert_ptr_ne(shared, MAP_FAILED);
        *call = (Call){.shared = shared};
        call->shared->error = EPROTO;
        call->pid = fork();
        ck_assert_int_ge(call->pid, 0);
        if (call->pid == 0)
                call_main(kind, path, call->shared);
}

void call_interrupt(Call *call) {
        ck_assert_int_eq(kill(call->pid, SIGUSR1), 0);
}

int call_join(Call *call) {
        int status;

        ck_assert_int_eq(waitpid(call->pid, &status, 0), call->pid);
        call->result = *call->shared;
        ck_assert_int_eq(munmap(call->shared, sizeof(*call->shared)), 0);
        return call->result.error;
}

int call_now(Call *call, CallKind kind, const char *path) {
        call_start(call, kind, path);
        return call_join(call);
}
