/* The queue of a repository at work: what is wanted ahead is put into it, what it lets out
 * (fetch-queue-next.c) is sent, and the answers are received.
 *
 * A request lands the flights of all that it asked for, at the latest when it ends: those of
 * readers (demand-blob.c), and of who follows one blob of many. Most of what is read ahead is here
 * before anybody asks, and has none. */

#include <errno.h>
#include <string.h>

#include "tree/fetch-queue-private.h"
#include "tree/namespace-private.h"
#include "util/stats.h"

#define CHUNK 256 /* wants to look for, or to queue, in one go */
/* Of a tree that is wanted by a feed: beyond this it comes in batches. */
#define MAX_TREE_WANTS 100000

void fetch_queue_land(
        Namespace *ns, Repo *repo, const Oid *oid, int result, const Failure *failure) {
        FlightKey key = demand_key_oid(repo, DEMAND_BLOB, oid);

        flight_land(ns->flights, &key, result, failure);
}

/* --- answers --- */

/* Counted as a call: whoever cancels the feed meanwhile leaves its end to us. */
static void tell_feed(Repo *repo, FetchFeed *feed, uint64_t size) {
        feed->object(feed, size);
        mutex_lock(&repo->lock);
        bool last = --feed->n_calls == 0 && feed->cancelled;
        mutex_unlock(&repo->lock);
        if (last)
                feed->done(feed, -ECANCELED, NULL);
}

static void free_wants(WantList *wants) {
        for (Want *want = TAILQ_FIRST(wants), *next; want; want = next) {
                next = TAILQ_NEXT(want, entry);
                free(want);
        }
}

/* Readers who wait for one had it queued again; who only follows it looks again. */
static void give_up(Namespace *ns, Repo *repo, WantList *wants) {
        Want *want;

        TAILQ_FOREACH (want, wants, entry)
                fetch_queue_land(ns, repo, &want->blob.oid, 0, NULL);
        free_wants(wants);
        fetch_queue_kick(ns, repo);
}

static void on_object(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        FetchBatch *b = container_of(fetch, FetchBatch, fetch);
        WantList rest = TAILQ_HEAD_INITIALIZER(rest);
        FetchFeed *feed = NULL;
        bool stopped = false;

        if (type == OBJECT_BLOB) {
                MUTEX_GUARD(&b->repo->lock);
                fetch_queue_count_locked(&b->repo->queue, b, oid, size);
                stopped = fetch_queue_stop_excess_locked(&b->repo->queue, b, &rest);
                feed = b->feed;
                if (feed)
                        feed->n_calls++;
        }
        demand_object_arrived(b->ns, b->repo, oid, type, size);
        if (stopped)
                give_up(b->ns, b->repo, &rest);
        if (feed)
                tell_feed(b->repo, feed, size);
}

void fetch_queue_forget(Repo *repo, const Oid *oid) {
        MUTEX_GUARD(&repo->lock);
        Want *want = fetch_queue_find_locked(&repo->queue, oid);

        if (want)
                fetch_queue_drop_locked(&repo->queue, want);
}

static void feed_ended_locked(FetchBatch *b, int result, const Failure *failure) {
        FetchFeed *feed = b->feed;

        if (!feed)
                return;
        feed->n_batches--;
        if (result >= 0 || feed->result < 0)
                return;
        feed->result = result;
        if (failure)
                feed->failure = *failure;
}

/* The request is over. What a tree did not bring is asked for again, if readers wait for it. */
static void conclude(FetchBatch *b, int result, const Failure *failure) {
        WantList rest = TAILQ_HEAD_INITIALIZER(rest);
        Namespace *ns = b->ns;
        Repo *repo = b->repo;
        Want *want;

        mutex_lock(&repo->lock);
        fetch_queue_ended_locked(&repo->queue, b);
        if (result >= 0 && b->n_names > 0)
                fetch_queue_retry_waited_locked(&repo->queue, b);
        fetch_queue_detach_locked(&repo->queue, b, &rest);
        feed_ended_locked(b, result, failure);
        mutex_unlock(&repo->lock);

        TAILQ_FOREACH (want, &rest, entry)
                fetch_queue_land(ns, repo, &want->blob.oid, result, failure);
        free_wants(&rest);
        fetch_batch_free(b);
        fetch_queue_kick(ns, repo);
        repo_unref(repo);
}

