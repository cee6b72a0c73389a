#include "ctl/token.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "ctl/bus-client.h"
#include "util/fd.h"
#include "util/secret-memory.h"
#include "util/text.h"

/* What the daemon takes. It fits into a pipe. */
#define TOKEN_MAX ((size_t) 16 * 1024)

/* 0 when there is something to read, -EINTR when a signal has come. */
static int wait_for_terminal(int signal_fd) {
        struct pollfd p[] = {
                {.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};

        while (poll(p, ELEMENTSOF(p), -1) < 0)
                if (errno != EINTR)
                        return -errno;
        return p[1].revents ? -EINTR : 0;
}

/* To the end; at a terminal of the line, unless a signal comes first (-1: it is none). */
static int read_text(int signal_fd, char *buf, size_t size, size_t *ret_len) {
        bool line = signal_fd >= 0;
        size_t len = 0;

        while (len < size && !(line && len > 0 && buf[len - 1] == '\n')) {
                int r = line ? wait_for_terminal(signal_fd) : 0;
                if (r < 0)
                        return r;
                ssize_t n = read(STDIN_FILENO, buf + len, size - len);
                if (n == 0)
                        break;
                if (n < 0 && errno != EINTR)
                        return -errno;
                len += n > 0 ? (size_t) n : 0;
        }
        *ret_len = len;
        return 0;
}

static int
read_without_echo(const char *org, int signal_fd, char *buf, size_t size, size_t *ret_len) {
        struct termios old, new;

        if (tcgetattr(STDIN_FILENO, &old) < 0)
                return -errno;
        new = old;
        new.c_lflag &= ~(tcflag_t) ECHO;
        (void) fprintf(stderr, "Token for \"%s\": ", org); /* the prompt is only a help */
        if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &new) < 0)
                return -errno;
        int r = read_text(signal_fd, buf, size, ret_len);
        if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &old) < 0 && r >= 0)
                r = -errno;
        (void) fputc('\n', stderr); /* as above */
        return r;
}

/* A signal that ends us waits until the terminal shows again what is typed, and ends us then. */
static int read_unseen(const char *org, char *buf, size_t size, size_t *ret_len) {
        static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        sigset_t held, before;

        (void) sigemptyset(&held); /* none of these can fail */
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                (void) sigaddset(&held, signals[i]);
        _cleanup_close_ int signal_fd = signalfd(-1, &held, SFD_CLOEXEC);
        if (signal_fd < 0)
                return -errno;
        (void) pthread_sigmask(SIG_BLOCK, &held, &before);
        int r = read_without_echo(org, signal_fd, buf, size, ret_len);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r;
}

int token_read(const char *org, char **ret) {
        _cleanup_secret_free_ char *text = secret_alloc(TOKEN_MAX + 2);
        size_t len = 0;

        int r = !text                  ? -ENOMEM
                : isatty(STDIN_FILENO) ? read_unseen(org, text, TOKEN_MAX + 2, &len)
                                       : read_text(-1, text, TOKEN_MAX + 2, &len);
        if (r < 0) {
                ctl_error("cannot read the token: %s", strerrordesc_np(-r));
                return r;
        }
        if (len > 0 && text[len - 1] == '\n')
                len--;
        if (len == 0 || len > TOKEN_MAX) {
                ctl_error(
                        "%s on standard input",
                        len == 0 ? "there is no token" : "what should be a token is too long");
                return -EINVAL;
        }
        text[len] = '\0';
        if (strlen(text) != len) {
                ctl_error("what should be a token on standard input holds a NUL");
                return -EINVAL;
        }
        *ret = TAKE_PTR(text);
        return 0;
}

/* A pipe that holds it: nothing of it is left when both have closed it. */
static int make_pipe(const char *token, int *ret_fd) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        _cleanup_close_ int in = fds[0];
        _cleanup_close_ int out = fds[1];
        int r = write_all(out, token, strlen(token));
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(in);
        return 0;
}

int token_send(Ctl *ctl, const char *org, const char *token) {
        _cleanup_free_ char *name = text_escape(org);
        _cleanup_close_ int fd = -1;

        int r = name ? make_pipe(token, &fd) : -ENOMEM;
        if (r < 0)
                return client_report(ctl, r, NULL);
        return client_call(ctl, NULL, "SetToken", "sh", name, fd);
}
