#include <errno.h>
#include <inttypes.h>

#include "store/disk-internal.h"
#include "util/log.h"
#include "util/stats.h"

/* An object is in one of two places: while its segment is open, in the index, a hash table in
 * memory; afterwards in the index that the segment has in its own file, which the catalog searches.
 * So what a start has to do, and the memory that a store takes, do not grow with what it holds.
 *
 * A look-up must never miss what is here: it would be fetched again. Sealing lets the catalog find
 * a segment's records before the index loses them, so who asks the index first and the catalog
 * second sees one or the other. Eviction goes the other way: what is carried over enters the index
 * before its old segment leaves the catalog. Whoever asked in between asks again, because the
 * catalog has lost a segment meanwhile (`n_removed`).
 *
 * What this process knows of a record (checked, used, forgotten) moves along, into marks of two
 * bytes. Records of the index need no check: this process has written them. */

/* Where something is, in either place, with a reference on the segment. */
typedef struct Place {
        Segment *segment;
        SegmentRecord record;
        uint32_t number; /* in the segment's index; if `sealed` */
        bool sealed;
} Place;

static bool find_open(DiskTier *tier, StoreKind kind, const Oid *oid, uint64_t now, Place *ret) {
        IndexValue value;

        if (!index_get(&tier->index, kind, oid, (uint16_t) now, &value))
                return false;
        *ret = (Place){
                .segment = value.segment,
                .record =
                        {
                                .kind = kind,
                                .oid = *oid,
                                .type = value.type,
                                .offset = value.offset,
                                .size = value.size,
                        },
        };
        return true;
}

/* The disk failed under a segment: nothing in it can be believed any more. */
static void drop_torn(DiskTier *tier, Segment *segment) {
        log_debug("the disk failed under segment %" PRIx64, segment->number);
        stat_add(STAT_STORE_CORRUPT, 1);
        disk_tier_give_up(tier, segment);
}

static bool find_sealed(DiskTier *tier, StoreKind kind, const Oid *oid, Place *ret) {
        CatalogHit hit;

        if (!catalog_find(&tier->catalog, kind, oid, &hit))
                return false;
        *ret = (Place){hit.segment, hit.record, hit.number, true};
        return true;
}

static bool find(DiskTier *tier, StoreKind kind, const Oid *oid, uint64_t now, Place *ret) {
        uint64_t n_removed;
        bool torn;

        do {
                n_removed = atomic_load(&tier->catalog.n_removed);
                torn = false;
                if (!find_open(tier, kind, oid, now, ret) && !find_sealed(tier, kind, oid, ret))
                        continue;
                torn = segment_is_torn(ret->segment);
                if (!torn)
                        return true;
                drop_torn(tier, ret->segment);
                segment_unref(ret->segment);
        } while (torn || atomic_load(&tier->catalog.n_removed) != n_removed);
        return false;
}

void disk_tier_moved(DiskTier *tier, Segment *segment, uint32_t number) {
        (void) atomic_fetch_add(&tier->catalog.n_removed, 1);
        (void) segment_index_mark(&segment->index, number, MARK_DEAD, -1);
}

int disk_record_verify(const Segment *segment, const SegmentRecord *record) {
        Oid actual;

        if (!segment_check(segment, record))
                return 0;
        if (record->kind != STORE_OBJECT)
                return 1;
        int r = object_hash(
                record->oid.algo,
                record->type,
                segment_bytes(segment, record->offset),
                record->size,
                &actual);
        if (r == -ENOMEM)
                return r;
        return r >= 0 && oid_equal(&actual, &record->oid);
}

/* 1 if the bytes may be handed out; 0 damaged, and never found again; -EAGAIN without `may_verify`.
 */
static int check(const Place *place, bool may_verify, uint64_t now) {
        if (!place->sealed)
                return 1;
        SegmentIndex *index = &place->segment->index;
        if (!(segment_index_marks(index, place->number) & MARK_VERIFIED)) {
                if (!may_verify)
                        return -EAGAIN;
                int r = disk_record_verify(place->segment, &place->record);
                /* One of those who find it at the same time counts it. */
                if (r == 0 && segment_index_mark(index, place->number, MARK_DEAD, -1))
                        stat_add(STAT_STORE_CORRUPT, 1);
                if (r <= 0)
                        return r;
        }
        (void) segment_index_mark(index, place->number, MARK_VERIFIED, (int) (now & MARK_CLOCK));
        return 1;
}

