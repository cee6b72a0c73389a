/* Asking for things, part five: blobs. A reader joins the flight of his blob, and sees to it that
 * the blob is in the queue of the repository (fetch-queue*.c), whose requests land the flights of
 * all that they ask for. Nothing else makes a flight, but for who follows one blob of many without
 * hurry. */

#include <errno.h>

#include "forge/host-gate.h"
#include "tree/fetch-queue-private.h"
#include "tree/namespace-private.h"

/* The flight is the caller's. 1: it is on its way; 0: it is here; < 0 if it cannot be queued. */
static int want_now(Namespace *ns, Repo *repo, const Oid *oid) {
        const BlobWant blob = {.oid = *oid, .size = SIZE_UNKNOWN};
        FetchQueue *q = &repo->queue;
        FetchBatch *b = fetch_batch_new(LANE_WAITING, NULL, 0, NULL);

        if (!b)
                return -ENOMEM;
        mutex_lock(&repo->lock);
        Want *want = fetch_queue_find_locked(q, oid);
        int r = want ? 0 : fetch_batch_add_locked(q, b, &blob);
        if (r > 0)
                TAILQ_FIRST(&b->wants)->waited = true;
        bool held = want && fetch_queue_promote_locked(q, want, fetch_queue_rtt_usec(repo));
        mutex_unlock(&repo->lock);
        if (held)
                host_gates_raise(ns->context->gates);

        /* What came just before it was wanted will not come again. Nobody sends it before this is
         * known: it is not queued yet. */
        bool here = r > 0 && store_has(ns->context->store, STORE_OBJECT, oid);
        MUTEX_GUARD(&repo->lock);
        if (here && b->n > 0)
                fetch_queue_drop_locked(q, TAILQ_FIRST(&b->wants));
        fetch_queue_merge_locked(q, b);
        return r < 0 ? r : !here;
}

/* The flight is another one's, who may be in no hurry. */
static void hurry(Namespace *ns, Repo *repo, const Oid *oid) {
        mutex_lock(&repo->lock);
        Want *want = fetch_queue_find_locked(&repo->queue, oid);
        bool first = want && !want->waited;
        bool held =
                first && fetch_queue_promote_locked(&repo->queue, want, fetch_queue_rtt_usec(repo));
        mutex_unlock(&repo->lock);
        if (held)
                host_gates_raise(ns->context->gates);
        if (first)
                fetch_queue_kick(ns, repo);
}

int demand_blob(Namespace *ns, const NsCall *call, Repo *repo, const Oid *oid) {
        FlightKey key = demand_key_oid(repo, DEMAND_BLOB, oid);

        int r = demand_join(ns, call, &key);
        if (r == NS_PARKED && call->waiter)
                hurry(ns, repo, oid);
        if (r <= 0)
                return r;
        if (store_has(ns->context->store, STORE_OBJECT, oid)) {
                fetch_queue_land(ns, repo, oid, 0, NULL);
                return NS_PARKED;
        }
        r = want_now(ns, repo, oid);
        if (r > 0)
                fetch_queue_kick(ns, repo);
        else
                fetch_queue_land(ns, repo, oid, r, NULL);
        return NS_PARKED;
}

bool demand_blob_follow(Namespace *ns, FlightWaiter *waiter, Repo *repo, const Oid *oid) {
        FlightKey key = demand_key_oid(repo, DEMAND_BLOB, oid);

        /* Whoever takes the want out of the queue lands the flight after that, but for one that is
         * not in it yet. */
        MUTEX_GUARD(&repo->lock);
        const Want *want = fetch_queue_find_locked(&repo->queue, oid);
        return want && want->batch->state != BATCH_NEW &&
               flight_join(ns->flights, &key, waiter) >= 0;
}

bool demand_blob_is_coming(Repo *repo, const Oid *oid) {
        MUTEX_GUARD(&repo->lock);
        return fetch_queue_find_locked(&repo->queue, oid);
}

bool demand_blob_is_missing(Namespace *ns, Repo *repo, const Oid *oid) {
        /* In this order: what was on its way a moment ago is here by now. */
        return !demand_blob_is_coming(repo, oid) &&
               !store_has(ns->context->store, STORE_OBJECT, oid);
}

bool demand_blob_is_soon(Repo *repo, const Oid *oid) {
        uint64_t rtt = fetch_queue_rtt_usec(repo);

        MUTEX_GUARD(&repo->lock);
        const Want *want = fetch_queue_find_locked(&repo->queue, oid);
        return want && fetch_queue_is_soon_locked(want, rtt);
}

bool demand_files_are_soon(Repo *repo, const Listing *l) {
        bool soon = true;

        for (size_t i = 0; i < l->n_entries && soon; i++)
                if (listing_size(&l->entries[i]) == SIZE_UNKNOWN)
                        soon = demand_blob_is_soon(repo, &l->entries[i].oid);
        return soon;
}