/* True if the server takes no trees, and the batch is queued as blobs. */
static bool refuses_trees(FetchBatch *b, int result) {
        if (result != -EOPNOTSUPP || b->n_names == 0)
                return false;
        MUTEX_GUARD(&b->repo->lock);
        b->repo->queue.trees_refused = true;
        fetch_queue_ended_locked(&b->repo->queue, b);
        fetch_queue_requeue_locked(&b->repo->queue, b);
        return true;
}

static void on_done(Fetch *fetch, int result, const Failure *failure) {
        FetchBatch *b = container_of(fetch, FetchBatch, fetch);
        Namespace *ns = b->ns;
        Repo *repo = b->repo;
        Failure why;

        if (refuses_trees(b, result)) {
                fetch_queue_kick(ns, repo);
                repo_unref(repo);
        } else {
                result = demand_object_result(result, failure, &why);
                if (!fetch_is_cancelled(fetch))
                        ns_report(ns, repo->org, result, &why);
                conclude(b, result, &why);
        }
        ns_operation_end(ns);
}

/* --- sending --- */

static bool is_in_locked(Repo *repo, const FetchBatch *b, const Oid *oid) {
        const Want *want = fetch_queue_find_locked(&repo->queue, oid);

        return want && want->batch == b;
}

static int list_oids(FetchBatch *b) {
        size_t n = 0;
        Want *want;

        b->oids = calloc((b->n_names > 0 ? b->n_names : b->n_sent) + 1, sizeof(Oid));
        if (!b->oids)
                return -ENOMEM;
        /* A reader may take some away meanwhile: what is asked for is decided now. Of what is named
         * he may have, too. */
        MUTEX_GUARD(&b->repo->lock);
        for (size_t i = 0; i < b->n_names; i++)
                if (b->names[i].is_tree || is_in_locked(b->repo, b, &b->names[i].oid))
                        b->oids[n++] = b->names[i].oid;
        if (b->n_names == 0)
                TAILQ_FOREACH (want, &b->wants, entry)
                        b->oids[n++] = want->blob.oid;
        b->fetch.oids = b->oids;
        b->fetch.n_oids = n;
        return 0;
}

static FetchPriority lane_priority(FetchLane lane) {
        static const FetchPriority priorities[] = {
                [LANE_WAITING] = FETCH_WAITING,
                [LANE_READAHEAD] = FETCH_READAHEAD,
                [LANE_PREFETCH] = FETCH_PREFETCH,
        };

        return priorities[lane];
}

static void send(Namespace *ns, Repo *repo, FetchBatch *b) {
        b->ns = ns;
        b->repo = repo_ref(repo);
        b->fetch = (Fetch){
                .kind = b->n_names > 0 ? FETCH_CLOSURE : FETCH_BLOBS,
                .priority = lane_priority(b->lane),
                /* A job may take as long as bytes come. Readers join the others: a server that
                 * holds them back for hours may not keep what it would refuse a reader. */
                .deadline_usec =
                        b->lane == LANE_PREFETCH ? USEC_INFINITY : ns_transfer_deadline(ns),
                .cancelled = &b->cancelled,
                .held = &b->held,
                .waited = &b->waited,
                .object = on_object,
                .done = on_done,
        };
        int r = fetch_is_cancelled(&b->fetch) ? -ECANCELED : list_oids(b);
        if (r >= 0 && b->fetch.n_oids > 0)
                r = ns_operation_begin(ns);
        if (r < 0 || b->fetch.n_oids == 0) {
                conclude(b, r, NULL);
                return;
        }
        if (b->n_names > 0)
                stat_add(STAT_FETCH_CLOSURES, 1);
        source_fetch(repo->source, &b->fetch);
}

uint64_t fetch_queue_rtt_usec(const Repo *repo) {
        return atomic_load_explicit(&repo->source->rtt_usec, memory_order_relaxed);
}

