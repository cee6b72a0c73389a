/* The ssh thread. It alone touches processes and connections; other threads queue a command for a
 * transfer under the mutex and wake it.
 *
 * A transfer is `live` from ssh_start() until its on_done has returned; ssh_client_free() waits for
 * the last, which is why the pool must still run then. */

#include "forge/ssh.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "forge/ssh-config.h"
#include "forge/ssh-private.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/stats.h"
#include "util/thread.h"

/* How long somebody waits behind another's answer before a second connection is worth its while. */
#define PATIENCE_USEC (100 * USEC_PER_MSEC)
/* How long the user's choice of an ssh is believed. */
#define PROGRAM_USEC (60 * USEC_PER_SEC)
#define EVENTS_AT_ONCE 32

struct SshClient {
        Ref ref; /* the owner's and one per transfer */
        Pool *pool;
        SshConfig config;
        char *directory; /* owned; NULL: none */
        int epoll, wakeup;
        pthread_t thread;
        atomic_uint_least64_t renewed_usec; /* when the network changed; 0 never */

        /* The ssh thread's: */
        struct SshTransferQueue queue; /* no connection is free for them */
        struct SshConnectionList connections;

        CommandQueue commands;

        Mutex mutex;
        /* Guarded by mutex: */
        SshProgram program;
        uint64_t program_usec; /* when it was asked for; 0: never */
};

SshClient *ssh_client_ref(SshClient *c) {
        ref_get(&c->ref);
        return c;
}

SshClient *ssh_client_unref(SshClient *c) {
        if (!c || !ref_put(&c->ref))
                return NULL;
        command_queue_done(&c->commands);
        mutex_destroy(&c->mutex);
        ssh_program_done(&c->program);
        free(c->directory);
        safe_close(c->wakeup);
        safe_close(c->epoll);
        free(c);
        return NULL;
}
DEFINE_CLEANUP(SshClient *, ssh_client_unref)

/* --- commands --- */

static void wake(CommandQueue *q) {
        const uint64_t one = 1;

        /* Full is as good. */
        (void) write_all(container_of(q, SshClient, commands)->wakeup, &one, sizeof(one));
}

CommandQueue *ssh_client_queue(SshClient *c) {
        return &c->commands;
}

static int copy_program(const SshProgram *from, SshProgram *ret) {
        _cleanup_free_ char *command = strdup(from->command);
        _cleanup_free_ char *config = from->config ? strdup(from->config) : NULL;

        if (!command || (from->config && !config))
                return -ENOMEM;
        *ret = *from;
        ret->command = TAKE_PTR(command);
        ret->config = TAKE_PTR(config);
        return 0;
}

/* Without the copies ssh says itself what it does not like. */
static void find_config(const SshClient *c, SshProgram *p) {
        if (!c->directory || !ssh_config_is_foreign(SSH_SYSTEM_CONFIG))
                return;
        int r = ssh_config_copy(SSH_SYSTEM_CONFIG, c->directory, &p->config);
        if (r < 0)
                log_debug("cannot copy \"%s\": %s", SSH_SYSTEM_CONFIG, strerrordesc_np(-r));
}

/* What the user wants to have run. Two who ask at once do no harm. */
static int get_program(SshClient *c, SshProgram *ret) {
        _cleanup_ssh_program_ SshProgram found = {0};
        uint64_t now = now_usec();

        {
                MUTEX_GUARD(&c->mutex);
                if (c->program_usec > 0 && now - c->program_usec < PROGRAM_USEC)
                        return copy_program(&c->program, ret);
        }
        int r = ssh_program_find(&found);
        if (r >= 0)
                find_config(c, &found);
        if (r >= 0)
                r = copy_program(&found, ret);
        if (r < 0)
                return r;
        MUTEX_GUARD(&c->mutex);
        SshProgram old = c->program;
        c->program = found;
        c->program_usec = now;
        found = old;
        return 0;
}

int ssh_start(
        SshClient *c,
        const SshRequest *request,
        TaskPriority priority,
        const SshHandler *handler,
        void *userdata) {
        _cleanup_(ssh_transfer_unrefp) SshTransfer *t = NULL;
        _cleanup_ssh_program_ SshProgram program = {0};

        int r = get_program(c, &program);
        if (r >= 0)
                r = ssh_transfer_new(
                        c,
                        &program,
                        request,
                        c->pool,
                        priority,
                        c->config.budget,
                        handler,
                        userdata,
                        &t);
        return r < 0 ? r : command_queue_start(&c->commands, &t->command, SSH_TRANSFER_START);
}

/* --- who gets which connection --- */

static void finish_queued(SshClient *c, SshTransfer *t, int result, const Failure *failure) {
        TAILQ_REMOVE(&c->queue, t, queue_entry);
        ssh_transfer_finish(t, result, failure);
}

