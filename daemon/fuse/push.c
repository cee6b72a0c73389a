#include "fuse/push.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>

#include "fuse/herald.h"
#include "fuse/wait-fd.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/stats.h"
#include "util/thread.h"

/* Who walks a tree to read it (tar, grep -r) lists a directory, and then reads its files. Who walks
 * it for names (find, ls -R) lists, too, and nothing should be pushed for him. What tells them
 * apart are READs: the second one in a directory that was listed pushes the rest of it, and from
 * then on directories are pushed when they have been listed.
 *
 * What was pushed is not READ any more, so success looks like the end of the walk. Therefore the
 * walk has a credit, which each READ in a listed directory fills up, and pushing uses up. Where
 * half of it is gone, the first file of each directory is left out: its READ says that the walk
 * goes on. When none comes there is an end: what was pushed in vain is bounded by the credit.
 *
 * A directory is pushed when its last READDIRPLUS finds nothing more: the kernel has made the nodes
 * of all entries by then, and would not take the contents of unknown ones. A walk over what is
 * still being fetched reads the first file that is not here yet by itself; its READ has the files
 * behind it looked at again.
 *
 * To have a single file pushed takes longer than its READ, so they are pushed in batches. The
 * reader does not wait for them, and READs a few of a batch himself: what he READ last may be one
 * that we have passed. Only where it is still before us the push begins again, behind it.
 *
 * A node's content never changes, so nothing pushed can be wrong, however late it comes. */

#define RECENT_MAX 16 /* directories that were listed, and may be read now */
#define QUEUE_MAX 64
#define BATCH_FILES 16
#define PASSED_MAX 64 /* more than a reader falls behind while he READs by himself */
#define CREDIT_DIRS 16
#define CREDIT_BYTES (UINT64_C(8) << 20)

typedef struct RecentDir {
        uint64_t id;      /* 0: none */
        uint64_t read_at; /* the file that was READ last */
        unsigned n_reads; /* of different files, as far as that tells */
        bool tried;       /* queued at least once */
        bool queued;
        bool pushed; /* to the end */
} RecentDir;

struct Pusher {
        Herald *herald; /* owned; before pusher_start() NULL */
        Namespace *ns;
        uint64_t limit;
        pthread_t thread;
        bool started;  /* by the thread that starts and frees */
        int exited_fd; /* eventfd, written by the thread when it ends */
        atomic_bool stop;

        Mutex mutex;
        pthread_cond_t changed; /* with mutex: something was queued, or stop was set */
        /* all guarded by mutex */
        RecentDir recent[RECENT_MAX];
        unsigned next_recent;
        uint64_t queue[QUEUE_MAX]; /* ids of directories, a ring */
        unsigned first, n_queued;
        unsigned credit_dirs;
        uint64_t credit_bytes;
        uint64_t n_unconfirmed; /* files pushed since the last READ that said that a walk goes on */
};

static RecentDir *find_locked(Pusher *p, uint64_t dir) {
        for (size_t i = 0; i < RECENT_MAX; i++)
                if (p->recent[i].id == dir)
                        return &p->recent[i];
        return NULL;
}

static void enqueue_locked(Pusher *p, RecentDir *recent) {
        if (recent->queued || recent->pushed || atomic_load(&p->stop))
                return;
        if (p->n_queued == QUEUE_MAX) {
                stat_add(STAT_PREFETCH_PUSH_DROPPED, 1);
                return;
        }
        p->queue[(p->first + p->n_queued++) % QUEUE_MAX] = recent->id;
        recent->queued = recent->tried = true;
        (void) pthread_cond_signal(&p->changed); /* cannot fail */
}

void pusher_listed(Pusher *p, uint64_t dir) {
        if (!p)
                return;
        MUTEX_GUARD(&p->mutex);
        RecentDir *recent = find_locked(p, dir);
        if (!recent)
                recent = &p->recent[p->next_recent++ % RECENT_MAX];
        else if (recent->queued)
                return;
        *recent = (RecentDir){.id = dir};
        if (p->credit_dirs == 0 || p->credit_bytes == 0)
                return;
        p->credit_dirs--;
        enqueue_locked(p, recent);
}

void pusher_read(Pusher *p, uint64_t file, uint64_t size) {
        if (!p)
                return;
        uint64_t dir = ns_parent(p->ns, file);

        MUTEX_GUARD(&p->mutex);
        RecentDir *recent = dir == 0 ? NULL : find_locked(p, dir);
        if (!recent || recent->read_at == file)
                return;
        recent->read_at = file;
        if (recent->tried && size <= p->limit)
                stat_add(STAT_PUSH_LATE, 1);
        if (++recent->n_reads < 2 && !recent->tried)
                return;
        /* Nobody tells that something was found in the cache. But a walk that comes to another
         * directory of those it is pushed was in the ones before; one that begins is another. */
        stat_add(
                recent->tried ? STAT_PREFETCH_PUSH_USEFUL : STAT_PREFETCH_PUSH_WASTED,
                (int64_t) p->n_unconfirmed);
        p->n_unconfirmed = 0;
        p->credit_dirs = CREDIT_DIRS;
        p->credit_bytes = CREDIT_BYTES;
        enqueue_locked(p, recent);
}

/* --- the thread --- */

typedef struct Push {
        Pusher *pusher;
        uint64_t dir;
        uint64_t after; /* the file that was READ last when this began */
        bool leave_one;
        uint64_t passed[PASSED_MAX]; /* the last files that were looked at, a ring */
        unsigned n_passed;
        unsigned n_batch; /* files that the herald has not been told to give yet */
} Push;

