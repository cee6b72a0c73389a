/* Which blobs of a repository are wanted, and which request asks for which.
 *
 * Every blob on its way is one Want, and belongs to one FetchBatch: what goes out, or has gone out,
 * as one request. There are three lanes of batches: for readers, read-ahead and prefetch jobs.
 * Here they are kept, from when a blob is wanted until its request has ended; fetch-queue-next.c
 * says which request goes out next, fetch-queue-promote.c what becomes of a want that a reader
 * comes to wait for. */

#include <errno.h>
#include <string.h>

#include "tree/fetch-queue-private.h"
#include "util/clock.h"
#include "util/stats.h"

/* A request may bring so many times the bytes that it was thought to, and no guess is above that:
 * files of one kind lie together, and some of linux's have half a megabyte each. */
#define MAX_EXCESS 4
#define MAX_GUESSED_BYTES (UINT64_C(128) << 20)
#define UNKNOWN_BYTES 8192 /* a file of unknown size, about */
#define MEAN_FILES 64      /* so many files count as much as all before them */
#define MEAN_MAX_BYTES (UINT64_C(1) << 20)

/* In all repositories together, beyond which nothing is read ahead. About 150 bytes each. */
#define MAX_WANTS 200000

static atomic_size_t n_wants_now;

uint64_t blob_want_bytes(const BlobWant *blob) {
        return blob->size == SIZE_UNKNOWN ? UNKNOWN_BYTES : blob->size;
}

static uint64_t oid_hash(const Oid *oid) {
        return hash_bytes(oid->id, OID_RAW_MAX, 0);
}

void fetch_queue_init(FetchQueue *q) {
        *q = (FetchQueue){.mean_bytes = UNKNOWN_BYTES};
        for (FetchLane lane = 0; lane < _LANE_MAX; lane++)
                TAILQ_INIT(&q->lanes[lane].queued);
        TAILQ_INIT(&q->active);
        TAILQ_INIT(&q->feeds);
}

void fetch_queue_done(FetchQueue *q) {
        assert(fetch_queue_is_idle_locked(q));
        htable_done(&q->wants);
}

bool fetch_queue_is_idle_locked(const FetchQueue *q) {
        return q->n_active == 0 && q->wants.n_entries == 0 && !q->timer_armed &&
               TAILQ_EMPTY(&q->feeds);
}

/* --- batches --- */

void fetch_batch_drop_names(FetchBatch *b) {
        free(b->names);
        b->names = NULL;
        b->n_names = 0;
}

FetchBatch *
fetch_batch_new(FetchLane lane, const FetchName *names, size_t n_names, FetchFeed *feed) {
        _cleanup_free_ FetchBatch *b = calloc(1, sizeof(*b));

        if (!b)
                return NULL;
        if (n_names > 0) {
                b->names = calloc(n_names, sizeof(*names));
                if (!b->names)
                        return NULL;
                memcpy(b->names, names, n_names * sizeof(*names));
                b->n_names = n_names;
        }
        b->lane = lane;
        TAILQ_INIT(&b->wants);
        b->closed = n_names > 0 || feed;
        b->feed = feed;
        return TAKE_PTR(b);
}

void fetch_batch_free(FetchBatch *b) {
        if (!b)
                return;
        assert(TAILQ_EMPTY(&b->wants));
        free(b->names);
        free(b->oids);
        free(b);
}

/* The last batch of a lane if it takes more. */
static FetchBatch *last_open(FetchQueue *q, FetchLane lane) {
        FetchBatch *b = TAILQ_LAST(&q->lanes[lane].queued, FetchBatchList);

        return b && !b->closed ? b : NULL;
}

void fetch_queue_append_locked(FetchQueue *q, FetchBatch *b) {
        b->state = BATCH_QUEUED;
        b->queued_usec = now_usec();
        b->bytes_all = MAX(b->bytes_all, b->bytes);
        TAILQ_INSERT_TAIL(&q->lanes[b->lane].queued, b, entry);
}

void fetch_queue_unqueue_locked(FetchQueue *q, FetchBatch *b) {
        TAILQ_REMOVE(&q->lanes[b->lane].queued, b, entry);
}

/* Nothing is left to send. That of a feed is still counted by it, and ends in its turn. */
static void free_if_pointless(FetchQueue *q, FetchBatch *b) {
        if (b->n > 0 || b->state != BATCH_QUEUED || b->feed)
                return;
        fetch_queue_unqueue_locked(q, b);
        fetch_batch_free(b);
}

/* The same, or a new one; NULL without memory. */
static FetchBatch *open_batch(FetchQueue *q, FetchLane lane) {
        FetchBatch *b = last_open(q, lane);

        if (b)
                return b;
        b = fetch_batch_new(lane, NULL, 0, NULL);
        if (b)
                fetch_queue_append_locked(q, b);
        return b;
}

