#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

#include "object/object.h"
#include "util/htable.h"

/* Copies of recent objects for deltas to build on, least recently used first out, strictly below a
 * number of bytes. Embedded by value; used by one thread at a time. */

typedef struct BaseCacheEntry {
        HTableLink link;
        TAILQ_ENTRY(BaseCacheEntry) lru;
        Oid oid;
        ObjectType type;
        uint64_t size;
        uint8_t data[];
} BaseCacheEntry;

typedef struct BaseCache {
        HTable table;
        TAILQ_HEAD(, BaseCacheEntry) lru; /* the next to go first */
        size_t bytes;                     /* of all entries, with their headers */
        size_t limit;
} BaseCache;

void base_cache_init(BaseCache *c, size_t limit);
void base_cache_done(BaseCache *c);
/* Drops what does not fit any more. */
void base_cache_set_limit(BaseCache *c, size_t limit);
/* Keeps a copy unless the object is large in comparison with the limit. Being a cache, it keeps
 * none when memory is short. */
void base_cache_put(
        BaseCache *c, ObjectType type, const Oid *oid, const uint8_t *data, uint64_t size);
/* NULL when there is none; valid until the next call that is not a get. */
const BaseCacheEntry *base_cache_get(BaseCache *c, const Oid *oid);
