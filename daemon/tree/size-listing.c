/* Listings in a walk over sizes (size-walk.c). Names alone would have the kernel look up every one
 * of them, which costs more than all else where the files are about to come. So a listing waits for
 * the one that comes last, and then shows the sizes that are here: once for each directory, and no
 * longer than DEMAND_PATIENCE_USEC, for names must not depend on content. */

#include "tree/namespace-private.h"
#include "tree/patience.h"
#include "tree/size-walk.h"

/* What listings of a directory wait for: its last file, or the end of their patience. Names are
 * shown whatever has become of the files. */
typedef struct SizeListing {
        Patience patience;
        FlightWaiter waiter;
        Checkout *checkout; /* a reference */
} SizeListing;

static void size_listing_free(Patience *p) {
        SizeListing *s = container_of(p, SizeListing, patience);

        checkout_unref(s->checkout);
        free(s);
}

static void show_names(Patience *p) {
        (void) patience_show(p); /* there is nobody to deny them */
        patience_unref(p);
}

static void last_came(SizeListing *s) {
        patience_stop(&s->patience);
        patience_land(&s->patience, 0, NULL);
        patience_end(&s->patience);
}

static void last_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        last_came(container_of(waiter, SizeListing, waiter));
}

/* Of the files whose size is not known, the one that is likely to come last: they are sent in their
 * order. NULL where one of them is not on its way, or far off; or where there is none by now. */
static const ListingEntry *last_soon(Namespace *ns, Repo *repo, Listing *l) {
        const ListingEntry *last = NULL;

        for (size_t i = 0; i < l->n_entries; i++) {
                ListingEntry *e = &l->entries[i];
                if (ns_entry_size(ns, e) != SIZE_UNKNOWN)
                        continue;
                if (demand_blob_is_soon(repo, &e->oid))
                        last = e;
                else if (ns_entry_size(ns, e) == SIZE_UNKNOWN) /* it did not come just now */
                        return NULL;
        }
        return last;
}

static bool was_awaited(Checkout *c, Node *dir, bool now) {
        MUTEX_GUARD(&c->lock);
        bool before = node_dir(dir)->flags & DIR_AWAITED;

        if (now)
                node_dir(dir)->flags |= DIR_AWAITED;
        return before;
}

/* The flight is the caller's. */
static void follow_last(Namespace *ns, Checkout *c, const FlightKey *key, const Oid *last) {
        SizeListing *s = demand_start(ns, key, sizeof(*s));

        if (!s)
                return;
        s->checkout = checkout_ref(c);
        s->waiter.landed = last_landed;
        patience_init(&s->patience, ns, key);
        s->patience.recall = show_names;
        s->patience.free = size_listing_free;
        patience_begin(&s->patience);
        const NsCall call = {.flags = NS_MAY_BLOCK, .waiter = &s->waiter};
        if (demand_blob(ns, &call, c->repo, last) != NS_PARKED)
                last_came(s);
}

int size_walk_listed(Namespace *ns, const NsCall *call, Node *dir, Listing *l) {
        Checkout *c = node_checkout(dir);
        const FlightKey key = demand_key_oid(c, DEMAND_SIZE_LISTING, &l->oid);

        if (!size_walk_is_on(c) ||
            (was_awaited(c, dir, /* now= */ false) && !flight_exists(ns->flights, &key)))
                return 0;
        const ListingEntry *last = last_soon(ns, c->repo, l);
        if (!last)
                return 0;
        if (!call->waiter)
                return NS_PARKED;
        int r = demand_wait(ns, call, &key);
        if (r != 0)
                return r > 0 ? NS_PARKED : r;
        if (was_awaited(c, dir, /* now= */ true))
                return 0;
        r = demand_join(ns, call, &key);
        if (r > 0)
                follow_last(ns, c, &key, &last->oid);
        return r > 0 ? NS_PARKED : r;
}
