#include "fuse/reader.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuse/lowlevel.h"
#include "fuse/session-internal.h"
#include "fuse/wait-fd.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/stats.h"
#include "util/thread.h"

/* All readers share one non-blocking /dev/fuse descriptor; a cloned one would be a queue that dies
 * with its holder.
 *
 * A wake-up costs more than most requests, and the kernel wakes everybody who polls the descriptor.
 * So one thread leads: only it waits for requests, and before it sleeps it looks again for a
 * bounded time, unless that has not paid of late. As a rule it answers them all. When it finds
 * requests without a pause between them, it calls a follower, who helps until there are none and
 * then goes back to sleep, away from the descriptor. That is right because no operation waits on a
 * reader: what would is parked (request.c).
 *
 * Each reads into its own slot of the journal (journal.c), which it clears when the request is
 * answered or parked: arguments are copied into a Request where a request outlives this loop. */

/* Requests in a row after which the leader is not enough. */
#define HELP_AFTER 4
#define SOON_MAX 8u
#define SOON_ENOUGH 4
#define REST 64
#define NEGOTIATE_TIMEOUT_MSEC 10000

/* Sleeps until fd is readable or the threads are to end. EINTR and errors show in the next read. */
static void sleep_on(MountSession *s, int fd) {
        struct pollfd fds[2] = {
                {.fd = fd, .events = POLLIN},
                {.fd = s->readers.stop_fd, .events = POLLIN},
        };

        (void) poll(fds, 2, -1);
}

typedef struct Reader {
        bool leads;
        unsigned n_in_a_row; /* requests since there were none */
        uint64_t since_usec; /* when the last one was answered */
        unsigned n_soon;     /* how often, of late, the next one came so soon that looking paid */
        unsigned n_rest;     /* requests to sleep for */
        long n_switches;     /* times that others got this processor from us */
} Reader;

/* Times that somebody else was let run although this thread could have gone on. */
static long switches_so_far(void) {
        struct rusage usage;

        return getrusage(RUSAGE_THREAD, &usage) < 0 ? 0 : usage.ru_nivcsw; /* cannot fail */
}

/* A request has come after there was none. Looking for it is worth its while where requests follow
 * each other closely, and where the processor is wanted by nobody else: then the looking would make
 * them late. Who sleeps hears of a request later than who looks. */
static void learn(MountSession *s, Reader *reader) {
        uint64_t spin = s->config.spin_usec;

        if (spin == 0 || reader->n_in_a_row > 0)
                return;
        if (now_usec() - reader->since_usec < 2 * spin)
                reader->n_soon = MIN(reader->n_soon + 1, SOON_MAX);
        else
                reader->n_soon /= 2;
        if (reader->n_rest > 0 && --reader->n_rest > 0)
                return;
        long n = switches_so_far();
        if (n != reader->n_switches)
                reader->n_rest = REST;
        reader->n_switches = n;
}

static bool looks_on(const MountSession *s, const Reader *reader) {
        return reader->n_rest == 0 && reader->n_soon >= SOON_ENOUGH &&
               now_usec() - reader->since_usec < s->config.spin_usec;
}

/* Called with a request in hand: others wait only if there is more than that one. */
static void call_help(MountSession *s) {
        struct pollfd pfd = {.fd = fuse_session_fd(s->se), .events = POLLIN};

        if (atomic_load(&s->readers.n_sleeping) > 0 && poll(&pfd, 1, 0) > 0)
                (void) eventfd_write(s->readers.help_fd, 1); /* one too many is one look too many */
}

static void wait_for_call(MountSession *s) {
        Readers *r = &s->readers;
        eventfd_t one;

        (void) atomic_fetch_add(&r->n_sleeping, 1);
        sleep_on(s, r->help_fd);
        (void) atomic_fetch_sub(&r->n_sleeping, 1);
        (void) eventfd_read(r->help_fd, &one); /* EAGAIN: another has taken the call */
}

