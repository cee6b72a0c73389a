#include "fuse/session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse/lowlevel.h"
#include "fuse/mount-open.h"
#include "fuse/mount.h"
#include "fuse/ops.h"
#include "fuse/session-internal.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

/* From mount to unmount. The order of the stop is what keeps it from hanging: requests that wait
 * are answered first, because a notification may wait for them; the notify thread ends while the
 * readers still answer, for the same reason; the readers serve until the mount is gone, because
 * whoever walks it now must get an answer too; the descriptor is closed last. */

/* The kernel reads for the page cache in the background, and keeps back what is more than
 * max_background: then all READs wait for the slowest server. So it is asked for as many as may be,
 * and allows a user hundreds or thousands; a part of them is left to READs that wait for nobody
 * (allowed_to_wait()). Beyond the congestion_threshold it reads nothing ahead that nobody waits
 * for. */
#define MAX_BACKGROUND 65535u
#define CONGESTION_THRESHOLD 48u
/* Where the kernel cannot be asked: what it allows with a gigabyte of memory. */
#define SURE_BACKGROUND 256u

/* --- agreeing with the kernel --- */

static void op_init(void *userdata, struct fuse_conn_info *conn) {
        MountSession *s = userdata;

        /* The whole set, so that libfuse's defaults do not matter. In particular: no
         * READDIRPLUS_AUTO, which goes back to one LOOKUP per name; no AUTO_INVAL_DATA, which drops
         * pages for a changed mtime, as a node's content never changes; no splice, which does not
         * pay for requests of this size; no EXPORT_SUPPORT, as "." and ".." are not looked up. */
        const unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS |
                              FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS |
                              FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_NO_OPEN_SUPPORT |
                              (s->config.kernel_dir_cache ? FUSE_CAP_NO_OPENDIR_SUPPORT : 0);

        const JournalTerms *terms = journal_terms(s->journal);

        conn->want = terms->answered ? terms->want : want & conn->capable;
        if (terms->answered)
                conn->max_readahead = terms->max_readahead;
        conn->max_background = s->config.max_background;
        conn->congestion_threshold = MIN(CONGESTION_THRESHOLD, s->config.max_background);
        /* Before the reply: who comes after us must say the same. */
        journal_record_answer(s->journal, conn->want, conn->max_readahead);
        s->no_open = conn->want & FUSE_CAP_NO_OPEN_SUPPORT;
        s->no_opendir = conn->want & FUSE_CAP_NO_OPENDIR_SUPPORT;
        s->parallel_dirops = conn->want & FUSE_CAP_PARALLEL_DIROPS;
        s->negotiated = true;
}

/* What libfuse writes first is the reply to INIT. Before 3.17 it never passes
 * FUSE_CAP_PARALLEL_DIROPS on, so that the kernel would hold a directory's lock over each LOOKUP
 * and READDIR: one that waits for the network would stop all others in its directory. And it knows
 * one size for what is read and what is written; but nothing is written, and the kernel takes
 * max_write for how large the buffers must be that requests are read into. How much is read at once
 * it takes from max_pages, which stays. */
static void complete_init_reply(MountSession *s, const struct iovec *iov, int count) {
        if (count != 2 ||
            iov[1].iov_len < offsetof(struct fuse_init_out, max_write) + sizeof(uint32_t))
                return;
        struct fuse_init_out *out = iov[1].iov_base;
        if (s->parallel_dirops)
                out->flags |= FUSE_PARALLEL_DIROPS;
        out->max_write = JOURNAL_MAX_WRITE;
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata) {
        MountSession *s = userdata;

        if (!s->init_replied) {
                complete_init_reply(s, iov, count);
                s->init_replied = true;
        }
        return writev(fd, iov, count);
}

static ssize_t io_read(int fd, void *data, size_t size, void *userdata) {
        /* libfuse does not know how large the buffer is that it was given. */
        return read(fd, data, MIN(size, (size_t) JOURNAL_READER_SIZE - JOURNAL_SLOT_HEAD));
}

static const struct fuse_custom_io device_io = {.writev = io_writev, .read = io_read};

