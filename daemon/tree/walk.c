#include "tree/walk.h"

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"

/* Misses further apart than this are not one walk. */
#define WALK_GAP_USEC (2 * USEC_PER_SEC)
#define WALK_FIRST_WINDOW 16
#define WALK_GROWTH 4

static int add_item(Walk *walk, Listing *l, ListingEntry *e) {
        if (walk->n_items == walk->cap_items) {
                size_t cap = walk->cap_items ? walk->cap_items * 2 : 256;
                WalkItem *items = realloc(walk->items, cap * sizeof(*items));
                if (!items)
                        return -ENOMEM;
                walk->items = items;
                walk->cap_items = cap;
        }
        walk->items[walk->n_items++] = (WalkItem){.entry = e, .listing = l};
        return 0;
}

static int add_listing(Walk *walk, Listing *l) {
        if (walk->n_listings == walk->cap_listings) {
                size_t cap = walk->cap_listings ? walk->cap_listings * 2 : 64;
                Listing **listings = realloc(walk->listings, cap * sizeof(Listing *));
                if (!listings)
                        return -ENOMEM;
                walk->listings = listings;
                walk->cap_listings = cap;
        }
        walk->listings[walk->n_listings++] = listing_ref(l);
        return 0;
}

void walk_done(Walk *walk) {
        for (size_t i = 0; i < walk->n_listings; i++)
                listing_unref(walk->listings[i]);
        free(walk->listings);
        free(walk->items);
        oid_set_done(&walk->entered);
        *walk = (Walk){0};
}

static bool wanted(Namespace *ns, ListingEntry *e, const WalkLimits *limits) {
        if (!entry_is_blob(e) || (limits->symlinks_only && e->kind != ENTRY_SYMLINK))
                return false;
        uint64_t size = ns_entry_size(ns, e);
        if (limits->missing_sizes_only)
                return size == SIZE_UNKNOWN;
        if (limits->max_object_size > 0 && size != SIZE_UNKNOWN && size > limits->max_object_size)
                return false;
        return limits->all || !store_has(ns->context->store, STORE_OBJECT, &e->oid);
}

static bool full(const Walk *walk, const WalkLimits *limits, bool first) {
        if (first && limits->whole_first_listing)
                return false;
        return walk->n_items >= limits->max_items ||
               (limits->max_bytes > 0 && walk->bytes >= limits->max_bytes) ||
               (limits->max_looked > 0 && walk->n_looked >= limits->max_looked);
}

/* Some entries of one directory, one after the other, forward or backward. */
typedef struct WalkRun {
        Listing *listing; /* borrowed from the walk */
        size_t start;     /* the first entry; backward: the one behind the first */
        size_t n, done;
} WalkRun;

static WalkRun run_of_all(Listing *l, const WalkLimits *limits) {
        return (WalkRun){
                .listing = l,
                .start = limits->backward ? l->n_entries : 0,
                .n = l->n_entries,
        };
}

static ListingEntry *run_next(WalkRun *run, const WalkLimits *limits) {
        size_t i = run->done++;

        return &run->listing->entries[limits->backward ? run->start - 1 - i : run->start + i];
}

/* Takes the blobs of one directory. */
static int
take_blobs(Namespace *ns, WalkRun run, const WalkLimits *limits, bool first, Walk *walk) {
        int r = add_listing(walk, run.listing);

        while (r >= 0 && run.done < run.n && !full(walk, limits, first)) {
                ListingEntry *e = run_next(&run, limits);
                walk->n_looked++;
                if (!wanted(ns, e, limits))
                        continue;
                r = add_item(walk, run.listing, e);
                uint64_t size = listing_size(e);
                walk->bytes += size == SIZE_UNKNOWN ? 0 : size;
        }
        return r;
}

/* git's own limit on nesting is the path length; a hostile tree can be deeper than any stack. */
#define WALK_MAX_DEPTH 2048

static int
walk_run(Namespace *ns, const WalkRun *from, const WalkLimits *limits, bool first, Walk *walk) {
        _cleanup_free_ WalkRun *stack = calloc(WALK_MAX_DEPTH, sizeof(*stack));
        size_t depth = 0;
        const NsCall call = {.flags = NS_MAY_BLOCK};

        if (!stack)
                return -ENOMEM;
        int r = from->n == from->listing->n_entries
                        ? oid_set_add(&walk->entered, &from->listing->oid)
                        : 1;
        if (r <= 0)
                return r;
        r = take_blobs(ns, *from, limits, first, walk);
        if (r < 0)
                return r;
        stack[depth++] = *from;
        while (depth > 0 && !full(walk, limits, false)) {
                WalkRun *top = &stack[depth - 1];
                if (top->done == top->n) {
                        depth--;
                        continue;
                }
                const ListingEntry *e = run_next(top, limits);
                if (e->kind != ENTRY_DIR)
                        continue;
                _cleanup_(listing_unrefp) Listing *l = NULL;
                if (depth == WALK_MAX_DEPTH || ns_listing(ns, &call, NULL, &e->oid, &l) <= 0)
                        continue; /* not here: the walk only takes what costs nothing */
                r = oid_set_add(&walk->entered, &l->oid);
                if (r == 0)
                        continue;
                stack[depth] = run_of_all(l, limits);
                if (r > 0)
                        r = take_blobs(ns, stack[depth++], limits, false, walk);
                if (r < 0)
                        return r;
        }
        return 0;
}

int walk_below(Namespace *ns, Listing *from, const WalkLimits *limits, Walk *walk) {
        const WalkRun run = run_of_all(from, limits);

        return walk_run(ns, &run, limits, true, walk);
}

size_t walk_window(Checkout *c, size_t max) {
        uint64_t now = now_usec();
        uint64_t last = atomic_exchange_explicit(&c->last_miss_usec, now, memory_order_relaxed);
        unsigned window = atomic_load_explicit(&c->window, memory_order_relaxed);

        uint64_t gaps = (now - last) / WALK_GAP_USEC;
        if (gaps > 0) {
                /* A pause may only be a server that takes its time for the last batch. */
                window = gaps < 8 ? window >> (2 * gaps) : 0;
                if (window < WALK_FIRST_WINDOW)
                        window = 0;
        } else
                window = window == 0 ? WALK_FIRST_WINDOW : MIN(window * WALK_GROWTH, 1u << 16);
        atomic_store_explicit(&c->window, window, memory_order_relaxed);
        return MIN((size_t) window, max);
}
