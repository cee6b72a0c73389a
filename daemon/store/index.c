#include "store/index.h"

#include <errno.h>
#include <string.h>

#include "util/array.h"
#include "util/htable.h"

/* One entry is 56 bytes and lives in a chunk of its shard; chains and buckets are 32-bit numbers of
 * entries. A shard grows by chunks, so that a million objects do not pay for the slack of a
 * doubling array of entries; only the arrays of buckets and of chunks double. Chunks stay until the
 * index goes. */

#define CHUNK_ENTRIES 128
#define NONE UINT32_MAX

struct IndexEntry {
        uint8_t id[OID_RAW_MAX];
        Segment *segment;
        uint64_t size : 40;
        uint64_t clock : 16;
        uint64_t kind : 2;
        uint64_t type : 3;
        uint64_t algo : 2;
        uint32_t offset; /* in units of OFFSET_UNIT */
        uint32_t next;
};

#define OFFSET_UNIT 16

static_assert(sizeof(IndexEntry) == 56, "the index keeps about 64 bytes per object");

static IndexEntry *entry_at(const IndexShard *shard, uint32_t i) {
        return &shard->chunks[i / CHUNK_ENTRIES][i % CHUNK_ENTRIES];
}

static uint64_t key_hash(StoreKind kind, const uint8_t id[OID_RAW_MAX]) {
        return hash_bytes(id, OID_RAW_MAX, kind);
}

/* The shard takes the upper bits of the hash, the bucket the lower ones. */
static IndexShard *shard_of(Index *index, uint64_t hash) {
        return &index->shards[(hash >> 32) % INDEX_SHARDS];
}

static uint32_t bucket_of(const IndexShard *shard, uint64_t hash) {
        return (uint32_t) hash & (shard->n_buckets - 1);
}

void index_init(Index *index) {
        *index = (Index){0};
        for (size_t i = 0; i < INDEX_SHARDS; i++) {
                mutex_init(&index->shards[i].lock, LOCK_RANK_STORE_SHARD);
                index->shards[i].free = NONE;
        }
}

void index_done(Index *index) {
        for (size_t i = 0; i < INDEX_SHARDS; i++) {
                IndexShard *shard = &index->shards[i];
                for (size_t c = 0; c < shard->n_chunks; c++)
                        free(shard->chunks[c]);
                free(shard->chunks);
                free(shard->buckets);
                mutex_destroy(&shard->lock);
        }
}

/* Points to the link (a bucket or a `next`) that holds the number of the entry. */
static uint32_t *find_link(IndexShard *shard, uint64_t hash, StoreKind kind, const Oid *oid) {
        if (shard->n_buckets == 0)
                return NULL;
        uint32_t *link = &shard->buckets[bucket_of(shard, hash)];
        while (*link != NONE) {
                IndexEntry *e = entry_at(shard, *link);
                if (e->kind == kind && e->algo == oid->algo &&
                    memcmp(e->id, oid->id, sizeof(e->id)) == 0)
                        return link;
                link = &e->next;
        }
        return NULL;
}

static IndexEntry *find(IndexShard *shard, uint64_t hash, StoreKind kind, const Oid *oid) {
        uint32_t *link = find_link(shard, hash, kind, oid);
        return link ? entry_at(shard, *link) : NULL;
}

static int grow_buckets(IndexShard *shard) {
        uint32_t n = shard->n_buckets ? shard->n_buckets * 2 : 32;
        uint32_t *buckets = malloc(n * sizeof(*buckets));
        if (!buckets)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++)
                buckets[i] = NONE;

        for (uint32_t b = 0; b < shard->n_buckets; b++)
                for (uint32_t i = shard->buckets[b], next; i != NONE; i = next) {
                        IndexEntry *e = entry_at(shard, i);
                        next = e->next;
                        uint32_t to = (uint32_t) key_hash(e->kind, e->id) & (n - 1);
                        e->next = buckets[to];
                        buckets[to] = i;
                }
        free(shard->buckets);
        shard->buckets = buckets;
        shard->n_buckets = n;
        return 0;
}

static int grow_chunks(IndexShard *shard) {
        int r = ARRAY_RESERVE(shard->chunks, shard->cap_chunks, shard->n_chunks + 1);
        if (r < 0)
                return r;
        IndexEntry *chunk = malloc(CHUNK_ENTRIES * sizeof(*chunk));
        if (!chunk)
                return -ENOMEM;
        shard->chunks[shard->n_chunks++] = chunk;
        return 0;
}