static const struct fuse_lowlevel_ops operations = {
        .init = op_init,
        .lookup = op_lookup,
        .forget = op_forget,
        .forget_multi = op_forget_multi,
        .getattr = op_getattr,
        .readlink = op_readlink,
        .open = op_open,
        .read = op_read,
        .opendir = op_opendir,
        .readdir = op_readdir,
        .readdirplus = op_readdirplus,
        .statfs = op_statfs,
        .getxattr = op_getxattr,
        .listxattr = op_listxattr,
};

/* --- mounting --- */

/* What libfuse said last on this thread: the reason why mounting failed. */
static _Thread_local char libfuse_said[128];

static void _printf_(2, 0) log_libfuse(enum fuse_log_level level, const char *fmt, va_list ap) {
        (void) vsnprintf(libfuse_said, sizeof(libfuse_said), fmt, ap);
        libfuse_said[strcspn(libfuse_said, "\n")] = '\0';
        if (log_max_level() >= LOG_DEBUG)
                log_full(LOG_DEBUG, NULL, "libfuse: %s", libfuse_said);
}

static struct fuse_session *new_fuse_session(MountSession *s) {
        char *argv[] = {
                (char *) "gitfsd",
                (char *) "-o",
                (char *) MOUNT_OPTIONS,
                NULL,
        };
        struct fuse_args args = FUSE_ARGS_INIT(3, argv);

        fuse_set_log_func(log_libfuse);
        struct fuse_session *se = fuse_session_new(&args, &operations, sizeof(operations), s);
        fuse_opt_free_args(&args);
        return se;
}

/* `where` is a directory, or "/dev/fd/N" for a descriptor that somebody else has mounted. */
static int attach(MountSession *s, const char *where, Failure *f) {
        libfuse_said[0] = '\0';
        if (fuse_session_mount(s->se, where) != 0) {
                (void) failure_set(
                        f,
                        FAILURE_LOCAL,
                        "cannot mount at \"%s\": %s",
                        where,
                        libfuse_said[0] ? libfuse_said : "fusermount3 failed");
                return -EIO;
        }
        int fd = fuse_session_fd(s->se);
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        return fuse_session_custom_io(s->se, &device_io, fd);
}

static int mount_it(MountSession *s, Failure *f) {
        int r = mount_prepare(s->config.mount_point, &s->mount_point, f);
        if (r < 0)
                return r;
        r = attach(s, s->mount_point, f);
        if (r < 0)
                return r;
        r = mount_connection(s->mount_point, &s->connection);
        if (r < 0)
                (void) failure_set(
                        f,
                        FAILURE_LOCAL,
                        "mounted at \"%s\", but not there: is a private mount namespace in use?",
                        s->mount_point);
        return r;
}

static int attach_fd(MountSession *s, int owned_fd, Failure *f) {
        _cleanup_close_ int fd = owned_fd;
        char where[32];

        (void) snprintf(where, sizeof(where), "/dev/fd/%d", fd);
        int r = attach(s, where, f);
        if (r >= 0)
                TAKE_FD(fd);
        return r;
}

/* Somebody has mounted for us. Where, he knows: it need not be visible from here. */
static int take_mount(MountSession *s, Failure *f) {
        s->passed = true;
        int r = mount_canonical(s->config.mount_point, &s->mount_point);
        if (r < 0)
                return r;
        r = mount_connection(s->mount_point, &s->connection);
        return r == -ENOENT ? 0 : r;
}

/* True after an unmount or an abort, by whomever. */
static bool is_disconnected(int fd) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLERR);
}

