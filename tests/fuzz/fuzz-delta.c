/* The first byte is the size of the base, then the base, the rest is the delta. */

#include <stdlib.h>

#include "gitfs/macro.h"

#include "fuzz.h"
#include "object/delta.h"

#define RESULT_MAX (1 << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint64_t base_size, result_size;
        size_t header_len;

        if (size == 0 || data[0] > size - 1)
                return 0;
        const uint8_t *base = data + 1, *delta = base + data[0];
        size_t len = size - 1 - data[0];
        if (delta_sizes(delta, len, &base_size, &result_size, &header_len) < 0)
                return 0;
        FUZZ_CHECK(header_len >= 2 && header_len <= len);
        if (result_size > RESULT_MAX)
                return 0;

        _cleanup_free_ uint8_t *result = malloc(MAX(result_size, (uint64_t) 1));
        FUZZ_CHECK(result);
        int r = delta_apply(base, data[0], delta, len, result, result_size);
        FUZZ_CHECK(r < 0 || base_size == data[0]);
        return 0;
}
