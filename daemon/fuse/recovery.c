#include "fuse/recovery.h"

#include <errno.h>
#include <linux/fuse.h>
#include <unistd.h>

#include "fuse/lowlevel.h"
#include "fuse/reader.h"
#include "fuse/session-internal.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/stats.h"
#include "util/thread.h"

/* Requests that a predecessor has read are run again. Of one that crashed, one of them may be the
 * reason, and would crash this process as well. Its caller is to get an error, and nobody else is
 * to notice.
 *
 * Who is suspected is decided by the journal. Those who are not are run at once. The suspects are
 * run afterwards, beside what comes new: those that were suspected once in small groups, then the
 * others, each alone until it is answered, so that a second or third crash says who it was. After
 * JOURNAL_ATTEMPTS_MAX of them the request is answered with EIO, and so is every call like it until
 * a process ends on purpose (journal_condemn()): the kernel itself asks twice for what it cannot
 * read.
 *
 * A suspect that waits for its turn waits no longer than any other request. */

#define GROUP 16u

static const struct fuse_in_header *header_of(const JournalSlot *slot) {
        return (const struct fuse_in_header *) (const void *) slot->data;
}

static bool has_caller(const JournalSlot *slot) {
        uint32_t opcode = header_of(slot)->opcode;

        return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

void recovery_init(Recovery *r) {
        mutex_init(&r->mutex, LOCK_RANK_LEAF);
        (void) pthread_cond_init(&r->changed, NULL); /* cannot fail on Linux */
}

void recovery_done(Recovery *r) {
        free(r->suspects);
        (void) pthread_cond_destroy(&r->changed); /* nobody waits: cannot fail */
        mutex_destroy(&r->mutex);
}

/* --- the suspects --- */

void recovery_parked(MountSession *s) {
        MUTEX_GUARD(&s->recovery.mutex);
        s->recovery.n_under_way++;
}

void recovery_ended(MountSession *s) {
        MUTEX_GUARD(&s->recovery.mutex);
        s->recovery.n_under_way--;
        (void) pthread_cond_broadcast(&s->recovery.changed); /* cannot fail */
}

/* False: it is time to end. */
static bool await_turn(Recovery *r, const JournalSlot *slot) {
        unsigned others = slot->n_attempts > 1 ? 0 : GROUP - 1;

        MUTEX_GUARD(&r->mutex);
        while (!r->stop && r->n_under_way > others)
                mutex_wait(&r->mutex, &r->changed);
        return !r->stop;
}

static void *recovery_main(void *userdata) {
        MountSession *s = userdata;
        Recovery *r = &s->recovery;

        for (; r->at < r->n && await_turn(r, r->suspects[r->at]); r->at++) {
                if (now_usec() < r->deadline_usec)
                        reader_run(s, r->suspects[r->at]);
                else
                        reader_refuse(s, r->suspects[r->at], -ETIMEDOUT);
                requests_release_slot(&s->requests, r->suspects[r->at]);
        }
        return NULL;
}

void recovery_stop(MountSession *s, int error) {
        Recovery *r = &s->recovery;

        mutex_lock(&r->mutex);
        r->stop = true;
        (void) pthread_cond_broadcast(&r->changed); /* cannot fail */
        mutex_unlock(&r->mutex);
        if (r->started)
                (void) pthread_join(r->thread, NULL); /* ours and not detached */
        r->started = false;
        for (; error != 0 && r->at < r->n; r->at++) {
                reader_refuse(s, r->suspects[r->at], error);
                requests_release_slot(&s->requests, r->suspects[r->at]);
        }
}

/* --- all of them --- */

static void condemn(MountSession *s, const JournalSlot *slot) {
        const struct fuse_in_header *in = header_of(slot);
        _cleanup_buf_ Buf path = {0};

        stat_add(STAT_FUSE_POISON, 1);
        (void) ns_path(s->ns, in->nodeid, &path); /* else the line says less */
        log_error(
                "A call (operation %u on node %llu, \"%s\") is suspected of %u crashes and "
                "answered "
                "with EIO",
                in->opcode,
                (unsigned long long) in->nodeid,
                path.len > 0 ? buf_str(&path) : "",
                slot->n_attempts);
        if (!has_caller(slot))
                return;
        journal_condemn(s->journal, slot);
        reader_refuse(s, slot, -EIO);
}

/* The slot of a suspect that can wait for its turn; NULL where it has to be run now: nobody waits
 * for it, or there is no room. Readers need their slots. */
static JournalSlot *defer(MountSession *s, JournalSlot *slot) {
        if (slot->n_attempts == 0 || !has_caller(slot) || journal_is_condemned(s->journal, slot))
                return NULL;
        return requests_keep_slot(&s->requests, slot);
}

static int compare(const void *a, const void *b) {
        const JournalSlot *x = *(JournalSlot *const *) a, *y = *(JournalSlot *const *) b;
        uint64_t p = header_of(x)->unique, q = header_of(y)->unique;

        if (x->n_attempts != y->n_attempts)
                return x->n_attempts < y->n_attempts ? -1 : 1;
        return p < q ? -1 : p > q;
}

int recovery_start(MountSession *s) {
        Recovery *r = &s->recovery;
        _cleanup_free_ JournalSlot **slots = NULL;
        size_t n = 0;

        int k = journal_pending(s->journal, &slots, &n);
        if (k < 0)
                return k;
        r->suspects = calloc(n + 1, sizeof(*r->suspects));
        if (!r->suspects)
                return -ENOMEM;
        stat_add(STAT_FUSE_RECOVERED, (int64_t) n);
        journal_watch(s->journal);
        /* First those that no other may be like, and last those that this process may not survive.
         */
        for (size_t i = 0; i < n; i++)
                if (slots[i]->n_attempts >= JOURNAL_ATTEMPTS_MAX) {
                        condemn(s, slots[i]);
                        requests_release_slot(&s->requests, slots[i]);
                        slots[i] = NULL;
                }
        for (size_t i = 0; i < n; i++) {
                if (!slots[i])
                        continue;
                JournalSlot *kept = defer(s, slots[i]);
                if (kept) {
                        r->suspects[r->n++] = kept;
                        continue;
                }
                reader_run(s, slots[i]);
                requests_release_slot(&s->requests, slots[i]);
        }
        if (r->n == 0)
                return 0;
        qsort(r->suspects, r->n, sizeof(*r->suspects), compare);
        log_info("Calls that may be why the last gitfsd ended, run apart: %zu", r->n);
        r->deadline_usec = now_usec() + s->config.request_timeout_usec;
        k = thread_start(&r->thread, "gitfs-recovery", recovery_main, s);
        r->started = k >= 0;
        return k;
}
