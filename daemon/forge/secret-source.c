#include "forge/secret-source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "forge/secret.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/path.h"
#include "util/secret-memory.h"
#include "util/subprocess.h"

#define TOOL_TIMEOUT_USEC (10 * USEC_PER_SEC)

bool secret_token_is_valid(const char *token) {
        size_t len = 0;

        for (; token[len]; len++)
                if (token[len] <= ' ' || token[len] > '~' || len >= SECRET_TOKEN_MAX)
                        return false;
        return len > 0;
}

/* The line break that editors and `echo` put behind it is no part of it. */
static void strip_newline(char *text, size_t len) {
        if (len > 0 && text[len - 1] == '\n')
                text[--len] = '\0';
        if (len > 0 && text[len - 1] == '\r')
                text[len - 1] = '\0';
}

/* --- reading --- */

/* Waits until there is something to read, or the end. */
static int wait_readable(int fd, uint64_t deadline_usec, int stop_fd) {
        uint64_t now = now_usec();
        struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};

        if (now >= deadline_usec)
                return -ETIMEDOUT;
        int ms = (int) MIN((deadline_usec - now) / USEC_PER_MSEC + 1, (uint64_t) 60000);
        if (poll(p, ELEMENTSOF(p), ms) < 0)
                return errno == EINTR ? 0 : -errno;
        return p[1].revents ? -ECANCELED : 0;
}

/* A descriptor that does not block, to its end, in secret memory. -EINVAL for what is too long or
 * holds a NUL. */
static int read_text(int fd, uint64_t deadline_usec, int stop_fd, char **ret) {
        _cleanup_secret_free_ char *text = secret_alloc(SECRET_TOKEN_MAX + 3);
        size_t len = 0;
        ssize_t n;

        if (!text)
                return -ENOMEM;
        while ((n = read(fd, text + len, SECRET_TOKEN_MAX + 2 - len)) != 0) {
                int r = n >= 0 || errno == EINTR ? 0
                        : errno == EAGAIN        ? wait_readable(fd, deadline_usec, stop_fd)
                                                 : -errno;
                if (r < 0)
                        return r;
                len += n > 0 ? (size_t) n : 0;
                if (len > SECRET_TOKEN_MAX + 1)
                        return -EINVAL;
        }
        text[len] = '\0';
        if (strlen(text) != len)
                return -EINVAL;
        strip_newline(text, len);
        *ret = TAKE_PTR(text);
        return 0;
}

/* `where` is for the words. */
static int read_token(
        int fd,
        uint64_t deadline_usec,
        int stop_fd,
        const char *where,
        char **ret_token,
        Failure *ret_failure) {
        _cleanup_secret_free_ char *text = NULL;

        int r = read_text(fd, deadline_usec, stop_fd, &text);
        if (r >= 0 && !secret_token_is_valid(text))
                r = -EINVAL;
        if (r >= 0) {
                *ret_token = TAKE_PTR(text);
                return 1;
        }
        const char *reason = r == -EINVAL ? "it must be one line without blanks, 16 KiB at most"
                                          : strerrordesc_np(-r);
        (void) failure_set(/* r says more */
                           ret_failure,
                           FAILURE_LOCAL,
                           "%s holds no token: %s",
                           where,
                           reason);
        return r;
}

/* Files of a file system do not tell when they can be read, and one of our own mount would wait for
 * the worker that reads it. Nor is a terminal ours to be made not to block. The kernel answers all
 * this by itself. */
static bool can_be_waited_for(int fd) {
        int type;

        return fcntl(fd, F_GETPIPE_SZ) >= 0 ||
               getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof(type)}) == 0 ||
               fcntl(fd, F_GET_SEALS) >= 0;
}

/* The descriptor is somebody else's, who may have opened it to block. */
int secret_read_fd(
        int fd, uint64_t deadline_usec, int stop_fd, char **ret_token, Failure *ret_failure) {
        int flags = fcntl(fd, F_GETFL);

        if (!can_be_waited_for(fd)) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "a token must come by a pipe, a socket or a file in memory");
                return -EINVAL;
        }
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        return read_token(fd, deadline_usec, stop_fd, "what was given", ret_token, ret_failure);
}

/* --- files --- */

