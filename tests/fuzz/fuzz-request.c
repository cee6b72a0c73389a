/* Requests of the kernel, of any kind and with any arguments, in any order. This harness is the
 * kernel: it counts the references that it was given and gives no more back, and expects of each
 * request what the kernel expects: one reply, where one is due, that is no larger than it asked
 * for.
 *
 * A request is four bytes or more: what to ask, of which node, how many bytes of arguments follow,
 * and those. Arguments are as long at least as the kernel makes them, names end with a NUL: less
 * than that is nothing that can come from /dev/fuse. */

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "fuse/lowlevel.h"
#include "fuse/session-internal.h"
#include "fuzz.h"
#include "mount/fake-namespace.h"
#include "util/clock.h"
#include "util/log.h"

#define REPLY_MAX ((size_t) 256 << 10)
#define REQUESTS_MAX 64u
#define NODES_MAX 16u
#define INTERRUPT_BIT UINT64_C(1) /* in the numbers that the kernel gives INTERRUPTs */
#define ARGUMENTS_MIN 128u        /* no fixed arguments are longer */

static const uint8_t opcodes[] = {
        FUSE_LOOKUP,      FUSE_LOOKUP,  FUSE_GETATTR, FUSE_READLINK,     FUSE_OPEN,
        FUSE_READ,        FUSE_STATFS,  FUSE_RELEASE, FUSE_GETXATTR,     FUSE_LISTXATTR,
        FUSE_FLUSH,       FUSE_OPENDIR, FUSE_READDIR, FUSE_RELEASEDIR,   FUSE_ACCESS,
        FUSE_INTERRUPT,   FUSE_FORGET,  FUSE_FORGET,  FUSE_BATCH_FORGET, FUSE_READDIRPLUS,
        FUSE_READDIRPLUS,
};

/* What was asked and not answered. */
typedef struct Question {
        uint64_t unique; /* 0: none */
        uint32_t opcode, size;
} Question;

static Pool *pool;
static FlightTable *flights;
static Namespace *ns;
static MountSession *session;
static int kernel_fd = -1;
static uint64_t n_nodes, parking;
static uint64_t next_unique = 2;
static uint64_t references[NODES_MAX];
static Question questions[REQUESTS_MAX];

/* --- replies --- */

static void note_reference(uint64_t id) {
        if (id == 0)
                return;
        FUZZ_CHECK(id < n_nodes);
        references[id]++;
}

static void note_entries(const uint8_t *p, size_t size) {
        while (size > 0) {
                struct fuse_direntplus e;

                FUZZ_CHECK(size >= FUSE_NAME_OFFSET_DIRENTPLUS);
                memcpy(&e, p, FUSE_NAME_OFFSET_DIRENTPLUS);
                size_t len = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + e.dirent.namelen);
                FUZZ_CHECK(e.dirent.namelen > 0 && len <= size);
                note_reference(e.entry_out.nodeid);
                p += len;
                size -= len;
        }
}

static void look_at_reply(const Question *q, int error, const uint8_t *body, size_t size) {
        FUZZ_CHECK(error <= 0 && error > -512); /* the kernel takes no others */
        if (error < 0) {
                FUZZ_CHECK(size == 0);
                return;
        }
        switch (q->opcode) {
        case FUSE_LOOKUP: {
                struct fuse_entry_out out;
                FUZZ_CHECK(size == sizeof(out));
                memcpy(&out, body, sizeof(out));
                note_reference(out.nodeid);
                break;
        }
        case FUSE_READDIRPLUS:
                FUZZ_CHECK(size <= q->size);
                note_entries(body, size);
                break;
        case FUSE_READ:
        case FUSE_READDIR:
                FUZZ_CHECK(size <= q->size);
                break;
        case FUSE_GETXATTR:
        case FUSE_LISTXATTR:
                FUZZ_CHECK(
                        q->size > 0 ? size <= q->size : size == sizeof(struct fuse_getxattr_out));
                break;
        default:
                break;
        }
}

/* False where there is none. Waits for ever with -1: who is not answered shows as a test that does
 * not end, however slow the machine is. */
