#include "fuse/request.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "fuse/session-internal.h"
#include "fuse/wait-fd.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/ref.h"
#include "util/stats.h"

/* How a request lives. The reader runs its operation on its own stack, without a waiter: what is
 * resident is answered there and then. Only what would wait becomes a Request: it goes onto the
 * list of those pending and its operation runs again, this time with the waiter, and from then on
 * whenever the flight it joined has landed or the pool has time for it.
 *
 * Who may reply. At each moment a request has one owner, who alone may run its operation, reply and
 * end it:
 *      - the thread that runs it (reader, then pool);
 *      - the pool's queue, when it was submitted; the next owner is the thread that runs the task;
 *      - the flight that it joined; the next owner is the thread on which landed() runs, or whoever
 *        takes it out: flight_leave() says true to one caller only.
 * So there is exactly one reply (R25), without a lock around it.
 *
 * Interrupt, timeout and stop do not own the request. They set `cancel`, the errno to reply with,
 * and then try to take the request out of its flight. If they fail, an owner is under way who looks
 * at `cancel` before it runs the operation, and again after it has parked: either the canceller saw
 * it in the flight, or it sees the canceller's mark.
 *
 * How many may wait is limited, for all (max_pending), for READs, which have few places in the
 * kernel (max_background: session.c), and for each process (caller.c). Which process
 * a request comes from takes two system calls, so it is only found out while many wait: a sixteenth
 * of the places is nobody's in particular. A place is given up right before the reply: a caller who
 * comes back at once finds it free. The slot in the journal is needed until after the reply, so
 * there are more of those: one for each thread that may be replying.
 *
 * How long its memory lives. One reference is the owner's and passes with the ownership. Others who
 * touch the request take their own under the list's lock, or from the owner: a thread that has
 * parked a request has lost it, but still has to look at `cancel`.
 *
 * libfuse calls the interrupt function with the lock of its own request held, on another reader or
 * from within fuse_req_interrupt_func(). A reply frees that lock, so the function only marks and
 * submits. It is unregistered before the reply, which waits for one that is running: the Request it
 * gets is alive. */

/* A directory or object that is evicted faster than it is read would be fetched for ever. More than
 * there may be others in one repository for whom a call waits, one after the other. */
#define ROUNDS_MAX 256
#define CANCEL_BATCH 64
#define UNCOUNTED_PART 16
#define NOBODY (-1)

/* Not an errno: no reply, the slot stays for a successor. */
#define LEFT (-4200)

struct Request {
        Op op;             /* op.name is owned */
        JournalSlot *slot; /* has the kernel's request; the table's, for as long as this lives */
        Reply reply;
        FlightWaiter waiter;
        Task task;
        RequestTable *table;
        Caller *caller; /* guarded by table->mutex; NULL: it is not counted */
        uint64_t deadline_usec;
        unsigned n_rounds; /* the owner's */
        bool left;         /* the owner's: ends without a reply */
        atomic_int cancel; /* 0, or the negative errno to end with; set once */
        Ref ref;
        TAILQ_ENTRY(Request) entry; /* guarded by table->mutex */
};

static void request_unref(Request *r) {
        if (!ref_put(&r->ref))
                return;
        free((char *) r->op.name);
        free(r);
}
DEFINE_CLEANUP(Request *, request_unref)

int requests_init(
        RequestTable *t,
        Pool *pool,
        FlightTable *flights,
        uint64_t timeout_usec,
        uint64_t max_pending) {
        *t = (RequestTable){
                .pool = pool,
                .flights = flights,
                .timeout_usec = timeout_usec,
                .max_pending = max_pending,
                .pending = TAILQ_HEAD_INITIALIZER(t->pending),
        };
        failed_reads_init(&t->failed_reads);
        mutex_init(&t->mutex, LOCK_RANK_REQUEST);
        t->drained_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return t->drained_fd < 0 ? -errno : 0;
}