/* --- wants --- */

static void link_want(FetchBatch *b, Want *want) {
        want->batch = b;
        TAILQ_INSERT_TAIL(&b->wants, want, entry);
        b->n++;
        b->bytes += blob_want_bytes(&want->blob);
}

static void unlink_want(Want *want) {
        FetchBatch *b = want->batch;

        TAILQ_REMOVE(&b->wants, want, entry);
        b->n--;
        b->bytes -= blob_want_bytes(&want->blob);
        if (want->counted)
                b->waited = --b->n_waiting > 0;
        want->counted = false;
}

void fetch_want_move_locked(FetchQueue *q, Want *want, FetchBatch *to) {
        FetchBatch *from = want->batch;

        unlink_want(want);
        link_want(to, want);
        free_if_pointless(q, from);
}

void fetch_queue_merge_locked(FetchQueue *q, FetchBatch *b) {
        FetchBatch *to = b->closed ? NULL : last_open(q, b->lane);

        if (!to && b->n > 0) {
                fetch_queue_append_locked(q, b);
                return;
        }
        while (b->n > 0)
                fetch_want_move_locked(q, TAILQ_FIRST(&b->wants), to);
        fetch_batch_free(b);
}

/* Out of the table; still in its batch. */
static void forget_want(FetchQueue *q, Want *want) {
        htable_remove(&q->wants, &want->link);
        atomic_fetch_sub_explicit(&n_wants_now, 1, memory_order_relaxed);
}

Want *fetch_queue_find_locked(FetchQueue *q, const Oid *oid) {
        HTABLE_FOREACH (l, &q->wants, oid_hash(oid)) {
                Want *want = container_of(l, Want, link);
                if (oid_equal(&want->blob.oid, oid))
                        return want;
        }
        return NULL;
}

int fetch_batch_add_locked(FetchQueue *q, FetchBatch *b, const BlobWant *blob) {
        if (fetch_queue_find_locked(q, &blob->oid))
                return 0;
        if (b->lane == LANE_READAHEAD &&
            atomic_load_explicit(&n_wants_now, memory_order_relaxed) >= MAX_WANTS)
                return -ENOBUFS;
        Want *want = calloc(1, sizeof(*want));
        if (!want)
                return -ENOMEM;
        want->blob = *blob;
        int r = htable_add(&q->wants, &want->link, oid_hash(&blob->oid));
        if (r < 0) {
                free(want);
                return r;
        }
        atomic_fetch_add_explicit(&n_wants_now, 1, memory_order_relaxed);
        link_want(b, want);
        return 1;
}

void fetch_queue_drop_locked(FetchQueue *q, Want *want) {
        FetchBatch *b = want->batch;

        forget_want(q, want);
        unlink_want(want);
        free(want);
        free_if_pointless(q, b);
}

void fetch_queue_count_locked(FetchQueue *q, FetchBatch *b, const Oid *oid, uint64_t size) {
        const Want *want = fetch_queue_find_locked(q, oid);
        uint64_t mean = q->mean_bytes, counted = MIN(size, MEAN_MAX_BYTES);
        uint64_t now = now_usec();

        q->mean_bytes = mean - mean / MEAN_FILES + counted / MEAN_FILES;
        q->n_came++;
        q->bytes_came += counted;
        if (b->lane == LANE_READAHEAD)
                atomic_store_explicit(&q->ahead_usec, now, memory_order_relaxed);
        if (b->first_usec == 0)
                b->first_usec = now;
        b->bytes_came += size;
        /* As it was counted when it was asked for: where sizes are guessed, their sum is, too. */
        b->bytes_in += want ? blob_want_bytes(&want->blob) : size;
}

void fetch_queue_expect_locked(FetchQueue *q, uint64_t mean_bytes) {
        q->mean_bytes = MIN(mean_bytes, MEAN_MAX_BYTES);
}

/* --- how it goes out, and how it ends --- */

void fetch_queue_sent_locked(FetchQueue *q, FetchBatch *b, uint64_t now) {
        uint64_t offset = 0, n_guessed = 0;
        Want *want;

        TAILQ_FOREACH (want, &b->wants, entry) {
                want->offset = offset;
                offset += blob_want_bytes(&want->blob);
                n_guessed += want->blob.size == SIZE_UNKNOWN;
        }
        uint64_t guessed = n_guessed * UNKNOWN_BYTES;
        b->bytes_max = MAX_EXCESS * (offset - guessed + MIN(guessed, MAX_GUESSED_BYTES));
        b->state = BATCH_SENT;
        b->sent_usec = now;
        b->n_sent = b->n;
        TAILQ_INSERT_TAIL(&q->active, b, entry);
        q->lanes[b->lane].n_active++;
        q->n_active++;
        if (b->lane == LANE_WAITING)
                stat_add(STAT_FETCH_MERGED, (int64_t) b->n - 1);
}

