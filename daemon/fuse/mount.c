#include "fuse/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "fuse/mountinfo.h"
#include "fuse/wait-fd.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/path.h"
#include "util/subprocess.h"

/* A mount whose daemon died answers every call with ENOTCONN; one whose daemon hangs, or whose
 * descriptor is held by somebody who does not read from it, answers none and cannot even be killed
 * out of. So nothing here looks at the mount point itself before /proc/self/mountinfo said that
 * nothing is mounted there, and the one question that has to be asked of a mount ("are you alive?")
 * is asked by a child that may be left behind. */

#define MOUNTINFO_MAX ((size_t) 16 << 20)
#define PROBE_TIMEOUT_USEC (2 * USEC_PER_SEC)
#define HELPER_TIMEOUT_USEC (10 * USEC_PER_SEC)
/* Dead mounts can lie on top of each other after repeated crashes. */
#define DETACH_MAX 16

/* 1 and what is mounted at path, 0 for nothing, or a negative errno. */
static int find_mount(const char *path, MountInfo *ret) {
        _cleanup_buf_ Buf text = {0};

        int r = read_file("/proc/self/mountinfo", MOUNTINFO_MAX, &text);
        if (r < 0)
                return r;
        return mountinfo_find((const char *) text.data, text.len, path, ret);
}

int mount_canonical(const char *path, char **ret) {
        _cleanup_free_ char *copy = strdup(path), *parent = NULL;

        if (!copy)
                return -ENOMEM;
        for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
                copy[len - 1] = '\0';
        char *slash = strrchr(copy, '/');
        if (copy[0] != '/' || slash[1] == '\0')
                return -EINVAL;
        const char *name = slash + 1;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                return -EINVAL;

        *slash = '\0';
        int r = mkdir_parents(slash == copy ? "/" : copy, 0700);
        if (r < 0)
                return r;
        parent = realpath(slash == copy ? "/" : copy, NULL);
        if (!parent)
                return -errno;
        char *joined = path_join(parent, name, NULL);
        if (!joined)
                return -ENOMEM;
        *ret = joined;
        return 0;
}

/* Runs in a child of a process with threads: only async-signal-safe calls. */
static _Noreturn void probe_child(const char *path, int fd) {
        struct statfs st;

        /* It may be left behind: it must not keep anything of ours open. */
        if (dup2(fd, STDIN_FILENO) < 0 || close_range(STDIN_FILENO + 1, ~0U, 0) < 0)
                _exit(1);
        int error = statfs(path, &st) < 0 ? errno : 0;
        /* Where this fails the parent sees an end of file, which it takes for no answer. */
        ssize_t n = write(STDIN_FILENO, &error, sizeof(error));
        _exit(n == sizeof(error) ? 0 : 1);
}

/* 0: the mount answers; -ENOTCONN: nobody is there any more; -ETIMEDOUT: somebody is, and does not
 * answer; or another errno. */
static int probe(const char *path) {
        int fds[2];
        int error;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        _cleanup_close_ int reader = fds[0], writer = fds[1];

        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                probe_child(path, writer);
        writer = safe_close(writer);

        if (wait_readable(reader, now_usec() + PROBE_TIMEOUT_USEC) &&
            read(reader, &error, sizeof(error)) == sizeof(error)) {
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                return -error;
        }
        /* Stuck in the kernel: it ends when the mount does, and is then init's to bury unless it
         * was quick. Waiting for it could take for ever. */
        (void) kill(pid, SIGKILL);
        (void) waitpid(pid, NULL, WNOHANG);
        return -ETIMEDOUT;
}

static bool is_dead(int probe_result) {
        return probe_result == -ENOTCONN || probe_result == -ECONNABORTED;
}

static int run_fusermount(const char *path, bool lazy) {
        const char *const argv[] = {"fusermount3", lazy ? "-uz" : "-u", "--", path, NULL};
        _cleanup_buf_ Buf output = {0};

        int r = subprocess_run(argv, NULL, NULL, 0, 4096, HELPER_TIMEOUT_USEC, &output);
        if (r < 0)
                return r;
        return r == 0 ? 0 : -EBUSY;
}

static int unmount(const char *path, bool lazy) {
        if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
                return 0;
        if (errno != EPERM)
                return -errno;
        return run_fusermount(path, lazy);
}

/* 0 when nothing is mounted at path any more. */
static int clear_mounts(const char *path, Failure *f) {
        MountInfo info;

        for (int i = 0; i < DETACH_MAX; i++) {
                int r = find_mount(path, &info);
                if (r < 0) {
                        (void) failure_set(f, FAILURE_LOCAL, "cannot read /proc/self/mountinfo");
                        return r;
                }
                if (r == 0)
                        return 0;
                if (strcmp(info.fstype, MOUNT_FSTYPE) != 0) {
                        (void) failure_set(
                                f,
                                FAILURE_LOCAL,
                                "a file system of type %s is mounted at \"%s\"",
                                info.fstype,
                                path);
                        return -EBUSY;
                }
                r = probe(path);
                if (r == -ETIMEDOUT) {
                        (void) failure_set(
                                f,
                                FAILURE_LOCAL,
                                "the gitfsd that serves \"%s\" does not answer: end it, or run "
                                "fusermount3 -uz",
                                path);
                        return -EBUSY;
                }
                if (!is_dead(r)) {
                        (void) failure_set(f, FAILURE_LOCAL, "another gitfsd serves \"%s\"", path);
                        return -EBUSY;
                }
                r = unmount(path, /* lazy= */ true);
                if (r < 0) {
                        (void) failure_set(
                                f, FAILURE_LOCAL, "cannot detach the dead mount at \"%s\"", path);
                        return r;
                }
        }
        (void) failure_set(f, FAILURE_LOCAL, "too many dead mounts at \"%s\"", path);
        return -EBUSY;
}

