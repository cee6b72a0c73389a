#pragma once

#include <stddef.h>
#include <stdint.h>

#include "object/oid.h"
#include "util/buf.h"

/* Writes packs by hand, right or wrong, for tests of the reader. Fails the running test when memory
 * is short. */

/* Starts a pack that announces this many entries. */
void pack_build_header(Buf *pack, uint32_t version, uint32_t n_entries);
/* Each adds one entry and returns its offset. */
uint64_t pack_build_object(Buf *pack, unsigned type, const void *data, size_t len);
uint64_t pack_build_offset_delta(Buf *pack, uint64_t base, const void *delta, size_t len);
uint64_t pack_build_ref_delta(Buf *pack, const Oid *base, const void *delta, size_t len);
/* The parts of an entry, for those that do not fit together. */
void pack_build_type(Buf *pack, unsigned type, uint64_t size);
void pack_build_distance(Buf *pack, uint64_t distance);
void pack_build_deflated(Buf *pack, const void *data, size_t len);
/* Adds the right trailer. */
void pack_build_trailer(Buf *pack);

/* A delta that turns a base of base_len bytes into its first `keep` bytes followed by tail. */
void pack_build_delta(Buf *delta, uint64_t base_len, uint32_t keep, const char *tail);
