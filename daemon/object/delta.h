#pragma once

#include <stddef.h>
#include <stdint.h>

/* git's delta format (gitformat-pack(5), "Deltified representation"): two varint sizes, then copy
 * and insert instructions. Bytes may come from a hostile server. */

/* Reads the sizes; *ret_header_len is where the instructions start. 0 or -EBADMSG. */
int delta_sizes(
        const uint8_t *delta,
        size_t len,
        uint64_t *ret_base_size,
        uint64_t *ret_result_size,
        size_t *ret_header_len);
/* Applies the whole delta to base and writes exactly result_size bytes. 0, or -EBADMSG where an
 * instruction reaches outside the base or the result, or the sizes do not agree. */
int delta_apply(
        const uint8_t *base,
        uint64_t base_size,
        const uint8_t *delta,
        size_t delta_len,
        uint8_t *result,
        uint64_t result_size);
