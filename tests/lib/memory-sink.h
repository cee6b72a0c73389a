#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "object/pack-reader.h"
#include "util/htable.h"

/* A PackSink that keeps everything in memory and counts what is given and taken. Zeroed is valid.
 */

typedef struct MemoryObject {
        HTableLink link;
        Oid oid;
        ObjectType type;
        uint64_t size;
        uint8_t *data;
} MemoryObject;

typedef struct MemorySink {
        HTable table; /* MemoryObject */
        uint64_t bytes;
        uint64_t bytes_max; /* -ENOSPC over it; 0 for no limit */
        size_t n_begun;     /* handed out, and neither committed nor abandoned yet */
        size_t n_held;      /* bases not yet released */
        size_t n_commits;
        size_t fail_commit; /* the commit of this number (from 1) fails with -EDQUOT */
        bool hide_bases;    /* base() finds nothing */
} MemorySink;

extern const PackSink memory_sink_ops;

/* NULL when it never came. */
const MemoryObject *memory_sink_find(const MemorySink *s, const Oid *oid);
void memory_sink_done(MemorySink *s);