/* Nothing to read: come back at once, or after a sleep. */
static void wait_for_request(MountSession *s, Reader *reader) {
        Readers *r = &s->readers;

        reader->n_in_a_row = 0;
        if (!reader->leads)
                reader->leads = !atomic_exchange(&r->led, true);
        if (!reader->leads)
                wait_for_call(s);
        else if (looks_on(s, reader))
                (void) sched_yield(); /* the caller may need this processor to go on */
        else
                sleep_on(s, fuse_session_fd(s->se));
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

static const struct fuse_in_header *header_of(const JournalSlot *slot) {
        return (const struct fuse_in_header *) (const void *) slot->data;
}

/* 1 with a request in the slot, 0 at the end of the session, or a negative errno. */
static int receive(MountSession *s, JournalSlot *slot) {
        struct fuse_buf buf = {.mem = slot->data};

        return MIN(fuse_session_receive_buf(s->se, &buf), 1);
}

void reader_refuse(MountSession *s, const JournalSlot *slot, int error) {
        const struct fuse_out_header out = {
                .len = sizeof(out),
                .error = error,
                .unique = header_of(slot)->unique,
        };

        if (write(fuse_session_fd(s->se), &out, sizeof(out)) < 0)
                log_debug("Its caller is gone: %s", strerrordesc_np(errno));
}

void reader_run(MountSession *s, JournalSlot *slot) {
        const struct fuse_buf buf = {.mem = slot->data, .size = journal_slot_size(slot)};

        journal_note_use(s->journal, slot);
        if (journal_is_condemned(s->journal, slot)) {
                stat_add(STAT_FUSE_POISON, 1);
                reader_refuse(s, slot, -EIO);
        } else {
                journal_set_current(slot);
                journal_slot_enter(slot);
                fuse_session_process_buf(s->se, &buf);
        }
        journal_slot_clear(slot);
}

static void *reader_main(void *userdata) {
        MountSession *s = userdata;
        Readers *r = &s->readers;
        JournalSlot *slot = journal_reader_slot(s->journal, atomic_fetch_add(&r->n_slots, 1));
        Reader reader = {0};

        /* Read with the default order: the thread then sees all that was done before. */
        while (!atomic_load(&r->stop)) {
                int n = receive(s, slot);
                if (n > 0) {
                        learn(s, &reader);
                        if (++reader.n_in_a_row % HELP_AFTER == 0)
                                call_help(s);
                        reader_run(s, slot);
                        if (s->config.spin_usec > 0)
                                reader.since_usec = now_usec();
                } else if (n == -EAGAIN)
                        wait_for_request(s, &reader);
                else if (n != -EINTR) {
                        report_end(s, n);
                        break;
                }
        }
        /* An eventfd takes 2^64 - 2 of these. */
        (void) eventfd_write(r->exited_fd, 1);
        return NULL;
}

int readers_init(Readers *r) {
        *r = (Readers){.stop_fd = -1, .help_fd = -1, .exited_fd = -1};
        r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (r->stop_fd < 0)
                return -errno;
        r->help_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
        if (r->help_fd < 0)
                return -errno;
        r->exited_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
        return r->exited_fd < 0 ? -errno : 0;
}

/* Reads the kernel's first request, which comes at once where it was not read before. */
static int await_init(MountSession *s, JournalSlot *slot) {
        struct pollfd pfd = {.fd = fuse_session_fd(s->se), .events = POLLIN};
        int r;

        do {
                r = poll(&pfd, 1, NEGOTIATE_TIMEOUT_MSEC);
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r == 0)
                        return -ETIMEDOUT;
                r = receive(s, slot);
        } while (r == -EINTR || r == -EAGAIN);
        if (r < 0)
                return r;
        return r == 0 ? -ENODEV
                      : journal_record_init(s->journal, slot->data, journal_slot_size(slot));
}

/* A predecessor may have died between reading it and recording it. */
static int find_init(MountSession *s) {
        for (unsigned i = 0; i < JOURNAL_READERS; i++) {
                JournalSlot *slot = journal_reader_slot(s->journal, i);
                int r = journal_record_init(s->journal, slot->data, journal_slot_size(slot));
                if (r >= 0)
                        return 0;
        }
        return await_init(s, journal_reader_slot(s->journal, 0));
}

/* The reply to one that was answered before is refused by the kernel, which goes on with what the
 * first said: op_init() says the same again. */
int readers_negotiate(MountSession *s) {
        const JournalTerms *terms = journal_terms(s->journal);

        int r = terms->init_size > 0 ? 0 : find_init(s);
        if (r < 0)
                return r;
        /* libfuse takes no const, and does not write to it. */
        const struct fuse_buf buf = {.mem = (void *) terms->init, .size = terms->init_size};
        fuse_session_process_buf(s->se, &buf);
        for (unsigned i = 0; i < JOURNAL_READERS; i++) {
                JournalSlot *slot = journal_reader_slot(s->journal, i);
                if (header_of(slot)->opcode == FUSE_INIT)
                        journal_slot_clear(slot);
        }
        return s->negotiated ? 0 : -EPROTO;
}

/* A session that cannot be read from looks to its callers like one that hangs: the kernel refuses a
 * buffer that is too small for what was agreed. */
int readers_check(MountSession *s) {
        JournalSlot *slot = journal_reader_slot(s->journal, 0);

        int r = receive(s, slot);
        if (r > 0)
                reader_run(s, slot);
        return r > 0 || r == -EAGAIN || r == -EINTR ? 0 : r == 0 ? -ENODEV : -EPROTO;
}

int readers_start(MountSession *s) {
        Readers *readers = &s->readers;

        for (; readers->n < s->config.n_threads; readers->n++) {
                int r = thread_start(&readers->threads[readers->n], "gitfs-fuse", reader_main, s);
                if (r < 0)
                        return r;
        }
        return 0;
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
        r->help_fd = safe_close(r->help_fd);
        r->exited_fd = safe_close(r->exited_fd);
}
