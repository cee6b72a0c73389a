#pragma once

#include <pthread.h>

#include "gitfs/macro.h"

#include "store/catalog.h"
#include "store/disk.h"
#include "store/index.h"
#include "util/mutex.h"

/* Shared by disk.c, disk-evict.c and disk-recover.c only. */

typedef TAILQ_HEAD(SegmentList, Segment) SegmentList;

/* What eviction keeps: replaced as a whole, and used by who holds a reference. */
typedef struct PinnedSet {
        Ref ref;
        Pinned pinned;
} PinnedSet;

struct DiskTier {
        char *directory;             /* owned; constant */
        Index index;                 /* of the open segments; locks itself */
        Catalog catalog;             /* of the sealed ones; locks itself */
        atomic_uint_least64_t bytes; /* of all segment files; raised with lock only */
        atomic_uint_least64_t clock; /* ticks once per new segment */

        Mutex lock;
        pthread_cond_t changed; /* with lock: `growing` became false, or n_evicting fell */
        /* protected by lock */
        int lock_fd; /* flock()ed while the directory is ours */
        uint64_t limit;
        uint64_t free_space_floor;
        uint64_t segment_size; /* of the shared ones */
        uint64_t scan_limit;   /* of recovery */
        uint64_t next_number;
        SegmentList segments; /* each with one reference; without those being evicted */
        uint32_t n_segments;
        uint32_t n_evicting;   /* taken out of the list, and not done with */
        Segment *active;       /* the one that takes small objects; NULL before the first and while
                                  growing */
        bool growing;          /* a thread is making the next active segment */
        PinnedSet *pinned;     /* a reference; NULL: nothing is */
        uint64_t pinned_round; /* how many there were, so that 0 is none */
};

/* disk.c */
char *disk_segment_path(const DiskTier *tier, uint64_t number);
void disk_tier_add_segment_locked(DiskTier *tier, Segment *segment);
/* Into the active segment if there is room right now. -ENOSPC otherwise. */
int disk_tier_reserve_active(DiskTier *tier, uint64_t size, DiskReservation *ret);
/* Commits, also what is here already in a sealed segment: that may be about to go. */
int disk_tier_publish(
        DiskTier *tier,
        const DiskReservation *reservation,
        StoreKind kind,
        const Oid *oid,
        ObjectType type);

/* Stops the active segment from taking records. */
void disk_tier_retire_active(DiskTier *tier);

/* disk-find.c */
/* A record of a sealed segment is in another segment by now: who did not find it there just before
 * looks again. */
void disk_tier_moved(DiskTier *tier, Segment *segment, uint32_t number);
/* 1 if the bytes are what the record says, 0 if they are damaged, -ENOMEM. */
int disk_record_verify(const Segment *segment, const SegmentRecord *record);
/* Seals a segment nobody writes to any more, and lets the catalog find its records in the place of
 * the index. On failure the index is without them, too. */
int disk_tier_seal_segment(DiskTier *tier, Segment *segment);

/* disk-evict.c */
PinnedSet *pinned_set_unref(PinnedSet *set);
/* Takes `bytes` of the limit, evicting the least recently used segments until they fit under it and
 * above the free-space floor. -ENOSPC. */
int disk_tier_charge(DiskTier *tier, uint64_t bytes);
/* Gives back what was charged and not handed to a segment. */
void disk_tier_discharge(DiskTier *tier, uint64_t bytes);
/* Evicts one segment, or waits for one that another thread evicts; false when there is none. */
bool disk_tier_evict_one(DiskTier *tier);
/* Evicts until `spare` bytes of the limit are free, as far as possible. */
void disk_tier_keep_free(DiskTier *tier, uint64_t spare);
/* Takes a segment out of the list, for disk_tier_drop_segment(). */
void disk_tier_take_segment_locked(DiskTier *tier, Segment *segment);
/* Copies a record to where disk_tier_reserve() or disk_tier_reserve_active() finds room, and has it
 * found there from now on. -EIO where the disk failed under the segment. */
typedef int (*DiskReserve)(DiskTier *tier, uint64_t size, DiskReservation *ret);
int disk_tier_move_record(DiskTier *tier, Segment *from, uint32_t number, DiskReserve reserve);
/* Drops a segment in which nothing is to be found any more: now, or once it is finished. */
void disk_tier_give_up(DiskTier *tier, Segment *segment);
/* Ends a segment that was taken out of the list: its entries, its file, the list's reference.
 * Objects in hot use move to the active segment if `keep_hot`. 0, or why the file is still there.
 */
int disk_tier_drop_segment(DiskTier *tier, Segment *segment, bool keep_hot);

/* disk-recover.c */
/* Makes the directory if it is missing and takes it for this process: -EBUSY. */
int disk_tier_lock_directory(DiskTier *tier);
/* Whether it still is ours: it may be deleted, moved or covered while we run, because it is a
 * cache, and another daemon may have taken what is there since. */
bool disk_tier_has_lock(DiskTier *tier);
/* Loads the segments of earlier processes. */
int disk_tier_recover(DiskTier *tier);
