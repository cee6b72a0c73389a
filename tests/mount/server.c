#include "mount/server.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/journal.h"
#include "mount/fixture.h"
#include "util/clock.h"
#include "util/fd.h"

/* Orders to the process, each of which it acknowledges with a result, and with the first one the
 * two descriptors. */
typedef enum OrderKind {
        ORDER_ATTACHED, /* not an order: the first result */
        ORDER_SERVE,
        ORDER_LEAVE,
        ORDER_STOP,
        ORDER_WAIT_PARKED,
        ORDER_INVALIDATE,
        ORDER_SETTLE,
        ORDER_DIE_WITH_INIT,
} OrderKind;

typedef struct Order {
        OrderKind kind;
        unsigned n;
} Order;

/* --- in the process: no libcheck here --- */

static void must(bool ok) {
        if (!ok)
                abort();
}

static void answer(int socket, int result, const MountInherited *fds) {
        const int list[2] = {fds ? fds->fuse_fd : -1, fds ? fds->journal_fd : -1};
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(list))];
        } control = {0};
        struct iovec iov = {.iov_base = &result, .iov_len = sizeof(result)};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

        if (fds) {
                msg.msg_control = &control;
                msg.msg_controllen = sizeof(control);
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(sizeof(list));
                memcpy(CMSG_DATA(&control.header), list, sizeof(list));
        }
        must(sendmsg(socket, &msg, MSG_NOSIGNAL) == sizeof(result));
}

static void die_with_init(const MountInherited *fds) {
        Journal *j = NULL;

        must(journal_open(fds->journal_fd, &j, NULL) == 0);
        /* The descriptor does not block; the kernel's first word is there when it is mounted. */
        must(read(fds->fuse_fd,
                  journal_reader_slot(j, 2)->data,
                  JOURNAL_READER_SIZE - JOURNAL_SLOT_HEAD) > 0);
        (void) raise(SIGKILL);
}

typedef struct Told {
        NotifyWaiter waiter;
        sem_t sem;
} Told;

static void told(NotifyWaiter *waiter) {
        must(sem_post(&container_of(waiter, Told, waiter)->sem) == 0);
}

static void settle(MountSession *session) {
        Told t = {.waiter.told = told};

        must(sem_init(&t.sem, 0, 0) == 0);
        mount_session_when_told(session, &t.waiter);
        must(sem_wait(&t.sem) == 0);
        must(sem_destroy(&t.sem) == 0);
}

static int obey(const Order *order, MountSession *session, Namespace *ns) {
        const MountInherited fds = mount_session_legacy(session);

        switch (order->kind) {
        case ORDER_SERVE:
                return mount_session_start(session, NULL);
        case ORDER_LEAVE:
                mount_session_leave(session);
                return 0;
        case ORDER_STOP:
                return mount_session_stop(session, 60 * USEC_PER_SEC);
        case ORDER_WAIT_PARKED:
                fake_wait_parked(ns, order->n);
                return 0;
        case ORDER_INVALIDATE:
                mount_session_invalidate_all(session);
                return 0;
        case ORDER_SETTLE:
                settle(session);
                return 0;
        case ORDER_DIE_WITH_INIT:
                die_with_init(&fds);
                break;
        case ORDER_ATTACHED:
                break;
        }
        return -EINVAL;
}

static _Noreturn void process_main(const Server *s, int socket) {
        const struct rlimit no_core = {0, 0};
        const MountInherited kept = {.fuse_fd = s->fuse_fd, .journal_fd = s->journal_fd};
        MountConfig config = fixture_config();
        FlightTable *flights = NULL;
        MountSession *session = NULL;
        Failure failure = {0};
        Pool *pool = NULL;
        Order order;

        (void) setrlimit(RLIMIT_CORE, &no_core);
        config.mount_point = s->mount_point;
        config.kernel_dir_cache = false; /* so that each listing is a request */
        if (s->max_pending > 0)
                config.max_pending = s->max_pending;
        if (kept.fuse_fd >= 0)
                config.inherited = &kept;
        must(pool_new(4, &pool) == 0 && flight_table_new(pool, &flights) == 0);
        Namespace *ns = fake_new(flights);
        s->setup(ns, s->userdata);
        fake_share_counts(ns, s->counts);
        int r = mount_session_new(&config, ns, pool, flights, NULL, NULL, &session, &failure);
        if (r < 0) {
                (void) fprintf(stderr, "attaching: %s\n", failure.text);
                answer(socket, r, NULL);
                _exit(0);
        }
        const MountInherited fds = mount_session_legacy(session);
        answer(socket, 0, &fds);
        do {
                if (recv(socket, &order, sizeof(order), 0) != sizeof(order))
                        _exit(1); /* the test is gone */
                answer(socket, obey(&order, session, ns), NULL);
        } while (order.kind != ORDER_STOP && order.kind != ORDER_LEAVE);
        fake_land_all(ns);
        pool = pool_free(pool);
        mount_session_free(session);
        flight_table_free(flights);
        fake_free(ns);
        _exit(0);
}