void requests_done(RequestTable *t) {
        mutex_lock(&t->mutex);
        assert(TAILQ_EMPTY(&t->pending));
        mutex_unlock(&t->mutex);
        callers_done(&t->callers);
        failed_reads_done(&t->failed_reads);
        t->drained_fd = safe_close(t->drained_fd);
        mutex_destroy(&t->mutex);
}

static CallerKind kind_of(const Op *op) {
        return op->background ? CALLER_BACKGROUND : CALLER_ALL;
}

void request_give_place(Request *r) {
        RequestTable *t = r->table;

        MUTEX_GUARD(&t->mutex);
        callers_leave(&t->callers, kind_of(&r->op), TAKE_PTR(r->caller));
        t->n_waiting--;
        t->n_background -= r->op.background;
        stat_add(STAT_FUSE_PARKED_NOW, -1);
}

/* The owner's last act, after the reply. */
static void request_end(Request *r) {
        RequestTable *t = r->table;

        if (r->slot->n_attempts > 0)
                recovery_ended(r->reply.session);
        mutex_lock(&t->mutex);
        TAILQ_REMOVE(&t->pending, r, entry);
        if (!r->left) {
                journal_slot_clear(r->slot);
                journal_give(t->journal, r->slot);
        }
        /* After the unlock, or this write, the table may be gone. */
        int drained_fd = --t->n_pending == 0 && t->stopping ? t->drained_fd : -1;
        mutex_unlock(&t->mutex);
        request_unref(r);
        if (drained_fd >= 0)
                (void) eventfd_write(drained_fd, 1); /* happens once: cannot overflow */
}

/* Nobody was reached in time: the kernel's second question is not to wait like the first. */
static void note_failed_read(RequestTable *t, uint64_t id, int error) {
        uint64_t now = now_usec();

        MUTEX_GUARD(&t->mutex);
        failed_reads_add(&t->failed_reads, id, error, now);
}

static bool is_unreachable(int error) {
        return error > LEFT && (reply_errno(error) == ETIMEDOUT || reply_errno(error) == EHOSTDOWN);
}

static void request_fail(Request *r, int error, const Failure *failure) {
        if (r->op.background && is_unreachable(error))
                note_failed_read(r->table, r->op.id, error);
        if (error == LEFT) {
                r->left = true;
                reply_none(&r->reply);
                request_end(r);
                return;
        }
        if (atomic_load(&r->cancel) == -ETIMEDOUT)
                stat_add(STAT_FUSE_TIMED_OUT, 1);
        reply_error(&r->reply, error, failure);
        request_end(r);
}

/* Runs the operation as far as it gets. The caller owns the request and loses it here. */
static void request_run(Request *r, unsigned flags) {
        RequestTable *t = r->table;
        const NsCall call = {.flags = flags, .waiter = &r->waiter};

        ref_get(&r->ref);
        for (;;) {
                int k = atomic_load(&r->cancel);
                if (k == 0 && r->n_rounds++ >= ROUNDS_MAX)
                        k = -EIO;
                if (k == 0) {
                        journal_slot_enter(r->slot);
                        k = r->op.run(&r->op, &call, &r->reply);
                        if (k < 0)
                                journal_slot_leave(r->slot);
                }
                if (k == NS_PARKED) {
                        /* Not ours any more, unless it was cancelled meanwhile and is still there.
                         */
                        if (atomic_load(&r->cancel) == 0 || !flight_leave(t->flights, &r->waiter))
                                break;
                } else if (k == NS_BLOCKS) {
                        if (!(flags & NS_MAY_BLOCK)) {
                                pool_submit(t->pool, &r->task, TASK_NORMAL);
                                break;
                        }
                } else {
                        if (k < 0)
                                request_fail(r, k, NULL);
                        else
                                request_end(r);
                        break;
                }
        }
        request_unref(r);
}

static void request_task(Task *task) {
        request_run(container_of(task, Request, task), NS_MAY_BLOCK);
}

static void request_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Request *r = container_of(waiter, Request, waiter);

        if (result < 0 && atomic_load(&r->cancel) == 0)
                request_fail(r, result, failure);
        else
                request_run(r, NS_MAY_BLOCK);
}

