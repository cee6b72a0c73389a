#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/tree-object.h"
#include "tree/tree-forward.h"
#include "util/ref.h"

/* A parsed tree object: what one directory shows at one commit. Immutable but for the sizes, which
 * are filled in as they become known and never change after. Shared by all directories that show
 * the same tree. Any thread. */

#define SIZE_UNKNOWN UINT64_MAX

typedef struct ListingEntry {
        uint32_t name_offset;
        uint16_t name_len; /* LISTING_NAME_TOO_LONG: left out, no file system could show it */
        uint8_t kind;      /* EntryKind */
        Oid oid;
        atomic_uint_least64_t size; /* bytes of the blob; SIZE_UNKNOWN; 0 for directories */
} ListingEntry;

#define LISTING_NAME_TOO_LONG UINT16_MAX

struct Listing {
        Ref ref;
        Oid oid; /* of the tree */
        size_t n_entries;
        ListingEntry *entries; /* in the tree's order */
        uint32_t *by_name;     /* indices, sorted by name bytes */
        char *names;           /* NUL-terminated, at name_offset */
        size_t memory;         /* bytes, for the cache's limit */
};

/* Parses the raw content of a tree; sizes start unknown. 0, -EBADMSG for a tree that no honest git
 * writes (see tree_iter_next(); also two entries of one name), -E2BIG over LISTING_MAX_ENTRIES,
 * -ENOMEM. */
int listing_new(const Oid *oid, const void *data, size_t len, Listing **ret);
Listing *listing_ref(Listing *l);
Listing *listing_unref(Listing *l);
DEFINE_CLEANUP(Listing *, listing_unref)

#define LISTING_MAX_ENTRIES (8u << 20)

/* The entry of that name, or NULL. */
ListingEntry *listing_find(const Listing *l, const char *name, size_t name_len);

static inline const char *listing_name(const Listing *l, const ListingEntry *e) {
        return l->names + e->name_offset;
}

/* Relaxed: a size is one word, goes from unknown to known once, and orders nothing else. */
static inline uint64_t listing_size(const ListingEntry *e) {
        return atomic_load_explicit(&e->size, memory_order_relaxed);
}

static inline void listing_set_size(ListingEntry *e, uint64_t size) {
        atomic_store_explicit(&e->size, size, memory_order_relaxed);
}

static inline bool entry_is_blob(const ListingEntry *e) {
        return e->kind == ENTRY_FILE || e->kind == ENTRY_EXEC || e->kind == ENTRY_SYMLINK;
}

/* The sizes as STORE_SIZES keeps them: n_entries little-endian uint64_t. Applying ignores a record
 * of another length; returns how many entries that need a size have none yet. */
size_t listing_apply_sizes(Listing *l, const void *data, size_t len);
/* Allocated, n_entries * 8 bytes; NULL when out of memory. */
uint8_t *listing_format_sizes(const Listing *l);
