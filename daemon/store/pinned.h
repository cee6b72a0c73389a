#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/oid.h"

/* A set of ids that eviction keeps: eight bytes for each object, as a prefix of its id, so that two
 * that share one keep more, never less. Filled, then sealed, then only asked: by any thread. A
 * zeroed one is empty and valid. */
typedef struct Pinned {
        uint64_t *keys; /* owned; sorted once sealed */
        size_t n, n_allocated;
} Pinned;

/* 0 or -ENOMEM, and the set is as before. */
int pinned_add(Pinned *p, const Oid *oid);
int pinned_add_all(Pinned *p, const Pinned *other);
void pinned_seal(Pinned *p);
bool pinned_has(const Pinned *p, const Oid *oid);
void pinned_done(Pinned *p);
#define _cleanup_pinned_ _cleanup_(pinned_done)
