/* A state machine that looks at what is missing, asks for it, and looks again:
 *
 *      trees -> sizes -> contents -> end
 *
 * Every step runs on a pool thread, one at a time: fetches and flights call back into it. */

#include "tree/prefetch.h"

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "tree/walk.h"

#define BLOBS_PER_FETCH 2000
#define TREES_PER_FETCH 500
/* Looking again after a fetch that brought nothing new ends the job. */
#define MAX_ROUNDS 4096

struct Prefetch {
        Ref ref;
        FlightWaiter waiter;
        Task task;
        Fetch fetch;
        Namespace *ns;
        NsTarget target; /* a reference */
        bool contents;
        PrefetchObserver observer;
        atomic_bool cancelled;
        PrefetchProgress progress;
        bool closure_tried;
        unsigned rounds;
        size_t last_missing; /* of the phase that runs, to see that it gets less */
        Oid *oids;           /* what fetch.oids points to */
        size_t n_oids, at;   /* the blobs that were missing; the next one to ask for */
};

static void step(Prefetch *p);

Prefetch *prefetch_unref(Prefetch *p) {
        if (!p || !ref_put(&p->ref))
                return NULL;
        ns_target_unref(p->ns, &p->target);
        free(p->oids);
        free(p);
        return NULL;
}

void prefetch_cancel(Prefetch *p) {
        atomic_store(&p->cancelled, true);
}

static void finish(Prefetch *p, int result, const Failure *failure) {
        Namespace *ns = p->ns;

        p->observer.done(result, failure, p->observer.userdata);
        prefetch_unref(p);
        ns_operation_end(ns);
}

static void report(Prefetch *p) {
        p->observer.progress(&p->progress, p->observer.userdata);
}

static void on_object(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        Prefetch *p = container_of(fetch, Prefetch, fetch);

        demand_object_arrived(p->ns, p->target.checkout->repo, oid, type, size);
        if (type != OBJECT_BLOB)
                return;
        p->progress.done = MIN(p->progress.done + 1, p->progress.total);
        p->progress.bytes += size;
        report(p);
}

static void on_fetched(Fetch *fetch, int result, const Failure *failure) {
        Prefetch *p = container_of(fetch, Prefetch, fetch);

        if (result != -EOPNOTSUPP)
                ns_report(p->ns, p->target.org, result, failure);
        /* A server that sends no trees, or no closures, by id is asked for the commit or the files.
         */
        if (result == -EOPNOTSUPP && fetch->kind == FETCH_TREES) {
                CheckoutState state;
                checkout_get_state(p->target.checkout, &state);
                p->oids[0] = state.commit;
                fetch->kind = FETCH_COMMIT;
                fetch->n_oids = 1;
                source_fetch(p->target.checkout->repo->source, fetch);
                return;
        }
        if (result < 0 && !(result == -EOPNOTSUPP && fetch->kind == FETCH_CLOSURE)) {
                finish(p, result, failure);
                return;
        }
        step(p);
}

static void start_fetch(Prefetch *p, FetchKind kind, const Oid *oids, size_t n) {
        p->fetch = (Fetch){
                .kind = kind,
                .priority = FETCH_PREFETCH,
                .deadline_usec =
                        USEC_INFINITY, /* as long as bytes come: stalls are noticed below */
                .oids = oids,
                .n_oids = n,
                .object = on_object,
                .done = on_fetched,
        };
        source_fetch(p->target.checkout->repo->source, &p->fetch);
}

/* --- trees --- */

typedef struct MissingTrees {
        Oid *oids;
        size_t n;
        OidSet seen; /* trees that were looked through, or are missing */
} MissingTrees;