void fetch_queue_ended_locked(FetchQueue *q, FetchBatch *b) {
        assert(b->state == BATCH_SENT && q->n_active > 0);
        TAILQ_REMOVE(&q->active, b, entry);
        q->n_active--;
        q->lanes[b->lane].n_active--;
        q->lanes[b->lane].since_usec = 0;
}

void fetch_queue_requeue_locked(FetchQueue *q, FetchBatch *b) {
        free(b->oids);
        b->oids = NULL;
        fetch_batch_drop_names(b);
        b->first_usec = b->bytes_in = b->bytes_came = 0;
        b->state = BATCH_QUEUED;
        TAILQ_INSERT_HEAD(&q->lanes[b->lane].queued, b, entry);
}

void fetch_queue_overtake_locked(FetchQueue *q, Want *want) {
        FetchBatch *to = open_batch(q, LANE_WAITING);

        if (to)
                fetch_want_move_locked(q, want, to);
}

void fetch_queue_retry_waited_locked(FetchQueue *q, FetchBatch *b) {
        Want *next;

        for (Want *want = TAILQ_FIRST(&b->wants); want; want = next) {
                next = TAILQ_NEXT(want, entry);
                if (want->waited)
                        fetch_queue_overtake_locked(q, want);
        }
}

void fetch_queue_detach_locked(FetchQueue *q, FetchBatch *b, WantList *ret) {
        Want *want;

        TAILQ_FOREACH (want, &b->wants, entry)
                forget_want(q, want);
        TAILQ_CONCAT(ret, &b->wants, entry);
        b->n = 0;
        b->bytes = 0;
}

bool fetch_feed_has_more(const FetchFeed *feed) {
        return feed->at < feed->n && feed->result >= 0;
}

FetchFeed *fetch_queue_finished_feed_locked(FetchQueue *q) {
        FetchFeed *feed;

        TAILQ_FOREACH (feed, &q->feeds, entry)
                if (feed->n_batches == 0 && !fetch_feed_has_more(feed)) {
                        TAILQ_REMOVE(&q->feeds, feed, entry);
                        return feed;
                }
        return NULL;
}

static void cancel_batch(FetchQueue *q, FetchBatch *b, WantList *ret) {
        bool queued = b->state == BATCH_QUEUED;

        if (queued) {
                fetch_queue_unqueue_locked(q, b);
                b->state = BATCH_NEW; /* is not freed by who empties it */
        }
        atomic_store(&b->cancelled, true);
        fetch_queue_retry_waited_locked(q, b);
        stat_add(STAT_FETCH_CANCELLED, (int64_t) b->n);
        fetch_queue_detach_locked(q, b, ret);
        b->feed = NULL;
        if (queued)
                fetch_batch_free(b);
}

bool fetch_queue_stop_excess_locked(FetchQueue *q, FetchBatch *b, WantList *ret) {
        size_t at_least = b->lane == LANE_WAITING ? FETCH_CAUGHT_UP_MAX : 1; /* what came is one */

        /* Where nothing came of what was asked for, asking again would bring no more. */
        if (b->lane == LANE_PREFETCH || b->n <= at_least || b->n == b->n_sent ||
            b->bytes_came <= MAX(b->bytes_max, MAX_EXCESS * MAX_GUESSED_BYTES))
                return false;
        cancel_batch(q, b, ret);
        /* What is to follow was guessed in the same way. */
        for (FetchBatch *next, *queued = TAILQ_FIRST(&q->lanes[LANE_READAHEAD].queued); queued;
             queued = next) {
                next = TAILQ_NEXT(queued, entry);
                cancel_batch(q, queued, ret);
        }
        return true;
}

bool fetch_queue_cancel_feed_locked(FetchQueue *q, FetchFeed *feed, WantList *ret) {
        FetchBatchList *lists[] = {&q->lanes[LANE_PREFETCH].queued, &q->active};
        FetchFeed *known;

        TAILQ_FOREACH (known, &q->feeds, entry)
                if (known == feed)
                        break;
        if (!known)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                for (FetchBatch *b = TAILQ_FIRST(lists[i]), *next; b; b = next) {
                        next = TAILQ_NEXT(b, entry);
                        if (b->feed == feed)
                                cancel_batch(q, b, ret);
                }
        TAILQ_REMOVE(&q->feeds, feed, entry);
        feed->cancelled = true;
        return true;
}
