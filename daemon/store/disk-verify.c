#include <errno.h>

#include "store/disk-internal.h"
#include "util/stats.h"

/* Hashing all there is. What a process has checked once it believes, and what it never reads it
 * never checks; here every record of every finished segment is hashed, whatever is known of it.
 *
 * The walk goes by the numbers of segments and keeps a reference only within one step, so that it
 * never stands in the way of eviction: a segment that went in between is passed over. It ends with
 * the last segment that was there at its beginning.
 *
 * A damaged record is marked dead, which lasts as long as the process. So that the next one does
 * not find it again, its segment goes as well: what is good in it moves to the active segment, and
 * the file is removed. Where there is no room for that, the segment stays. */

#define STEP_BYTES (UINT64_C(16) << 20)

/* Segments that were never full may have few records, and cost a system call or two each. */
#define STEP_RECORDS 16384u

void disk_tier_verify_start(DiskTier *tier, StoreVerification *v) {
        disk_tier_retire_active(tier);

        *v = (StoreVerification){.total = catalog_count(&tier->catalog)};
        MUTEX_GUARD(&tier->lock);
        v->end = tier->next_number;
}

/* 1 good, 0 damaged, -ENOMEM. */
static int verify_record(Segment *segment, uint32_t number, uint64_t *ret_size) {
        SegmentIndex *index = &segment->index;
        SegmentRecord record;

        *ret_size = 0;
        if (!segment_index_at(index, number, &record)) {
                /* With its whole block, which was counted as one. */
                (void) segment_index_mark(index, number, MARK_DEAD, -1);
                return 0;
        }
        *ret_size = record.size;
        int r = disk_record_verify(segment, &record);
        if (r == 0 && segment_index_mark(index, number, MARK_DEAD, -1))
                stat_add(STAT_STORE_CORRUPT, 1);
        if (r > 0)
                (void) segment_index_mark(index, number, MARK_VERIFIED, -1);
        return r;
}

static void replace_segment(DiskTier *tier, Segment *segment) {
        for (uint32_t i = 0; i < segment->index.n; i++)
                if (!(segment_index_marks(&segment->index, i) & MARK_DEAD) &&
                    disk_tier_move_record(tier, segment, i, disk_tier_reserve) < 0)
                        return; /* no room: the damage stays in the file, and out of reach */
        disk_tier_give_up(tier, segment);
}

/* Looks at records of one segment from v->record on. */
static int verify_some(Segment *segment, StoreVerification *v) {
        uint64_t bytes = 0, size;
        uint32_t end = MIN(segment->index.n, v->record + STEP_RECORDS);

        for (; v->record < end && bytes < STEP_BYTES; v->record++) {
                if (segment_index_marks(&segment->index, v->record) & MARK_DEAD)
                        continue;
                int r = verify_record(segment, v->record, &size);
                if (r < 0)
                        return r;
                v->checked++;
                v->bytes += size;
                bytes += size;
                if (r == 0) {
                        v->damaged++;
                        v->segment_damaged = true;
                }
        }
        return 0;
}

int disk_tier_verify_step(DiskTier *tier, StoreVerification *v) {
        _cleanup_(segment_unrefp) Segment *segment = catalog_next(&tier->catalog, v->segment);

        if (!segment || segment->number >= v->end)
                return 0;
        if (segment->number != v->segment) {
                v->segment = segment->number;
                v->record = 0;
                v->segment_damaged = false;
        }
        int r = verify_some(segment, v);
        if (r < 0)
                return r;
        if (v->record == segment->index.n) {
                if (v->segment_damaged)
                        replace_segment(tier, segment);
                v->segment++;
                v->record = 0;
                v->segment_damaged = false;
        }
        return 1;
}
