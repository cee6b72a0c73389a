#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tree/checkout.h"
#include "tree/listing.h"
#include "tree/oid-set.h"

/* The blobs below a directory, as far as that is known without asking anybody. What a walk reads
 * next is another question: tree/walk-cursor.h. */

typedef struct WalkItem {
        ListingEntry *entry;
        Listing *listing; /* that it is in; referenced by the walk */
} WalkItem;

typedef struct Walk {
        WalkItem *items;
        size_t n_items, cap_items;
        Listing **listings; /* references to every listing that was entered */
        size_t n_listings, cap_listings;
        OidSet entered; /* trees: one that is in several places is entered once */
} Walk;

typedef struct WalkLimits {
        size_t max_items;
        bool missing_sizes_only;  /* entries whose size nothing here knows; else every blob */
        bool whole_first_listing; /* its own entries are taken even over max_items */
        const OidSet *except; /* blobs that are left out, but not of a whole first listing; NULL */
} WalkLimits;

/* Collects from this directory, then from all below it in the order of a walk, as far as the trees
 * are here, and each tree once however often it is there: a few trees can stand for any number of
 * directories. Appends to *walk, which is zeroed at first and given to walk_done() in the end, also
 * after an error. 0 or -ENOMEM. May read the disk. */
int walk_below(Namespace *ns, Listing *from, const WalkLimits *limits, Walk *walk);
void walk_done(Walk *walk);
