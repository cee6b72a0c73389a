/* A state machine that looks at what is missing, asks for it, and looks again:
 *
 *      trees -> sizes -> contents -> end
 *
 * Every step runs on a pool thread, one at a time: fetches and flights call back into it. */

#include "tree/prefetch.h"

#include <errno.h>
#include <inttypes.h>

#include "tree/namespace-private.h"
#include "tree/walk.h"

#define TREES_PER_FETCH 500
/* Looking again after a fetch that brought nothing new ends the job. */
#define MAX_ROUNDS 4096
#define MAX_LOST 3 /* rounds after which files that came are not here */

struct Prefetch {
        Ref ref;
        FlightWaiter waiter;
        Task task;
        Fetch fetch;    /* of trees */
        FetchFeed feed; /* of files */
        Namespace *ns;
        NsTarget target; /* a reference */
        bool contents;
        PrefetchObserver observer;
        atomic_bool cancelled;
        atomic_uint_least64_t done, bytes; /* files that are here, bytes that came */
        uint64_t total;                    /* files; 0 until the trees are known */
        unsigned rounds, n_lost;
        size_t last_missing; /* sizes, to see that it gets less */
        Oid *oids;           /* what fetch.oids points to */
        BlobWant *wants;     /* likewise feed.wants */
        Failure failure;     /* that was found out here */
};

static void step(Prefetch *p);

Prefetch *prefetch_unref(Prefetch *p) {
        if (!p || !ref_put(&p->ref))
                return NULL;
        ns_target_unref(p->ns, &p->target);
        free(p->oids);
        free(p->wants);
        free(p);
        return NULL;
}

static bool is_cancelled(const Prefetch *p) {
        return atomic_load(&p->cancelled);
}

void prefetch_cancel(Prefetch *p) {
        atomic_store(&p->cancelled, true);
        /* Whatever it waits for, it waits no more. */
        if (flight_leave(p->ns->flights, &p->waiter) ||
            fetch_queue_unfeed(p->ns, p->target.checkout->repo, &p->feed))
                pool_submit(p->ns->context->pool, &p->task, TASK_NORMAL);
}

static void finish(Prefetch *p, int result, const Failure *failure) {
        Namespace *ns = p->ns;

        p->observer.done(result, failure, p->observer.userdata);
        prefetch_unref(p);
        ns_operation_end(ns);
}

static void report(Prefetch *p) {
        uint64_t done = MIN(atomic_load(&p->done), p->total);
        const PrefetchProgress progress = {
                .done = done,
                .total = p->total,
                .bytes = atomic_load(&p->bytes),
        };

        p->observer.progress(&progress, p->observer.userdata);
}

static void on_object(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        Prefetch *p = container_of(fetch, Prefetch, fetch);

        demand_object_arrived(p->ns, p->target.checkout->repo, oid, type, size);
}

static void on_fetched(Fetch *fetch, int result, const Failure *failure) {
        Prefetch *p = container_of(fetch, Prefetch, fetch);

        if (result != -EOPNOTSUPP && !is_cancelled(p))
                ns_report(p->ns, p->target.org, result, failure);
        /* A server that sends no trees by id is asked for the commit. */
        if (result == -EOPNOTSUPP && fetch->kind == FETCH_TREES) {
                CheckoutState state;
                checkout_get_state(p->target.checkout, &state);
                p->oids[0] = state.commit;
                fetch->kind = FETCH_COMMIT;
                fetch->n_oids = 1;
                source_fetch(p->target.checkout->repo->source, fetch);
                return;
        }
        if (result < 0)
                finish(p, result, failure);
        else
                step(p);
}

