/* Which request of a repository goes out next, and what it asks for.
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
 * A batch that names trees is as large as they are. Others are cut by number and by bytes when
 * they are sent. */

#include <errno.h>

#include "tree/fetch-queue-private.h"
#include "util/clock.h"

#define MAX_ACTIVE 4
#define MAX_BACKGROUND 2
#define LANE_AGE_USEC USEC_PER_SEC

#define MAX_BATCH 2000
#define MAX_BATCH_BYTES (UINT64_C(32) << 20)
/* Of read-ahead, beside another request of it. */
#define MIN_BATCH 1000
#define MIN_BATCH_BYTES (UINT64_C(8) << 20)

/* Gathering: this part of the round trip, if that makes any difference. */
#define GATHER_PART 8
#define GATHER_MIN_USEC 500
#define GATHER_MAX_USEC (25 * USEC_PER_MSEC)

/* --- whose turn it is --- */

static FetchFeed *hungry_feed(FetchQueue *q) {
        FetchFeed *feed;

        TAILQ_FOREACH (feed, &q->feeds, entry)
                if (fetch_feed_has_more(feed))
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
                fetch_want_move_locked(q, TAILQ_FIRST(&b->wants), part);
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
                fetch_queue_unqueue_locked(q, b);
                return b;
        }
        FetchBatch *part = cut(q, b);
        if (part == b)
                fetch_queue_unqueue_locked(q, b);
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
                        fetch_want_move_locked(q, want, b);
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
                fetch_queue_sent_locked(q, b, now);
        return b;
}
