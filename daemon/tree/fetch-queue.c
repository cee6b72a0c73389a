/* Which blobs of a repository are wanted, and which request asks for which.
 *
 * Every blob on its way is one Want, and belongs to one FetchBatch: what goes out, or has gone out,
 * as one request. There are three lanes of batches: for readers, read-ahead and prefetch jobs.
 *
 *  - What a reader wants goes out at once when no request for readers is under way. Else the others
 *    are likely to come in a burst: they are gathered for a fraction of the round trip, which is
 *    nothing where the server is near. They never wait for requests of the lanes below, which leave
 *    them two of the four that a repository has.
 *  - Read-ahead and prefetch share two, so that the server prepares one answer while the other one
 *    comes. The second has to be worth it: a reader that follows closely adds a few files at
 *    a time, which are collected until they make a batch.
 *  - A lane whose turn has not come for LANE_AGE_USEC, and that has nothing on the wire, is next,
 *    before any other and beyond those two: nobody starves.
 *
 * A reader who wants what is only queued takes it along into the first lane, and a little of what
 * follows, which he is likely to read next: he has caught up. When it is on the wire already, it is
 * asked for again where its answer would come far too late (is_far()); whichever comes first is
 * good. What waits for its turn at its host is raised there (FetchBatch.waited). That of a job,
 * which may have others of its kind before it, is far.
 *
 * A batch that names trees is as large as they are. Others are cut by number and by bytes when
 * they are sent. */

#include "tree/fetch-queue.h"

#include <errno.h>
#include <string.h>

#include "util/clock.h"
#include "util/stats.h"

#define MAX_ACTIVE 4
#define MAX_BACKGROUND 2
#define LANE_AGE_USEC USEC_PER_SEC

#define MAX_BATCH 2000
#define MAX_BATCH_BYTES (UINT64_C(32) << 20)
/* Of read-ahead, beside another request of it. */
#define MIN_BATCH 1000
#define MIN_BATCH_BYTES (UINT64_C(8) << 20)
/* A request may bring so many times the bytes that it was thought to, and no guess is above that:
 * files of one kind lie together, and some of linux's have half a megabyte each. */
#define MAX_EXCESS 4
#define MAX_GUESSED_BYTES (UINT64_C(128) << 20)
/* With what a reader waits for. */
#define CAUGHT_UP_BATCH 500
#define CAUGHT_UP_BYTES (UINT64_C(1) << 20)
#define UNKNOWN_BYTES 8192 /* a file of unknown size, about */
#define MEAN_FILES 64      /* so many files count as much as all before them */
#define MEAN_MAX_BYTES (UINT64_C(1) << 20)

/* Gathering: this part of the round trip, if that makes any difference. */
#define GATHER_PART 8
#define GATHER_MIN_USEC 500
#define GATHER_MAX_USEC (25 * USEC_PER_MSEC)

/* What a server takes to prepare an answer and to send it, for a guess. */
#define PREPARE_USEC_PER_WANT 100
#define PREPARE_USEC_PER_FILE 1 /* below a tree */
#define PREPARE_USEC (15 * USEC_PER_MSEC)
#define BYTES_PER_USEC 50
/* Beyond this nobody waits for a file who only wants to know its size. */
#define SOON_USEC USEC_PER_SEC
/* A walker comes upon its own read-ahead all the time. */
#define WANTS_PER_REPEAT 4000

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

static void unqueue(FetchQueue *q, FetchBatch *b) {
        TAILQ_REMOVE(&q->lanes[b->lane].queued, b, entry);
}

