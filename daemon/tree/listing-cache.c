#include "tree/listing-cache.h"

#include <errno.h>
#include <sys/queue.h>

#include "util/htable.h"
#include "util/mutex.h"

#define N_SHARDS 16

typedef struct Slot {
        HTableLink link;
        TAILQ_ENTRY(Slot) lru;
        Listing *listing; /* a reference */
} Slot;

TAILQ_HEAD(SlotList, Slot);

typedef struct Shard {
        Mutex lock;
        HTable slots;
        struct SlotList lru; /* most recently used first */
        uint64_t bytes;
} Shard;

struct ListingCache {
        Shard shards[N_SHARDS];
        atomic_uint_least64_t limit; /* of one shard */
};

static uint64_t hash_of(const Oid *tree) {
        return hash_bytes(tree->id, OID_RAW_MAX, 0);
}

int listing_cache_new(uint64_t limit, ListingCache **ret) {
        ListingCache *c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        for (size_t i = 0; i < N_SHARDS; i++) {
                mutex_init(&c->shards[i].lock, LOCK_RANK_LEAF);
                TAILQ_INIT(&c->shards[i].lru);
        }
        listing_cache_set_limit(c, limit);
        *ret = c;
        return 0;
}

ListingCache *listing_cache_free(ListingCache *c) {
        if (!c)
                return NULL;
        listing_cache_clear(c);
        for (size_t i = 0; i < N_SHARDS; i++) {
                htable_done(&c->shards[i].slots);
                mutex_destroy(&c->shards[i].lock);
        }
        free(c);
        return NULL;
}

static Slot *find_locked(Shard *s, uint64_t hash, const Oid *tree) {
        HTABLE_FOREACH (l, &s->slots, hash) {
                Slot *slot = container_of(l, Slot, link);
                if (oid_equal(&slot->listing->oid, tree))
                        return slot;
        }
        return NULL;
}

static void touch_locked(Shard *s, Slot *slot) {
        TAILQ_REMOVE(&s->lru, slot, lru);
        TAILQ_INSERT_HEAD(&s->lru, slot, lru);
}

/* Takes slots out from the cold end until the shard holds at most `limit` bytes; the caller frees
 * them after unlocking. The last one stays unless the limit is 0: a directory larger than the limit
 * would otherwise be parsed anew for every piece of its listing. */
static void evict_locked(Shard *s, uint64_t limit, struct SlotList *victims) {
        Slot *slot;

        while (s->bytes > limit && (slot = TAILQ_LAST(&s->lru, SlotList))) {
                if (limit > 0 && slot == TAILQ_FIRST(&s->lru))
                        break;
                TAILQ_REMOVE(&s->lru, slot, lru);
                htable_remove(&s->slots, &slot->link);
                s->bytes -= slot->listing->memory;
                TAILQ_INSERT_TAIL(victims, slot, lru);
        }
}

static void free_slots(struct SlotList *slots) {
        Slot *slot;

        while ((slot = TAILQ_FIRST(slots))) {
                TAILQ_REMOVE(slots, slot, lru);
                listing_unref(slot->listing);
                free(slot);
        }
}

Listing *listing_cache_get(ListingCache *c, const Oid *tree) {
        uint64_t hash = hash_of(tree);
        Shard *s = &c->shards[hash % N_SHARDS];

        MUTEX_GUARD(&s->lock);
        Slot *slot = find_locked(s, hash, tree);
        if (!slot)
                return NULL;
        touch_locked(s, slot);
        return listing_ref(slot->listing);
}

Listing *listing_cache_add(ListingCache *c, Listing *l) {
        uint64_t hash = hash_of(&l->oid);
        Shard *s = &c->shards[hash % N_SHARDS];
        struct SlotList victims = TAILQ_HEAD_INITIALIZER(victims);
        Listing *loser = NULL;

        Slot *slot = calloc(1, sizeof(*slot));
        if (!slot)
                return l; /* a listing that is not cached serves as well */
        mutex_lock(&s->lock);
        Slot *other = find_locked(s, hash, &l->oid);
        if (other) {
                loser = l;
                l = listing_ref(other->listing);
        } else {
                slot->listing = l;
                if (htable_add(&s->slots, &slot->link, hash) >= 0) {
                        TAILQ_INSERT_HEAD(&s->lru, slot, lru);
                        s->bytes += l->memory;
                        listing_ref(l);
                        slot = NULL;
                        evict_locked(s, atomic_load(&c->limit), &victims);
                }
        }
        mutex_unlock(&s->lock);

        free(slot);
        listing_unref(loser);
        free_slots(&victims);
        return l;
}

void listing_cache_remove(ListingCache *c, const Oid *tree) {
        uint64_t hash = hash_of(tree);
        Shard *s = &c->shards[hash % N_SHARDS];
        struct SlotList victims = TAILQ_HEAD_INITIALIZER(victims);

        mutex_lock(&s->lock);
        Slot *slot = find_locked(s, hash, tree);
        if (slot) {
                TAILQ_REMOVE(&s->lru, slot, lru);
                htable_remove(&s->slots, &slot->link);
                s->bytes -= slot->listing->memory;
                TAILQ_INSERT_TAIL(&victims, slot, lru);
        }
        mutex_unlock(&s->lock);
        free_slots(&victims);
}

static void shrink(ListingCache *c, uint64_t limit) {
        for (size_t i = 0; i < N_SHARDS; i++) {
                Shard *s = &c->shards[i];
                struct SlotList victims = TAILQ_HEAD_INITIALIZER(victims);

                mutex_lock(&s->lock);
                evict_locked(s, limit, &victims);
                mutex_unlock(&s->lock);
                free_slots(&victims);
        }
}

void listing_cache_clear(ListingCache *c) {
        shrink(c, 0);
}

void listing_cache_set_limit(ListingCache *c, uint64_t limit) {
        atomic_store(&c->limit, limit / N_SHARDS);
        shrink(c, limit / N_SHARDS);
}
