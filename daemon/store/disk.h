#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "store/segment.h"
#include "store/store.h"

/* The persistent tier: a directory of segments and the index over them. Any thread; no lock is held
 * over the file system, hashing or copying. */
typedef struct DiskTier DiskTier;

/* Opens or makes the directory and loads what is there. -EBUSY when another daemon uses it. */
int disk_tier_open(const StoreConfig *config, DiskTier **ret);
/* Seals and closes. All ObjectRefs and reservations must be gone. */
DiskTier *disk_tier_close(DiskTier *tier);
DEFINE_CLEANUP(DiskTier *, disk_tier_close)

/* 1 and a reference; 0 not here; -EAGAIN when the bytes were not checked in this process yet and
 * `verify` is false. */
int disk_tier_get(DiskTier *tier, StoreKind kind, const Oid *oid, bool verify, ObjectRef *ret);
/* 1 or 0. */
int disk_tier_stat(
        DiskTier *tier, StoreKind kind, const Oid *oid, ObjectType *ret_type, uint64_t *ret_size);

/* True for an object that gets a segment of its own, and keeps none open that others share. */
bool disk_tier_is_large(DiskTier *tier, uint64_t size);

/* Room for one object. It is nobody's until it is committed. */
typedef struct DiskReservation {
        Segment *segment; /* a hold on it, not a reference */
        uint64_t offset;
        uint64_t size;
} DiskReservation;

/* Evicts what must go for it. -EFBIG larger than the limit can hold; -ENOSPC nothing left that
 * could be evicted; other errno of the file system. */
int disk_tier_reserve(DiskTier *tier, uint64_t size, DiskReservation *ret);
uint8_t *disk_reservation_data(const DiskReservation *reservation);
/* Either ends the reservation. Committing an object that is here already is a success. */
int disk_tier_commit(
        DiskTier *tier,
        const DiskReservation *reservation,
        StoreKind kind,
        const Oid *oid,
        ObjectType type);
void disk_tier_abort(DiskTier *tier, const DiskReservation *reservation);

/* As store_verify_start() and store_verify_step(). */
void disk_tier_verify_start(DiskTier *tier, StoreVerification *v);
int disk_tier_verify_step(DiskTier *tier, StoreVerification *v);

/* Until the next start: the bytes stay in their segment. */
void disk_tier_forget(DiskTier *tier, StoreKind kind, const Oid *oid);
/* 0, or the first errno where a file could not be removed. */
int disk_tier_flush(DiskTier *tier);
/* As store_set_limits() and store_make_room(). */
void disk_tier_set_limits(DiskTier *tier, const StoreConfig *config);
void disk_tier_make_room(DiskTier *tier);
/* As store_set_pinned(). */
int disk_tier_set_pinned(DiskTier *tier, Pinned *pinned);
void disk_tier_usage(DiskTier *tier, StoreUsage *ret);