/* Marks a request to be ended with `error`. True: the caller owns it now. The first mark counts. */
static bool request_cancel(Request *r, int error) {
        int none = 0;

        (void) atomic_compare_exchange_strong(&r->cancel, &none, error);
        return flight_leave(r->table->flights, &r->waiter);
}

static void request_interrupted(fuse_req_t req, void *userdata) {
        Request *r = userdata;

        stat_add(STAT_FUSE_INTERRUPT, 1);
        if (request_cancel(r, -EINTR))
                pool_submit(r->table->pool, &r->task, TASK_NORMAL);
}

/* So many wait that no process may have all the places. */
static bool is_crowded(RequestTable *t, const Op *op) {
        MUTEX_GUARD(&t->mutex);
        return t->n_waiting >= t->max_pending / UNCOUNTED_PART ||
               (op->background && t->n_background >= t->max_background / UNCOUNTED_PART);
}

static uint64_t n_left(uint64_t max, uint64_t n) {
        return n < max ? max - n : 0;
}

/* For the request at hand. One that had a place with a predecessor has it here, too. */
static void count_places_locked(const RequestTable *t, uint64_t ret[_CALLER_KIND_MAX]) {
        bool has_place = journal_slot_is_parked(t->journal, journal_current());

        ret[CALLER_ALL] = has_place ? UINT64_MAX : n_left(t->max_pending, t->n_waiting);
        ret[CALLER_BACKGROUND] =
                has_place ? UINT64_MAX : n_left(t->max_background, t->n_background);
}

/* 0 if the table took it; or why it may not wait: -ENOTCONN, -ENOMEM, what a READ has just failed
 * with, -EAGAIN where none of its kind may, -EDQUOT where none of this process may. */
static int request_enlist(RequestTable *t, Request *r, pid_t process) {
        CallerKind kind = kind_of(&r->op);
        uint64_t n_free[_CALLER_KIND_MAX];
        uint64_t now = now_usec();

        MUTEX_GUARD(&t->mutex);
        count_places_locked(t, n_free);
        if (t->stopping)
                return -ENOTCONN;
        int k = r->op.background ? failed_reads_find(&t->failed_reads, r->op.id, now) : 0;
        if (k < 0)
                return k;
        if (n_free[CALLER_ALL] == 0 || n_free[kind] == 0)
                return -EAGAIN;
        if (process != NOBODY) {
                k = callers_enter(&t->callers, process, kind, n_free, &r->caller);
                if (k < 0)
                        return k;
        }
        r->slot = journal_take(t->journal);
        if (!r->slot) {
                callers_leave(&t->callers, kind, r->caller);
                return -EAGAIN;
        }
        /* Here, so that who is counted as waiting has his place with a successor, too. */
        journal_slot_copy(r->slot, journal_current());
        /* One timeout for all, and taken under the lock: the list is in order. */
        r->deadline_usec = now_usec() + t->timeout_usec;
        TAILQ_INSERT_TAIL(&t->pending, r, entry);
        t->n_pending++;
        t->n_waiting++;
        t->n_background += r->op.background;
        r->reply.waiting = r;
        stat_add(STAT_FUSE_PARKED, 1);
        stat_add(STAT_FUSE_PARKED_NOW, 1);
        return 0;
}

