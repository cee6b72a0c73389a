#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

/* An intrusive hash table: chained, grows by doubling, never shrinks. Not thread-safe. The entries
 * belong to the caller, who embeds an HTableLink in each and gives the hash; the table compares
 * nothing.
 *
 *      HTABLE_FOREACH(l, &t, hash) {
 *              Thing *thing = container_of(l, Thing, link);
 *              if (thing matches) ...
 *      }
 */
typedef struct HTableLink HTableLink;
struct HTableLink {
        HTableLink *next;
        uint64_t hash;
};

typedef struct HTable {
        HTableLink **buckets; /* owned; n_buckets is a power of two, 0 while empty */
        size_t n_buckets;
        size_t n_entries;
} HTable;

/* 0, or -ENOMEM when the first bucket array cannot be had. A table that cannot grow stays correct.
 */
int htable_add(HTable *t, HTableLink *link, uint64_t hash);
/* The link must be in the table. */
void htable_remove(HTable *t, HTableLink *link);
/* First entry with this hash, and the next one after `link` with the same hash; NULL at the end. */
HTableLink *htable_first(const HTable *t, uint64_t hash);
HTableLink *htable_next(const HTableLink *link);
/* Visits every entry; fn may remove and free the entry it is given, and no other. */
void htable_each(HTable *t, void (*fn)(HTableLink *link, void *userdata), void *userdata);
/* Frees the bucket array; the table must be empty. */
void htable_done(HTable *t);

#define HTABLE_FOREACH(l, t, h) for (HTableLink *l = htable_first((t), (h)); l; l = htable_next(l))

/* A 64-bit hash of bytes, seeded once per process so that foreign names cannot be chosen to
 * collide. */
uint64_t hash_bytes(const void *data, size_t len, uint64_t seed);
uint64_t hash_string(const char *s);
/* The same without the process's seed: equal in every process, for ids that outlive one. */
uint64_t hash_bytes_stable(const void *data, size_t len, uint64_t seed);
