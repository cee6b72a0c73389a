#include "lib/script-server.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "util/fd.h"

#define REQUEST_MAX ((size_t) 4 << 20)

/* The length of the request at the start of b, 0 while it is not all there. */
static size_t request_length(Buf *b) {
        const char *text = buf_str(b);
        const char *end = text ? strstr(text, "\r\n\r\n") : NULL;
        if (!end)
                return 0;
        size_t len = (size_t) (end - text) + 4;
        const char *field = strcasestr(text, "\r\nContent-Length:");
        if (field && field < end)
                len += strtoul(field + strlen("\r\nContent-Length:"), NULL, 10);
        return b->len >= len ? len : 0;
}

static bool receive(int fd, Buf *b) {
        while (request_length(b) == 0) {
                if (b->len > REQUEST_MAX || buf_reserve(b, 65536) < 0)
                        return false;
                ssize_t n = recv(fd, b->data + b->len, 65536, 0);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return false;
                b->len += (size_t) n;
        }
        return true;
}

static int append_expanded(const ScriptServer *s, const char *text, size_t len, Buf *out) {
        const char *end = text + len;
        int r = 0;

        while (r >= 0 && text < end) {
                if (strncmp(text, "@SELF@", 6) == 0) {
                        r = buf_append_str(out, s->url);
                        text += 6;
                } else if (strncmp(text, "@OTHER@", 7) == 0) {
                        r = buf_append_str(out, s->other ? s->other : "");
                        text += 7;
                } else if (*text == '\n') {
                        r = buf_append_str(out, "\r\n");
                        text++;
                } else
                        r = buf_append(out, text++, 1);
        }
        return r;
}

static void answer(const ScriptServer *s, int fd, const char *text) {
        _cleanup_buf_ Buf out = {0};

        if (strcmp(text, "lost") == 0)
                return;
        const char *body = strstr(text, "\n\n");
        size_t head_len = body ? (size_t) (body - text) : strlen(text);
        body = body ? body + 2 : "";
        if (buf_append_str(&out, "HTTP/1.1 ") < 0 || append_expanded(s, text, head_len, &out) < 0 ||
            buf_appendf(
                    &out,
                    "\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                    strlen(body),
                    body) < 0)
                return;                                   /* the client misses it */
        (void) send(fd, out.data, out.len, MSG_NOSIGNAL); /* the client may have given up */
}

static void record(ScriptServer *s, const Buf *request) {
        MUTEX_GUARD(&s->mutex);
        for (size_t i = 0; i < request->len; i++)
                if (request->data[i] != '\r')
                        (void) buf_append(&s->log, request->data + i, 1); /* missed by the test */
        (void) buf_append_str(&s->log, "\n");
}

static void *serve(void *userdata) {
        ScriptServer *s = userdata;
        size_t at = 0;

        for (;;) {
                _cleanup_buf_ Buf request = {0};
                _cleanup_close_ int fd = accept(s->fd, NULL, NULL);
                if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
                        continue;
                if (fd < 0)
                        return NULL; /* stopped */
                if (!receive(fd, &request))
                        continue;
                record(s, &request);
                atomic_fetch_add(&s->n_requests, 1);
                answer(s, fd, s->script[at]);
                if (s->script[at + 1])
                        at++;
                /* Closed before the client has read it all, the connection would be reset. */
                (void) shutdown(fd, SHUT_WR);
                char rest[256];
                while (recv(fd, rest, sizeof(rest), 0) > 0)
                        ;
        }
}

void script_server_start(ScriptServer *s, const char *const *script) {
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        socklen_t len = sizeof(address);

        *s = (ScriptServer){.script = script};
        mutex_init(&s->mutex, LOCK_RANK_LEAF);
        s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(s->fd, 0);
        ck_assert_int_eq(bind(s->fd, (struct sockaddr *) &address, len), 0);
        ck_assert_int_eq(listen(s->fd, 16), 0);
        ck_assert_int_eq(getsockname(s->fd, (struct sockaddr *) &address, &len), 0);
        ck_assert_int_gt(asprintf(&s->url, "http://127.0.0.1:%u", ntohs(address.sin_port)), 0);
        ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

void script_server_stop(ScriptServer *s) {
        ck_assert_int_eq(shutdown(s->fd, SHUT_RDWR), 0); /* accept() returns */
        ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
        s->fd = safe_close(s->fd);
        free(s->url);
        buf_done(&s->log);
        mutex_destroy(&s->mutex);
}

unsigned script_server_count(const ScriptServer *s) {
        return atomic_load(&s->n_requests);
}

char *script_server_requests(ScriptServer *s) {
        MUTEX_GUARD(&s->mutex);
        const char *text = buf_str(&s->log);
        char *copy = strdup(text ? text : "");
        ck_assert_ptr_nonnull(copy);
        return copy;
}
