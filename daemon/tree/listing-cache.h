#pragma once

#include <stdint.h>

#include "tree/listing.h"

/* Parsed directories by tree id, LRU under a limit of bytes. Any thread; nothing here blocks. */

int listing_cache_new(uint64_t limit, ListingCache **ret);
ListingCache *listing_cache_free(ListingCache *c);
DEFINE_CLEANUP(ListingCache *, listing_cache_free)

/* A reference, or NULL. */
Listing *listing_cache_get(ListingCache *c, const Oid *tree);
/* Adds l, or finds that another thread was faster; returns a reference to the one that is in the
 * cache and takes the reference to l over. */
Listing *listing_cache_add(ListingCache *c, Listing *l);
void listing_cache_remove(ListingCache *c, const Oid *tree);
void listing_cache_clear(ListingCache *c);
void listing_cache_set_limit(ListingCache *c, uint64_t limit);
