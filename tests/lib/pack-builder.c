#include "lib/pack-builder.h"

#include <check.h>
#include <openssl/evp.h>
#include <string.h>
#include <zlib.h>

static void append(Buf *b, const void *data, size_t len) {
        if (buf_append(b, data, len) < 0) /* a ck_assert() is a system call, too slow for bytes */
                ck_abort_msg("out of memory");
}

static void append_byte(Buf *b, unsigned byte) {
        uint8_t c = (uint8_t) byte;
        append(b, &c, 1);
}

static void append_be32(Buf *b, uint32_t v) {
        for (int shift = 24; shift >= 0; shift -= 8)
                append_byte(b, v >> shift & 0xff);
}

void pack_build_header(Buf *pack, uint32_t version, uint32_t n_entries) {
        append(pack, "PACK", 4);
        append_be32(pack, version);
        append_be32(pack, n_entries);
}

void pack_build_type(Buf *pack, unsigned type, uint64_t size) {
        uint64_t rest = size >> 4;
        unsigned byte = type << 4 | (unsigned) (size & 15);

        while (rest > 0) {
                append_byte(pack, byte | 0x80);
                byte = (unsigned) (rest & 0x7f);
                rest >>= 7;
        }
        append_byte(pack, byte);
}

void pack_build_distance(Buf *pack, uint64_t distance) {
        uint8_t bytes[10];
        size_t at = sizeof(bytes) - 1;

        bytes[at] = distance & 0x7f;
        while (distance >>= 7)
                bytes[--at] = 0x80 | (--distance & 0x7f);
        append(pack, bytes + at, sizeof(bytes) - at);
}

void pack_build_deflated(Buf *pack, const void *data, size_t len) {
        uLongf n = compressBound(len);

        ck_assert_int_eq(buf_reserve(pack, n), 0);
        ck_assert_int_eq(compress2(pack->data + pack->len, &n, data, len, 6), Z_OK);
        pack->len += n;
}

uint64_t pack_build_object(Buf *pack, unsigned type, const void *data, size_t len) {
        uint64_t offset = pack->len;

        pack_build_type(pack, type, len);
        pack_build_deflated(pack, data, len);
        return offset;
}

uint64_t pack_build_offset_delta(Buf *pack, uint64_t base, const void *delta, size_t len) {
        uint64_t offset = pack->len;

        pack_build_type(pack, 6, len);
        pack_build_distance(pack, offset - base);
        pack_build_deflated(pack, delta, len);
        return offset;
}

uint64_t pack_build_ref_delta(Buf *pack, const Oid *base, const void *delta, size_t len) {
        uint64_t offset = pack->len;

        pack_build_type(pack, 7, len);
        append(pack, base->id, oid_raw_size((OidAlgo) base->algo));
        pack_build_deflated(pack, delta, len);
        return offset;
}

void pack_build_trailer(Buf *pack) {
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned n;

        ck_assert_int_eq(EVP_Digest(pack->data, pack->len, digest, &n, EVP_sha1(), NULL), 1);
        append(pack, digest, n);
}

static void append_varint(Buf *b, uint64_t v) {
        for (; v > 0x7f; v >>= 7)
                append_byte(b, (unsigned) (v & 0x7f) | 0x80);
        append_byte(b, (unsigned) v);
}

void pack_build_delta(Buf *delta, uint64_t base_len, uint32_t keep, const char *tail) {
        size_t tail_len = strlen(tail);

        ck_assert_uint_lt(keep, 0x10000);
        ck_assert_uint_lt(tail_len, 0x80);
        append_varint(delta, base_len);
        append_varint(delta, keep + tail_len);
        if (keep > 0) {
                append_byte(delta, 0xb0); /* copy from 0, two bytes of length */
                append_byte(delta, keep & 0xff);
                append_byte(delta, keep >> 8);
        }
        if (tail_len > 0) {
                append_byte(delta, (unsigned) tail_len);
                append(delta, tail, tail_len);
        }
}