static void finish_with_class(SshClient *c, SshTransfer *t, FailureClass class, const char *why) {
        Failure failure;

        int r = failure_set(&failure, class, "%s: %s", t->origin, why);
        if (t->connection)
                ssh_connection_abort(t->connection, r, &failure);
        else
                finish_queued(c, t, r, &failure);
}

/* Makes room for one more to this host; false: everything there is is in use. */
static bool make_room(SshClient *c, const SshTransfer *t) {
        SshConnection *conn, *oldest_there = NULL, *oldest = NULL;
        unsigned n_there = 0, n = 0;

        TAILQ_FOREACH (conn, &c->connections, entry) {
                if (conn->state == SSH_ENDING)
                        continue;
                bool there = strcmp(conn->origin, t->origin) == 0;
                n++;
                n_there += there;
                if (!ssh_connection_is_idle(conn))
                        continue;
                if (!oldest || conn->active_usec < oldest->active_usec)
                        oldest = conn;
                if (there && (!oldest_there || conn->active_usec < oldest_there->active_usec))
                        oldest_there = conn;
        }
        if (n_there < SSH_MAX_PER_HOST && n < SSH_MAX_TOTAL)
                return true;
        if (n_there >= SSH_MAX_PER_HOST)
                oldest = oldest_there;
        if (!oldest)
                return false;
        ssh_connection_abort(oldest, 0, &(Failure){0});
        return true;
}

static bool is_worth_another(const SshTransfer *t, unsigned n_serving, bool starting) {
        if (n_serving == 0)
                return true;
        return t->waiting && !starting && n_serving < SSH_MAX_PER_REPOSITORY &&
               now_usec() >= t->queued_usec + PATIENCE_USEC;
}

static void open_connection(SshClient *c, SshTransfer *t) {
        SshConnection *conn;

        int r = ssh_connection_new(c->epoll, t, &conn);
        if (r < 0) {
                Failure failure;
                (void) failure_set(
                        &failure,
                        FAILURE_LOCAL,
                        "%s: cannot run \"%.100s\": %s",
                        t->origin,
                        t->argv[0],
                        strerrordesc_np(-r));
                finish_queued(c, t, r, &failure);
                return;
        }
        TAILQ_INSERT_TAIL(&c->connections, conn, entry);
        TAILQ_REMOVE(&c->queue, t, queue_entry);
        ssh_connection_assign(conn, t);
}

/* Gives the transfer a connection, if one is free or may be made. */
static void place(SshClient *c, SshTransfer *t) {
        SshConnection *conn;
        unsigned n_serving = 0;
        bool starting = false;

        TAILQ_FOREACH (conn, &c->connections, entry) {
                if (!ssh_connection_serves(conn, t))
                        continue;
                if (ssh_connection_is_idle(conn)) {
                        TAILQ_REMOVE(&c->queue, t, queue_entry);
                        ssh_connection_assign(conn, t);
                        return;
                }
                n_serving++;
                starting = starting || conn->state == SSH_STARTING;
        }
        if (is_worth_another(t, n_serving, starting) && make_room(c, t))
                open_connection(c, t);
}

static void place_all(SshClient *c) {
        SshTransfer *t, *next;

        for (int waiting = 1; waiting >= 0; waiting--)
                for (t = TAILQ_FIRST(&c->queue); t; t = next) {
                        next = TAILQ_NEXT(t, queue_entry);
                        if (t->waiting == (waiting == 1))
                                place(c, t);
                }
}

/* --- the thread --- */

static void start(SshTransfer *t) {
        SshClient *c = t->client;

        ref_get(&t->ref); /* dropped by ssh_transfer_finish() */
        t->active = true;
        t->queued_usec = now_usec();
        TAILQ_INSERT_TAIL(&c->queue, t, queue_entry);
}

/* False once the client shuts down. */
static bool run_commands(SshClient *c) {
        /* Looked at first: what comes before that is still in the queue then. */
        bool shut = command_queue_is_shut(&c->commands);
        unsigned commands;
        Command *command;

        while ((command = command_queue_take(&c->commands, &commands))) {
                SshTransfer *t = container_of(command, SshTransfer, command);
                if (commands & SSH_TRANSFER_START)
                        start(t);
                if (t->active && (commands & SSH_TRANSFER_RESUME) && t->connection)
                        ssh_connection_resume(t->connection);
                if (t->active && (commands & SSH_TRANSFER_CANCEL))
                        finish_with_class(c, t, FAILURE_CANCELLED, "cancelled");
                (void) ssh_transfer_unref(t);
        }
        return !shut;
}