/* 1 if the directory has no entries, 0 if it has some. */
static int directory_is_empty(const char *path) {
        DIR *dir = opendir(path);
        int r = 1;

        if (!dir)
                return -errno;
        for (;;) {
                errno = 0;
                /* The stream is this function's own. */
                struct dirent *e = readdir(dir); // NOLINT(concurrency-mt-unsafe)
                if (!e) {
                        if (errno != 0)
                                r = -errno;
                        break;
                }
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
                        r = 0;
                        break;
                }
        }
        (void) closedir(dir); /* read only: nothing can be lost */
        return r;
}

static int prepare_directory(const char *path, Failure *f) {
        int r = mkdir_parents(path, 0700);
        if (r < 0) {
                (void) failure_set(
                        f, FAILURE_LOCAL, "cannot create \"%s\": %s", path, strerrordesc_np(-r));
                return r;
        }
        r = directory_is_empty(path);
        if (r < 0) {
                (void) failure_set(
                        f, FAILURE_LOCAL, "cannot read \"%s\": %s", path, strerrordesc_np(-r));
                return r;
        }
        if (r == 0) {
                (void) failure_set(f, FAILURE_LOCAL, "\"%s\" is not empty", path);
                return -ENOTEMPTY;
        }
        return 0;
}

int mount_prepare(const char *path, char **ret_path, Failure *ret_failure) {
        _cleanup_free_ char *canonical = NULL;

        int r = mount_canonical(path, &canonical);
        if (r < 0) {
                (void) failure_set(
                        ret_failure,
                        FAILURE_LOCAL,
                        "\"%s\" cannot be a mount point: %s",
                        path,
                        strerrordesc_np(-r));
                return r;
        }
        assert(canonical);
        r = clear_mounts(canonical, ret_failure);
        if (r < 0)
                return r;
        r = prepare_directory(canonical, ret_failure);
        if (r < 0)
                return r;
        *ret_path = TAKE_PTR(canonical);
        return 0;
}

int mount_connection(const char *path, unsigned *ret) {
        MountInfo info;

        int r = find_mount(path, &info);
        if (r < 0)
                return r;
        if (r == 0 || strcmp(info.fstype, MOUNT_FSTYPE) != 0)
                return -ENOENT;
        *ret = info.minor;
        return 0;
}

int mount_remove(const char *path, unsigned connection) {
        unsigned there;

        int r = mount_connection(path, &there);
        if (r == -ENOENT || (r == 0 && there != connection))
                return 0;
        if (r < 0)
                return r;
        r = unmount(path, /* lazy= */ false);
        if (r < 0)
                r = unmount(path, /* lazy= */ true);
        return r;
}

int mount_remove_dead(const char *path, unsigned connection) {
        unsigned there;

        int r = mount_connection(path, &there);
        if (r == -ENOENT || (r == 0 && there != connection))
                return 0;
        if (r < 0)
                return r;
        return is_dead(probe(path)) ? unmount(path, /* lazy= */ true) : 0;
}

static int abort_by_fusectl(unsigned connection) {
        char path[64];

        (void) snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", connection);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return write_all(fd, "1", 1);
}

static int read_number(const char *path, unsigned *ret) {
        _cleanup_buf_ Buf text = {0};
        char *end;

        int r = read_file(path, 64, &text);
        if (r < 0)
                return r;
        unsigned long n = strtoul(buf_str(&text), &end, 10);
        if (n == 0 || n > UINT_MAX || *end != '\n')
                return -EBADMSG;
        *ret = (unsigned) n;
        return 0;
}

int mount_max_background(unsigned connection, unsigned *ret) {
        char path[64];

        (void) snprintf(
                path, sizeof(path), "/sys/fs/fuse/connections/%u/max_background", connection);
        if (connection != 0 && read_number(path, ret) >= 0)
                return 0;
        /* fusectl is not mounted, or not for us. */
        return read_number("/sys/module/fuse/parameters/max_user_bgreq", ret);
}

int mount_abort(const char *path, unsigned connection) {
        unsigned there;

        int r = abort_by_fusectl(connection);
        if (r >= 0 || mount_connection(path, &there) < 0 || there != connection)
                return r;
        /* Aborts first, whatever becomes of the unmount. */
        if (umount2(path, UMOUNT_NOFOLLOW | MNT_FORCE) < 0 && errno != EBUSY)
                return -errno;
        return 0;
}
