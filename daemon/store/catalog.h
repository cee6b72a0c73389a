#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/oid.h"
#include "store/segment.h"
#include "store/store.h"
#include "util/mutex.h"

/* The finished segments, searched for an object from the newest to the oldest. Any thread. The
 * catalog holds no references: a segment is taken out before it is released, and whoever finds
 * something takes a reference under the lock. The lock is held over memory of this process only,
 * about 20 ns for each segment that has not what is searched; the files are looked at without it.
 */
typedef struct Catalog {
        Mutex lock;
        /* protected by lock */
        Segment **segments; /* owned array; oldest first */
        size_t n_segments, n_allocated;

        atomic_uint_least64_t n_removed; /* segments that were taken out so far */
} Catalog;

/* Where an object is. */
typedef struct CatalogHit {
        Segment *segment; /* with a reference */
        bool torn;        /* the disk failed under the segment: nobody knows what is in it */
        uint32_t number;  /* of the record in the segment's index */
        SegmentRecord record;
} CatalogHit;

void catalog_init(Catalog *catalog);
/* All segments must have been taken out, or are forgotten. */
void catalog_done(Catalog *catalog);

/* The segment must have an index. 0 or -ENOMEM. */
int catalog_add(Catalog *catalog, Segment *segment);
/* Nothing where it is not in. */
void catalog_remove(Catalog *catalog, Segment *segment);
/* Also true for a segment that is torn and may have had it. */
bool catalog_find(Catalog *catalog, StoreKind kind, const Oid *oid, CatalogHit *ret);
/* The oldest segment with this number or a higher one, with a reference; NULL. */
Segment *catalog_next(Catalog *catalog, uint64_t number);
/* Records that are not dead. */
uint64_t catalog_count(Catalog *catalog);