/* That the journal is that of this connection shows in the place where it is mounted. */
static int take_journal(MountSession *s, int fuse_fd, int owned_fd, Failure *f) {
        _cleanup_close_ int fd = owned_fd;
        JournalMount mount;
        unsigned there = 0;

        int r = journal_open(fd, &s->journal, f);
        if (r < 0)
                return r;
        TAKE_FD(fd);
        journal_mount(s->journal, &mount);
        r = mount_canonical(s->config.mount_point, &s->mount_point);
        if (r < 0)
                return r;
        if (strcmp(s->mount_point, mount.mount_point) != 0) {
                (void) failure_set(f, FAILURE_LOCAL, "it is mounted at \"%s\"", mount.mount_point);
                return -EXDEV;
        }
        r = mount_connection(s->mount_point, &there);
        if (is_disconnected(fuse_fd) || (r < 0 && r != -ENOENT) || there != mount.connection) {
                (void) failure_set(f, FAILURE_LOCAL, "it was unmounted or aborted");
                return -ENOTCONN;
        }
        s->connection = there;
        s->passed = mount.passed;
        s->succeeds = true;
        return 0;
}

static int inherit(MountSession *s, Failure *f) {
        const MountInherited *in = s->config.inherited;

        int r = in->journal_fd >= 0 ? take_journal(s, in->fuse_fd, in->journal_fd, f)
                                    : take_mount(s, f);
        if (r < 0) {
                (void) close(in->fuse_fd);
                return r;
        }
        return attach_fd(s, in->fuse_fd, f);
}

/* More than may wait: a request that is being replied to still has its slot, and one that a
 * predecessor has parked is run from its own, and takes another if it must wait again. */
static unsigned spare_slots(const MountSession *s) {
        return 1 + READERS_MAX + pool_n_threads(s->requests.pool);
}

/* A predecessor may have had fewer slots. */
static uint64_t places_for(const MountSession *s) {
        unsigned n = journal_n_parked(s->journal), spare = spare_slots(s);

        return n > spare ? n - spare : 1;
}

static int open_mount(MountSession *s, Failure *f) {
        int r = s->config.inherited ? inherit(s, f) : mount_it(s, f);
        if (r < 0)
                return r;
        const JournalMount mount = {
                .mount_point = s->mount_point,
                .connection = s->connection,
                .passed = s->passed,
        };
        s->config.mount_point = s->mount_point;
        s->config.inherited = NULL;
        if (!s->journal)
                r = journal_new(
                        &mount,
                        (unsigned) (MIN(s->config.max_pending, UINT64_C(1) << 24) + spare_slots(s)),
                        &s->journal);
        if (r < 0)
                return r;
        s->requests.journal = s->journal;
        s->requests.max_pending = MIN(s->requests.max_pending, places_for(s));
        return 0;
}

int mount_session_new(
        const MountConfig *config,
        Namespace *ns,
        Pool *pool,
        FlightTable *flights,
        MountEnded ended,
        void *userdata,
        MountSession **ret,
        Failure *ret_failure) {
        _cleanup_(mount_session_freep) MountSession *s = calloc(1, sizeof(*s));
        Failure ignored = {0};
        Failure *f = ret_failure ? ret_failure : &ignored;

        *f = ignored;
        if (!s)
                return -ENOMEM;
        s->config = *config;
        if (s->config.n_threads == 0)
                s->config.n_threads = MOUNT_THREADS_DEFAULT;
        s->config.n_threads = MIN(s->config.n_threads, (unsigned) READERS_MAX);
        if (s->config.max_background == 0)
                s->config.max_background = MAX_BACKGROUND;
        s->ns = ns;
        s->ended = ended;
        s->ended_userdata = userdata;
        s->uid = geteuid();
        s->gid = getegid();

        recovery_init(&s->recovery);
        /* Both leave something to clean up when they fail. */
        int r = readers_init(&s->readers);
        int k = requests_init(
                &s->requests, pool, flights, config->request_timeout_usec, config->max_pending);
        if (r >= 0)
                r = k;
        if (r >= 0)
                r = (s->se = new_fuse_session(s)) ? notifier_new(ns, &s->notifier) : -EINVAL;
        if (r >= 0 && config->push_limit > 0)
                r = pusher_new(ns, config->push_limit, &s->pusher);
        if (r >= 0)
                r = open_mount(s, f);
        if (r < 0) {
                if (f->class == FAILURE_NONE)
                        (void) failure_set(
                                f,
                                FAILURE_LOCAL,
                                "cannot set up the FUSE session: %s",
                                strerrordesc_np(-r));
                return r;
        }
        *ret = TAKE_PTR(s);
        return 0;
}