static bool take_reply(int timeout_msec) {
        static uint8_t bytes[REPLY_MAX];
        struct pollfd pfd = {.fd = kernel_fd, .events = POLLIN};
        struct fuse_out_header out;
        int r;

        do
                r = poll(&pfd, 1, timeout_msec);
        while (r < 0 && errno == EINTR); /* libFuzzer looks at its clock */
        if (r <= 0)
                return false;
        ssize_t n = read(kernel_fd, bytes, sizeof(bytes));
        FUZZ_CHECK(n >= (ssize_t) sizeof(out));
        memcpy(&out, bytes, sizeof(out));
        FUZZ_CHECK(out.len == (size_t) n);
        /* libfuse cannot find what an INTERRUPT is about, and says so. */
        if (out.unique & INTERRUPT_BIT) {
                FUZZ_CHECK(out.error == -EAGAIN);
                return true;
        }
        for (size_t i = 0; i < REQUESTS_MAX; i++)
                if (questions[i].unique == out.unique) {
                        look_at_reply(
                                &questions[i],
                                out.error,
                                bytes + sizeof(out),
                                (size_t) n - sizeof(out));
                        questions[i].unique = 0;
                        return true;
                }
        FUZZ_CHECK(false); /* a second reply, or one to nothing */
        return true;
}

static size_t n_open(void) {
        size_t n = 0;

        for (size_t i = 0; i < REQUESTS_MAX; i++)
                n += questions[i].unique != 0;
        return n;
}

/* --- requests --- */

/* As reader.c does when it has read one. */
static void
run(uint32_t opcode, uint64_t unique, uint64_t node, const void *arguments, size_t size) {
        JournalSlot *slot = journal_reader_slot(session->journal, 0);
        const struct fuse_in_header in = {
                .len = (uint32_t) (sizeof(in) + size),
                .opcode = opcode,
                .unique = unique,
                .nodeid = node,
                .uid = geteuid(),
                .gid = getegid(),
                .pid = 1,
        };

        memcpy(slot->data + sizeof(in), arguments, size);
        memcpy(slot->data, &in, sizeof(in));
        const struct fuse_buf buf = {.mem = slot->data, .size = journal_slot_size(slot)};
        journal_set_current(slot);
        journal_slot_enter(slot);
        fuse_session_process_buf(session->se, &buf);
        journal_slot_clear(slot);
}

static void forget(uint64_t node, uint64_t n) {
        struct fuse_forget_in in;

        if (node >= n_nodes || n == 0 || references[node] == 0)
                return;
        in.nlookup = MIN(n, references[node]);
        references[node] -= in.nlookup;
        run(FUSE_FORGET, next_unique += 2, node, &in, sizeof(in));
}

/* Of as many nodes as there are bytes, so many references each. */
static void forget_batch(const uint8_t *data, size_t size) {
        struct {
                struct fuse_batch_forget_in head;
                struct fuse_forget_one items[UINT8_MAX];
        } batch = {.head.count = (uint32_t) size};

        for (size_t i = 0; i < size; i++) {
                uint64_t id = data[i] % n_nodes;
                batch.items[i].nodeid = id;
                batch.items[i].nlookup = MIN((uint64_t) data[i] / 16, references[id]);
                references[id] -= batch.items[i].nlookup;
        }
        run(FUSE_BATCH_FORGET,
            next_unique += 2,
            0,
            &batch,
            sizeof(batch.head) + size * sizeof(batch.items[0]));
}

