#include "fuse/herald.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/log.h"

/* A notification waits in the kernel, uninterruptibly, for requests: that of a name for all
 * look-ups and listings in its directory, that of a page for its READ. If the daemon is killed at
 * that moment, nobody answers those any more but a successor; and there is no successor before the
 * daemon is dead, which it cannot be while one of its threads waits. So no thread of the daemon
 * notifies. A process of its own does, which may be left behind: it ends when the successor has
 * answered.
 *
 * It has nothing but /dev/fuse, one end of a socket and a piece of shared memory. A byte through
 * the socket says that messages are there, another one that their results are. To wake each other
 * costs the two far more than the message of a small file, so those go together. It is forked, as
 * what it does needs no more than system calls.
 *
 * A process can be killed. What the kernel is not told it shows for ever, so another one takes over
 * and is given the same messages, which does no harm twice. Where none can be started, whoever has
 * something to tell is told so, and tries again (notify.c). The number of the socket stays, as
 * another thread may shut it down. */

#define STORE_HEAD (sizeof(struct fuse_out_header) + sizeof(struct fuse_notify_store_out))

typedef struct Message {
        uint32_t size;
        int32_t result;
        uint8_t bytes[];
} Message;

typedef struct HeraldMemory {
        uint64_t used; /* bytes of messages, one behind the other */
        _Alignas(Message) uint8_t messages[];
} HeraldMemory;

struct Herald {
        int fuse_fd; /* borrowed */
        pid_t pid;
        int socket;
        bool failing;          /* the last attempt to start one has failed */
        atomic_bool dismissed; /* by the thread that frees, too: may wait for a successor */
        HeraldMemory *memory;  /* with the process */
        size_t memory_size;
};

static Message *message_at(HeraldMemory *memory, uint64_t at) {
        return (Message *) (void *) (memory->messages + at);
}

/* Where the one behind it begins. */
static uint64_t message_space(uint32_t size) {
        return (sizeof(Message) + size + _Alignof(Message) - 1) & ~(_Alignof(Message) - 1);
}

/* Only what is async-signal-safe: this is a child of a process with threads. */
static _Noreturn void herald_main(HeraldMemory *memory, int socket, int fuse_fd) {
        char byte;

        (void) prctl(PR_SET_NAME, "gitfs-herald");
        if (dup2(socket, STDIN_FILENO) < 0)
                _exit(1);
        /* Nothing else of ours may stay open here: not the lock of the cache, nor a pipe whose end
         * somebody waits for. */
        if ((fuse_fd > STDIN_FILENO + 1 &&
             close_range(STDIN_FILENO + 1, (unsigned) fuse_fd - 1, 0) < 0) ||
            close_range((unsigned) fuse_fd + 1, ~0U, 0) < 0)
                _exit(1);
        while (recv(STDIN_FILENO, &byte, 1, 0) == 1) {
                for (uint64_t at = 0; at < memory->used;) {
                        Message *m = message_at(memory, at);
                        ssize_t n = write(fuse_fd, m->bytes, m->size);
                        m->result = n < 0 ? -errno : 0;
                        at += message_space(m->size);
                }
                if (send(STDIN_FILENO, &byte, 1, MSG_NOSIGNAL) != 1)
                        break;
        }
        _exit(0);
}

