/* posix_spawn, not fork: the daemon has threads. The child gets its own process group, so that a
 * helper that started helpers of its own dies with them. */

#include "util/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util/clock.h"
#include "util/fd.h"

extern char **environ;

/* Our environment with the entries of `extra` replaced or added. The strings are borrowed. */
static char **merge_environment(const char *const *extra) {
        size_t n = 0, n_extra = 0;

        while (environ[n])
                n++;
        while (extra && extra[n_extra])
                n_extra++;
        char **env = calloc(n + n_extra + 1, sizeof(*env));
        if (!env)
                return NULL;

        size_t out = 0;
        for (size_t i = 0; i < n; i++) {
                bool replaced = false;
                for (size_t k = 0; k < n_extra; k++) {
                        size_t key = (size_t) (strchrnul(extra[k], '=') - extra[k]) + 1;
                        replaced = replaced || strncmp(environ[i], extra[k], key) == 0;
                }
                if (!replaced)
                        env[out++] = environ[i];
        }
        for (size_t k = 0; k < n_extra; k++)
                env[out++] = (char *) extra[k];
        return env;
}

static int spawn(const char *const *argv, char **env, int in, int out, pid_t *ret) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t none, defaults;

        int r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawnattr_init(&attr);
        if (r != 0) {
                (void) posix_spawn_file_actions_destroy(&actions);
                return -r;
        }
        (void) sigemptyset(&none);
        (void) sigfillset(&defaults);
        r = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_addopen(
                        &actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        /* Where we were started may be somebody else's: git reads the configuration it finds there,
         * and runs what that names. Or it is below our own mount. */
        if (r == 0)
                r = posix_spawn_file_actions_addchdir_np(&actions, "/");
        if (r == 0)
                r = posix_spawnattr_setsigmask(&attr, &none);
        if (r == 0)
                r = posix_spawnattr_setsigdefault(&attr, &defaults);
        if (r == 0)
                r = posix_spawnattr_setflags(
                        &attr,
                        POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        if (r == 0)
                r = posix_spawnp(ret, argv[0], &actions, &attr, (char *const *) argv, env);
        (void) posix_spawnattr_destroy(&attr);
        (void) posix_spawn_file_actions_destroy(&actions);
        return -r;
}

/* Waits for the event, if any comes, until the deadline. -ECANCELED once stop_fd is readable. */
static int wait_for(struct pollfd p, int stop_fd, uint64_t deadline) {
        struct pollfd both[] = {p, {.fd = stop_fd, .events = POLLIN}};
        uint64_t now = now_usec();

        if (now >= deadline)
                return -ETIMEDOUT;
        int r = poll(
                both, ELEMENTSOF(both), (int) MIN((deadline - now) / 1000 + 1, (uint64_t) 60000));
        if (r < 0)
                return errno == EINTR ? 0 : -errno;
        return both[1].revents ? -ECANCELED : both[0].revents;
}

/* Feeds input and collects output until the child closes its end or the deadline passes. One socket
 * pair serves both directions: writing to a socket can be told not to raise SIGPIPE. */
static int exchange(
        int fd,
        const uint8_t *input,
        size_t input_len,
        size_t max,
        int stop_fd,
        uint64_t deadline,
        Buf *out) {
        if (input_len == 0 && shutdown(fd, SHUT_WR) < 0)
                return -errno;

        for (;;) {
                const struct pollfd p = {
                        .fd = fd, .events = (short) (POLLIN | (input_len > 0 ? POLLOUT : 0))};
                int events = wait_for(p, stop_fd, deadline);
                if (events < 0)
                        return events;

                if (input_len > 0 && (events & POLLOUT)) {
                        ssize_t n = send(fd, input, input_len, MSG_NOSIGNAL | MSG_DONTWAIT);
                        if (n > 0) {
                                input += n;
                                input_len -= (size_t) n;
                        } else if (n < 0 && errno == EPIPE)
                                input_len = 0; /* it does not want the rest */
                        else if (n < 0 && errno != EAGAIN && errno != EINTR)
                                return -errno;
                        if (input_len == 0)
                                (void) shutdown(
                                        fd, SHUT_WR); /* fails only if it has gone already */
                }
                if (events & (POLLIN | POLLHUP | POLLERR)) {
                        int r = buf_reserve(out, 4096);
                        if (r < 0)
                                return r;
                        ssize_t n =
                                recv(fd, out->data + out->len, out->cap - out->len, MSG_DONTWAIT);
                        if (n == 0 || (n < 0 && errno == ECONNRESET))
                                return 0;
                        if (n < 0 && errno != EAGAIN && errno != EINTR)
                                return -errno;
                        if (n > 0)
                                out->len += (size_t) n;
                        if (out->len > max)
                                return -EFBIG;
                }
        }
}

/* Waits for the child until the deadline, then kills its process group. */
static int reap(pid_t pid, int result, int stop_fd, uint64_t deadline) {
        siginfo_t si;
        int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);

        if (result >= 0 && pidfd >= 0) {
                const struct pollfd p = {.fd = pidfd, .events = POLLIN};
                do
                        result = wait_for(p, stop_fd, deadline);
                while (result == 0);
        }
        safe_close(pidfd);
        if (result < 0)
                (void) kill(-pid, SIGKILL);
        int r;
        do
                r = waitid(P_PID, (id_t) pid, &si, WEXITED);
        while (r < 0 && errno == EINTR);
        if (result < 0)
                return result;
        if (r < 0)
                return -errno;
        return si.si_code == CLD_EXITED ? si.si_status : -EINTR;
}

int subprocess_run_until(
        const char *const *argv,
        const char *const *extra_env,
        const void *input,
        size_t input_len,
        size_t max_output,
        uint64_t timeout_usec,
        int stop_fd,
        Buf *ret_output) {
        _cleanup_buf_ Buf out = {0};
        int pair[2];
        pid_t pid = -1;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        _cleanup_close_ int ours = pair[0];
        _cleanup_close_ int theirs = pair[1];
        _cleanup_free_ char **env = merge_environment(extra_env);
        if (!env)
                return -ENOMEM;

        uint64_t deadline = now_usec() + timeout_usec;
        int r = spawn(argv, env, theirs, theirs, &pid);
        if (r < 0)
                return r;
        theirs = safe_close(theirs);

        r = exchange(ours, input, input_len, max_output, stop_fd, deadline, &out);
        r = reap(pid, r, stop_fd, deadline);
        if (out.len > 0)
                if (r >= 0 && buf_append(ret_output, out.data, out.len) < 0)
                        r = -ENOMEM;
        if (out.data)
                explicit_bzero(out.data, out.cap); /* it may have been a password */
        return r;
}

int subprocess_run(
        const char *const *argv,
        const char *const *extra_env,
        const void *input,
        size_t input_len,
        size_t max_output,
        uint64_t timeout_usec,
        Buf *ret_output) {
        return subprocess_run_until(
                argv, extra_env, input, input_len, max_output, timeout_usec, -1, ret_output);
}