static bool is_answered(uint32_t opcode) {
        return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

static uint32_t size_asked_for(uint32_t opcode, const uint8_t *arguments) {
        struct fuse_read_in read_in;
        struct fuse_getxattr_in xattr_in;

        memcpy(&read_in, arguments, sizeof(read_in));
        memcpy(&xattr_in, arguments, sizeof(xattr_in));
        return opcode == FUSE_GETXATTR || opcode == FUSE_LISTXATTR ? xattr_in.size : read_in.size;
}

static void ask(uint32_t opcode, uint64_t node, const uint8_t *data, size_t size) {
        uint8_t arguments[ARGUMENTS_MIN + UINT8_MAX + 1] = {0};
        uint64_t unique = next_unique += 2;
        size_t i = 0;

        memcpy(arguments, data, size);
        /* A name is all there is; behind other arguments names stand that are not looked at. */
        size_t len = opcode == FUSE_LOOKUP ? strlen((char *) arguments) + 1 : sizeof(arguments);
        if (opcode == FUSE_INTERRUPT) {
                const struct fuse_interrupt_in in = {
                        .unique = unique - 2 * (1 + (uint64_t) arguments[0])};
                memcpy(arguments, &in, sizeof(in));
                unique |= INTERRUPT_BIT;
                next_unique += 2;
        }
        if (is_answered(opcode)) {
                while (questions[i].unique != 0)
                        i++;
                questions[i] = (Question){
                        .unique = unique,
                        .opcode = opcode,
                        .size = size_asked_for(opcode, arguments),
                };
        }
        run(opcode, unique, node, arguments, len);
}

static void run_input(const uint8_t *data, size_t size) {
        for (unsigned n = 0; n < REQUESTS_MAX && size >= 3; n++) {
                size_t len = MIN((size_t) data[2], size - 3);
                uint32_t opcode =
                        data[0] < 128 ? opcodes[data[0] % ELEMENTSOF(opcodes)] : data[0] - 128;
                uint64_t node = data[1] < 128 ? data[1] % (n_nodes + 1) : UINT64_MAX - data[1];

                /* The answer to a question that is never asked. */
                if (opcode == FUSE_NOTIFY_REPLY)
                        opcode = 0;
                if (opcode == FUSE_FORGET)
                        forget(node, len);
                else if (opcode == FUSE_BATCH_FORGET)
                        forget_batch(data + 3, len);
                else
                        ask(opcode, node, data + 3, len);
                while (take_reply(0))
                        ;
                data += 3 + len;
                size -= 3 + len;
        }
}

/* --- the session --- */

static void clean_up(void) {
        (void) mount_session_stop(session, USEC_PER_SEC); /* nothing waits */
        fake_land_all(ns);
        pool = pool_free(pool);
        FUZZ_CHECK(fake_contents_in_use(ns) == 0);
        session = mount_session_free(session);
        flights = flight_table_free(flights);
        ns = fake_free(ns);
        (void) close(kernel_fd);
}

static void make_nodes(void) {
        uint64_t dir, blocking, failing;

        ns = fake_new(flights);
        (void) fake_add_file(ns, NS_ROOT_ID, "file", "content\n");
        (void) fake_add_file(ns, NS_ROOT_ID, "empty", "");
        (void) fake_add_link(ns, NS_ROOT_ID, "link", "dir/nested");
        dir = fake_add_dir(ns, NS_ROOT_ID, "dir");
        (void) fake_add_file(ns, dir, "nested", "nested\n");
        blocking = fake_add_file(ns, dir, "blocking", "blocking\n");
        failing = fake_add_dir(ns, NS_ROOT_ID, "failing");
        n_nodes = 1 + fake_add_file(ns, NS_ROOT_ID, "parking", "parking\n");
        parking = n_nodes - 1;
        fake_set_mode(ns, blocking, FAKE_BLOCKS, 0);
        fake_set_mode(ns, failing, FAKE_FAILS, -EHOSTDOWN);
        FUZZ_CHECK(n_nodes <= NODES_MAX);
}

/* The first thing a kernel says. */
static int negotiate(void) {
        const struct {
                struct fuse_in_header header;
                struct fuse_init_in body;
        } init = {
                .header = {.len = sizeof(init), .opcode = FUSE_INIT, .unique = 2},
                .body =
                        {.major = 7,
                         .minor = 36,
                         .max_readahead = 131072,
                         .flags = UINT32_MAX & ~FUSE_INIT_EXT},
        };

        if (write(kernel_fd, &init, sizeof(init)) != sizeof(init))
                return -errno;
        questions[0] = (Question){.unique = 2, .opcode = FUSE_INIT};
        int r = readers_negotiate(session);
        return r < 0 ? r : take_reply(-1) ? 0 : -EIO;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        int fds[2];

        log_set_max_level(LOG_CRIT);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ||
            pool_new(1, &pool) < 0 || flight_table_new(pool, &flights) < 0)
                abort();
        kernel_fd = fds[1];
        make_nodes();
        const MountInherited inherited = {.fuse_fd = fds[0], .journal_fd = -1};
        const MountConfig config = {
                .mount_point = "/tmp/gitfs-is-not-mounted-here", /* and nobody looks */
                .n_threads = 1,
                .request_timeout_usec = 3600 * USEC_PER_SEC,
                .max_pending = REQUESTS_MAX / 2,
                .kernel_dir_cache = true,
                .inherited = &inherited,
        };
        Failure failure = {0};
        if (mount_session_new(&config, ns, pool, flights, NULL, NULL, &session, &failure) < 0 ||
            negotiate() < 0)
                abort();
        return atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        fake_set_mode(ns, parking, FAKE_PARKS, 0);
        run_input(data, size);
        /* Who waits is answered when his time is up; who blocks, when the pool comes to it. */
        requests_expire(&session->requests, UINT64_MAX);
        while (n_open() > 0)
                FUZZ_CHECK(take_reply(-1));
        for (uint64_t id = 0; id < n_nodes; id++)
                forget(id, UINT64_MAX);
        fake_wait_kernel_refs(ns, 0);
        return 0;
}
