#include "fuse/notify.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "fuse/herald.h"
#include "fuse/wait-fd.h"
#include "tree/namespace-admin.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/htable.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/stats.h"
#include "util/thread.h"

/* A queue without doubles, drained by one thread. What is told is never more than "ask again", so
 * it does not matter that two notifications became one, or that one comes late by what is queued
 * before it; only that each is sent after the state it is about was published.
 *
 * The queue is bounded by its length. Instead of growing further, or when memory is short, it is
 * replaced by one order: drop everything. The kernel drops with a directory's name what it has
 * below and nobody uses; for what is used, it is told of every node that we know.
 *
 * What the kernel is not told it shows for ever. So what cannot be told for want of a process or
 * of memory is tried again until it is, in its place: what is behind it waits, and is replaced by
 * the one order where it grows too long. */

#define RETRY_MIN_USEC (10 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (5 * USEC_PER_SEC)

typedef struct Notice Notice;
struct Notice {
        HTableLink link;
        STAILQ_ENTRY(Notice) entry;
        uint64_t id; /* of the parent where there is a name */
        bool has_name;
        char name[];
};

typedef STAILQ_HEAD(NoticeQueue, Notice) NoticeQueue;
typedef STAILQ_HEAD(NotifyWaiters, NotifyWaiter) NotifyWaiters;

struct Notifier {
        Herald *herald;         /* owned; before notifier_start() NULL */
        const Journal *journal; /* likewise; the session's */
        Namespace *ns;
        pthread_t thread;
        bool started;       /* by the thread that starts and frees */
        int exited_fd;      /* eventfd, written by the thread when it ends */
        atomic_bool ending; /* the same as stop, without the lock */

        Mutex mutex;
        pthread_cond_t changed; /* with mutex: something was queued, or stop was set */
        /* all guarded by mutex */
        NoticeQueue queue;
        HTable queued; /* the same notices */
        bool everything;
        uint64_t recheck_at; /* its number among those queued; 0: not queued */
        bool stop;
        uint64_t n_queued, n_sent; /* ever; with an overflow n_sent jumps */
        NotifyWaiters waiters;     /* by upto */
};

static uint64_t notice_hash(uint64_t id, const char *name) {
        return name ? hash_bytes(name, strlen(name), id) : hash_bytes(&id, sizeof(id), 0);
}

static bool is_queued_locked(Notifier *n, uint64_t hash, uint64_t id, const char *name) {
        HTABLE_FOREACH (l, &n->queued, hash) {
                Notice *notice = container_of(l, Notice, link);
                if (notice->id == id && notice->has_name == (name != NULL) &&
                    (!name || strcmp(notice->name, name) == 0))
                        return true;
        }
        return false;
}

static Notice *take_first_locked(Notifier *n) {
        Notice *notice = STAILQ_FIRST(&n->queue);
        if (notice) {
                STAILQ_REMOVE_HEAD(&n->queue, entry);
                htable_remove(&n->queued, &notice->link);
        }
        return notice;
}

static void clear_locked(Notifier *n) {
        Notice *notice;

        while ((notice = take_first_locked(n)))
                free(notice);
}

static int add_locked(Notifier *n, uint64_t id, const char *name) {
        uint64_t hash = notice_hash(id, name);

        if (is_queued_locked(n, hash, id, name))
                return 0;
        if (n->queued.n_entries >= NOTIFY_QUEUE_MAX)
                return -ENOSPC;
        size_t name_size = name ? strlen(name) + 1 : 0;
        Notice *notice = calloc(1, sizeof(*notice) + name_size);
        if (!notice)
                return -ENOMEM;
        int r = htable_add(&n->queued, &notice->link, hash);
        if (r < 0) {
                free(notice);
                return r;
        }
        notice->id = id;
        notice->has_name = name != NULL;
        if (name)
                memcpy(notice->name, name, name_size);
        STAILQ_INSERT_TAIL(&n->queue, notice, entry);
        n->n_queued++;
        return 1;
}

static void drop_everything_locked(Notifier *n) {
        clear_locked(n);
        n->everything = true;
        n->n_queued++;
}

static void enqueue(Notifier *n, uint64_t id, const char *name) {
        MUTEX_GUARD(&n->mutex);
        if (n->stop || n->everything)
                return;
        if (add_locked(n, id, name) < 0)
                drop_everything_locked(n);
        (void) pthread_cond_broadcast(&n->changed); /* cannot fail */
}

void notifier_entry(Notifier *n, uint64_t parent, const char *name) {
        enqueue(n, parent, name);
}

void notifier_inode(Notifier *n, uint64_t id) {
        enqueue(n, id, NULL);
}

void notifier_everything(Notifier *n) {
        MUTEX_GUARD(&n->mutex);
        if (n->stop || n->everything)
                return;
        drop_everything_locked(n);
        (void) pthread_cond_broadcast(&n->changed); /* cannot fail */
}

void notifier_recheck(Notifier *n) {
        MUTEX_GUARD(&n->mutex);
        if (n->stop || n->everything || n->recheck_at > 0)
                return;
        n->recheck_at = ++n->n_queued;
        (void) pthread_cond_broadcast(&n->changed); /* cannot fail */
}

