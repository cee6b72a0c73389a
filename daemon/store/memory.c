#include "store/memory.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/queue.h>

#include "store/owner.h"
#include "util/htable.h"
#include "util/mutex.h"
#include "util/stats.h"

/* One table and one list in order of use, under one lock that is never held over freeing the bytes.
 *
 * The table holds one reference on each block. New references are taken only under the lock, so a
 * block whose count is one there is in nobody's use and stays so while the lock is held. Blocks in
 * use that eviction comes across go back to the front: they are in use right now. A block is
 * counted until it is freed, also when it is no longer in the table. */

typedef struct Block {
        StoreOwner owner;
        MemoryTier *tier;
        HTableLink link;        /* protected by the tier's lock, like lru */
        TAILQ_ENTRY(Block) lru; /* links blocks that leave the table, too */
        StoreKind kind;
        Oid oid;
        ObjectType type;
        uint64_t size;
        uint8_t *data; /* owned */
        uint64_t cost; /* what it counts for; constant */
} Block;

typedef TAILQ_HEAD(BlockList, Block) BlockList;

struct MemoryTier {
        atomic_uint_least64_t bytes; /* of all blocks that exist */
        atomic_uint_least64_t limit;
        Mutex lock;
        HTable table;  /* protected by lock */
        BlockList lru; /* protected by lock; most recently used first */
};

/* Of each allocation, beside what can be used of it. */
#define ALLOCATOR_OVERHEAD sizeof(void *)
/* Of a table that has just doubled. */
#define TABLE_SHARE (2 * sizeof(void *))
/* What a block costs beside its bytes; they may cost more than was asked for, by less than this. */
#define BOOKKEEPING (sizeof(Block) + 2 * ALLOCATOR_OVERHEAD + TABLE_SHARE)

static uint64_t cost_of_allocation(void *p) {
        return p ? malloc_usable_size(p) + ALLOCATOR_OVERHEAD : 0;
}

static uint64_t cost_of_block(Block *block) {
        return cost_of_allocation(block) + cost_of_allocation(block->data) + TABLE_SHARE;
}

static void memory_tier_trim(MemoryTier *tier);

static void block_unref(Block *block) {
        if (!ref_put(&block->owner.ref))
                return;
        (void) atomic_fetch_sub(&block->tier->bytes, block->cost);
        stat_add(STAT_STORE_MEMORY_BYTES, -(int64_t) block->cost);
        free(block->data);
        free(block);
}

/* The end of an ObjectRef. What was in use may have held the tier above its limit. */
static void block_owner_unref(StoreOwner *owner) {
        Block *block = container_of(owner, Block, owner);
        MemoryTier *tier = block->tier;

        block_unref(block);
        memory_tier_trim(tier);
}

static uint64_t key_hash(StoreKind kind, const Oid *oid) {
        return hash_bytes(oid->id, sizeof(oid->id), kind);
}

/* Where all objects are kept on disk nobody has to meet here: what is in the table is counted. */
static bool is_empty(MemoryTier *tier) {
        return atomic_load(&tier->bytes) == 0;
}

static Block *find_locked(MemoryTier *tier, StoreKind kind, const Oid *oid) {
        HTABLE_FOREACH (l, &tier->table, key_hash(kind, oid)) {
                Block *block = container_of(l, Block, link);
                if (block->kind == kind && oid_equal(&block->oid, oid))
                        return block;
        }
        return NULL;
}

static void take_out_locked(MemoryTier *tier, Block *block) {
        htable_remove(&tier->table, &block->link);
        TAILQ_REMOVE(&tier->lru, block, lru);
}

static void use_locked(MemoryTier *tier, Block *block) {
        TAILQ_REMOVE(&tier->lru, block, lru);
        TAILQ_INSERT_HEAD(&tier->lru, block, lru);
}

/* Takes unused blocks out until `cost` more bytes fit once they are freed. */
static void collect_victims_locked(MemoryTier *tier, uint64_t cost, BlockList *ret_victims) {
        uint64_t freed = 0;

        for (size_t n = tier->table.n_entries; n > 0; n--) {
                if (atomic_load(&tier->bytes) + cost <= atomic_load(&tier->limit) + freed)
                        return;
                Block *block = TAILQ_LAST(&tier->lru, BlockList);
                if (atomic_load(&block->owner.ref.n) > 1) {
                        use_locked(tier, block);
                        continue;
                }
                take_out_locked(tier, block);
                TAILQ_INSERT_TAIL(ret_victims, block, lru);
                freed += block->cost;
        }
}

static size_t release_blocks(BlockList *blocks) {
        size_t n = 0;

        for (; !TAILQ_EMPTY(blocks); n++) {
                Block *block = TAILQ_FIRST(blocks);
                TAILQ_REMOVE(blocks, block, lru);
                block_unref(block);
        }
        return n;
}

/* Evicts until `cost` more bytes fit, or nothing but blocks in use is left, and counts them in. */
static void memory_tier_charge(MemoryTier *tier, uint64_t cost) {
        for (bool done = false; !done;) {
                BlockList victims = TAILQ_HEAD_INITIALIZER(victims);

                mutex_lock(&tier->lock);
                collect_victims_locked(tier, cost, &victims);
                done = TAILQ_EMPTY(&victims);
                if (done)
                        (void) atomic_fetch_add(&tier->bytes, cost);
                mutex_unlock(&tier->lock);
                stat_add(STAT_STORE_EVICTED, (int64_t) release_blocks(&victims));
        }
        stat_add(STAT_STORE_MEMORY_BYTES, (int64_t) cost);
}

