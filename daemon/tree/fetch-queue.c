/* Wants for single blobs, merged: the first goes out at once; what is wanted while requests are on
 * their way goes out together with the next.
 *
 * Read-ahead works with two requests, so that the server prepares the second while the first one's
 * answer comes. The second has to be worth it: a reader that follows closely adds a few files at a
 * time, which are collected until they make a batch, or until the reader has caught up. */

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "util/stats.h"

#define MAX_ACTIVE 3   /* requests per repository */
#define MAX_BATCH 2000 /* blobs per request */
#define MIN_BATCH 1000 /* of read-ahead, beside another request */
#define CAUGHT_UP_BATCH 500
#define MAX_QUEUED 100000 /* read-ahead over this is dropped */

void fetch_queue_done(FetchQueue *q) {
        assert(q->n_active == 0);
        for (size_t i = 0; i < ELEMENTSOF(q->wants); i++)
                free(q->wants[i]);
        *q = (FetchQueue){0};
}

typedef struct BlobOperation {
        Fetch fetch;
        Namespace *ns;
        Repo *repo;
        Oid oids[];
} BlobOperation;

static void kick(Namespace *ns, Repo *repo);

static void on_object(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        BlobOperation *op = container_of(fetch, BlobOperation, fetch);

        demand_object_arrived(op->ns, op->repo, oid, type, size);
}

static void
land_all(Namespace *ns, Repo *repo, const Oid *oids, size_t n, int r, const Failure *f) {
        for (size_t i = 0; i < n; i++) {
                FlightKey key = demand_key_oid(repo, DEMAND_BLOB, &oids[i]);
                flight_land(ns->flights, &key, r, f);
        }
}

static void on_done(Fetch *fetch, int result, const Failure *failure) {
        BlobOperation *op = container_of(fetch, BlobOperation, fetch);
        Namespace *ns = op->ns;
        Repo *repo = op->repo;

        Failure why;

        result = demand_object_result(result, failure, &why);
        ns_report(ns, repo->org, result, &why);
        land_all(ns, repo, fetch->oids, fetch->n_oids, result, &why);
        free(op);

        mutex_lock(&repo->lock);
        repo->queue.n_active--;
        mutex_unlock(&repo->lock);
        kick(ns, repo);
        repo_unref(repo);
        ns_operation_end(ns);
}

static size_t take_locked(FetchQueue *q, unsigned lane, Oid *out, size_t max) {
        size_t n = MIN(q->n[lane], max);

        if (n == 0)
                return 0;
        memcpy(out, q->wants[lane], n * sizeof(*out));
        memmove(q->wants[lane], q->wants[lane] + n, (q->n[lane] - n) * sizeof(*out));
        q->n[lane] -= n;
        return n;
}

/* Without memory for a request. Another one that is under way will send what waits; where there is
 * none, nobody would. */
static void fail_queued(Namespace *ns, Repo *repo) {
        for (;;) {
                Oid oid;
                mutex_lock(&repo->lock);
                FetchQueue *q = &repo->queue;
                size_t n = q->n_active > 0 ? 0 : take_locked(q, q->n[0] > 0 ? 0 : 1, &oid, 1);
                mutex_unlock(&repo->lock);
                if (n == 0)
                        return;
                land_all(ns, repo, &oid, 1, -ENOMEM, NULL);
        }
}

/* Decides what goes into the next request. Those who wait go alone when there are any: their answer
 * must not be made longer by what nobody waits for. 0 if nothing is to be sent now. */
static size_t next_locked(FetchQueue *q, Oid *out, bool *ret_waiting) {
        *ret_waiting = q->n[0] > 0 || q->caught_up;
        if (q->n_active >= (*ret_waiting ? MAX_ACTIVE : MAX_ACTIVE - 1))
                return 0;
        if (q->n[0] > 0)
                return take_locked(q, 0, out, MAX_BATCH);
        if (q->caught_up) {
                q->caught_up = false;
                return take_locked(q, 1, out, CAUGHT_UP_BATCH);
        }
        if (q->n_active > 0 && q->n[1] < MIN_BATCH)
                return 0;
        return take_locked(q, 1, out, MAX_BATCH);
}

static void abandon(BlobOperation *op, size_t n) {
        land_all(op->ns, op->repo, op->oids, n, -ECANCELED, NULL);
        mutex_lock(&op->repo->lock);
        op->repo->queue.n_active--;
        mutex_unlock(&op->repo->lock);
        repo_unref(op->repo);
        free(op);
}