/* What the kernel is told of: with a name an entry of this directory, else an inode. */
typedef struct Told {
        uint64_t id;
        const char *name;
        bool expire; /* the entry, rather than drop it */
} Told;

static int give_to_herald(Herald *herald, const Told *told) {
        if (!told->name)
                return herald_drop_inode(herald, told->id);
        return told->expire ? herald_expire_entry(herald, told->id, told->name)
                            : herald_drop_entry(herald, told->id, told->name);
}

/* False: it is time to end, and what was not told is a successor's to tell. */
static bool wait_for_retry(Notifier *n, uint64_t wait_usec) {
        uint64_t deadline = now_usec() + wait_usec;

        stat_add(STAT_NOTIFY_RETRIED, 1);
        MUTEX_GUARD(&n->mutex);
        while (!n->stop && mutex_wait_until(&n->mutex, &n->changed, deadline))
                ;
        return !n->stop;
}

/* ENOENT: the kernel did not hold it. ENOTEMPTY: a mount lies below. After the end of the session
 * ENODEV or the like: nothing is cached any more. */
static void tell(Notifier *n, const Told *told) {
        uint64_t wait = RETRY_MIN_USEC;
        int r;

        stat_add(told->name ? STAT_NOTIFY_ENTRY : STAT_NOTIFY_INODE, 1);
        while ((r = give_to_herald(n->herald, told)) == -EAGAIN || r == -ENOMEM) {
                if (!wait_for_retry(n, wait))
                        break;
                wait = MIN(2 * wait, RETRY_MAX_USEC);
        }
        if (r < 0 && r != -ENOENT)
                log_debug(
                        "Notifying the kernel of %s failed: %s",
                        told->name ? "an entry" : "an inode",
                        strerrordesc_np(-r));
}

static void send_entry(Notifier *n, uint64_t parent, const char *name) {
        tell(n, &(Told){.id = parent, .name = name});
}

/* What the kernel is told of an inode while its attributes are being answered has it drop the
 * answer. The first of the root are those that say who may enter: without them those who wait for
 * them get EACCES. Nobody has entered then, so there is nothing to be dropped. */
static void send_inode(Notifier *n, uint64_t id) {
        if (id == NS_ROOT_ID && !journal_root_is_used(n->journal))
                return;
        tell(n, &(Told){.id = id});
}

static bool collect_name(const char *name, const NsAttr *attr, uint64_t next, void *userdata) {
        Buf *names = userdata;
        /* Out of memory ends the listing: the names so far are dropped, the others stay. */
        return buf_append(names, name, strlen(name) + 1) >= 0;
}

/* Of a million names not one more than is being sent: what is left is dropped with the mount, or a
 * successor's to send. */
static bool is_ending(const Notifier *n) {
        return atomic_load_explicit(&n->ending, memory_order_relaxed);
}

static void send_known(uint64_t id, uint64_t parent, const char *name, void *userdata) {
        Notifier *n = userdata;

        if (is_ending(n))
                return;
        if (parent != 0)
                send_entry(n, parent, name);
        send_inode(n, id);
}

typedef void (*SendName)(Notifier *n, uint64_t parent, const char *name);

static void send_root_names(Notifier *n, SendName send) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        _cleanup_buf_ Buf names = {0};

        int r = ns_readdir(n->ns, &call, NS_ROOT_ID, 0, /* plus= */ false, collect_name, &names);
        if (r < 0)
                log_debug("Listing the root to invalidate it failed: %s", strerrordesc_np(-r));
        for (size_t at = 0; at < names.len && !is_ending(n);) {
                const char *name = (const char *) names.data + at;
                at += strlen(name) + 1;
                if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
                        send(n, NS_ROOT_ID, name);
        }
}

static void send_everything(Notifier *n) {
        send_root_names(n, send_entry);
        send_inode(n, NS_ROOT_ID);
        int r = ns_each_known(n->ns, NULL, send_known, n);
        if (r < 0)
                log_debug("Not everything was invalidated: %s", strerrordesc_np(-r));
}

static void send_expired(Notifier *n, uint64_t parent, const char *name) {
        tell(n, &(Told){.id = parent, .name = name, .expire = true});
}

/* A file's content never changes, so it stays. */
static void recheck_known(uint64_t id, uint64_t parent, const char *name, void *userdata) {
        Notifier *n = userdata;
        NsAttr attr;

        if (is_ending(n))
                return;
        if (parent != 0)
                send_expired(n, parent, name);
        if (ns_getattr(n->ns, id, &attr) >= 0 && S_ISDIR(attr.mode))
                send_inode(n, id);
}

static void on_expire(uint64_t parent, const char *name, void *userdata) {
        send_expired(userdata, parent, name);
}

static void on_drop(uint64_t parent, const char *name, void *userdata) {
        send_entry(userdata, parent, name);
}

static bool is_stopped(void *userdata) {
        return is_ending(userdata);
}