/* What was gathered goes out. */
static void on_timer(Task *task) {
        FetchQueue *q = container_of(task, FetchQueue, timer.task);
        Repo *repo = container_of(q, Repo, queue);
        Namespace *ns = q->ns;

        mutex_lock(&repo->lock);
        q->timer_armed = false;
        mutex_unlock(&repo->lock);
        fetch_queue_kick(ns, repo);
        repo_unref(repo);
        ns_operation_end(ns);
}

/* The timer is ours to arm. False once the name space stops. */
static bool arm(Namespace *ns, Repo *repo, uint64_t when_usec) {
        FetchQueue *q = &repo->queue;

        if (ns_operation_begin(ns) < 0) {
                MUTEX_GUARD(&repo->lock);
                q->timer_armed = false;
                return false;
        }
        (void) repo_ref(repo);
        q->ns = ns;
        q->timer.task.run = on_timer;
        timers_arm(ns->timers, &q->timer, when_usec);
        return true;
}

/* One step of what there is to do; false if there was nothing. */
static bool kick_once(Namespace *ns, Repo *repo, uint64_t *rtt) {
        FetchQueue *q = &repo->queue;
        uint64_t when;

        mutex_lock(&repo->lock);
        FetchBatch *b = fetch_queue_next_locked(q, *rtt, &when);
        FetchFeed *feed = b ? NULL : fetch_queue_finished_feed_locked(q);
        bool timed = !b && !feed && when != USEC_INFINITY && !q->timer_armed;
        if (timed)
                q->timer_armed = true;
        mutex_unlock(&repo->lock);

        if (b)
                send(ns, repo, b);
        else if (feed)
                feed->done(feed, feed->result, &feed->failure);
        else if (timed && !arm(ns, repo, when))
                *rtt = 0; /* nothing is gathered any more */
        else
                return false;
        return true;
}

void fetch_queue_kick(Namespace *ns, Repo *repo) {
        uint64_t rtt = fetch_queue_rtt_usec(repo);

        while (kick_once(ns, repo, &rtt))
                ;
}

/* --- wanting ahead --- */

/* Of a few wants, those that are here, or those that are not. */
static size_t
pick(Namespace *ns, const BlobWant *wants, size_t n, bool here, const BlobWant **ret) {
        size_t n_picked = 0;

        for (size_t i = 0; i < n; i++)
                if (store_has(ns->context->store, STORE_OBJECT, &wants[i].oid) == here)
                        ret[n_picked++] = &wants[i];
        return n_picked;
}

/* What came before it was added is wanted by mistake: it will not come again. */
static size_t
drop_arrived(Namespace *ns, Repo *repo, FetchBatch *b, const BlobWant *wants, size_t n) {
        const BlobWant *here[CHUNK];
        size_t n_here = pick(ns, wants, n, true, here), n_dropped = 0;

        MUTEX_GUARD(&repo->lock);
        for (size_t i = 0; i < n_here; i++) {
                Want *want = fetch_queue_find_locked(&repo->queue, &here[i]->oid);
                if (!want || want->batch != b)
                        continue;
                fetch_queue_drop_locked(&repo->queue, want);
                n_dropped++;
        }
        return n_dropped;
}

/* Into a batch that is not queued yet. Returns how many were added, and in *ret_n_repeated how many
 * stand there more than once. */
static size_t
fill(Namespace *ns, Repo *repo, FetchBatch *b, const BlobWants *blobs, size_t *ret_n_repeated) {
        size_t n_added = 0, n_dropped = 0, n_repeated = 0;

        for (size_t at = 0; at < blobs->n; at += CHUNK) {
                const BlobWant *wants = blobs->wants + at;
                const BlobWant *chunk[CHUNK];
                size_t n_all = MIN(blobs->n - at, (size_t) CHUNK);
                size_t n_chunk = pick(ns, wants, n_all, false, chunk);

                mutex_lock(&repo->lock);
                for (size_t i = 0; i < n_chunk; i++) {
                        int r = fetch_batch_add_locked(&repo->queue, b, chunk[i]);
                        n_added += r > 0;
                        n_dropped += r < 0;
                        n_repeated += r == 0 && is_in_locked(repo, b, &chunk[i]->oid);
                }
                mutex_unlock(&repo->lock);
                n_added -= drop_arrived(ns, repo, b, wants, n_all);
        }
        if (b->lane == LANE_READAHEAD) {
                stat_add(STAT_PREFETCH_QUEUED, (int64_t) n_added);
                stat_add(STAT_PREFETCH_DROPPED, (int64_t) n_dropped);
        }
        *ret_n_repeated = n_repeated;
        return n_added;
}