/* READs, once INIT is answered. */
static unsigned allowed_to_wait(const MountSession *s) {
        unsigned n = SURE_BACKGROUND;

        (void) mount_max_background(s->connection, &n); /* then that many */
        n = MIN(n, s->config.max_background);
        return MAX(n / 4 * 3, 1u);
}

int mount_session_start(MountSession *s, Failure *ret_failure) {
        int r = readers_negotiate(s);
        s->requests.max_background = allowed_to_wait(s);
        if (r >= 0)
                r = notifier_start(s->notifier, fuse_session_fd(s->se), s->journal);
        if (r >= 0)
                r = pusher_start(s->pusher, fuse_session_fd(s->se));
        if (r >= 0 && s->succeeds)
                r = recovery_start(s);
        else if (r >= 0)
                journal_watch(s->journal);
        if (r >= 0 && s->succeeds)
                r = readers_check(s);
        if (r >= 0)
                r = readers_start(s);
        /* What the predecessor had to tell the kernel and what changed meanwhile is not known. */
        if (r >= 0 && s->succeeds)
                notifier_recheck(s->notifier);
        if (r < 0)
                (void) failure_set(
                        ret_failure,
                        FAILURE_LOCAL,
                        "cannot serve \"%s\": %s",
                        s->mount_point,
                        strerrordesc_np(-r));
        return r;
}

/* --- the end --- */

/* For what did not end in time: whatever waits in the kernel fails, and so do the threads that wait
 * with it. */
static void give_up(MountSession *s, const char *what) {
        log_warning("%s did not end in time, aborting the FUSE connection", what);
        int r = mount_abort(s->mount_point, s->connection);
        if (r < 0)
                log_warning(
                        "Cannot abort FUSE connection %u: %s, ignoring",
                        s->connection,
                        strerrordesc_np(-r));
}

static void unmount_it(MountSession *s, bool disconnected) {
        if (s->connection == 0 || s->passed) /* did not get that far, or is not ours to do */
                return;
        int r = disconnected ? mount_remove_dead(s->mount_point, s->connection)
                             : mount_remove(s->mount_point, s->connection);
        s->unmounted = r >= 0;
        if (r < 0)
                log_warning(
                        "Cannot unmount \"%s\": %s, ignoring", s->mount_point, strerrordesc_np(-r));
}

int mount_session_stop(MountSession *s, uint64_t timeout_usec) {
        uint64_t deadline = now_usec() + timeout_usec;
        const char *stuck = NULL;

        if (s->stopped)
                return 0;
        s->stopped = true;
        /* From here on the end is ours, not from outside. */
        atomic_store(&s->readers.ended, true);
        /* Before an abort of our own makes it true. */
        bool disconnected = is_disconnected(fuse_session_fd(s->se));

        /* Nothing more is told from here on; what is being told may wait for a request. */
        notifier_stop(s->notifier);
        recovery_stop(s, -ENOTCONN);
        requests_stop(&s->requests);
        if (!requests_wait(&s->requests, deadline))
                stuck = "A request";
        pusher_stop(s->pusher);
        if (!notifier_wait(s->notifier, deadline) && !stuck)
                stuck = "A notification";
        if (!pusher_wait(s->pusher, deadline) && !stuck)
                stuck = "A push";
        if (stuck)
                give_up(s, stuck);

        unmount_it(s, disconnected);
        readers_stop(&s->readers);
        if (!readers_wait(&s->readers, MAX(deadline, now_usec() + USEC_PER_SEC))) {
                if (!stuck)
                        give_up(s, "A reader");
                stuck = "A reader";
        }
        readers_join(&s->readers);
        /* An operation of the pool may still be on its way to its reply: the session is freed only
         * after it. */
        (void) requests_wait(&s->requests, UINT64_MAX);
        /* Likewise who tells, and may wait for trees; nobody hears it any more. */
        if (!notifier_wait(s->notifier, 0)) {
                notifier_leave(s->notifier);
                (void) notifier_wait(s->notifier, UINT64_MAX);
        }
        return stuck ? -ETIMEDOUT : 0;
}

