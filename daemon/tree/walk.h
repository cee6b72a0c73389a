#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tree/checkout.h"
#include "tree/listing.h"
#include "tree/oid-set.h"

/* Finding out, without asking anybody, which blobs a walk over a tree would want next. */

typedef struct WalkItem {
        ListingEntry *entry;
        Listing *listing; /* that it is in; referenced by the walk */
} WalkItem;

typedef struct Walk {
        WalkItem *items;
        size_t n_items, cap_items;
        size_t n_looked;    /* entries looked at */
        Listing **listings; /* references to every listing that was entered */
        size_t n_listings, cap_listings;
        OidSet entered; /* trees: one that is in several places is entered once */
        uint64_t bytes; /* of the items whose size is known */
} Walk;

typedef struct WalkLimits {
        size_t max_items;
        size_t max_looked;        /* entries to look at; 0: no limit */
        uint64_t max_bytes;       /* 0: no limit */
        uint64_t max_object_size; /* larger ones are left out; 0: no limit */
        bool missing_sizes_only;  /* entries whose size nothing here knows; else those whose blob is
                                     not here */
        bool all;                 /* every blob, here or not */
        bool symlinks_only;
        bool backward;            /* from the last entry of each directory to the first */
        bool whole_first_listing; /* its own entries are taken even over max_items */
} WalkLimits;

/* Collects from this directory, then from all below it in the order of a walk, as far as the trees
 * are here, and each tree once however often it is there: a few trees can stand for any number of
 * directories. Appends to *walk, which is zeroed at first and given to walk_done() in the end, also
 * after an error. 0 or -ENOMEM. May read the disk. */
int walk_below(Namespace *ns, Listing *from, const WalkLimits *limits, Walk *walk);
void walk_done(Walk *walk);

/* The walk detector: how much to ask for ahead, at most `max`. Grows fast while misses follow each
 * other closely, and falls to nothing when they do not. */
size_t walk_window(Checkout *c, size_t max);
