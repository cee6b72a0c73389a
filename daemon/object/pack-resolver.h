#pragma once

#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/base-cache.h"
#include "object/pack-reader.h"

/* The half of the pack reader that knows nothing of the pack's bytes: it takes whole objects and
 * deltas in the order of the pack, names them, hands them to the sink, and keeps the deltas whose
 * base has not come yet. Embedded by value; used by one thread at a time. */

typedef struct PackEntry {
        uint64_t offset; /* in the pack; rises from entry to entry */
        Oid oid;         /* OID_NONE while the entry is a delta that waits */
} PackEntry;

typedef struct WaitingDelta WaitingDelta;

typedef struct PackResolver {
        OidAlgo algo;
        PackLimits limits;
        const PackSink *sink;
        void *userdata;
        PackEntry *entries;
        size_t n_entries, n_entries_allocated;
        HTable waiting;       /* WaitingDelta, by what they wait for */
        WaitingDelta *ready;  /* their base has come; a stack */
        size_t waiting_bytes; /* of both; together with the cache below max_pending_bytes */
        BaseCache cache;
        uint64_t n_committed;
} PackResolver;

/* An object on its way into memory of the sink. */
typedef struct PackObject {
        PackResolver *resolver; /* NULL when there is nothing to give back */
        ObjectType type;
        uint64_t size;
        uint8_t *data; /* NULL for an empty object */
        void *token;
} PackObject;

void pack_resolver_init(
        PackResolver *s,
        OidAlgo algo,
        const PackLimits *limits,
        const PackSink *sink,
        void *userdata);
void pack_resolver_done(PackResolver *s);

/* Gets memory for an object. -EFBIG over the limit, or what the sink returned. */
int pack_object_begin(PackResolver *s, ObjectType type, uint64_t size, PackObject *ret);
/* Gives the memory back, unless the object was committed. NULL-safe on a zeroed object. */
void pack_object_done(PackObject *o);

/* The entry at `offset` is this object, its memory filled: commits it and everything that waited
 * for it. Takes o over, also on failure. */
int pack_resolver_add_object(PackResolver *s, uint64_t offset, PackObject *o);
/* The entry at `offset` is a delta on the entry at base_offset. The bytes are copied if need be. */
int pack_resolver_add_offset_delta(
        PackResolver *s, uint64_t offset, uint64_t base_offset, const uint8_t *delta, size_t len);
/* The entry at `offset` is a delta on the object of this name. */
int pack_resolver_add_ref_delta(
        PackResolver *s, uint64_t offset, const Oid *base, const uint8_t *delta, size_t len);
/* 0, or -EBADMSG when deltas still wait. */
int pack_resolver_finish(const PackResolver *s);
