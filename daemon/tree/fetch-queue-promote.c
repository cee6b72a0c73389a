/* A reader comes to wait for what is on its way.
 *
 * Who wants what is only queued takes it along into the first lane, and a little of what follows,
 * which he is likely to read next: he has caught up. When it is on the wire already, it is asked
 * for again where its answer would come far too late (is_far()); whichever comes first is good.
 * What waits for its turn at its host is raised there (FetchBatch.waited). That of a job, which may
 * have others of its kind before it, is far. */

#include "tree/fetch-queue-private.h"
#include "util/clock.h"
#include "util/stats.h"

#define CAUGHT_UP_BYTES (UINT64_C(1) << 20)

/* What a server takes to prepare an answer and to send it, for a guess. */
#define PREPARE_USEC_PER_WANT 100
#define PREPARE_USEC_PER_FILE 1 /* below a tree */
#define PREPARE_USEC (15 * USEC_PER_MSEC)
#define BYTES_PER_USEC 50
/* Beyond this nobody waits for a file who only wants to know its size. */
#define SOON_USEC USEC_PER_SEC
/* A walker comes upon its own read-ahead all the time. */
#define WANTS_PER_REPEAT 4000

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

static void catch_up(FetchQueue *q, Want *want) {
        FetchBatch *to = fetch_batch_new(LANE_WAITING, NULL, 0, NULL);
        Want *next;

        if (!to)
                return; /* it comes all the same */
        for (; want && to->n < FETCH_CAUGHT_UP_MAX && to->bytes < CAUGHT_UP_BYTES; want = next) {
                next = TAILQ_NEXT(want, entry);
                fetch_want_move_locked(q, want, to);
        }
        fetch_queue_append_locked(q, to);
        to->closed = true;
}

/* On the wire. True: it waits for its turn at its host. */
static bool promote_sent(FetchQueue *q, Want *want, uint64_t rtt_usec) {
        FetchBatch *b = want->batch;

        if (may_repeat(b) && is_far(b, want, now_usec(), rtt_usec)) {
                b->n_repeated++;
                stat_add(STAT_FETCH_REPEATED, 1);
                fetch_queue_overtake_locked(q, want);
                return false;
        }
        b->n_waiting += !want->counted;
        want->counted = true;
        b->waited = true;
        return atomic_load_explicit(&b->held, memory_order_relaxed);
}

bool fetch_queue_promote_locked(FetchQueue *q, Want *want, uint64_t rtt_usec) {
        FetchBatch *b = want->batch;

        want->waited = true;
        if (b->lane == LANE_WAITING)
                return false;
        if (b->state == BATCH_SENT)
                return promote_sent(q, want, rtt_usec);
        stat_add(STAT_FETCH_PROMOTED, 1);
        if (b->state == BATCH_NEW || b->closed)
                fetch_queue_overtake_locked(q, want);
        else
                catch_up(q, want);
        return false;
}