static void memory_tier_trim(MemoryTier *tier) {
        if (atomic_load(&tier->bytes) > atomic_load(&tier->limit))
                memory_tier_charge(tier, 0);
}

int memory_tier_new(uint64_t limit, MemoryTier **ret) {
        MemoryTier *tier = calloc(1, sizeof(*tier));
        if (!tier)
                return -ENOMEM;
        tier->limit = limit;
        mutex_init(&tier->lock, LOCK_RANK_STORE_SHARD);
        TAILQ_INIT(&tier->lru);
        *ret = tier;
        return 0;
}

MemoryTier *memory_tier_free(MemoryTier *tier) {
        if (!tier)
                return NULL;
        memory_tier_flush(tier);
        assert(atomic_load(&tier->bytes) == 0);
        htable_done(&tier->table);
        mutex_destroy(&tier->lock);
        free(tier);
        return NULL;
}

bool memory_tier_takes(MemoryTier *tier, uint64_t size) {
        uint64_t half = atomic_load(&tier->limit) / 2;
        return half >= BOOKKEEPING && size <= half - BOOKKEEPING;
}

bool memory_tier_fits(MemoryTier *tier, uint64_t size) {
        uint64_t limit = atomic_load(&tier->limit);
        return limit >= BOOKKEEPING && size <= limit - BOOKKEEPING;
}

static int insert(MemoryTier *tier, Block *block) {
        MUTEX_GUARD(&tier->lock);
        if (find_locked(tier, block->kind, &block->oid))
                return 0;
        int r = htable_add(&tier->table, &block->link, key_hash(block->kind, &block->oid));
        if (r < 0)
                return r;
        TAILQ_INSERT_HEAD(&tier->lru, block, lru);
        return 1;
}

int memory_tier_put(
        MemoryTier *tier,
        StoreKind kind,
        const Oid *oid,
        ObjectType type,
        uint8_t *data,
        uint64_t size) {
        _cleanup_free_ uint8_t *owned = data;

        if (!memory_tier_fits(tier, size))
                return -EFBIG;
        Block *block = calloc(1, sizeof(*block));
        if (!block)
                return -ENOMEM;
        *block = (Block){
                .owner = {.ref = REF_INIT, .unref = block_owner_unref},
                .tier = tier,
                .kind = kind,
                .oid = *oid,
                .type = type,
                .size = size,
                .data = TAKE_PTR(owned),
        };

        block->cost = cost_of_block(block);
        memory_tier_charge(tier, block->cost);
        int r = insert(tier, block);
        if (r <= 0)
                block_unref(block);
        return MIN(r, 0);
}

int memory_tier_get(MemoryTier *tier, StoreKind kind, const Oid *oid, ObjectRef *ret) {
        if (is_empty(tier))
                return 0;
        MUTEX_GUARD(&tier->lock);
        Block *block = find_locked(tier, kind, oid);
        if (!block)
                return 0;
        use_locked(tier, block);
        ref_get(&block->owner.ref);
        *ret = (ObjectRef){
                .type = block->type,
                .data = block->data,
                .out = block->data,
                .size = block->size,
                .owner = &block->owner,
        };
        return 1;
}

int memory_tier_stat(
        MemoryTier *tier,
        StoreKind kind,
        const Oid *oid,
        ObjectType *ret_type,
        uint64_t *ret_size) {
        if (is_empty(tier))
                return 0;
        MUTEX_GUARD(&tier->lock);
        Block *block = find_locked(tier, kind, oid);
        if (!block)
                return 0;
        *ret_type = block->type;
        *ret_size = block->size;
        return 1;
}

void memory_tier_forget(MemoryTier *tier, StoreKind kind, const Oid *oid) {
        mutex_lock(&tier->lock);
        Block *block = find_locked(tier, kind, oid);
        if (block)
                take_out_locked(tier, block);
        mutex_unlock(&tier->lock);
        if (block)
                block_unref(block);
}

void memory_tier_flush(MemoryTier *tier) {
        BlockList all = TAILQ_HEAD_INITIALIZER(all);
        Block *block;

        mutex_lock(&tier->lock);
        TAILQ_FOREACH (block, &tier->lru, lru)
                htable_remove(&tier->table, &block->link);
        TAILQ_CONCAT(&all, &tier->lru, lru);
        mutex_unlock(&tier->lock);

        (void) release_blocks(&all);
}

void memory_tier_set_limit(MemoryTier *tier, uint64_t limit) {
        atomic_store(&tier->limit, limit);
        memory_tier_trim(tier);
}

void memory_tier_usage(
        MemoryTier *tier, uint64_t *ret_n_objects, uint64_t *ret_bytes, uint64_t *ret_limit) {
        MUTEX_GUARD(&tier->lock);
        *ret_n_objects = tier->table.n_entries;
        *ret_bytes = atomic_load(&tier->bytes);
        *ret_limit = atomic_load(&tier->limit);
}