static int request_new(RequestTable *t, const Op *op, const Reply *reply, Request **ret) {
        if (!journal_slot_fits(journal_current()))
                return -ENAMETOOLONG; /* no other request is as long */
        _cleanup_(request_unrefp) Request *r = calloc(1, sizeof(*r));
        if (!r)
                return -ENOMEM;
        r->ref = REF_INIT;
        r->table = t;
        r->reply = *reply;
        r->reply.interruptible = true;
        r->waiter.landed = request_landed;
        r->task.run = request_task;
        r->op = *op;
        if (op->name) {
                r->op.name = strdup(op->name);
                if (!r->op.name)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(r);
        return 0;
}

/* No more may wait, of anybody or of this process. */
static void request_refuse(Reply *reply, int error, pid_t process) {
        Failure f = {0};

        stat_add(STAT_FUSE_REFUSED, 1);
        if (error == -EAGAIN)
                (void) failure_set(&f, FAILURE_LOCAL, "too many calls wait");
        else
                (void) failure_set(&f, FAILURE_LOCAL, "too many calls of process %d wait", process);
        reply_error(reply, -EAGAIN, &f);
}

/* The operation cannot be answered now. */
static void request_park(RequestTable *t, const Op *op, Reply *reply) {
        pid_t process = NOBODY;
        Request *r;

        int k = request_new(t, op, reply, &r);
        if (k < 0) {
                reply_error(reply, k, NULL);
                return;
        }
        if (is_crowded(t, op))
                process = caller_process(fuse_req_ctx(reply->req)->pid);
        k = request_enlist(t, r, process);
        if (k < 0) {
                request_unref(r);
                if (k == -EAGAIN || k == -EDQUOT)
                        request_refuse(reply, k, process);
                else
                        reply_error(reply, k, NULL);
                return;
        }
        r->waiter.scope = &r->slot->scope;
        if (r->slot->n_attempts > 0)
                recovery_parked(reply->session);
        fuse_req_interrupt_func(reply->req, request_interrupted, r);
        request_run(r, 0);
}

void request_dispatch(MountSession *s, fuse_req_t req, const Op *op) {
        Reply reply = {.session = s, .req = req, .what = op->what, .id = op->id};
        const NsCall resident = {0};

        int k = op->run(op, &resident, &reply);
        if (k == NS_PARKED || k == NS_BLOCKS)
                request_park(&s->requests, op, &reply);
        else if (k < 0)
                reply_error(&reply, k, NULL);
}

/* Ends everything whose deadline is not after `now`. In batches: nothing is replied to under the
 * lock, and a request that could not be taken out is marked and not looked at again. */
static void cancel_until(RequestTable *t, uint64_t now, int error) {
        Request *batch[CANCEL_BATCH];
        size_t n;

        do {
                Request *r;
                n = 0;
                mutex_lock(&t->mutex);
                TAILQ_FOREACH (r, &t->pending, entry) {
                        if (r->deadline_usec > now || n == CANCEL_BATCH)
                                break;
                        if (atomic_load(&r->cancel) != 0)
                                continue;
                        ref_get(&r->ref);
                        batch[n++] = r;
                }
                mutex_unlock(&t->mutex);
                for (size_t i = 0; i < n; i++) {
                        if (request_cancel(batch[i], error))
                                request_run(batch[i], 0);
                        request_unref(batch[i]);
                }
        } while (n == CANCEL_BATCH);
}

void requests_expire(RequestTable *t, uint64_t now) {
        cancel_until(t, now, -ETIMEDOUT);
}

void requests_release_slot(RequestTable *t, JournalSlot *slot) {
        journal_slot_clear(slot);
        MUTEX_GUARD(&t->mutex);
        journal_give(t->journal, slot);
}

JournalSlot *requests_keep_slot(RequestTable *t, JournalSlot *slot) {
        JournalSlot *kept = NULL;

        if (journal_slot_is_parked(t->journal, slot))
                return slot;
        if (journal_slot_fits(slot)) {
                MUTEX_GUARD(&t->mutex);
                kept = journal_take(t->journal);
        }
        if (kept) {
                journal_slot_copy(kept, slot);
                journal_slot_clear(slot);
        }
        return kept;
}

static void end_all(RequestTable *t, int error) {
        mutex_lock(&t->mutex);
        bool drained = t->n_pending == 0 && !t->stopping;
        t->stopping = true;
        mutex_unlock(&t->mutex);
        if (drained)
                (void) eventfd_write(t->drained_fd, 1); /* happens once: cannot overflow */
        cancel_until(t, UINT64_MAX, error);
}

void requests_stop(RequestTable *t) {
        end_all(t, -ENOTCONN);
}

void requests_leave(RequestTable *t) {
        end_all(t, LEFT);
}

bool requests_wait(RequestTable *t, uint64_t deadline_usec) {
        return wait_readable(t->drained_fd, deadline_usec);
}
