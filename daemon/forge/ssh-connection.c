/* One process of ssh with git-upload-pack at its other end. Everything here runs on the ssh thread.
 *
 *      STARTING   the server's advertisement is collected; the first transfer waits for it
 *      OPEN       idle, or a request goes out and its answer comes in
 *      ENDING     waits for the process to end; it is helped along by signals
 *
 * An answer ends with a flush packet, or, in protocol v0, with the connection, which then serves
 * one request only. When the stream ends before that, the transfer stays until the process is gone:
 * what its status and its last words say is the reason. A connection that had been idle and turns
 * out to be dead gives its transfer back, to be repeated on another. */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "forge/ssh-failure.h"
#include "forge/ssh-private.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/stats.h"

#define READ_SIZE ((size_t) 128 * 1024)
/* What is read from one connection before the others have their turn. */
#define READS_PER_EVENT 8
/* A v0 server tells all its refs. */
#define MAX_ADVERTISEMENT ((size_t) 32 << 20)
/* Somewhat longer than the usual time between two looks at a branch, which then need no new one. */
#define IDLE_USEC (90 * USEC_PER_SEC)
#define SIGNAL_USEC (1 * USEC_PER_SEC)
#define STATUS_SSH_FAILED 255
/* What a v0 server says of a repository without refs. Over HTTP it says more, so that this is told
 * from an answer that was cut off. */
#define NO_REFS "0000"
#define NO_REFS_OVER_HTTP "001e# service=git-upload-pack\n00000000"

/* --- events wanted --- */

