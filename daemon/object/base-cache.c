#include "object/base-cache.h"

#include <string.h>

/* An object over this part of the limit would push out too many others. */
#define LARGEST_PART 8

static uint64_t oid_hash(const Oid *oid) {
        return hash_bytes(oid->id, sizeof(oid->id), oid->algo);
}

void base_cache_init(BaseCache *c, size_t limit) {
        *c = (BaseCache){.limit = limit};
        TAILQ_INIT(&c->lru);
}

static void base_cache_drop(BaseCache *c, BaseCacheEntry *e) {
        htable_remove(&c->table, &e->link);
        TAILQ_REMOVE(&c->lru, e, lru);
        c->bytes -= sizeof(*e) + e->size;
        free(e);
}

void base_cache_set_limit(BaseCache *c, size_t limit) {
        c->limit = limit;
        while (c->bytes > limit)
                base_cache_drop(c, TAILQ_FIRST(&c->lru));
}

void base_cache_done(BaseCache *c) {
        base_cache_set_limit(c, 0);
        htable_done(&c->table);
}

static BaseCacheEntry *base_cache_find(const BaseCache *c, const Oid *oid) {
        HTABLE_FOREACH (l, &c->table, oid_hash(oid)) {
                BaseCacheEntry *e = container_of(l, BaseCacheEntry, link);
                if (oid_equal(&e->oid, oid))
                        return e;
        }
        return NULL;
}

void base_cache_put(
        BaseCache *c, ObjectType type, const Oid *oid, const uint8_t *data, uint64_t size) {
        size_t largest = c->limit / LARGEST_PART;
        if (largest < sizeof(BaseCacheEntry) || size > largest - sizeof(BaseCacheEntry))
                return;
        if (base_cache_find(c, oid))
                return;

        _cleanup_free_ BaseCacheEntry *e = malloc(sizeof(*e) + size);
        if (!e)
                return;
        *e = (BaseCacheEntry){.oid = *oid, .type = type, .size = size};
        if (size > 0)
                memcpy(e->data, data, size);
        while (c->bytes > c->limit - (sizeof(*e) + size))
                base_cache_drop(c, TAILQ_FIRST(&c->lru));
        if (htable_add(&c->table, &e->link, oid_hash(oid)) < 0)
                return;
        TAILQ_INSERT_TAIL(&c->lru, e, lru);
        c->bytes += sizeof(*e) + size;
        (void) TAKE_PTR(e); /* the table owns it */
}

const BaseCacheEntry *base_cache_get(BaseCache *c, const Oid *oid) {
        BaseCacheEntry *e = base_cache_find(c, oid);

        if (e) {
                TAILQ_REMOVE(&c->lru, e, lru);
                TAILQ_INSERT_TAIL(&c->lru, e, lru);
        }
        return e;
}
