#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/oid.h"
#include "store/store.h"
#include "util/buf.h"

/* Which records one finished segment has, sorted by id, as it is kept behind them in its file; and
 * what this process knows of each. segment-index.c describes the format and what may be damaged.
 * Any number of threads, without a lock, once it is open. */

/* A record as it is found in a segment. */
typedef struct SegmentRecord {
        StoreKind kind;
        Oid oid;
        ObjectType type;
        uint64_t offset; /* of the payload */
        uint64_t size;
} SegmentRecord;

/* Of one record, in this process. The lower bits are the clock when it was last used, in ticks of
 * the disk tier, modulo 2^14. */
#define MARK_VERIFIED UINT16_C(0x8000) /* its bytes matched its id */
#define MARK_DEAD UINT16_C(0x4000)     /* forgotten or damaged: it is not found any more */
#define MARK_CLOCK UINT16_C(0x3fff)

typedef struct SegmentIndex {
        uint32_t n;
        uint64_t end;                   /* of the payloads */
        uint32_t salt;                  /* that checksums begin with */
        const uint8_t *entries;         /* not owned */
        unsigned bits;                  /* of an id that lead to a slot */
        uint32_t *starts;               /* owned; first entry of each slot, and n */
        uint32_t *checksums;            /* with starts; of each block of entries */
        uint8_t *tags;                  /* with starts; of each entry */
        atomic_uchar *blocks;           /* owned; whether the checksum was compared */
        _Atomic(atomic_ushort *) marks; /* owned; made when the first is set */
        atomic_uint n_dead;
} SegmentIndex;

/* Bytes that the index of n records takes in the file. */
uint64_t segment_index_size(uint32_t n);
/* Encodes the index, appended to ret. Sorts the records. */
int segment_index_encode(
        SegmentRecord *records, uint32_t n, uint32_t salt, Buf *ret, uint32_t *ret_checksum);

/* Reads what segment_index_encode() made; `data` has segment_index_size(n) bytes and must stay as
 * long as the index. 0; -EBADMSG where it is damaged so that nothing can be found; -ENOMEM. */
int segment_index_open(
        SegmentIndex *index,
        const uint8_t *data,
        uint32_t n,
        uint64_t end,
        uint32_t salt,
        uint32_t checksum);
void segment_index_done(SegmentIndex *index);

/* False if it has no such record. Touches memory of this process only, never the file. */
bool segment_index_may_have(const SegmentIndex *index, StoreKind kind, const Oid *oid);
/* Finds a record that is not dead. */
bool segment_index_find(
        SegmentIndex *index,
        StoreKind kind,
        const Oid *oid,
        uint32_t *ret_number,
        SegmentRecord *ret);
/* The record of that number (below n); false where it is damaged. */
bool segment_index_at(SegmentIndex *index, uint32_t number, SegmentRecord *ret);

uint16_t segment_index_marks(const SegmentIndex *index, uint32_t number);
/* Sets flags, and the clock if `clock` is not negative. True if a flag was not set before; false
 * also where there is no memory for marks: then the record is verified again, or found again. */
bool segment_index_mark(SegmentIndex *index, uint32_t number, uint16_t flags, int clock);