/* Ends what is late, and takes out what is over. Returns when there is something to do next. */
static uint64_t tend(SshClient *c) {
        uint64_t now = now_usec(), renewed = atomic_load(&c->renewed_usec), due = USEC_INFINITY;
        SshConnection *conn, *next_conn;
        SshTransfer *t, *next;

        for (conn = TAILQ_FIRST(&c->connections); conn; conn = next_conn) {
                next_conn = TAILQ_NEXT(conn, entry);
                if (ssh_connection_is_idle(conn) && conn->opened_usec <= renewed)
                        ssh_connection_abort(conn, 0, &(Failure){0});
                ssh_connection_tick(conn, now, c->config.stall_timeout_usec);
                if (!ssh_connection_is_over(conn))
                        continue;
                SshTransfer *orphan = ssh_connection_conclude(conn);
                if (orphan)
                        TAILQ_INSERT_HEAD(&c->queue, orphan, queue_entry);
                TAILQ_REMOVE(&c->connections, conn, entry);
                (void) ssh_connection_free(conn);
        }
        for (t = TAILQ_FIRST(&c->queue); t; t = next) {
                next = TAILQ_NEXT(t, queue_entry);
                if (now >= t->deadline_usec)
                        finish_with_class(c, t, FAILURE_TIMEOUT, "no connection in time");
        }
        place_all(c);

        TAILQ_FOREACH (conn, &c->connections, entry)
                due = MIN(due, ssh_connection_due(conn, c->config.stall_timeout_usec));
        TAILQ_FOREACH (t, &c->queue, queue_entry) {
                due = MIN(due, t->deadline_usec);
                if (t->waiting && now < t->queued_usec + PATIENCE_USEC)
                        due = MIN(due, t->queued_usec + PATIENCE_USEC);
        }
        return due;
}

static void wait_for_events(SshClient *c, uint64_t due) {
        struct epoll_event events[EVENTS_AT_ONCE];
        uint64_t now = now_usec(), value;
        int ms = -1;

        if (due != USEC_INFINITY)
                ms = due <= now ? 0 : (int) MIN((due - now) / 1000 + 1, UINT64_C(60000));
        int n = epoll_wait(c->epoll, events, EVENTS_AT_ONCE, ms);
        if (n < 0 && errno != EINTR)
                log_debug("epoll_wait: %s, ignoring", strerrordesc_np(errno));
        for (int i = 0; i < n; i++) {
                const SshWatch *watch = events[i].data.ptr;
                if (watch)
                        ssh_connection_event(watch->connection, watch->kind, events[i].events);
                else if (read(c->wakeup, &value, sizeof(value)) < 0 && errno != EAGAIN)
                        log_debug("eventfd: %s, ignoring", strerrordesc_np(errno));
        }
}

static void abort_all(SshClient *c) {
        SshConnection *conn;
        SshTransfer *t;

        while ((t = TAILQ_FIRST(&c->queue)))
                finish_with_class(c, t, FAILURE_CANCELLED, "cancelled");
        TAILQ_FOREACH (conn, &c->connections, entry) {
                Failure failure;
                int r = failure_set(&failure, FAILURE_CANCELLED, "%s: cancelled", conn->origin);
                ssh_connection_abort(conn, r, &failure);
        }
}

static void *ssh_thread(void *arg) {
        SshClient *c = arg;

        while (run_commands(c))
                wait_for_events(c, tend(c));
        abort_all(c);
        for (;;) {
                uint64_t due = tend(c);
                if (TAILQ_EMPTY(&c->connections))
                        return NULL;
                wait_for_events(c, due); /* signals see to it that they end */
        }
}

/* --- life --- */

int ssh_client_new(const SshConfig *config, Pool *pool, SshClient **ret) {
        SshClient *fresh = calloc(1, sizeof(*fresh));
        if (!fresh)
                return -ENOMEM;
        *fresh = (SshClient){.ref = REF_INIT, .pool = pool, .config = *config};
        fresh->config.directory = NULL;
        fresh->directory = config->directory ? strdup(config->directory) : NULL;
        TAILQ_INIT(&fresh->queue);
        TAILQ_INIT(&fresh->connections);
        command_queue_init(&fresh->commands, wake);
        mutex_init(&fresh->mutex, LOCK_RANK_HTTP);
        fresh->epoll = epoll_create1(EPOLL_CLOEXEC);
        fresh->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        _cleanup_(ssh_client_unrefp) SshClient *c = fresh;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
        if (config->directory && !c->directory)
                return -ENOMEM;
        if (c->epoll < 0 || c->wakeup < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->wakeup, &e) < 0)
                return -errno;
        int r = thread_start(&c->thread, "gitfs-ssh", ssh_thread, c);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

void ssh_client_renew(SshClient *c) {
        atomic_store(&c->renewed_usec, now_usec());
        wake(&c->commands);
}

void ssh_client_stop(SshClient *c) {
        if (!command_queue_shut(&c->commands))
                return;
        (void) pthread_join(c->thread, NULL);
        command_queue_wait(&c->commands);
}

SshClient *ssh_client_free(SshClient *c) {
        if (!c)
                return NULL;
        ssh_client_stop(c);
        return ssh_client_unref(c);
}
