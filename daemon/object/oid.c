#include "object/oid.h"

#include <assert.h>
#include <errno.h>

#include "object/hex.h"

void oid_from_raw(Oid *oid, OidAlgo algo, const uint8_t *raw) {
        assert(algo == OID_SHA1 || algo == OID_SHA256);

        *oid = (Oid){.algo = (uint8_t) algo};
        memcpy(oid->id, raw, oid_raw_size(algo));
}

int oid_from_hex(Oid *oid, const char *hex, size_t len) {
        if (len != OID_SHA1_HEX && len != OID_HEX_MAX)
                return -EINVAL;

        Oid parsed = {.algo = len == OID_SHA1_HEX ? OID_SHA1 : OID_SHA256};
        for (size_t i = 0; i < len; i += 2) {
                int high = hex_digit_value(hex[i]), low = hex_digit_value(hex[i + 1]);
                if (high < 0 || low < 0)
                        return -EINVAL;
                parsed.id[i / 2] = (uint8_t) (high << 4 | low);
        }
        *oid = parsed;
        return 0;
}

char *oid_to_hex(const Oid *oid, char out[OID_HEX_MAX + 1]) {
        static const char digits[] = "0123456789abcdef";
        size_t n = oid_raw_size((OidAlgo) oid->algo);

        for (size_t i = 0; i < n; i++) {
                out[2 * i] = digits[oid->id[i] >> 4];
                out[2 * i + 1] = digits[oid->id[i] & 15];
        }
        out[2 * n] = '\0';
        return out;
}