void mount_session_leave(MountSession *s) {
        if (s->stopped)
                return;
        s->stopped = s->left = true;
        atomic_store(&s->readers.ended, true);
        /* What these had to say is said by the successor, who has the kernel look at everything
         * again. It may wait for trees, which come while there is a pool. */
        notifier_leave(s->notifier);
        (void) notifier_wait(s->notifier, UINT64_MAX);
        pusher_leave(s->pusher);
        readers_stop(&s->readers);
        readers_join(&s->readers);
        recovery_stop(s, 0);
        /* Whoever restarts may have repaired what crashed. */
        journal_pardon(s->journal);
        requests_leave(&s->requests);
        (void) requests_wait(&s->requests, UINT64_MAX);
}

/* Closes our descriptor of the connection, which ends what a lazy unmount has left unless others
 * keep one, and leaves libfuse a descriptor that looks like a connection that is gone: otherwise it
 * would unmount the path once more, and whatever is mounted there by then. */
static void sever(MountSession *s) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return;
        (void) close(fds[0]);
        /* Where this fails libfuse's attempt is only noise. */
        (void) dup3(fds[1], fuse_session_fd(s->se), O_CLOEXEC);
        (void) close(fds[1]);
}

MountSession *mount_session_free(MountSession *s) {
        if (!s)
                return NULL;
        if (s->notifier)
                (void) mount_session_stop(s, 5 * USEC_PER_SEC); /* logged where it is slow */
        s->notifier = notifier_free(s->notifier);
        s->pusher = pusher_free(s->pusher);
        if (s->se) {
                if (s->unmounted || s->left)
                        sever(s);
                fuse_session_unmount(s->se);
                fuse_session_destroy(s->se);
        }
        readers_done(&s->readers);
        recovery_done(&s->recovery);
        requests_done(&s->requests);
        journal_free(s->journal);
        free(s->mount_point);
        free(s);
        return NULL;
}

/* --- for the manager --- */

MountInherited mount_session_legacy(const MountSession *s) {
        return (MountInherited){
                .fuse_fd = fuse_session_fd(s->se),
                .journal_fd = journal_fd(s->journal),
        };
}

bool mount_session_follows_crash(const MountSession *s) {
        return s->succeeds && journal_follows_crash(s->journal);
}

bool mount_session_is_visible(const MountSession *s) {
        return s->connection != 0;
}

static void on_entry_changed(uint64_t parent, const char *name, void *userdata) {
        MountSession *s = userdata;
        notifier_entry(s->notifier, parent, name);
}

static void on_inode_changed(uint64_t id, void *userdata) {
        MountSession *s = userdata;
        notifier_inode(s->notifier, id);
}

typedef struct Told {
        NotifyWaiter waiter;
        void (*told)(void *);
        void *userdata;
} Told;

static void on_told(NotifyWaiter *waiter) {
        Told *t = container_of(waiter, Told, waiter);

        t->told(t->userdata);
        free(t);
}

static void on_when_told(void (*told)(void *), void *told_userdata, void *userdata) {
        MountSession *s = userdata;

        Told *t = calloc(1, sizeof(*t));
        if (!t) {
                told(told_userdata); /* it is queued: only who is killed now is not told */
                return;
        }
        *t = (Told){.waiter.told = on_told, .told = told, .userdata = told_userdata};
        notifier_when_told(s->notifier, &t->waiter);
}

void mount_session_observer(MountSession *s, NsObserver *ret) {
        *ret = (NsObserver){
                .entry_changed = on_entry_changed,
                .inode_changed = on_inode_changed,
                .when_told = on_when_told,
                .userdata = s,
        };
}

void mount_session_tick(MountSession *s, uint64_t now) {
        requests_expire(&s->requests, now);
}

void mount_session_invalidate_all(MountSession *s) {
        notifier_everything(s->notifier);
}

void mount_session_when_told(MountSession *s, NotifyWaiter *waiter) {
        notifier_when_told(s->notifier, waiter);
}