/* Starts a process at the other end of h->socket. */
static int start_process(Herald *h) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        _cleanup_close_ int ours = pair[0], theirs = pair[1];
        if (h->socket < 0)
                h->socket = TAKE_FD(ours);
        else if (dup3(ours, h->socket, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                herald_main(h->memory, theirs, h->fuse_fd);
        h->pid = pid;
        return 0;
}

int herald_new(int fuse_fd, size_t data_max, Herald **ret) {
        _cleanup_(herald_freep) Herald *h = calloc(1, sizeof(*h));

        if (!h)
                return -ENOMEM;
        if (fuse_fd <= STDIN_FILENO)
                return -EBADF; /* where the process has its socket */
        h->socket = -1;
        h->fuse_fd = fuse_fd;
        const size_t size = STORE_HEAD + MAX(data_max, (size_t) PATH_MAX);
        h->memory_size = sizeof(HeraldMemory) + (size_t) message_space((uint32_t) size);
        void *memory = mmap(
                NULL, h->memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
                return -errno;
        h->memory = memory;
        int r = start_process(h);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(h);
        return 0;
}

void herald_dismiss(Herald *h) {
        if (!h)
                return;
        atomic_store(&h->dismissed, true);
        (void) shutdown(h->socket, SHUT_RDWR); /* fails where the process is gone */
}

Herald *herald_free(Herald *h) {
        if (!h)
                return NULL;
        (void) safe_close(h->socket);
        if (h->pid > 0)
                while (waitpid(h->pid, NULL, atomic_load(&h->dismissed) ? WNOHANG : 0) < 0 &&
                       errno == EINTR)
                        ;
        if (h->memory)
                (void) munmap(
                        h->memory, h->memory_size); /* cannot fail: it is what mmap() returned */
        free(h);
        return NULL;
}

/* Puts a message whose parts are this one and the two behind those that are there. */
static int
compose(Herald *h,
        int code,
        const void *head,
        size_t head_size,
        const void *data,
        size_t data_size) {
        struct fuse_out_header out = {
                .len = (uint32_t) (sizeof(out) + head_size + data_size),
                .error = code, /* of what comes unasked this says what it is */
        };
        HeraldMemory *memory = h->memory;

        /* It may still be at what it was given last. */
        if (atomic_load(&h->dismissed))
                return -ENOTCONN;
        if (sizeof(*memory) + memory->used + message_space(out.len) > h->memory_size)
                return memory->used > 0 ? -ENOBUFS : -EMSGSIZE;
        Message *m = message_at(memory, memory->used);
        uint8_t *p = mempcpy(m->bytes, &out, sizeof(out));
        p = mempcpy(p, head, head_size);
        if (data_size > 0)
                memcpy(p, data, data_size);
        m->size = out.len;
        memory->used += message_space(out.len);
        return 0;
}

/* False: the process is gone. */
static bool give(Herald *h) {
        char byte = 0;

        return send(h->socket, &byte, 1, MSG_NOSIGNAL) == 1 && recv(h->socket, &byte, 1, 0) == 1;
}

/* 0, -ENOTCONN where it was dismissed, or -EAGAIN. */
static int replace_process(Herald *h) {
        if (atomic_load(&h->dismissed))
                return -ENOTCONN;
        if (h->pid > 0)
                log_warning("The process that tells the kernel what changed has ended: another "
                            "takes over");
        /* It has closed its socket, and is about to end if it has not; or the kernel took no byte
         * of ours just now, and it ends when it finds that we have. */
        (void) shutdown(h->socket, SHUT_RDWR); /* fails where it is not connected any more */
        while (h->pid > 0 && waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        h->pid = 0;
        int r = start_process(h);
        if (r < 0 && !h->failing)
                log_error(
                        "The kernel is not told what changed before another process can be "
                        "started: %s",
                        strerrordesc_np(-r));
        h->failing = r < 0;
        /* Who dismissed it meanwhile may have shut down the socket of the last one. */
        return atomic_load(&h->dismissed) ? -ENOTCONN : r < 0 ? -EAGAIN : 0;
}

/* Has all that was put together given to the kernel. */
static int deliver(Herald *h) {
        if (!give(h)) {
                int r = replace_process(h);
                if (r < 0)
                        return r;
                if (!give(h))
                        return atomic_load(&h->dismissed) ? -ENOTCONN : -EAGAIN;
        }
        return 0;
}

static int
tell(Herald *h, int code, const void *head, size_t head_size, const void *data, size_t data_size) {
        assert(h->memory->used == 0);
        int r = compose(h, code, head, head_size, data, data_size);
        if (r >= 0)
                r = deliver(h);
        if (r >= 0)
                r = message_at(h->memory, 0)->result;
        h->memory->used = 0;
        return r;
}

static int tell_entry(Herald *h, uint64_t parent, const char *name, uint32_t flags) {
        size_t len = strlen(name);
        const struct fuse_notify_inval_entry_out entry = {
                .parent = parent,
                .namelen = (uint32_t) len,
                .flags = flags,
        };

        return tell(h, FUSE_NOTIFY_INVAL_ENTRY, &entry, sizeof(entry), name, len + 1);
}

int herald_drop_entry(Herald *h, uint64_t parent, const char *name) {
        return tell_entry(h, parent, name, 0);
}

int herald_expire_entry(Herald *h, uint64_t parent, const char *name) {
        return tell_entry(h, parent, name, FUSE_EXPIRE_ONLY);
}

int herald_drop_inode(Herald *h, uint64_t id) {
        const struct fuse_notify_inval_inode_out inode = {.ino = id};

        return tell(h, FUSE_NOTIFY_INVAL_INODE, &inode, sizeof(inode), NULL, 0);
}

int herald_add_store(Herald *h, uint64_t id, const ObjectRef *content) {
        const size_t size = (size_t) content->size;
        const struct fuse_notify_store_out store = {.nodeid = id, .size = (uint32_t) size};
        const uint64_t used = h->memory->used;

        int r = compose(h, FUSE_NOTIFY_STORE, &store, sizeof(store), content->data, size);
        if (r >= 0 && object_ref_is_torn(content)) {
                h->memory->used = used;
                r = -EIO;
        }
        return r;
}

int herald_flush(Herald *h, HeraldStored *ret) {
        HeraldStored stored = {0};

        int r = h->memory->used > 0 ? deliver(h) : 0;
        for (uint64_t at = 0; r >= 0 && at < h->memory->used;) {
                const Message *m = message_at(h->memory, at);
                if (m->result == 0) {
                        stored.files++;
                        stored.bytes += m->size - STORE_HEAD;
                }
                at += message_space(m->size);
        }
        h->memory->used = 0;
        if (r >= 0)
                *ret = stored;
        return r;
}
