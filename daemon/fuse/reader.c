#include "fuse/reader.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fuse/lowlevel.h"
#include "fuse/session-internal.h"
#include "fuse/wait-fd.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

/* All readers share one non-blocking /dev/fuse descriptor; a cloned one would be a queue that dies
 * with its holder. A wake-up costs more than most requests, so a reader that has just answered one
 * looks again for a bounded time before it sleeps; only one at a time does, the others would burn
 * the processor that the caller needs.
 *
 * libfuse reads into `buf`, which belongs to the thread: arguments are copied into a Request where
 * a request outlives this loop (request.c). */

#define NEGOTIATE_TIMEOUT_MSEC 10000

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
        __asm__ volatile("yield");
#endif
}

/* Sleeps until there is a request or the threads are to end. */
static void sleep_until_ready(MountSession *s) {
        struct pollfd fds[2] = {
                {.fd = fuse_session_fd(s->se), .events = POLLIN},
                {.fd = s->readers.stop_fd, .events = POLLIN},
        };

        /* EINTR and errors show in the next read. */
        (void) poll(fds, 2, -1);
}

typedef struct Spin {
        bool mine;      /* this thread holds Readers.spinning */
        uint64_t since; /* when the last request was answered */
} Spin;

static void spin_release(Readers *r, Spin *spin) {
        if (spin->mine)
                atomic_store_explicit(&r->spinning, false, memory_order_relaxed);
        spin->mine = false;
}

/* Nothing to read: come back at once, or after a sleep. */
static void wait_for_request(MountSession *s, Spin *spin) {
        Readers *r = &s->readers;

        if (s->config.spin_usec > 0 && now_usec() - spin->since < s->config.spin_usec) {
                /* Relaxed: the flag guards nothing but processor time. */
                if (!spin->mine)
                        spin->mine =
                                !atomic_exchange_explicit(&r->spinning, true, memory_order_relaxed);
                if (spin->mine) {
                        relax();
                        return;
                }
        }
        spin_release(r, spin);
        sleep_until_ready(s);
}

static void report_end(MountSession *s, int error) {
        Readers *r = &s->readers;

        if (atomic_load(&r->stop) || atomic_exchange(&r->ended, true))
                return;
        if (error < 0)
                log_error("Reading from the kernel failed: %s", strerrordesc_np(-error));
        if (s->ended)
                s->ended(s->ended_userdata);
}

static void *reader_main(void *userdata) {
        MountSession *s = userdata;
        Readers *r = &s->readers;
        struct fuse_buf buf = {0};
        Spin spin = {0};
        int n;

        /* stop is read with the default order: with it the thread sees everything that stop did
         * before. */
        while (!atomic_load(&r->stop)) {
                n = fuse_session_receive_buf(s->se, &buf);
                if (n > 0) {
                        fuse_session_process_buf(s->se, &buf);
                        if (s->config.spin_usec > 0)
                                spin.since = now_usec();
                } else if (n == -EAGAIN)
                        wait_for_request(s, &spin);
                else if (n != -EINTR) {
                        report_end(s, n);
                        break;
                }
        }
        spin_release(r, &spin);
        free(buf.mem);
        /* An eventfd takes 2^64 - 2 of these. */
        (void) eventfd_write(r->exited_fd, 1);
        return NULL;
}

int readers_init(Readers *r) {
        *r = (Readers){.stop_fd = -1, .exited_fd = -1};
        r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (r->stop_fd < 0)
                return -errno;
        r->exited_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
        return r->exited_fd < 0 ? -errno : 0;
}

int readers_negotiate(MountSession *s) {
        struct pollfd pfd = {.fd = fuse_session_fd(s->se), .events = POLLIN};
        struct fuse_buf buf = {0};
        int r;

        do {
                r = poll(&pfd, 1, NEGOTIATE_TIMEOUT_MSEC);
                if (r == 0)
                        return -ETIMEDOUT;
                r = fuse_session_receive_buf(s->se, &buf);
        } while (r == -EINTR || r == -EAGAIN);
        if (r > 0)
                fuse_session_process_buf(s->se, &buf);
        free(buf.mem);
        if (r < 0)
                return r;
        return s->negotiated ? 0 : -EPROTO;
}

int readers_start(MountSession *s) {
        Readers *r = &s->readers;
        sigset_t all, old;

        /* Signals are the main thread's. */
        (void) sigfillset(&all);
        int e = pthread_sigmask(SIG_SETMASK, &all, &old);
        if (e != 0)
                return -e;
        while (e == 0 && r->n < s->config.n_threads) {
                e = pthread_create(&r->threads[r->n], NULL, reader_main, s);
                if (e == 0)
                        (void) pthread_setname_np(
                                r->threads[r->n++], "gitfs-fuse"); /* for people */
        }
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        return -e;
}

void readers_stop(Readers *r) {
        atomic_store(&r->stop, true);
        if (r->stop_fd >= 0)
                (void) eventfd_write(r->stop_fd, 1); /* cannot overflow */
}

bool readers_wait(Readers *r, uint64_t deadline_usec) {
        unsigned n_exited = 0;
        eventfd_t one;

        while (n_exited < r->n) {
                if (!wait_readable(r->exited_fd, deadline_usec))
                        return false;
                if (eventfd_read(r->exited_fd, &one) == 0)
                        n_exited++;
        }
        /* So that it can be asked again. */
        for (; n_exited > 0; n_exited--)
                (void) eventfd_write(r->exited_fd, 1);
        return true;
}

void readers_join(Readers *r) {
        for (; r->n > 0; r->n--)
                (void) pthread_join(r->threads[r->n - 1], NULL);
}

void readers_done(Readers *r) {
        r->stop_fd = safe_close(r->stop_fd);
        r->exited_fd = safe_close(r->exited_fd);
}