/* --- in the test --- */

/* What the process says to an order; it may die of it instead: -ECONNRESET. */
static int hear(Server *s, MountInherited *ret_fds) {
        int result = 0, list[2];
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(list))];
        } control = {0};
        struct iovec iov = {.iov_base = &result, .iov_len = sizeof(result)};
        struct msghdr msg = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };

        ssize_t n = recvmsg(s->socket, &msg, MSG_CMSG_CLOEXEC);
        if (n <= 0)
                return -ECONNRESET;
        if (ret_fds && result == 0) {
                ck_assert_uint_eq(control.header.cmsg_len, CMSG_LEN(sizeof(list)));
                memcpy(list, CMSG_DATA(&control.header), sizeof(list));
                *ret_fds = (MountInherited){.fuse_fd = list[0], .journal_fd = list[1]};
        }
        return result;
}

static int command(Server *s, OrderKind kind, unsigned n) {
        const Order order = {.kind = kind, .n = n};

        ck_assert_int_eq(send(s->socket, &order, sizeof(order), MSG_NOSIGNAL), sizeof(order));
        return hear(s, NULL);
}

void server_init(Server *s, const char *mount_point, ServerSetup setup, void *userdata) {
        void *counts =
                mmap(NULL,
                     FAKE_NODES_MAX * sizeof(uint64_t),
                     PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS,
                     -1,
                     0);
        ck_assert_ptr_ne(counts, MAP_FAILED);
        *s = (Server){
                .mount_point = mount_point,
                .setup = setup,
                .userdata = userdata,
                .counts = counts,
                .socket = -1,
                .fuse_fd = -1,
                .journal_fd = -1,
        };
}

int server_attach(Server *s) {
        MountInherited fds = {-1, -1};
        int pair[2];

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        s->pid = fork();
        ck_assert_int_ge(s->pid, 0);
        if (s->pid == 0) {
                (void) close(pair[0]);
                process_main(s, pair[1]);
        }
        (void) close(pair[1]);
        s->socket = pair[0];
        int r = hear(s, &fds);
        if (r < 0) {
                ck_assert_int_eq(waitpid(s->pid, NULL, 0), s->pid);
                s->socket = safe_close(s->socket);
                return r;
        }
        server_forget(s);
        s->fuse_fd = fds.fuse_fd;
        s->journal_fd = fds.journal_fd;
        return 0;
}

int server_serve(Server *s) {
        return command(s, ORDER_SERVE, 0);
}

void server_start(Server *s) {
        ck_assert_int_eq(server_attach(s), 0);
        ck_assert_int_eq(server_serve(s), 0);
}

int server_await_death(Server *s) {
        int status;

        ck_assert_int_eq(waitpid(s->pid, &status, 0), s->pid);
        s->socket = safe_close(s->socket);
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

bool server_dies_before(Server *s, const Call *call) {
        _cleanup_close_ int server = pidfd_open(s->pid, 0);
        _cleanup_close_ int other = pidfd_open(call->pid, 0);
        struct pollfd fds[] = {{.fd = server, .events = POLLIN}, {.fd = other, .events = POLLIN}};

        ck_assert_int_ge(server, 0);
        ck_assert_int_ge(other, 0);
        ck_assert_int_gt(poll(fds, ELEMENTSOF(fds), -1), 0);
        if (fds[0].revents == 0)
                return false;
        ck_assert_int_eq(server_await_death(s), SIGABRT);
        return true;
}

void server_kill(Server *s) {
        ck_assert_int_eq(kill(s->pid, SIGKILL), 0);
        ck_assert_int_eq(server_await_death(s), SIGKILL);
}

void server_leave(Server *s) {
        ck_assert_int_eq(command(s, ORDER_LEAVE, 0), 0);
        ck_assert_int_eq(server_await_death(s), 0);
}

void server_forget(Server *s) {
        s->fuse_fd = safe_close(s->fuse_fd);
        s->journal_fd = safe_close(s->journal_fd);
}

void server_stop(Server *s) {
        ck_assert_int_eq(command(s, ORDER_STOP, 0), 0);
        ck_assert_int_eq(server_await_death(s), 0);
        server_forget(s);
        ck_assert_int_eq(munmap(s->counts, FAKE_NODES_MAX * sizeof(uint64_t)), 0);
}

void server_wait_parked(Server *s, unsigned n) {
        ck_assert_int_eq(command(s, ORDER_WAIT_PARKED, n), 0);
}

void server_invalidate(Server *s) {
        ck_assert_int_eq(command(s, ORDER_INVALIDATE, 0), 0);
}

void server_settle(Server *s) {
        ck_assert_int_eq(command(s, ORDER_SETTLE, 0), 0);
}

void server_die_with_init(Server *s) {
        ck_assert_int_eq(command(s, ORDER_DIE_WITH_INIT, 0), -ECONNRESET);
        ck_assert_int_eq(server_await_death(s), SIGKILL);
}
