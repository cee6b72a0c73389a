/* The format is that of store/segment.c and store/segment-index.c, all numbers little-endian. */

#include "segment-bytes.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "gitfs/macro.h"

#define FILE_MAGIC UINT64_C(0x3230676573736667)
#define TRAILER_MAGIC UINT64_C(0x3230646e65736667)
#define RECORD_MAGIC UINT32_C(0x63657267)
#define HEADER_SIZE 64u /* of a file and of a record */
#define TRAILER_SIZE 32u
#define ENTRY_SIZE 56u
#define BLOCK_ENTRIES 64u
#define SLOT_ENTRIES 8u
#define ALIGNMENT 16u

static uint64_t get64(const uint8_t *p) {
        uint64_t v;

        memcpy(&v, p, sizeof(v));
        return le64toh(v);
}

static uint32_t get32(const uint8_t *p) {
        uint32_t v;

        memcpy(&v, p, sizeof(v));
        return le32toh(v);
}

static void put64(uint8_t *p, uint64_t v) {
        v = htole64(v);
        memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v) {
        v = htole32(v);
        memcpy(p, &v, sizeof(v));
}

static uint32_t checksum(uint32_t start, const uint8_t *p, size_t len) {
        return (uint32_t) crc32_z(start, p, len);
}

static void mend_records(uint8_t *data, size_t size, uint64_t salt) {
        size_t at = HEADER_SIZE;

        while (at + HEADER_SIZE <= size) {
                uint8_t *h = data + at;
                at += ALIGNMENT;
                if (get32(h) != RECORD_MAGIC)
                        continue;
                uint64_t len = get64(h + 16);
                bool fits = len <= size - (size_t) (h - data) - HEADER_SIZE;
                if (h[12] != 0 && fits)
                        put32(h + 8, checksum((uint32_t) (salt >> 32), h + HEADER_SIZE, len));
                put32(h + 4, checksum((uint32_t) salt, h + 8, HEADER_SIZE - 8));
                if (fits)
                        at += HEADER_SIZE - ALIGNMENT +
                              (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
}

static size_t n_starts(uint32_t n) {
        unsigned bits = 0;

        while (bits < 24 && n >> bits > SLOT_ENTRIES)
                bits++;
        return ((size_t) 1 << bits) + 1;
}

static void mend_index(uint8_t *index, size_t size, uint32_t n, uint8_t *trailer, uint32_t salt) {
        if (size / ENTRY_SIZE < n)
                return;
        uint8_t *summary = index + (size_t) n * ENTRY_SIZE;
        size_t len = size - (size_t) n * ENTRY_SIZE, at = n_starts(n) * sizeof(uint32_t);

        for (uint32_t i = 0; i < n && at + sizeof(uint32_t) <= len; i += BLOCK_ENTRIES) {
                size_t block = (size_t) MIN(n - i, BLOCK_ENTRIES) * ENTRY_SIZE;
                put32(summary + at, checksum(salt, index + (size_t) i * ENTRY_SIZE, block));
                at += sizeof(uint32_t);
        }
        put32(trailer + 20, checksum(salt, summary, len));
}

void segment_bytes_mend(uint8_t *data, size_t size) {
        if (size < HEADER_SIZE)
                return;
        uint64_t salt = get64(data + 16);
        put64(data, FILE_MAGIC);
        put64(data + 8, SEGMENT_BYTES_NUMBER);
        put32(data + 28, checksum(0, data, 28));
        mend_records(data, size, salt);
        if (size < HEADER_SIZE + TRAILER_SIZE)
                return;
        uint8_t *trailer = data + size - TRAILER_SIZE;
        uint64_t offset = get64(trailer + 8);
        if (get64(trailer) != TRAILER_MAGIC)
                return;
        if (offset <= size - TRAILER_SIZE)
                mend_index(
                        data + offset,
                        size - TRAILER_SIZE - offset,
                        get32(trailer + 16),
                        trailer,
                        (uint32_t) salt);
        put32(trailer + 24, checksum((uint32_t) salt, trailer, 24));
}