static int watch(SshConnection *c, SshWatchKind kind, int fd, uint32_t events) {
        c->watches[kind] = (SshWatch){.kind = kind, .connection = c};
        struct epoll_event e = {.events = events, .data.ptr = &c->watches[kind]};

        return epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

/* Closing alone would not do: a process that another thread is about to start holds a copy for a
 * moment, and events of the closed one would go on. Returns -1. */
static int unwatch(SshConnection *c, int fd) {
        if (fd >= 0)
                (void) epoll_ctl(c->epoll, EPOLL_CTL_DEL, fd, NULL); /* it may be out already */
        return safe_close(fd);
}

static bool is_writing(const SshConnection *c) {
        return c->state == SSH_OPEN && c->transfer && c->n_sent < c->transfer->body.len;
}

/* Reading stops while the inbox is full, writing when there is nothing to write. A stream of which
 * nothing is wanted is taken out, because its end would be told all the time. */
static void update_events(SshConnection *c) {
        uint32_t events = 0;
        int op = EPOLL_CTL_MOD;

        if (!c->paused)
                events |= EPOLLIN;
        if (is_writing(c))
                events |= EPOLLOUT;
        if (c->stream < 0 || events == c->events)
                return;
        if (c->events == 0)
                op = EPOLL_CTL_ADD;
        else if (events == 0)
                op = EPOLL_CTL_DEL;
        struct epoll_event e = {.events = events, .data.ptr = &c->watches[SSH_WATCH_STREAM]};
        if (epoll_ctl(c->epoll, op, c->stream, &e) >= 0)
                c->events = events; /* else there is no memory, and the stall ends it */
}

/* --- the end --- */

static void start_ending(SshConnection *c, uint64_t patience_usec) {
        c->state = SSH_ENDING;
        c->stream = unwatch(c, c->stream);
        c->events = 0;
        c->held.len = 0;
        c->signal_usec = now_usec() + patience_usec;
}

/* To its whole session: a shell, and what connects it, may be between us and ssh. */
static void send_signal(SshConnection *c) {
        (void) kill(-c->pid, c->n_signals == 0 ? SIGTERM : SIGKILL); /* gone already is fine */
        c->n_signals++;
        c->signal_usec = now_usec() + SIGNAL_USEC;
}

static void finish_transfer(SshConnection *c, int result, const Failure *failure) {
        SshTransfer *t = TAKE_PTR(c->transfer);

        c->n_served++;
        c->paused = false;
        c->active_usec = now_usec();
        t->connection = NULL;
        ssh_transfer_finish(t, result, failure);
}

void ssh_connection_abort(SshConnection *c, int result, const Failure *failure) {
        if (c->transfer)
                finish_transfer(c, result, failure);
        if (c->state != SSH_ENDING)
                start_ending(c, 0);
        if (!c->exited && c->n_signals == 0)
                send_signal(c);
}

/* The other side does not keep to the protocol. */
static void fail_server(SshConnection *c, const char *what) {
        Failure failure;

        int r = failure_set(&failure, FAILURE_SERVER, "%s: %s", c->origin, what);
        ssh_connection_abort(c, r, &failure);
}

static void fail_memory(SshConnection *c) {
        Failure failure;

        (void) failure_set(&failure, FAILURE_LOCAL, "%s: out of memory", c->origin);
        ssh_connection_abort(c, -ENOMEM, &failure);
}

/* --- what comes in --- */

/* The first transfer wanted this and no more. */
static void serve_advertisement(SshConnection *c) {
        const Failure none = {0};

        if (c->advertisement.len == strlen(NO_REFS)) {
                c->advertisement.len = 0;
                if (buf_append_str(&c->advertisement, NO_REFS_OVER_HTTP) < 0) {
                        fail_memory(c);
                        return;
                }
        }
        c->transfer->answered = true;
        /* An inbox in which nothing is takes any amount. */
        if (inbox_put(&c->transfer->inbox, c->advertisement.data, c->advertisement.len) ==
            -ENOMEM) {
                fail_memory(c);
                return;
        }
        finish_transfer(c, 0, &none);
        if (!c->is_v2)
                start_ending(c, SIGNAL_USEC); /* it waits for a choice among its refs */
}

/* Whatever the transfer wants is started, now that the server has introduced itself. */
static void serve(SshConnection *c) {
        if (!c->transfer)
                return;
        if (c->transfer->advertisement)
                serve_advertisement(c);
        else if (c->transfer->v2 != c->is_v2) {
                c->transfer->answered = true;
                fail_server(c, "the server speaks another version of the protocol");
        } else
                update_events(c);
}

static size_t take_advertisement(SshConnection *c, const uint8_t *data, size_t len) {
        static const char v2[] = "version 2";
        bool end;

        int64_t n = ssh_scan(&c->scan, data, len, &end);
        if (n < 0 || c->advertisement.len + len > MAX_ADVERTISEMENT) {
                fail_server(
                        c,
                        n < 0 ? "does not speak git's protocol (does a login script print?)"
                              : "too many refs");
                return 0;
        }
        if (buf_append(&c->advertisement, data, (size_t) n) < 0) {
                fail_memory(c);
                return 0;
        }
        if (!end)
                return (size_t) n;
        c->state = SSH_OPEN;
        c->opened = true;
        /* Behind the length of the first packet. */
        c->is_v2 = c->advertisement.len >= 4 + strlen(v2) &&
                   memcmp(c->advertisement.data + 4, v2, strlen(v2)) == 0;
        serve(c);
        return (size_t) n;
}

static size_t take_answer(SshConnection *c, const uint8_t *data, size_t len) {
        SshScan scan = c->scan;
        const Failure none = {0};
        bool end = false;
        int64_t n = c->is_v2 ? ssh_scan(&scan, data, len, &end) : (int64_t) len;

        if (n < 0) {
                c->transfer->answered = true;
                fail_server(c, "an answer that makes no sense");
                return 0;
        }
        int r = inbox_put(&c->transfer->inbox, data, (size_t) n);
        if (r == -EAGAIN) {
                c->paused = true;
                return 0;
        }
        if (r == -ENOMEM) {
                fail_memory(c);
                return 0;
        }
        /* -ECANCELED: the command that ends it is on its way. */
        c->scan = scan;
        c->n_received += (size_t) n;
        if (!end)
                return (size_t) n;
        bool all_sent = c->n_sent == c->transfer->body.len;
        c->transfer->answered = true;
        finish_transfer(c, 0, &none);
        if (!all_sent)
                start_ending(c, 0); /* the rest would be taken for the next request */
        return (size_t) n;
}

static void take_held(SshConnection *c) {
        size_t done = 0;

        while (done < c->held.len && c->state != SSH_ENDING && !c->paused) {
                const uint8_t *data = c->held.data + done;
                size_t len = c->held.len - done;
                if (c->state == SSH_STARTING)
                        done += take_advertisement(c, data, len);
                else if (c->transfer)
                        done += take_answer(c, data, len);
                else
                        fail_server(c, "speaks without being asked");
        }
        if (c->state == SSH_ENDING || done == 0)
                return; /* in the first case held is empty */
        memmove(c->held.data, c->held.data + done, c->held.len - done);
        c->held.len -= done;
}

static void read_stream(SshConnection *c) {
        for (unsigned i = 0; i < READS_PER_EVENT && c->stream >= 0; i++) {
                take_held(c);
                if (c->paused || c->stream < 0)
                        break;
                if (buf_reserve(&c->held, READ_SIZE) < 0) {
                        fail_memory(c);
                        return;
                }
                ssize_t n = recv(c->stream, c->held.data, READ_SIZE, MSG_DONTWAIT);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        break;
                if (n <= 0) {
                        start_ending(c, SIGNAL_USEC);
                        return;
                }
                c->held.len = (size_t) n;
                c->active_usec = now_usec();
                stat_add(STAT_SSH_BYTES_IN, n);
        }
        take_held(c);
        update_events(c);
}

/* Keeps the end of what is said. */
static void read_errors(SshConnection *c) {
        char text[1024];
        ssize_t n;

        while (c->errors >= 0 && (n = read(c->errors, text, sizeof(text))) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return;
                size_t room = sizeof(c->said) - 1, keep = MIN(c->n_said, room - (size_t) n);
                memmove(c->said, c->said + c->n_said - keep, keep);
                memcpy(c->said + keep, text, (size_t) n);
                c->n_said = keep + (size_t) n;
                c->said[c->n_said] = '\0'; /* one in between hides what follows, no more */
        }
        c->errors = unwatch(c, c->errors);
}

/* Of a process that is gone: there is no more than what is on its way. */
static void drain(SshConnection *c) {
        while (c->stream >= 0 && !c->paused) {
                size_t before = c->n_received + c->advertisement.len;
                read_stream(c);
                if (c->stream >= 0 && before == c->n_received + c->advertisement.len)
                        start_ending(c, 0); /* held open by something that outlives it */
        }
}

static void process_ended(SshConnection *c) {
        c->status = ssh_process_reap(c->pid);
        c->exited = true;
        c->pidfd = unwatch(c, c->pidfd);
        read_errors(c);
        c->errors = unwatch(c, c->errors); /* whoever still has it says nothing of use */
        drain(c);
}

/* --- what goes out --- */

static void write_body(SshConnection *c) {
        while (is_writing(c)) {
                const Buf *body = &c->transfer->body;
                ssize_t n =
                        send(c->stream,
                             body->data + c->n_sent,
                             body->len - c->n_sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        break;
                if (n < 0)
                        n = (ssize_t) (body->len - c->n_sent); /* it is gone, as reading will show
                                                                */
                c->n_sent += (size_t) n;
                c->active_usec = now_usec();
                stat_add(STAT_SSH_BYTES_OUT, n);
        }
        update_events(c);
}

/* --- for the client --- */

bool ssh_connection_serves(const SshConnection *c, const SshTransfer *t) {
        bool fits = c->state == SSH_STARTING || t->advertisement || c->is_v2 == t->v2;

        return fits && c->state != SSH_ENDING && strcmp(c->repository, t->repository) == 0;
}

bool ssh_connection_is_idle(const SshConnection *c) {
        return c->state == SSH_OPEN && !c->transfer && !c->exited;
}

void ssh_connection_assign(SshConnection *c, SshTransfer *t) {
        c->transfer = t;
        t->connection = c;
        c->n_sent = c->n_received = 0;
        c->scan = (SshScan){0};
        c->active_usec = now_usec();
        stat_add(STAT_SSH_REQUESTS, 1);
        if (c->state == SSH_OPEN)
                serve(c);
}

void ssh_connection_event(SshConnection *c, SshWatchKind kind, uint32_t events) {
        switch (kind) {
        case SSH_WATCH_STREAM:
                if (c->stream >= 0 && (events & EPOLLOUT))
                        write_body(c);
                if (c->stream >= 0 && (events & ~(uint32_t) EPOLLOUT))
                        read_stream(c);
                return;
        case SSH_WATCH_ERRORS:
                read_errors(c);
                return;
        case SSH_WATCH_PROCESS:
                if (!c->exited)
                        process_ended(c);
                return;
        }
}

void ssh_connection_resume(SshConnection *c) {
        c->paused = false;
        c->active_usec = now_usec();
        if (c->exited)
                drain(c);
        else
                read_stream(c);
}

static uint64_t next_deadline(const SshConnection *c, uint64_t stall_usec) {
        uint64_t stall = c->paused ? USEC_INFINITY : c->active_usec + stall_usec;

        return MIN(c->transfer->deadline_usec, stall);
}

uint64_t ssh_connection_due(const SshConnection *c, uint64_t stall_usec) {
        uint64_t due = USEC_INFINITY;

        if (c->transfer)
                due = next_deadline(c, stall_usec);
        else if (c->state != SSH_ENDING)
                due = c->active_usec + IDLE_USEC;
        if (c->state == SSH_ENDING && !c->exited)
                due = MIN(due, c->signal_usec);
        return due;
}

void ssh_connection_tick(SshConnection *c, uint64_t now, uint64_t stall_usec) {
        Failure failure = {0};

        if (c->transfer && now >= next_deadline(c, stall_usec)) {
                int r = failure_set(&failure, FAILURE_TIMEOUT, "%s: no answer in time", c->origin);
                c->transfer->answered = c->n_received > 0;
                ssh_connection_abort(c, r, &failure);
        } else if (!c->transfer && c->state == SSH_OPEN && now >= c->active_usec + IDLE_USEC)
                ssh_connection_abort(c, 0, &failure);
        if (c->state == SSH_ENDING && !c->exited && now >= c->signal_usec)
                send_signal(c);
}

bool ssh_connection_is_over(const SshConnection *c) {
        return c->state == SSH_ENDING && c->exited;
}

/* The request went out, and then the connection was lost. */
static int connection_lost(SshConnection *c, Failure *failure) {
        (void) ssh_failure(c->origin, c->status, c->said, failure);
        failure->class = FAILURE_SERVER;
        return -ECONNRESET;
}

SshTransfer *ssh_connection_conclude(SshConnection *c) {
        SshTransfer *t = c->transfer;
        Failure failure = {0};
        int r = 0;

        if (!t)
                return NULL;
        if (c->n_received == 0 && c->n_served > 0 && !t->repeated) {
                c->transfer = NULL;
                t->connection = NULL;
                t->repeated = true;
                return t;
        }
        t->answered = c->opened;
        if (!c->opened)
                r = ssh_failure(c->origin, c->status, c->said, &failure);
        else if (c->status == STATUS_SSH_FAILED)
                r = connection_lost(c, &failure);
        else if (c->n_received == 0)
                r = failure_set(
                        &failure,
                        FAILURE_SERVER,
                        "%s: git has ended without an answer (%.200s)",
                        c->origin,
                        c->said);
        /* Else what came speaks for itself, whole or not. */
        finish_transfer(c, r, &failure);
        return NULL;
}

/* --- life --- */

static int connection_watch(SshConnection *c) {
        int r = watch(c, SSH_WATCH_STREAM, c->stream, EPOLLIN);
        c->events = EPOLLIN;
        if (r >= 0)
                r = watch(c, SSH_WATCH_ERRORS, c->errors, EPOLLIN);
        if (r >= 0)
                r = watch(c, SSH_WATCH_PROCESS, c->pidfd, EPOLLIN);
        return r;
}

int ssh_connection_new(int epoll, const SshTransfer *t, SshConnection **ret) {
        SshConnection *fresh = calloc(1, sizeof(*fresh));
        if (!fresh)
                return -ENOMEM;
        *fresh = (SshConnection){.epoll = epoll, .pidfd = -1, .stream = -1, .errors = -1};

        _cleanup_(ssh_connection_freep) SshConnection *c = fresh;
        c->repository = strdup(t->repository);
        c->origin = strdup(t->origin);
        if (!c->repository || !c->origin)
                return -ENOMEM;
        int r = ssh_process_spawn(t->argv, t->v2, &c->pid, &c->pidfd, &c->stream, &c->errors);
        if (r >= 0)
                r = connection_watch(c);
        if (r < 0)
                return r;
        c->opened_usec = c->active_usec = now_usec();
        stat_add(STAT_SSH_CONNECTIONS, 1);
        stat_add(STAT_SSH_CONNECTIONS_NOW, 1);
        c->counted = true;
        *ret = TAKE_PTR(c);
        return 0;
}

SshConnection *ssh_connection_free(SshConnection *c) {
        if (!c)
                return NULL;
        assert(!c->transfer);
        if (c->pidfd >= 0) /* it could not be watched */
                (void) ssh_process_reap(c->pid);
        if (c->counted)
                stat_add(STAT_SSH_CONNECTIONS_NOW, -1);
        c->stream = unwatch(c, c->stream);
        c->errors = unwatch(c, c->errors);
        c->pidfd = unwatch(c, c->pidfd);
        buf_done(&c->held);
        buf_done(&c->advertisement);
        free(c->repository);
        free(c->origin);
        free(c);
        return NULL;
}
