#include "store/catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"

void catalog_init(Catalog *catalog) {
        *catalog = (Catalog){0};
        mutex_init(&catalog->lock, LOCK_RANK_STORE_SHARD);
}

void catalog_done(Catalog *catalog) {
        free(catalog->segments);
        mutex_destroy(&catalog->lock);
}

/* How many segments are older than that number. */
static size_t n_older(const Catalog *catalog, uint64_t number) {
        size_t low = 0, high = catalog->n_segments;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (catalog->segments[middle]->number < number)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

int catalog_add(Catalog *catalog, Segment *segment) {
        MUTEX_GUARD(&catalog->lock);
        int r = ARRAY_RESERVE(catalog->segments, catalog->n_allocated, catalog->n_segments + 1);
        if (r < 0)
                return r;
        size_t at = n_older(catalog, segment->number);
        Segment **place = &catalog->segments[at];
        memmove(place + 1, place, (catalog->n_segments - at) * sizeof(*place));
        *place = segment;
        catalog->n_segments++;
        return 0;
}

void catalog_remove(Catalog *catalog, Segment *segment) {
        MUTEX_GUARD(&catalog->lock);
        size_t at = n_older(catalog, segment->number);
        if (at == catalog->n_segments || catalog->segments[at] != segment)
                return;
        Segment **place = &catalog->segments[at];
        catalog->n_segments--;
        memmove(place, place + 1, (catalog->n_segments - at) * sizeof(*place));
        (void) atomic_fetch_add(&catalog->n_removed, 1);
}

/* The newest segment below that number that may have it, with a reference. */
static Segment *next_candidate(Catalog *catalog, StoreKind kind, const Oid *oid, uint64_t below) {
        MUTEX_GUARD(&catalog->lock);
        for (size_t i = n_older(catalog, below); i > 0; i--)
                if (segment_index_may_have(&catalog->segments[i - 1]->index, kind, oid))
                        return segment_ref(catalog->segments[i - 1]);
        return NULL;
}

bool catalog_find(Catalog *catalog, StoreKind kind, const Oid *oid, CatalogHit *ret) {
        uint64_t below = UINT64_MAX;

        for (;;) {
                _cleanup_(segment_unrefp) Segment *segment =
                        next_candidate(catalog, kind, oid, below);
                if (!segment)
                        return false;
                bool found =
                        segment_index_find(&segment->index, kind, oid, &ret->number, &ret->record);
                ret->torn = segment_is_torn(segment);
                if (found || ret->torn) {
                        ret->segment = TAKE_PTR(segment);
                        return true;
                }
                below = segment->number;
        }
}

Segment *catalog_next(Catalog *catalog, uint64_t number) {
        MUTEX_GUARD(&catalog->lock);
        size_t at = n_older(catalog, number);
        return at < catalog->n_segments ? segment_ref(catalog->segments[at]) : NULL;
}

uint64_t catalog_count(Catalog *catalog) {
        uint64_t n = 0;

        MUTEX_GUARD(&catalog->lock);
        for (size_t i = 0; i < catalog->n_segments; i++)
                n += segment_n_live(catalog->segments[i]);
        return n;
}