static int read_token_file(int fd, const char *path, char **ret_token, Failure *ret_failure) {
        _cleanup_free_ char *where = NULL;

        if (asprintf(&where, "\"%s\"", path) < 0) {
                where = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        return read_token(
                fd, /* deadline_usec= */ 0, /* stop_fd= */ -1, where, ret_token, ret_failure);
}

/* What is wrong with the file, or NULL. */
static const char *find_fault(int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return "cannot be looked at";
        if (!S_ISREG(st.st_mode))
                return "is no regular file";
        if (st.st_uid != geteuid())
                return "belongs to another user";
        if ((st.st_mode & 0777 & ~(mode_t) 0600) != 0)
                return "must be readable by you only: chmod 600 it, and think of a new token";
        return NULL;
}

int secret_read_file(const char *path, char **ret_token, Failure *ret_failure) {
        /* Not blocking: somebody may have put a FIFO there. */
        _cleanup_close_ int fd =
                open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
                return 0;
        const char *fault = fd >= 0          ? find_fault(fd)
                            : errno == ELOOP ? "is a symbolic link"
                                             : "cannot be opened";
        if (fault) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "the token in \"%s\" is not used: it %s",
                                   path,
                                   fault);
                return -EPERM;
        }
        return read_token_file(fd, path, ret_token, ret_failure);
}

int secret_read_systemd(const char *org, char **ret_token, Failure *ret_failure) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes the environment
        const char *directory = getenv("CREDENTIALS_DIRECTORY");
        _cleanup_free_ char *name = NULL;

        if (!directory || directory[0] != '/')
                return 0;
        if (asprintf(&name, "gitfs.%s", org) < 0) {
                name = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        _cleanup_free_ char *path = path_join(directory, name, NULL);
        if (!path)
                return -ENOMEM;
        /* Its mode and owner are the service manager's affair. */
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
                return 0;
        if (fd < 0) {
                int r = -errno;
                (void) failure_set(
                        ret_failure,
                        FAILURE_LOCAL,
                        "cannot open the credential \"%s\": %s",
                        path,
                        strerrordesc_np(-r)); /* r says the same */
                return r;
        }
        return read_token_file(fd, path, ret_token, ret_failure);
}

/* --- tools --- */

bool secret_has_tool(OrgKind kind) {
        return kind == ORG_GITHUB || kind == ORG_GITLAB;
}

int secret_read_tool(
        OrgKind kind, const char *host, uint64_t deadline_usec, int stop_fd, char **ret_token) {
        const char *const gh[] = {"gh", "auth", "token", "--hostname", host, NULL};
        /* glab has no verb that prints the token. */
        const char *const glab[] = {"glab", "config", "get", "token", "--host", host, NULL};
        static const char *const env[] = {
                "GH_PROMPT_DISABLED=1", /* nobody is there to answer */
                "GH_NO_UPDATE_NOTIFIER=1",
                "NO_PROMPT=1",
                "GLAB_CHECK_UPDATE=false",
                "GLAB_SEND_TELEMETRY=false",
                "NO_COLOR=1",
                NULL,
        };
        const char *const *argv = kind == ORG_GITHUB ? gh : kind == ORG_GITLAB ? glab : NULL;
        _cleanup_(buf_wipe) Buf output = {0};
        uint64_t now = now_usec();

        if (!argv)
                return 0;
        if (deadline_usec <= now)
                return -ETIMEDOUT;
        int r = subprocess_run_until(
                argv,
                env,
                NULL,
                0,
                SECRET_TOKEN_MAX,
                MIN(TOOL_TIMEOUT_USEC, deadline_usec - now),
                stop_fd,
                &output);
        if (r == -ENOMEM || r == -ECANCELED ||
            (r == -ETIMEDOUT && deadline_usec - now < TOOL_TIMEOUT_USEC))
                return r;
        /* Not installed, not logged in, killed: there is no token to be had there. */
        if (r != 0)
                return 0;
        if (!buf_str(&output))
                return -ENOMEM;
        strip_newline((char *) output.data, output.len);
        if (!secret_token_is_valid((char *) output.data))
                return 0;
        char *token = secret_strdup((char *) output.data);
        if (!token)
                return -ENOMEM;
        *ret_token = token;
        return 1;
}

/* --- our own file --- */

char *secret_file_path(const char *config_home, const char *org) {
        return path_join(config_home, "credentials", org, NULL);
}

int secret_file_write(const char *config_home, const char *org, const char *token) {
        if (!name_is_valid(org) || !secret_token_is_valid(token))
                return -EINVAL;
        size_t len = strlen(token);
        _cleanup_free_ char *path = secret_file_path(config_home, org);
        _cleanup_secret_free_ char *line = secret_alloc(len + 2);
        if (!path || !line)
                return -ENOMEM;

        (void) snprintf(line, len + 2, "%s\n", token);    /* it fits */
        return write_own_file(path, line, len + 1, NULL); /* the caller names the org */
}

int secret_file_remove(const char *config_home, const char *org) {
        if (!name_is_valid(org))
                return -EINVAL;
        _cleanup_free_ char *path = secret_file_path(config_home, org);
        if (!path)
                return -ENOMEM;
        return unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR ? -errno : 0;
}
