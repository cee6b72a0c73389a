#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

#include "object/oid.h"
#include "store/map-guard.h"
#include "store/owner.h"
#include "store/segment-index.h"
#include "store/store.h"

/* One log file of the disk tier, mapped as a whole: a header, records, and once it is sealed a
 * footer with an index of the records. segment.c describes the format.
 *
 * A segment is reference counted: its bytes stay where they are, also after the file was unlinked,
 * until the last reference is gone. */
typedef struct Segment Segment;

/* More records than these go into the next segment: what is known of a record of an open one is in
 * memory. */
#define SEGMENT_MAX_RECORDS 65536u

typedef enum SegmentState {
        SEGMENT_OPEN,    /* takes records */
        SEGMENT_SEALING, /* full or given up: waits for its writers, then gets its footer */
        SEGMENT_SEALED,  /* complete and read-only; may be evicted */
} SegmentState;

struct Segment {
        StoreOwner owner;
        uint64_t number; /* part of the file's name; never used twice */
        uint8_t *map;
        uint8_t *out; /* a second mapping, which nobody but the kernel reads from: ObjectRef.out */
        size_t map_size;
        MapGuard *guard; /* of the first */
        uint64_t salt;
        bool single;        /* made for one record */
        SegmentIndex index; /* once it is sealed */
        uint8_t *unwritten; /* owned; that index where it could not be written to the file */

        /* Bytes of the limit that this file takes. Given back to *account, when the mapping is gone
         * and with it the file's blocks. */
        uint64_t charged;
        atomic_uint_least64_t *account;

        atomic_uint_least64_t last_use; /* ticks of the disk tier's clock */
        atomic_uint_least32_t n_open;   /* entries of the Index that point here: see index.h */
        int fd;                         /* until sealed, then -1 */

        /* protected by the disk tier's lock */
        unsigned n_writers; /* one for each reservation, and one while it is the active segment */
        uint64_t used;      /* bytes handed out, from the start */
        TAILQ_ENTRY(Segment) entry;
        uint32_t n_records;
        SegmentState state;
        bool doomed; /* evict it as soon as the last writer is gone */
        /* Room that its pinned records take elsewhere, in the round that this was counted in. */
        uint64_t pinned_room, pinned_round;
};

/* File size that holds `n` records with `payload` bytes in total. */
uint64_t segment_size_for(uint64_t payload, uint32_t n);
/* Most bytes of the disk that a file of this size takes, with what the file system notes about it.
 */
uint64_t segment_space(uint64_t file_size);

/* Makes a segment of `size` bytes out of an empty file, all of them allocated; `single`: it gets
 * one record. Takes fd over, also on failure. -ENOSPC, other errno. */
int segment_create(int fd, uint64_t number, uint64_t size, bool single, Segment **ret);
/* Maps a segment file that an earlier process wrote. One that was not sealed is scanned for records
 * and sealed; *scan_left is how many bytes may be read for that, and is lowered by those that were.
 * Takes fd over, also on failure. -EBADMSG where it is none, -ENOTSUP where it is one of another
 * version of the format; other errno says nothing of the file. */
int segment_open(int fd, uint64_t number, uint64_t *scan_left, Segment **ret);
static inline Segment *segment_ref(Segment *segment) {
        ref_get(&segment->owner.ref);
        return segment;
}
Segment *segment_unref(Segment *segment);
DEFINE_CLEANUP(Segment *, segment_unref)

/* Hands out room for one record; false when it does not fit. The disk tier's lock is held. */
bool segment_reserve(Segment *segment, uint64_t size, uint64_t *ret_offset);
/* Makes the record valid, with the payload at record->offset already in place. */
void segment_write_header(Segment *segment, const SegmentRecord *record);
/* Writes the index behind the records, cuts the file to what it holds and makes the mapping
 * read-only. Nobody writes any more. Where the file cannot be written the index is kept in memory;
 * then the next process scans the segment. On failure it has no index: -ENOMEM; -EIO where the disk
 * failed under it, or somebody cut the file. */
int segment_seal(Segment *segment);

/* Of a sealed one. */
uint64_t segment_file_size(const Segment *segment);
/* Records of a sealed one that are not dead. */
static inline uint32_t segment_n_live(const Segment *segment) {
        return segment->index.n - atomic_load(&segment->index.n_dead);
}

/* True if the header in front of the payload is intact and names this record, and its checksum
 * matches the payload. */
bool segment_check(const Segment *segment, const SegmentRecord *record);

/* True once the disk failed under the mapping: bytes of it may be zeros instead, also those that
 * were checked. */
static inline bool segment_is_torn(const Segment *segment) {
        return map_guard_tripped(segment->guard);
}

static inline const uint8_t *segment_bytes(const Segment *segment, uint64_t offset) {
        return segment->map + offset;
}

static inline const uint8_t *segment_out_bytes(const Segment *segment, uint64_t offset) {
        return segment->out + offset;
}
