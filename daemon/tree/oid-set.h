#pragma once

#include <stdbool.h>

#include "object/oid.h"
#include "util/htable.h"

/* A set of object ids. Zeroed is empty. Not thread-safe. */
typedef struct OidSet {
        HTable table;
} OidSet;

/* 1 new, 0 was there, -ENOMEM. */
int oid_set_add(OidSet *set, const Oid *oid);
bool oid_set_has(const OidSet *set, const Oid *oid);
void oid_set_done(OidSet *set);
#define _cleanup_oid_set_ _cleanup_(oid_set_done)