/* Looks through all directories below l for trees that are not here. 0 or < 0. */
static int find_missing_trees(Prefetch *p, Listing *l, unsigned depth, MissingTrees *missing) {
        const NsCall call = {.flags = NS_MAY_BLOCK};

        if (depth > 1024)
                return -ELOOP;
        for (size_t i = 0; i < l->n_entries && missing->n < TREES_PER_FETCH; i++) {
                const ListingEntry *e = &l->entries[i];
                if (e->kind != ENTRY_DIR)
                        continue;
                _cleanup_(listing_unrefp) Listing *child = NULL;
                int r = oid_set_add(&missing->seen, &e->oid);
                if (r == 0)
                        continue;
                if (r > 0)
                        r = ns_listing(p->ns, &call, NULL, &e->oid, &child);
                if (r == NS_PARKED)
                        missing->oids[missing->n++] = e->oid;
                else if (r > 0)
                        r = find_missing_trees(p, child, depth + 1, missing);
                /* A malformed directory shows its error to who opens it; the rest is fetched all
                 * the same. */
                if (r < 0 && r != NS_PARKED && r != -EBADMSG)
                        return r;
        }
        return 0;
}

/* 1: a fetch is on its way; 0: all trees below are here, *ret is the listing of the target; < 0. */
static int fetch_trees(Prefetch *p, Listing **ret) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        MissingTrees missing = {.oids = calloc(TREES_PER_FETCH, sizeof(Oid))};

        if (!missing.oids)
                return -ENOMEM;
        int r = ns_listing(p->ns, &call, NULL, &p->target.oid, ret);
        if (r == NS_PARKED) {
                missing.oids[missing.n++] = p->target.oid;
                r = 0;
        } else if (r > 0)
                r = find_missing_trees(p, *ret, 0, &missing);
        oid_set_done(&missing.seen);
        if (r < 0 || missing.n == 0) {
                free(missing.oids);
                return MIN(r, 0);
        }
        free(p->oids);
        p->oids = missing.oids;
        p->n_oids = 0;
        start_fetch(p, FETCH_TREES, p->oids, missing.n);
        return 1;
}

/* --- sizes --- */

/* 1: parked; 0: nothing more to learn; < 0. */
static int fetch_sizes(Prefetch *p, Listing *l) {
        const WalkLimits limits = {.max_items = SIZE_MAX, .missing_sizes_only = true};
        Walk walk = {0};
        Checkout *c = p->target.checkout;

        if (atomic_load(&c->repo->sizes_refused) || c->repo->source->objects_in_memory)
                return 0;
        int r = walk_below(p->ns, l, &limits, &walk);
        size_t missing = walk.n_items;
        walk_done(&walk);
        if (r < 0 || missing == 0 || missing == p->last_missing)
                return MIN(r, 0);
        p->last_missing = missing;
        const NsCall call = {.flags = NS_MAY_BLOCK, .waiter = &p->waiter};
        r = demand_sizes(p->ns, &call, c, l);
        return r == NS_PARKED ? 1 : r;
}

/* --- contents --- */

static int compare_oids(const void *a, const void *b) {
        return memcmp(((const Oid *) a)->id, ((const Oid *) b)->id, OID_RAW_MAX);
}

/* Lists the blobs that are not here, each once, in p->oids. */
static int list_missing(Prefetch *p, Listing *l) {
        const WalkLimits everything = {.max_items = SIZE_MAX, .all = true};
        Store *store = p->ns->context->store;
        Walk walk = {0};

        int r = walk_below(p->ns, l, &everything, &walk);
        free(p->oids);
        p->oids = calloc(walk.n_items + 1, sizeof(Oid));
        if (r >= 0 && !p->oids)
                r = -ENOMEM;
        size_t n = 0;
        for (size_t i = 0; r >= 0 && i < walk.n_items; i++)
                if (!store_has(store, STORE_OBJECT, &walk.items[i].entry->oid))
                        p->oids[n++] = walk.items[i].entry->oid;
        p->progress.total = walk.n_items;
        p->progress.done = walk.n_items - n;
        walk_done(&walk);
        if (r < 0)
                return r;

        qsort(p->oids, n, sizeof(Oid), compare_oids);
        p->n_oids = 0;
        for (size_t i = 0; i < n; i++)
                if (p->n_oids == 0 || !oid_equal(&p->oids[p->n_oids - 1], &p->oids[i]))
                        p->oids[p->n_oids++] = p->oids[i];
        p->at = 0;
        report(p);
        return 0;
}

