#include "tree/walk.h"

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "util/array.h"

static int add_item(Walk *walk, Listing *l, ListingEntry *e) {
        int r = ARRAY_RESERVE(walk->items, walk->cap_items, walk->n_items + 1);
        if (r < 0)
                return r;
        walk->items[walk->n_items++] = (WalkItem){.entry = e, .listing = l};
        return 0;
}

static int add_listing(Walk *walk, Listing *l) {
        int r = ARRAY_RESERVE(walk->listings, walk->cap_listings, walk->n_listings + 1);
        if (r < 0)
                return r;
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

static bool wanted(Namespace *ns, ListingEntry *e, const WalkLimits *limits, bool whole) {
        if (!entry_is_blob(e) || (!whole && limits->except && oid_set_has(limits->except, &e->oid)))
                return false;
        /* In any case: the entry remembers it, and callers look there. */
        uint64_t size = ns_entry_size(ns, e);
        return !limits->missing_sizes_only || size == SIZE_UNKNOWN;
}

static bool full(const Walk *walk, const WalkLimits *limits) {
        return walk->n_items >= limits->max_items;
}

/* Takes the blobs of one directory. */
static int take_blobs(Namespace *ns, Listing *l, const WalkLimits *limits, bool first, Walk *walk) {
        bool whole = first && limits->whole_first_listing;
        int r = add_listing(walk, l);

        for (size_t i = 0; r >= 0 && i < l->n_entries && (whole || !full(walk, limits)); i++)
                if (wanted(ns, &l->entries[i], limits, whole))
                        r = add_item(walk, l, &l->entries[i]);
        return r;
}

/* git's own limit on nesting is the path length; a hostile tree can be deeper than any stack. */
#define WALK_MAX_DEPTH 2048

/* A directory whose blobs were taken, and how far its directories were entered. */
typedef struct WalkLevel {
        Listing *listing; /* borrowed from the walk */
        size_t next;
} WalkLevel;

int walk_below(Namespace *ns, Listing *from, const WalkLimits *limits, Walk *walk) {
        _cleanup_free_ WalkLevel *stack = calloc(WALK_MAX_DEPTH, sizeof(*stack));
        size_t depth = 0;
        const NsCall call = {.flags = NS_MAY_BLOCK};

        if (!stack)
                return -ENOMEM;
        int r = oid_set_add(&walk->entered, &from->oid);
        if (r <= 0)
                return r;
        r = take_blobs(ns, from, limits, /* first= */ true, walk);
        if (r < 0)
                return r;
        stack[depth++] = (WalkLevel){.listing = from};
        while (depth > 0 && !full(walk, limits)) {
                WalkLevel *top = &stack[depth - 1];
                if (top->next == top->listing->n_entries) {
                        depth--;
                        continue;
                }
                const ListingEntry *e = &top->listing->entries[top->next++];
                if (e->kind != ENTRY_DIR)
                        continue;
                _cleanup_(listing_unrefp) Listing *l = NULL;
                if (depth == WALK_MAX_DEPTH || ns_listing(ns, &call, NULL, &e->oid, &l) <= 0)
                        continue; /* not here: the walk only takes what costs nothing */
                r = oid_set_add(&walk->entered, &l->oid);
                if (r == 0)
                        continue;
                if (r > 0)
                        r = take_blobs(ns, l, limits, /* first= */ false, walk);
                if (r < 0)
                        return r;
                stack[depth++] = (WalkLevel){.listing = l};
        }
        return 0;
}