int disk_tier_get(DiskTier *tier, StoreKind kind, const Oid *oid, bool may_verify, ObjectRef *ret) {
        uint64_t now = atomic_load(&tier->clock);
        Place place;

        if (!find(tier, kind, oid, now, &place))
                return 0;
        _cleanup_(segment_unrefp) Segment *segment = place.segment;
        int r = check(&place, may_verify, now);
        if (segment_is_torn(segment)) {
                drop_torn(tier, segment);
                return 0;
        }
        if (r <= 0)
                return r;
        if (atomic_load(&segment->last_use) != now)
                atomic_store(&segment->last_use, now);
        *ret = (ObjectRef){
                .type = place.record.type,
                .data = place.record.size > 0 ? segment_bytes(segment, place.record.offset) : NULL,
                .out = place.record.size > 0 ? segment_out_bytes(segment, place.record.offset)
                                             : NULL,
                .size = place.record.size,
                .owner = &TAKE_PTR(segment)->owner,
        };
        return 1;
}

int disk_tier_stat(
        DiskTier *tier, StoreKind kind, const Oid *oid, ObjectType *ret_type, uint64_t *ret_size) {
        Place place;

        if (!find(tier, kind, oid, atomic_load(&tier->clock), &place))
                return 0;
        segment_unref(place.segment);
        *ret_type = place.record.type;
        *ret_size = place.record.size;
        return 1;
}

void disk_tier_forget(DiskTier *tier, StoreKind kind, const Oid *oid) {
        CatalogHit hit;
        bool marked = true;

        (void) index_remove(&tier->index, kind, oid, NULL); /* it may not be there */
        /* Several where a race stored it twice. */
        while (marked && catalog_find(&tier->catalog, kind, oid, &hit)) {
                if (hit.torn)
                        drop_torn(tier, hit.segment);
                else
                        marked = segment_index_mark(&hit.segment->index, hit.number, MARK_DEAD, -1);
                segment_unref(hit.segment);
        }
}

/* --- sealing --- */

static bool is_entry_of(const Segment *segment, const SegmentRecord *record, IndexValue *value) {
        return value->segment == segment && value->offset == record->offset;
}

/* What the index knows goes into the marks; what it does not have was forgotten, or is here twice.
 */
static void inherit(DiskTier *tier, Segment *segment) {
        SegmentRecord record;
        IndexValue value;

        for (uint32_t i = 0; i < segment->index.n; i++) {
                if (!segment_index_at(&segment->index, i, &record))
                        continue;
                bool live = index_peek(&tier->index, record.kind, &record.oid, &value) &&
                            is_entry_of(segment, &record, &value);
                (void) segment_index_mark(
                        &segment->index,
                        i,
                        live ? MARK_VERIFIED : MARK_DEAD,
                        live ? value.clock & MARK_CLOCK : -1);
        }
}

static void leave_index(DiskTier *tier, Segment *segment) {
        SegmentRecord record;

        for (uint32_t i = 0; i < segment->index.n; i++)
                if (segment_index_at(&segment->index, i, &record) &&
                    !(segment_index_marks(&segment->index, i) & MARK_DEAD) &&
                    !index_remove(&tier->index, record.kind, &record.oid, segment))
                        /* Forgotten meanwhile. */
                        (void) segment_index_mark(&segment->index, i, MARK_DEAD, -1);
        /* Nothing, unless the disk has already damaged what was just written. */
        if (atomic_load(&segment->n_open) > 0)
                index_sweep(&tier->index, segment);
}

int disk_tier_seal_segment(DiskTier *tier, Segment *segment) {
        int r = segment_seal(segment);
        if (r >= 0) {
                inherit(tier, segment);
                r = catalog_add(&tier->catalog, segment);
        }
        if (r < 0) {
                index_sweep(&tier->index, segment);
                return r;
        }
        leave_index(tier, segment);
        return 0;
}
