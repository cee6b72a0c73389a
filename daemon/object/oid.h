#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The name of a git object: the hash of its type, length and content. A value type; compare with
 * oid_equal(), never with memcmp() on the struct (padding). */

#define OID_RAW_MAX 32
#define OID_HEX_MAX 64
#define OID_SHA1_RAW 20
#define OID_SHA1_HEX 40

typedef enum OidAlgo {
        OID_NONE = 0, /* a zeroed Oid names nothing */
        OID_SHA1 = 1,
        OID_SHA256 = 2, /* recognised, not yet supported: see object_hash() */
} OidAlgo;

typedef struct Oid {
        uint8_t id[OID_RAW_MAX]; /* zero behind the algorithm's length */
        uint8_t algo;            /* OidAlgo */
} Oid;

static inline size_t oid_raw_size(OidAlgo algo) {
        return algo == OID_SHA256 ? 32 : algo == OID_SHA1 ? 20 : 0;
}

static inline bool oid_equal(const Oid *a, const Oid *b) {
        return a->algo == b->algo && memcmp(a->id, b->id, OID_RAW_MAX) == 0;
}

static inline bool oid_is_none(const Oid *oid) {
        return oid->algo == OID_NONE;
}

/* The id is uniformly distributed already, unless somebody chose it: tables that hold foreign ids
 * mix it with hash_bytes(). */
static inline uint64_t oid_prefix64(const Oid *oid) {
        uint64_t v;
        memcpy(&v, oid->id, sizeof(v));
        return v;
}

void oid_from_raw(Oid *oid, OidAlgo algo, const uint8_t *raw);
/* Parses exactly len hex digits (40 or 64, either case); -EINVAL otherwise. */
int oid_from_hex(Oid *oid, const char *hex, size_t len);
/* Writes the digits and a NUL; returns `out`. An id of nothing becomes "". */
char *oid_to_hex(const Oid *oid, char out[OID_HEX_MAX + 1]);
