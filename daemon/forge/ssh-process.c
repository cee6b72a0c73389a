/* posix_spawn, not fork: the daemon has threads. The process leads a session of its own, so that it
 * has no terminal to ask on, and so that what it starts can be ended with it. One socket pair
 * serves both directions: writing to a socket can be told not to raise SIGPIPE. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "forge/ssh-private.h"
#include "util/fd.h"

extern char **environ;

static const char *const own_variables[] = {
        "GIT_PROTOCOL=",
        "SSH_ASKPASS=",
        "SSH_ASKPASS_REQUIRE=",
};

static bool is_replaced(const char *entry) {
        for (size_t i = 0; i < ELEMENTSOF(own_variables); i++)
                if (strncmp(entry, own_variables[i], strlen(own_variables[i])) == 0)
                        return true;
        return false;
}

/* Ours, without what could lead to a question. The strings are borrowed. */
static char **make_environment(bool v2) {
        size_t n = 0, out = 0;

        while (environ[n])
                n++;
        char **env = calloc(n + 3, sizeof(*env));
        if (!env)
                return NULL;
        for (size_t i = 0; i < n; i++)
                if (!is_replaced(environ[i]))
                        env[out++] = environ[i];
        env[out++] = (char *) "SSH_ASKPASS_REQUIRE=never";
        if (v2)
                env[out++] = (char *) "GIT_PROTOCOL=version=2";
        return env;
}

static int set_files(posix_spawn_file_actions_t *actions, int stream, int errors) {
        int r = posix_spawn_file_actions_adddup2(actions, stream, STDIN_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(actions, stream, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(actions, errors, STDERR_FILENO);
        /* As subprocess_run() does, and for the same reasons. */
        if (r == 0)
                r = posix_spawn_file_actions_addchdir_np(actions, "/");
        return r;
}

static int set_attributes(posix_spawnattr_t *attr) {
        sigset_t none, defaults;

        (void) sigemptyset(&none);
        (void) sigfillset(&defaults);
        int r = posix_spawnattr_setsigmask(attr, &none);
        if (r == 0)
                r = posix_spawnattr_setsigdefault(attr, &defaults);
        if (r == 0)
                r = posix_spawnattr_setflags(
                        attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
        return r;
}

static int spawn(char *const *argv, char **env, int stream, int errors, pid_t *ret) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;

        int r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawnattr_init(&attr);
        if (r != 0) {
                (void) posix_spawn_file_actions_destroy(&actions);
                return -r;
        }
        r = set_files(&actions, stream, errors);
        if (r == 0)
                r = set_attributes(&attr);
        if (r == 0)
                r = posix_spawnp(ret, argv[0], &actions, &attr, argv, env);
        (void) posix_spawnattr_destroy(&attr);
        (void) posix_spawn_file_actions_destroy(&actions);
        return -r;
}

int ssh_process_spawn(
        char *const *argv,
        bool v2,
        pid_t *ret_pid,
        int *ret_pidfd,
        int *ret_stream,
        int *ret_errors) {
        int stream[2], errors[2];
        pid_t pid = -1;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) < 0)
                return -errno;
        _cleanup_close_ int our_stream = stream[0];
        _cleanup_close_ int their_stream = stream[1];
        if (pipe2(errors, O_CLOEXEC) < 0)
                return -errno;
        _cleanup_close_ int our_errors = errors[0];
        _cleanup_close_ int their_errors = errors[1];
        if (fcntl(our_stream, F_SETFL, O_NONBLOCK) < 0 ||
            fcntl(our_errors, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        _cleanup_free_ char **env = make_environment(v2);
        if (!env)
                return -ENOMEM;
        int r = spawn(argv, env, their_stream, their_errors, &pid);
        if (r < 0)
                return r;
        int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        if (pidfd < 0) {
                r = -errno;
                (void) kill(-pid, SIGKILL); /* it cannot be gone before it is waited for */
                (void) ssh_process_reap(pid);
                return r;
        }
        *ret_pid = pid;
        *ret_pidfd = pidfd;
        *ret_stream = TAKE_FD(our_stream);
        *ret_errors = TAKE_FD(our_errors);
        return 0;
}

int ssh_process_reap(pid_t pid) {
        siginfo_t si = {0};
        int r;

        /* Before it is waited for: until then nobody else can have the number. */
        (void) kill(-pid, SIGKILL);
        do
                r = waitid(P_PID, (id_t) pid, &si, WEXITED);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return 128;
        return si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
}
