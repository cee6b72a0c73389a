#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/oid.h"
#include "store/segment.h"
#include "store/store.h"
#include "util/mutex.h"

/* Where the objects of the open segments are: a sharded hash table, about 64 bytes per object, and
 * at most SEGMENT_MAX_RECORDS of them for each segment. A segment that is finished has an index of
 * its own (segment-index.h), and leaves this one. Any thread.
 *
 * Entries point to segments without holding references. It is safe because a segment is first taken
 * out of the index (index_remove(), index_sweep()) and then released, and index_get() takes the
 * caller's reference under the lock of the shard. segment->n_open counts the entries. */

#define INDEX_SHARDS 64
#define INDEX_MAX_SIZE ((UINT64_C(1) << 40) - 1) /* of one object */

typedef struct IndexEntry IndexEntry;

typedef struct IndexShard {
        Mutex lock;
        /* protected by lock */
        IndexEntry **chunks; /* owned, like the chunks */
        size_t n_chunks, cap_chunks;
        uint32_t *buckets; /* owned; n_buckets is a power of two, 0 while empty */
        uint32_t n_buckets;
        uint32_t n_entries;
        uint32_t n_fresh; /* entries of the chunks that were never used */
        uint32_t free;    /* list of entries that are free again */
} IndexShard;

typedef struct Index {
        IndexShard shards[INDEX_SHARDS];
} Index;

typedef struct IndexValue {
        Segment *segment;
        uint64_t offset; /* of the payload */
        uint64_t size;
        ObjectType type;
        uint16_t clock; /* when it was last used, in ticks of the disk tier, modulo 2^16 */
} IndexValue;

void index_init(Index *index);
void index_done(Index *index);

/* 1 when the value is in, 0 where there was an entry already, which stays, -ENOMEM. */
int index_put(Index *index, StoreKind kind, const Oid *oid, const IndexValue *value);
/* Finds the entry, notes `clock` as its last use, and takes a reference on its segment. */
bool index_get(Index *index, StoreKind kind, const Oid *oid, uint16_t clock, IndexValue *ret);
/* Without a reference and without using it: ret->segment may only be compared. */
bool index_peek(Index *index, StoreKind kind, const Oid *oid, IndexValue *ret);
/* Removes the entry if it still points into this segment; NULL: wherever it points. */
bool index_remove(Index *index, StoreKind kind, const Oid *oid, const Segment *segment);
/* Removes all entries of a segment by looking at every entry there is. */
void index_sweep(Index *index, const Segment *segment);
size_t index_count(Index *index);