static void start_fetch(Prefetch *p, size_t n) {
        p->fetch = (Fetch){
                .kind = FETCH_TREES,
                .priority = FETCH_PREFETCH,
                .deadline_usec =
                        USEC_INFINITY, /* as long as bytes come: stalls are noticed below */
                .cancelled = &p->cancelled,
                .oids = p->oids,
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
        start_fetch(p, missing.n);
        return 1;
}

/* --- sizes --- */

/* 1: parked; 0: nothing more to learn; < 0. */
static int fetch_sizes(Prefetch *p, Listing *l) {
        const WalkLimits limits = {.max_items = SIZE_MAX, .missing_sizes_only = true};
        Walk walk = {0};
        Checkout *c = p->target.checkout;

        if (!repo_tells_sizes(c->repo) || c->repo->source->objects_in_memory)
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

/* Whether what is below can be here as a whole: else it would only push out what is in use, and
 * then itself. */
static int check_room(Prefetch *p, uint64_t bytes) {
        uint64_t limit = p->ns->context->config->disk_limit;

        if (bytes <= limit)
                return 0;
        return failure_set(
                &p->failure,
                FAILURE_TOO_LARGE,
                "the files are %" PRIu64 " MiB or more, and the cache holds %" PRIu64
                " MiB (DiskLimit=)",
                bytes >> 20,
                limit >> 20);
}

#define OBJECT_OVERHEAD 128 /* bytes on disk, at most */

/* What leads to the target: without it nobody finds it when there is no network. */
static int add_path(Prefetch *p, Pinned *objects) {
        Checkout *c = p->target.checkout;
        CheckoutState state;

        checkout_get_state(c, &state);
        int r = pinned_add(objects, &state.commit);
        if (r >= 0)
                r = pinned_add(objects, &state.root);
        if (r >= 0)
                r = pinned_add(objects, &p->target.oid);
        for (const Node *n = p->target.node; n && r >= 0; n = node_parent(n))
                if (n->kind == NODE_DIR) {
                        const Oid tree = checkout_dir_tree(c, n);
                        r = pinned_add(objects, &tree);
                }
        return r;
}

static int add_walk(Prefetch *p, const Walk *walk, Pinned *objects) {
        int r = 0;

        for (size_t i = 0; i < walk->n_items && r >= 0; i++)
                r = pinned_add(objects, &walk->items[i].entry->oid);
        for (size_t i = 0; i < walk->n_listings && r >= 0; i++)
                r = pinned_add(objects, &walk->listings[i]->oid);
        return r;
}

/* bytes: of the files; a guess where sizes come with the content, after which it is told again. */
static int tell_listed(Prefetch *p, const Walk *walk, uint64_t bytes) {
        _cleanup_pinned_ Pinned objects = {0};

        if (!p->observer.listed)
                return 0;
        int r = add_path(p, &objects);
        if (r >= 0 && walk)
                r = add_walk(p, walk, &objects);
        if (r < 0)
                return r;
        pinned_seal(&objects);
        bytes += objects.n * OBJECT_OVERHEAD;
        for (size_t i = 0; walk && i < walk->n_listings; i++) {
                ObjectType type;
                uint64_t size;
                if (store_stat(
                            p->ns->context->store,
                            STORE_OBJECT,
                            &walk->listings[i]->oid,
                            &type,
                            &size) > 0)
                        bytes += size;
        }
        return p->observer.listed(&objects, bytes, &p->failure, p->observer.userdata);
}

/* Lists the blobs of the walk that are not here, each once and in the order of a walk. */
static int list_walk(Prefetch *p, const Walk *walk) {
        Store *store = p->ns->context->store;
        OidSet seen = {0};
        uint64_t known = 0, all = 0, missing = 0;
        size_t n_here = 0, n = 0;
        int r = 0;

        free(p->wants);
        p->wants = calloc(walk->n_items + 1, sizeof(*p->wants));
        if (!p->wants)
                return -ENOMEM;
        for (size_t i = 0; i < walk->n_items && r >= 0; i++) {
                const ListingEntry *e = walk->items[i].entry;
                uint64_t size = listing_size(e);
                bool here = store_has(store, STORE_OBJECT, &e->oid);
                n_here += here;
                r = oid_set_add(&seen, &e->oid);
                if (r <= 0)
                        continue;
                known += size == SIZE_UNKNOWN ? 0 : size;
                p->wants[n] = (BlobWant){.oid = e->oid, .size = size};
                all += blob_want_bytes(&p->wants[n]);
                missing += here ? 0 : blob_want_bytes(&p->wants[n]);
                n += !here;
        }
        oid_set_done(&seen);
        if (r < 0)
                return r;
        p->total = walk->n_items;
        atomic_store(&p->done, n_here);
        p->feed.n = n;
        /* Wanting one tree is cheaper for the server, and packs better, than wanting its files one
         * by one. */
        p->feed.tree = FETCH_NEARLY_ALL(missing, all) ? p->target.oid : (Oid){0};
        r = check_room(p, known);
        return r < 0 ? r : tell_listed(p, walk, all);
}

static int list_missing(Prefetch *p, Listing *l) {
        const WalkLimits everything = {.max_items = SIZE_MAX};
        Walk walk = {0};

        int r = walk_below(p->ns, l, &everything, &walk);
        if (r >= 0)
                r = list_walk(p, &walk);
        walk_done(&walk);
        return r;
}

/* The target is one file. */
static int list_file(Prefetch *p) {
        bool here = store_has(p->ns->context->store, STORE_OBJECT, &p->target.oid);

        free(p->wants);
        p->wants = calloc(1, sizeof(*p->wants));
        if (!p->wants)
                return -ENOMEM;
        p->wants[0] = (BlobWant){.oid = p->target.oid, .size = SIZE_UNKNOWN};
        p->total = 1;
        atomic_store(&p->done, here);
        p->feed.n = here ? 0 : 1;
        return tell_listed(p, NULL, p->target.size);
}

/* Pool threads, several at a time. */
static void on_blob(FetchFeed *feed, uint64_t size) {
        Prefetch *p = container_of(feed, Prefetch, feed);

        (void) atomic_fetch_add(&p->done, 1);
        (void) atomic_fetch_add(&p->bytes, size);
        report(p);
}

static void on_fed(FetchFeed *feed, int result, const Failure *failure) {
        Prefetch *p = container_of(feed, Prefetch, feed);

        if (result < 0)
                finish(p, result, failure);
        else
                step(p);
}

/* 1: more is on its way; 0: all is here; < 0. */
static int fetch_contents(Prefetch *p, Listing *l) {
        Repo *repo = p->target.checkout->repo;
        const NsCall call = {.flags = NS_MAY_BLOCK, .waiter = &p->waiter};

        if (repo->source->objects_in_memory)
                return 0; /* they are on this machine: copying them into memory would bring nothing
                             nearer */
        bool fed = p->feed.wants != NULL;
        int r = l ? list_missing(p, l) : list_file(p);
        p->feed.wants = p->wants;
        report(p);
        if (r < 0 || p->feed.n == 0)
                return r;
        /* Others have it under way. */
        if (fed && p->feed.n_left > 0) {
                const Oid oid = p->wants[0].oid; /* the next step may come, and list anew */
                p->feed.wants = NULL;
                return demand_blob(p->ns, &call, repo, &oid) == NS_PARKED ? 1 : -ENOMEM;
        }
        if (fed && ++p->n_lost > MAX_LOST)
                return failure_set(
                        &p->failure,
                        FAILURE_TOO_LARGE,
                        "the cache does not keep all files: DiskLimit= or the disk is too small");
        fetch_queue_feed(p->ns, repo, &p->feed);
        return 1;
}

static int next(Prefetch *p) {
        _cleanup_(listing_unrefp) Listing *l = NULL;

        if (is_cancelled(p))
                return -ECANCELED;
        if (oid_is_none(&p->target.oid) || p->target.node->kind == NODE_SUBMODULE)
                return 0; /* nothing is shown below it */
        if (!node_is_dir(p->target.node))
                return p->contents ? fetch_contents(p, NULL) : 0;
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
        ref_get(&p->ref); /* what it began may end it */
        int r = next(p);
        if (r <= 0)
                finish(p, r, p->failure.class != FAILURE_NONE ? &p->failure : NULL);
        else if (is_cancelled(p))
                prefetch_cancel(p); /* while it was not yet waiting */
        prefetch_unref(p);
}

static void landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Prefetch *p = container_of(waiter, Prefetch, waiter);

        if (result < 0 && !is_cancelled(p))
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
        p->feed.object = on_blob;
        p->feed.done = on_fed;
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