static void send_recheck(Notifier *n) {
        const NsTeller teller = {
                .expire = on_expire, .drop = on_drop, .stopped = is_stopped, .userdata = n};

        /* Also of orgs that came in between: the kernel may know that there are none. */
        send_root_names(n, send_expired);
        int r = ns_each_known(n->ns, NULL, recheck_known, n);
        if (r < 0)
                log_warning(
                        "The kernel may show what is not true any more: %s", strerrordesc_np(-r));
        if (!is_ending(n))
                ns_retell(n->ns, &teller);
}

static void send_notice(Notifier *n, const Notice *notice) {
        if (notice->has_name)
                send_entry(n, notice->id, notice->name);
        else
                send_inode(n, notice->id);
}

/* Moves those whose time has come; all of them after the stop. */
static void take_told_locked(Notifier *n, NotifyWaiters *ret) {
        NotifyWaiter *w;

        while ((w = STAILQ_FIRST(&n->waiters)) && (n->stop || w->upto <= n->n_sent)) {
                STAILQ_REMOVE_HEAD(&n->waiters, entry);
                STAILQ_INSERT_TAIL(ret, w, entry);
        }
}

static void tell_waiters(NotifyWaiters *told) {
        NotifyWaiter *w;

        while ((w = STAILQ_FIRST(told))) {
                STAILQ_REMOVE_HEAD(told, entry);
                w->told(w); /* may free it */
        }
}

static void *notifier_main(void *userdata) {
        Notifier *n = userdata;

        mutex_lock(&n->mutex);
        while (!n->stop) {
                uint64_t upto = n->n_sent + 1;
                bool everything = n->everything, recheck = n->recheck_at == upto;
                Notice *notice = everything || recheck ? NULL : take_first_locked(n);
                if (!everything && !recheck && !notice) {
                        mutex_wait(&n->mutex, &n->changed);
                        continue;
                }
                if (everything)
                        upto = n->n_queued;
                n->everything = false;
                if (n->recheck_at <= upto)
                        n->recheck_at = 0;
                mutex_unlock(&n->mutex);

                if (everything)
                        send_everything(n);
                else if (recheck)
                        send_recheck(n);
                else
                        send_notice(n, notice);
                free(notice);

                mutex_lock(&n->mutex);
                n->n_sent = MAX(n->n_sent, upto);
                NotifyWaiters told = STAILQ_HEAD_INITIALIZER(told);
                take_told_locked(n, &told);
                mutex_unlock(&n->mutex);
                tell_waiters(&told);
                mutex_lock(&n->mutex);
        }
        mutex_unlock(&n->mutex);
        (void) eventfd_write(n->exited_fd, 1); /* once: cannot overflow */
        return NULL;
}

void notifier_when_told(Notifier *n, NotifyWaiter *waiter) {
        mutex_lock(&n->mutex);
        waiter->upto = n->n_queued;
        bool now = n->stop || n->n_sent >= waiter->upto;
        if (!now)
                STAILQ_INSERT_TAIL(&n->waiters, waiter, entry);
        mutex_unlock(&n->mutex);
        if (now)
                waiter->told(waiter);
}

int notifier_new(Namespace *ns, Notifier **ret) {
        _cleanup_(notifier_freep) Notifier *n = calloc(1, sizeof(*n));
        if (!n)
                return -ENOMEM;
        n->ns = ns;
        mutex_init(&n->mutex, LOCK_RANK_NOTIFY);
        (void) pthread_cond_init(&n->changed, NULL); /* cannot fail on Linux */
        STAILQ_INIT(&n->queue);
        STAILQ_INIT(&n->waiters);
        n->exited_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (n->exited_fd < 0)
                return -errno;
        *ret = TAKE_PTR(n);
        return 0;
}

int notifier_start(Notifier *n, int fuse_fd, const Journal *journal) {
        n->journal = journal;
        int r = herald_new(fuse_fd, 0, &n->herald);
        if (r >= 0)
                r = thread_start(&n->thread, "gitfs-notify", notifier_main, n);

        n->started = r >= 0;
        return r;
}

void notifier_leave(Notifier *n) {
        notifier_stop(n);
        herald_dismiss(n->herald);
}

void notifier_stop(Notifier *n) {
        NotifyWaiters told = STAILQ_HEAD_INITIALIZER(told);

        atomic_store(&n->ending, true);
        mutex_lock(&n->mutex);
        n->stop = true;
        clear_locked(n);
        take_told_locked(n, &told);
        (void) pthread_cond_broadcast(&n->changed); /* cannot fail */
        mutex_unlock(&n->mutex);
        tell_waiters(&told);
}

bool notifier_wait(Notifier *n, uint64_t deadline_usec) {
        return !n->started || wait_readable(n->exited_fd, deadline_usec);
}

Notifier *notifier_free(Notifier *n) {
        if (!n)
                return NULL;
        if (n->started)
                (void) pthread_join(n->thread, NULL); /* ours and not detached */
        herald_free(n->herald);
        clear_locked(n);
        htable_done(&n->queued);
        (void) pthread_cond_destroy(&n->changed); /* nobody waits: cannot fail */
        mutex_destroy(&n->mutex);
        (void) safe_close(n->exited_fd);
        free(n);
        return NULL;
}