/* A batch that names trees. False where it has nothing to bring, or there is no memory for it. */
static bool
add_named(Namespace *ns, Repo *repo, FetchLane lane, FetchFeed *feed, const BlobWants *blobs) {
        FetchBatch *b = fetch_batch_new(lane, blobs->names, blobs->n_names, feed);

        if (!b)
                return false;
        /* What there was no room for comes with the trees. */
        size_t n_repeated, n_added = fill(ns, repo, b, blobs, &n_repeated);
        /* What is on its way already would come twice with a feed's tree; other names leave it
         * out. */
        for (size_t i = 0; feed && i < blobs->n; i++)
                b->bytes_all += blob_want_bytes(&blobs->wants[i]);
        MUTEX_GUARD(&repo->lock);
        if (b->n == 0) {
                fetch_batch_free(b);
                return false;
        }
        if (!FETCH_NEARLY_ALL(n_added + n_repeated, blobs->n_new)) {
                fetch_batch_drop_names(b);
                b->closed = false;
        }
        if (feed) {
                feed->n_batches = 1;
                feed->at = feed->n;
                feed->n_left = blobs->n - n_added;
        }
        fetch_queue_append_locked(&repo->queue, b);
        return true;
}

/* Nobody waits for what cannot be added. */
static void add_blobs(Namespace *ns, Repo *repo, FetchLane lane, const BlobWants *blobs) {
        FetchBatch *b = fetch_batch_new(lane, NULL, 0, NULL);

        if (!b)
                return;
        size_t n_repeated;
        (void) fill(ns, repo, b, blobs, &n_repeated); /* the others are here, or under way */
        MUTEX_GUARD(&repo->lock);
        fetch_queue_merge_locked(&repo->queue, b);
}

bool fetch_names_pay(size_t n_names, size_t n_blobs) {
        return n_blobs >= FETCH_NAMED_MIN && n_names <= n_blobs / 2;
}

void fetch_queue_ahead(Namespace *ns, Repo *repo, FetchLane lane, const BlobWants *blobs) {
        if (blobs->n_names > 0)
                (void) add_named(ns, repo, lane, NULL, blobs); /* nobody waits for it */
        else
                add_blobs(ns, repo, lane, blobs);
        fetch_queue_kick(ns, repo);
}

void fetch_queue_feed(Namespace *ns, Repo *repo, FetchFeed *feed) {
        feed->at = 0;
        feed->n_batches = 0;
        feed->n_left = 0;
        feed->n_calls = 0;
        feed->cancelled = false;
        feed->result = 0;
        feed->failure = (Failure){0};
        const FetchName tree = {.oid = feed->tree, .is_tree = true};
        const BlobWants blobs = {
                .wants = feed->wants,
                .n = feed->n,
                .names = &tree,
                .n_names = 1,
        };
        if (!oid_is_none(&feed->tree) && feed->n <= MAX_TREE_WANTS) /* else in batches */
                (void) add_named(ns, repo, LANE_PREFETCH, feed, &blobs);
        mutex_lock(&repo->lock);
        TAILQ_INSERT_TAIL(&repo->queue.feeds, feed, entry);
        mutex_unlock(&repo->lock);
        fetch_queue_kick(ns, repo);
}

bool fetch_queue_unfeed(Namespace *ns, Repo *repo, FetchFeed *feed) {
        WantList rest = TAILQ_HEAD_INITIALIZER(rest);

        mutex_lock(&repo->lock);
        bool known = fetch_queue_cancel_feed_locked(&repo->queue, feed, &rest);
        bool ours = known && feed->n_calls == 0;
        mutex_unlock(&repo->lock);
        give_up(ns, repo, &rest);
        return ours;
}