static int entry_alloc(IndexShard *shard, uint32_t *ret) {
        if (shard->n_entries >= shard->n_buckets) {
                int r = grow_buckets(shard);
                if (r < 0 && shard->n_buckets == 0)
                        return r; /* longer chains do no harm */
        }
        if (shard->free != NONE) {
                *ret = shard->free;
                shard->free = entry_at(shard, shard->free)->next;
                return 0;
        }
        if (shard->n_fresh == shard->n_chunks * CHUNK_ENTRIES) {
                int r = grow_chunks(shard);
                if (r < 0)
                        return r;
        }
        *ret = shard->n_fresh++;
        return 0;
}

static void entry_remove(IndexShard *shard, uint32_t *link) {
        uint32_t i = *link;
        IndexEntry *e = entry_at(shard, i);

        (void) atomic_fetch_sub(&e->segment->n_open, 1);
        *link = e->next;
        e->next = shard->free;
        shard->free = i;
        shard->n_entries--;
}

static void entry_set(IndexEntry *e, const IndexValue *value) {
        (void) atomic_fetch_add(&value->segment->n_open, 1);
        e->segment = value->segment;
        e->offset = (uint32_t) (value->offset / OFFSET_UNIT);
        e->size = value->size;
        e->type = value->type;
        e->clock = value->clock;
}

static void entry_value(const IndexEntry *e, IndexValue *ret) {
        *ret = (IndexValue){
                .segment = e->segment,
                .offset = (uint64_t) e->offset * OFFSET_UNIT,
                .size = e->size,
                .type = e->type,
                .clock = e->clock,
        };
}

int index_put(Index *index, StoreKind kind, const Oid *oid, const IndexValue *value) {
        uint64_t hash = key_hash(kind, oid->id);
        IndexShard *shard = shard_of(index, hash);
        uint32_t i;

        assert(value->offset % OFFSET_UNIT == 0 && value->offset / OFFSET_UNIT < NONE);
        assert(value->size <= INDEX_MAX_SIZE);

        MUTEX_GUARD(&shard->lock);
        if (find(shard, hash, kind, oid))
                return 0;
        int r = entry_alloc(shard, &i);
        if (r < 0)
                return r;
        IndexEntry *e = entry_at(shard, i);
        *e = (IndexEntry){.kind = kind, .algo = oid->algo};
        memcpy(e->id, oid->id, sizeof(e->id));
        entry_set(e, value);
        uint32_t *bucket = &shard->buckets[bucket_of(shard, hash)];
        e->next = *bucket;
        *bucket = i;
        shard->n_entries++;
        return 1;
}

bool index_get(Index *index, StoreKind kind, const Oid *oid, uint16_t clock, IndexValue *ret) {
        uint64_t hash = key_hash(kind, oid->id);
        IndexShard *shard = shard_of(index, hash);

        MUTEX_GUARD(&shard->lock);
        IndexEntry *e = find(shard, hash, kind, oid);
        if (!e)
                return false;
        e->clock = clock;
        entry_value(e, ret);
        segment_ref(ret->segment);
        return true;
}

bool index_peek(Index *index, StoreKind kind, const Oid *oid, IndexValue *ret) {
        uint64_t hash = key_hash(kind, oid->id);
        IndexShard *shard = shard_of(index, hash);

        MUTEX_GUARD(&shard->lock);
        IndexEntry *e = find(shard, hash, kind, oid);
        if (!e)
                return false;
        entry_value(e, ret);
        return true;
}

bool index_remove(Index *index, StoreKind kind, const Oid *oid, const Segment *segment) {
        uint64_t hash = key_hash(kind, oid->id);
        IndexShard *shard = shard_of(index, hash);

        MUTEX_GUARD(&shard->lock);
        uint32_t *link = find_link(shard, hash, kind, oid);
        if (!link || (segment && entry_at(shard, *link)->segment != segment))
                return false;
        entry_remove(shard, link);
        return true;
}

void index_sweep(Index *index, const Segment *segment) {
        for (size_t s = 0; s < INDEX_SHARDS; s++) {
                IndexShard *shard = &index->shards[s];
                MUTEX_GUARD(&shard->lock);
                for (uint32_t b = 0; b < shard->n_buckets; b++)
                        for (uint32_t *link = &shard->buckets[b]; *link != NONE;) {
                                IndexEntry *e = entry_at(shard, *link);
                                if (e->segment == segment)
                                        entry_remove(shard, link);
                                else
                                        link = &e->next;
                        }
        }
}

size_t index_count(Index *index) {
        size_t n = 0;

        for (size_t i = 0; i < INDEX_SHARDS; i++) {
                MUTEX_GUARD(&index->shards[i].lock);
                n += index->shards[i].n_entries;
        }
        return n;
}
