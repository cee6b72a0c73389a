#include "object/delta.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Little-endian groups of seven bits; the top bit says that another follows. */
static bool read_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret) {
        uint64_t value = 0;

        for (unsigned shift = 0; *p < end; shift += 7) {
                uint8_t byte = *(*p)++;
                uint64_t bits = byte & 0x7f;
                if (shift >= 64 || bits << shift >> shift != bits)
                        return false;
                value |= bits << shift;
                if (!(byte & 0x80)) {
                        *ret = value;
                        return true;
                }
        }
        return false;
}

int delta_sizes(
        const uint8_t *delta,
        size_t len,
        uint64_t *ret_base_size,
        uint64_t *ret_result_size,
        size_t *ret_header_len) {
        if (len == 0)
                return -EBADMSG;

        const uint8_t *p = delta, *end = delta + len;
        uint64_t base, result;
        if (!read_varint(&p, end, &base) || !read_varint(&p, end, &result))
                return -EBADMSG;
        *ret_base_size = base;
        *ret_result_size = result;
        *ret_header_len = (size_t) (p - delta);
        return 0;
}

/* The low bits of a copy instruction say which bytes of the offset (4) and the length (3) follow;
 * those left out are zero. */
static bool read_copy(
        uint8_t op,
        const uint8_t **p,
        const uint8_t *end,
        uint64_t *ret_offset,
        uint64_t *ret_len) {
        uint64_t offset = 0, len = 0;

        for (unsigned i = 0; i < 7; i++) {
                if (!(op & 1U << i))
                        continue;
                if (*p == end)
                        return false;
                uint64_t byte = *(*p)++;
                if (i < 4)
                        offset |= byte << (8 * i);
                else
                        len |= byte << (8 * (i - 4));
        }
        *ret_offset = offset;
        *ret_len = len == 0 ? 0x10000 : len;
        return true;
}

int delta_apply(
        const uint8_t *base,
        uint64_t base_size,
        const uint8_t *delta,
        size_t delta_len,
        uint8_t *result,
        uint64_t result_size) {
        uint64_t base_wanted, result_wanted;
        size_t header_len;

        int r = delta_sizes(delta, delta_len, &base_wanted, &result_wanted, &header_len);
        if (r < 0)
                return r;
        if (base_wanted != base_size || result_wanted != result_size)
                return -EBADMSG;

        const uint8_t *p = delta + header_len, *end = delta + delta_len;
        uint64_t left = result_size;
        while (p < end) {
                uint8_t op = *p++;
                const uint8_t *from;
                uint64_t len;

                if (op & 0x80) {
                        uint64_t offset;
                        if (!read_copy(op, &p, end, &offset, &len))
                                return -EBADMSG;
                        if (offset > base_size || len > base_size - offset)
                                return -EBADMSG;
                        from = base + offset;
                } else {
                        /* Instruction 0 is reserved. */
                        if (op == 0 || op > end - p)
                                return -EBADMSG;
                        from = p;
                        len = op;
                        p += len;
                }
                if (len > left)
                        return -EBADMSG;
                memcpy(result, from, len);
                result += len;
                left -= len;
        }
        return left == 0 ? 0 : -EBADMSG;
}