/* 1: a fetch is on its way; 0: done; < 0. */
static int fetch_contents(Prefetch *p, Listing *l) {
        if (p->target.checkout->repo->source->objects_in_memory)
                return 0; /* they are on this machine: copying them into memory would bring nothing
                             nearer */
        if (p->n_oids == 0 || p->at >= p->n_oids) {
                size_t before = p->n_oids;
                int r = list_missing(p, l);
                if (r < 0 || p->n_oids == 0)
                        return r;
                if (p->n_oids == before)
                        return -ENOSPC; /* all were asked for and none stayed: the cache cannot hold
                                           them */
        }
        /* Wanting one tree is cheaper for the server, and packs better, than wanting its files one
         * by one. */
        if (!p->closure_tried && p->progress.done * 2 < p->progress.total) {
                p->closure_tried = true;
                p->at = p->n_oids;
                p->n_oids = 0; /* what is still missing afterwards is listed anew */
                start_fetch(p, FETCH_CLOSURE, &p->target.oid, 1);
                return 1;
        }
        size_t n = MIN(p->n_oids - p->at, (size_t) BLOBS_PER_FETCH);
        const Oid *from = p->oids + p->at;
        p->at += n;
        start_fetch(p, FETCH_BLOBS, from, n);
        return 1;
}

/* The target is one file. */
static int fetch_file(Prefetch *p) {
        bool here = store_has(p->ns->context->store, STORE_OBJECT, &p->target.oid);

        p->progress.total = 1;
        p->progress.done = here;
        report(p);
        if (here || !p->contents || p->target.checkout->repo->source->objects_in_memory)
                return 0;
        if (++p->rounds > 1)
                return -ENOSPC; /* it came and did not stay */
        start_fetch(p, FETCH_BLOBS, &p->target.oid, 1);
        return 1;
}

static int next(Prefetch *p) {
        _cleanup_(listing_unrefp) Listing *l = NULL;

        if (atomic_load(&p->cancelled))
                return -ECANCELED;
        if (oid_is_none(&p->target.oid) || p->target.node->kind == NODE_SUBMODULE)
                return 0; /* nothing is shown below it */
        if (!node_is_dir(p->target.node))
                return fetch_file(p);
        if (p->n_oids > p->at)
                return fetch_contents(
                        p, NULL); /* in the middle of a list: no need to look at trees again */
        if (++p->rounds > MAX_ROUNDS)
                return -EIO;
        const NsCall call = {.flags = NS_MAY_BLOCK, .waiter = &p->waiter};
        if (demand_trees(p->ns, &call, p->target.checkout) == NS_PARKED)
                return 1;
        int r = fetch_trees(p, &l);
        if (r == 0)
                r = fetch_sizes(p, l);
        if (r == 0 && p->contents)
                r = fetch_contents(p, l);
        return r;
}

static void step(Prefetch *p) {
        int r = next(p);

        if (r <= 0)
                finish(p, r, NULL);
}

static void landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Prefetch *p = container_of(waiter, Prefetch, waiter);

        if (result < 0)
                finish(p, result, failure);
        else
                step(p);
}

static void run(Task *task) {
        step(container_of(task, Prefetch, task));
}

int prefetch_start(
        Namespace *ns,
        const NsTarget *target,
        bool contents,
        const PrefetchObserver *observer,
        Prefetch **ret) {
        if (!target->checkout)
                return -EINVAL;
        Prefetch *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        int r = ns_operation_begin(ns);
        if (r < 0) {
                free(p);
                return r;
        }
        p->ref = REF_INIT;
        ref_get(&p->ref); /* one for the caller, one until finish() */
        p->waiter.landed = landed;
        p->task.run = run;
        p->ns = ns;
        p->target = *target;
        ns_target_ref(target);
        p->contents = contents;
        p->observer = *observer;
        *ret = p;
        pool_submit(ns->context->pool, &p->task, TASK_BACKGROUND);
        return 0;
}