/* Whether what the reader READ last is still before us. */
static bool is_overtaken_locked(const Push *push, const RecentDir *recent) {
        if (recent->read_at == push->after)
                return false;
        for (unsigned i = 0; i < PASSED_MAX && i < push->n_passed; i++)
                if (push->passed[i] == recent->read_at)
                        return false;
        return true;
}

/* Whether to go on with this directory. */
static bool may_push(Push *push, uint64_t size) {
        Pusher *p = push->pusher;

        MUTEX_GUARD(&p->mutex);
        const RecentDir *recent = find_locked(p, push->dir);
        if (atomic_load(&p->stop) || p->credit_bytes == 0 ||
            (recent && is_overtaken_locked(push, recent)))
                return false;
        p->credit_bytes -= MIN(size, p->credit_bytes);
        p->n_unconfirmed++;
        return true;
}

static int give_batch(Push *push) {
        HeraldStored stored = {0};

        int r = herald_flush(push->pusher->herald, &stored);
        if (r < 0) /* a connection that ends, or nobody to tell it: they are READ */
                log_debug("Pushing files into the page cache failed: %s", strerrordesc_np(-r));
        stat_add(STAT_PUSH_FILES, (int64_t) stored.files);
        stat_add(STAT_PUSH_BYTES, (int64_t) stored.bytes);
        push->n_batch = 0;
        return r;
}

static bool push_file(uint64_t id, const ObjectRef *content, void *userdata) {
        Push *push = userdata;
        Herald *herald = push->pusher->herald;

        push->passed[push->n_passed++ % PASSED_MAX] = id;
        /* Too large: its READ will tell as well. */
        if (!content || push->leave_one) {
                push->leave_one = false;
                return true;
        }
        if (content->size == 0)
                return true;
        if (!may_push(push, content->size))
                return false;
        int r = herald_add_store(herald, id, content);
        if (r == -ENOBUFS) {
                if (give_batch(push) < 0)
                        return false;
                r = herald_add_store(herald, id, content);
        }
        if (r < 0)
                log_debug("A file is not pushed: %s", strerrordesc_np(-r));
        else if (++push->n_batch == BATCH_FILES)
                return give_batch(push) >= 0;
        return true;
}

/* Takes the next directory: what to push of it, or false at the end. */
static bool next_push(Pusher *p, Push *ret) {
        MUTEX_GUARD(&p->mutex);
        while (p->n_queued == 0 && !atomic_load(&p->stop))
                mutex_wait(&p->mutex, &p->changed);
        if (atomic_load(&p->stop))
                return false;
        *ret = (Push){.pusher = p, .dir = p->queue[p->first]};
        p->first = (p->first + 1) % QUEUE_MAX;
        p->n_queued--;
        const RecentDir *recent = find_locked(p, ret->dir);
        if (recent)
                ret->after = recent->read_at;
        ret->leave_one = ret->after == 0 && p->credit_dirs < CREDIT_DIRS / 2;
        return true;
}

/* True when the reader has overtaken us: then from where he is. */
static bool finish_push(Pusher *p, Push *push, bool whole) {
        MUTEX_GUARD(&p->mutex);
        RecentDir *recent = find_locked(p, push->dir);
        if (!recent)
                return false;
        if (!whole && is_overtaken_locked(push, recent) && !atomic_load(&p->stop)) {
                push->after = recent->read_at;
                push->n_passed = 0;
                return true;
        }
        recent->queued = false;
        recent->pushed = whole;
        return false;
}

static void *pusher_main(void *userdata) {
        Pusher *p = userdata;
        Push push;
        int r;

        while (next_push(p, &push))
                do {
                        r = ns_resident_files(
                                p->ns, push.dir, push.after, p->limit, push_file, &push);
                        (void) give_batch(&push); /* these are READ */
                } while (finish_push(p, &push, r > 0));
        (void) eventfd_write(p->exited_fd, 1); /* once: cannot overflow */
        return NULL;
}

/* --- life --- */

int pusher_new(Namespace *ns, uint64_t limit, Pusher **ret) {
        _cleanup_(pusher_freep) Pusher *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->ns = ns;
        p->limit = limit;
        mutex_init(&p->mutex, LOCK_RANK_NOTIFY);
        (void) pthread_cond_init(&p->changed, NULL); /* cannot fail on Linux */
        p->exited_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (p->exited_fd < 0)
                return -errno;
        *ret = TAKE_PTR(p);
        return 0;
}

int pusher_start(Pusher *p, int fuse_fd) {
        if (!p)
                return 0;
        int r = herald_new(fuse_fd, p->limit, &p->herald);
        if (r >= 0)
                r = thread_start(&p->thread, "gitfs-push", pusher_main, p);
        p->started = r >= 0;
        return r;
}

void pusher_stop(Pusher *p) {
        if (!p)
                return;
        MUTEX_GUARD(&p->mutex);
        atomic_store(&p->stop, true);
        (void) pthread_cond_signal(&p->changed); /* cannot fail */
}

void pusher_leave(Pusher *p) {
        if (!p)
                return;
        pusher_stop(p);
        herald_dismiss(p->herald);
}

bool pusher_wait(Pusher *p, uint64_t deadline_usec) {
        return !p || !p->started || wait_readable(p->exited_fd, deadline_usec);
}

Pusher *pusher_free(Pusher *p) {
        if (!p)
                return NULL;
        if (p->started)
                (void) pthread_join(p->thread, NULL); /* ours and not detached */
        herald_free(p->herald);
        (void) pthread_cond_destroy(&p->changed); /* nobody waits: cannot fail */
        mutex_destroy(&p->mutex);
        (void) safe_close(p->exited_fd);
        free(p);
        return NULL;
}
