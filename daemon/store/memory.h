#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "store/store.h"

/* The memory tier: blocks of bytes by id, least recently used out first, under a limit in bytes
 * that is exact: it counts what the allocator hands out for a block, its bookkeeping and its place
 * in the table. What somebody holds an ObjectRef on is not evicted; it counts all the same, and the
 * limit may be exceeded by it alone. Any thread. */
typedef struct MemoryTier MemoryTier;

int memory_tier_new(uint64_t limit, MemoryTier **ret);
/* All ObjectRefs must be gone. */
MemoryTier *memory_tier_free(MemoryTier *tier);
DEFINE_CLEANUP(MemoryTier *, memory_tier_free)

/* True if an object of this size should go here: one takes at most half of the limit, because a
 * single large one throws everything else out. */
bool memory_tier_takes(MemoryTier *tier, uint64_t size);
/* True if it could be put at all. */
bool memory_tier_fits(MemoryTier *tier, uint64_t size);
/* Takes data (malloc'ed; NULL when size is 0) over, also on failure. 0 also when it was there;
 * -EFBIG when it does not fit; -ENOMEM. */
int memory_tier_put(
        MemoryTier *tier,
        StoreKind kind,
        const Oid *oid,
        ObjectType type,
        uint8_t *data,
        uint64_t size);
/* 1 with a reference, or 0. */
int memory_tier_get(MemoryTier *tier, StoreKind kind, const Oid *oid, ObjectRef *ret);
/* 1 or 0, without using it. */
int memory_tier_stat(
        MemoryTier *tier, StoreKind kind, const Oid *oid, ObjectType *ret_type, uint64_t *ret_size);
void memory_tier_forget(MemoryTier *tier, StoreKind kind, const Oid *oid);
void memory_tier_flush(MemoryTier *tier);
void memory_tier_set_limit(MemoryTier *tier, uint64_t limit);
void memory_tier_usage(
        MemoryTier *tier, uint64_t *ret_n_objects, uint64_t *ret_bytes, uint64_t *ret_limit);