/* Nothing is left to send. That of a feed is still counted by it, and ends in its turn. */
static void free_if_pointless(FetchQueue *q, FetchBatch *b) {
        if (b->n > 0 || b->state != BATCH_QUEUED || b->feed)
                return;
        unqueue(q, b);
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

static void move_want(FetchQueue *q, Want *want, FetchBatch *to) {
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
                move_want(q, TAILQ_FIRST(&b->wants), to);
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

/* --- readers who wait --- */

/* How long its answer takes from now on: by the bytes that come before it, or, while the server is
 * still preparing, by how much it has to prepare. */
static uint64_t expected_usec(const FetchBatch *b, const Want *want, uint64_t now, uint64_t rtt) {
        if (b->first_usec == 0) {
                uint64_t elapsed = now - b->sent_usec;
                uint64_t prepare = rtt + PREPARE_USEC;
                prepare += b->n_names > 0 ? b->n_names * PREPARE_USEC_PER_WANT +
                                                    b->n_sent * PREPARE_USEC_PER_FILE
                                          : b->n_sent * PREPARE_USEC_PER_WANT;
                /* What has taken long already may well take longer. */
                return MAX(prepare > elapsed ? prepare - elapsed : 0, elapsed / 4) +
                       want->offset / BYTES_PER_USEC;
        }
        uint64_t before = want->offset > b->bytes_in ? want->offset - b->bytes_in : 0;
        return before * (now - b->first_usec) / MAX(b->bytes_in, UINT64_C(1));
}

/* Whether its answer is far off, compared to that of a request for it alone. */
static bool is_far(const FetchBatch *b, const Want *want, uint64_t now, uint64_t rtt) {
        uint64_t alone = rtt + PREPARE_USEC + blob_want_bytes(&want->blob) / BYTES_PER_USEC;

        if (b->lane == LANE_PREFETCH && atomic_load_explicit(&b->held, memory_order_relaxed))
                return true;
        return expected_usec(b, want, now, rtt) > 2 * alone;
}

bool fetch_queue_is_soon_locked(const Want *want, uint64_t rtt_usec) {
        const FetchBatch *b = want->batch;

        return b->lane != LANE_PREFETCH &&
               (b->state != BATCH_SENT ||
                expected_usec(b, want, now_usec(), rtt_usec) <= SOON_USEC + rtt_usec);
}

static bool may_repeat(const FetchBatch *b) {
        return b->lane == LANE_PREFETCH || b->n_repeated < b->n_sent / WANTS_PER_REPEAT;
}

/* To those that wait: alone where others take care of what follows. */
static void overtake(FetchQueue *q, Want *want) {
        FetchBatch *to = open_batch(q, LANE_WAITING);

        if (to)
                move_want(q, want, to);
}

static void catch_up(FetchQueue *q, Want *want) {
        FetchBatch *to = fetch_batch_new(LANE_WAITING, NULL, 0, NULL);
        Want *next;

        if (!to)
                return; /* it comes all the same */
        for (; want && to->n < CAUGHT_UP_BATCH && to->bytes < CAUGHT_UP_BYTES; want = next) {
                next = TAILQ_NEXT(want, entry);
                move_want(q, want, to);
        }
        fetch_queue_append_locked(q, to);
        to->closed = true;
}

bool fetch_queue_promote_locked(FetchQueue *q, Want *want, uint64_t rtt_usec) {
        FetchBatch *b = want->batch;

        want->waited = true;
        if (b->lane == LANE_WAITING)
                return false;
        if (b->state == BATCH_SENT) {
                if (!may_repeat(b) || !is_far(b, want, now_usec(), rtt_usec)) {
                        b->n_waiting += !want->counted;
                        want->counted = true;
                        b->waited = true;
                        return atomic_load_explicit(&b->held, memory_order_relaxed);
                }
                b->n_repeated++;
                stat_add(STAT_FETCH_REPEATED, 1);
                overtake(q, want);
                return false;
        }
        stat_add(STAT_FETCH_PROMOTED, 1);
        if (b->state == BATCH_NEW || b->closed)
                overtake(q, want);
        else
                catch_up(q, want);
        return false;
}

/* --- whose turn it is --- */

static bool feed_has_more(const FetchFeed *feed) {
        return feed->at < feed->n && feed->result >= 0;
}

static FetchFeed *hungry_feed(FetchQueue *q) {
        FetchFeed *feed;

        TAILQ_FOREACH (feed, &q->feeds, entry)
                if (feed_has_more(feed))
                        return feed;
        return NULL;
}

static uint64_t gather_usec(uint64_t rtt_usec) {
        uint64_t usec = MIN(rtt_usec / GATHER_PART, GATHER_MAX_USEC);

        return usec < GATHER_MIN_USEC ? 0 : usec;
}

static bool waiting_is_ready(FetchQueue *q, uint64_t now, uint64_t gather, uint64_t *ret_when) {
        const FetchBatch *first = TAILQ_FIRST(&q->lanes[LANE_WAITING].queued);

        if (!first)
                return false;
        if (q->lanes[LANE_WAITING].n_active == 0 || first->closed || first->n >= MAX_BATCH ||
            now - first->queued_usec >= gather)
                return true;
        *ret_when = first->queued_usec + gather;
        return false;
}

static bool readahead_is_ready(FetchQueue *q) {
        const FetchBatch *first = TAILQ_FIRST(&q->lanes[LANE_READAHEAD].queued);

        return first && (q->lanes[LANE_READAHEAD].n_active == 0 || first->n_names > 0 ||
                         first->n >= MIN_BATCH || first->bytes >= MIN_BATCH_BYTES);
}

static bool prefetch_is_ready(FetchQueue *q) {
        /* One tree at a time: it may be everything. */
        if (!TAILQ_EMPTY(&q->lanes[LANE_PREFETCH].queued))
                return q->lanes[LANE_PREFETCH].n_active == 0;
        return hungry_feed(q) != NULL;
}

/* -1: nobody's. */
static int choose_lane(FetchQueue *q, const bool ready[_LANE_MAX], uint64_t now) {
        unsigned background = q->lanes[LANE_READAHEAD].n_active + q->lanes[LANE_PREFETCH].n_active;

        if (q->n_active >= MAX_ACTIVE)
                return -1;
        for (int lane = _LANE_MAX - 1; lane > LANE_WAITING; lane--)
                if (ready[lane] && q->lanes[lane].n_active == 0 &&
                    now - q->lanes[lane].since_usec > LANE_AGE_USEC)
                        return lane;
        for (int lane = LANE_WAITING; lane < _LANE_MAX; lane++)
                if (ready[lane] && (lane == LANE_WAITING || background < MAX_BACKGROUND))
                        return lane;
        return -1;
}

/* --- what goes out --- */

/* The first part of a batch that is too large for one request. Without memory all of it. */
static FetchBatch *cut(FetchQueue *q, FetchBatch *b) {
        if (b->n <= MAX_BATCH && (b->bytes <= MAX_BATCH_BYTES || b->n == 1))
                return b;
        FetchBatch *part = fetch_batch_new(b->lane, NULL, 0, b->feed);
        if (!part)
                return b;
        do
                move_want(q, TAILQ_FIRST(&b->wants), part);
        while (b->n > 1 && part->n < MAX_BATCH && part->bytes < MAX_BATCH_BYTES);
        if (b->feed)
                b->feed->n_batches++;
        part->queued_usec = b->queued_usec;
        return part;
}

static FetchBatch *take_queued(FetchQueue *q, FetchLane lane) {
        FetchBatch *b = TAILQ_FIRST(&q->lanes[lane].queued);

        /* Readers may have taken much of it meanwhile. */
        if (q->trees_refused || !FETCH_NEARLY_ALL(b->bytes, b->bytes_all))
                fetch_batch_drop_names(b);
        if (b->n_names > 0) {
                unqueue(q, b);
                return b;
        }
        FetchBatch *part = cut(q, b);
        if (part == b)
                unqueue(q, b);
        return part;
}

/* NULL where all that the feed still wants is under way already, or without memory for more. */
static FetchBatch *take_of_feed(FetchQueue *q, FetchFeed *feed) {
        FetchBatch *b = fetch_batch_new(LANE_PREFETCH, NULL, 0, feed);

        if (!b) {
                feed->result = -ENOMEM;
                return NULL;
        }
        for (; feed->at < feed->n && b->n < MAX_BATCH && b->bytes < MAX_BATCH_BYTES; feed->at++) {
                Want *want = fetch_queue_find_locked(q, &feed->wants[feed->at].oid);
                if (want && want->batch->state == BATCH_QUEUED &&
                    want->batch->lane == LANE_READAHEAD)
                        move_want(q, want, b);
                else if (!want) {
                        feed->result = fetch_batch_add_locked(q, b, &feed->wants[feed->at]);
                        if (feed->result < 0)
                                break;
                } else
                        feed->n_left++;
        }
        feed->result = MIN(feed->result, 0);
        if (b->n == 0) {
                fetch_batch_free(b);
                return NULL;
        }
        feed->n_batches++;
        /* Its turn comes again after the others'. */
        TAILQ_REMOVE(&q->feeds, feed, entry);
        TAILQ_INSERT_TAIL(&q->feeds, feed, entry);
        return b;
}

static FetchBatch *take(FetchQueue *q, FetchLane lane) {
        FetchFeed *feed;

        if (!TAILQ_EMPTY(&q->lanes[lane].queued))
                return take_queued(q, lane);
        while ((feed = hungry_feed(q))) {
                FetchBatch *b = take_of_feed(q, feed);
                if (b)
                        return b;
        }
        return NULL;
}

static void mark_sent(FetchQueue *q, FetchBatch *b, uint64_t now) {
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

FetchBatch *fetch_queue_next_locked(FetchQueue *q, uint64_t rtt_usec, uint64_t *ret_when) {
        uint64_t now = now_usec();

        *ret_when = USEC_INFINITY;
        const bool ready[_LANE_MAX] = {
                [LANE_WAITING] = waiting_is_ready(q, now, gather_usec(rtt_usec), ret_when),
                [LANE_READAHEAD] = readahead_is_ready(q),
                [LANE_PREFETCH] = prefetch_is_ready(q),
        };
        for (FetchLane lane = 0; lane < _LANE_MAX; lane++)
                if (!ready[lane])
                        q->lanes[lane].since_usec = 0;
                else if (q->lanes[lane].since_usec == 0)
                        q->lanes[lane].since_usec = now;
        int lane = choose_lane(q, ready, now);
        if (lane < 0)
                return NULL;
        FetchBatch *b = take(q, (FetchLane) lane);
        if (b)
                mark_sent(q, b, now);
        return b;
}

/* --- how it ends --- */

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

void fetch_queue_retry_waited_locked(FetchQueue *q, FetchBatch *b) {
        Want *next;

        for (Want *want = TAILQ_FIRST(&b->wants); want; want = next) {
                next = TAILQ_NEXT(want, entry);
                if (want->waited)
                        overtake(q, want);
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

FetchFeed *fetch_queue_finished_feed_locked(FetchQueue *q) {
        FetchFeed *feed;

        TAILQ_FOREACH (feed, &q->feeds, entry)
                if (feed->n_batches == 0 && !feed_has_more(feed)) {
                        TAILQ_REMOVE(&q->feeds, feed, entry);
                        return feed;
                }
        return NULL;
}

static void cancel_batch(FetchQueue *q, FetchBatch *b, WantList *ret) {
        bool queued = b->state == BATCH_QUEUED;

        if (queued) {
                unqueue(q, b);
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
        size_t at_least = b->lane == LANE_WAITING ? CAUGHT_UP_BATCH : 1; /* what came is one */

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