/* Sends what is queued, if a request more is allowed. */
static void kick(Namespace *ns, Repo *repo) {
        for (;;) {
                BlobOperation *op = malloc(sizeof(*op) + MAX_BATCH * sizeof(Oid));
                bool waiting;
                if (!op) {
                        fail_queued(ns, repo);
                        return;
                }
                memset(op, 0, sizeof(*op));

                mutex_lock(&repo->lock);
                size_t n = next_locked(&repo->queue, op->oids, &waiting);
                repo->queue.n_active += n > 0;
                mutex_unlock(&repo->lock);
                if (n == 0) {
                        free(op);
                        return;
                }

                op->ns = ns;
                op->repo = repo_ref(repo);
                op->fetch = (Fetch){
                        .kind = FETCH_BLOBS,
                        .priority = waiting ? FETCH_WAITING : FETCH_READAHEAD,
                        .deadline_usec = ns_transfer_deadline(ns),
                        .oids = op->oids,
                        .n_oids = n,
                        .object = on_object,
                        .done = on_done,
                };
                if (ns_operation_begin(ns) < 0)
                        abandon(op, n);
                else
                        source_fetch(repo->source, &op->fetch);
        }
}

static int push_locked(FetchQueue *q, unsigned lane, const Oid *oid) {
        if (q->n[lane] == q->cap[lane]) {
                size_t cap = q->cap[lane] ? q->cap[lane] * 2 : 64;
                Oid *wants = realloc(q->wants[lane], cap * sizeof(*wants));
                if (!wants)
                        return -ENOMEM;
                q->wants[lane] = wants;
                q->cap[lane] = cap;
        }
        q->wants[lane][q->n[lane]++] = *oid;
        return 0;
}

/* Somebody waits now for what was only read ahead. If that was not sent yet, the reader has caught
 * up: it goes out next, with what will be read after it. */
static void promote(Repo *repo, const Oid *oid) {
        MUTEX_GUARD(&repo->lock);
        FetchQueue *q = &repo->queue;

        for (size_t i = 0; i < q->n[1]; i++) {
                if (!oid_equal(&q->wants[1][i], oid))
                        continue;
                q->wants[1][i] = q->wants[1][0];
                q->wants[1][0] = *oid;
                q->caught_up = true;
                return;
        }
}

/* Puts a blob whose flight is new into its lane. */
static int enqueue(Repo *repo, unsigned lane, const Oid *oid) {
        MUTEX_GUARD(&repo->lock);

        if (lane == 1 && repo->queue.n[1] >= MAX_QUEUED)
                return -ENOBUFS;
        return push_locked(&repo->queue, lane, oid);
}

int demand_blob(Namespace *ns, const NsCall *call, Repo *repo, const Oid *oid) {
        FlightKey key = demand_key_oid(repo, DEMAND_BLOB, oid);

        if (!call->waiter)
                return NS_PARKED;
        int r = flight_join(ns->flights, &key, call->waiter);
        if (r < 0)
                return r;
        if (r == 0)
                promote(repo, oid);
        else if (store_has(ns->context->store, STORE_OBJECT, oid)) {
                flight_land(ns->flights, &key, 0, NULL);
                return NS_PARKED;
        } else {
                r = enqueue(repo, 0, oid);
                if (r < 0) {
                        flight_land(ns->flights, &key, r, NULL);
                        return NS_PARKED;
                }
        }
        kick(ns, repo);
        return NS_PARKED;
}

static void want_ahead(Namespace *ns, Repo *repo, const Oid *oid) {
        FlightKey key = demand_key_oid(repo, DEMAND_BLOB, oid);

        if (flight_join(ns->flights, &key, NULL) <= 0)
                return;
        int r = 0;
        if (!store_has(ns->context->store, STORE_OBJECT, oid)) {
                r = enqueue(repo, 1, oid);
                stat_add(r < 0 ? STAT_PREFETCH_DROPPED : STAT_PREFETCH_QUEUED, 1);
                if (r >= 0)
                        return;
        }
        flight_land(ns->flights, &key, r, NULL);
}

void fetch_queue_ahead(
        Namespace *ns,
        Repo *repo,
        const Oid *tree,
        const BlobWant *wants,
        size_t n,
        FetchPriority priority) {
        (void) tree;     /* blob by blob, so far */
        (void) priority; /* there is one lane behind those who wait, so far */
        for (size_t i = 0; i < n; i++)
                want_ahead(ns, repo, &wants[i].oid);
        kick(ns, repo);
}
