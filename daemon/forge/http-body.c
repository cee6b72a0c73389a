#include <errno.h>
#include <zlib.h>

#include "forge/http-transfer.h"

int http_body_compress(const void *data, size_t len, Buf *ret) {
        /* 15 bits of window, and 16 asks for a gzip header instead of zlib's own. */
        const int window_bits = 15 + 16;
        z_stream z = {0};

        if (deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK)
                return -ENOMEM;
        size_t bound = deflateBound(&z, len);
        int r = len <= UINT32_MAX && bound <= UINT32_MAX ? buf_reserve(ret, bound) : -ENOMEM;
        if (r >= 0) {
                z.next_in = (Bytef *) data;
                z.avail_in = (uInt) len;
                z.next_out = ret->data + ret->len;
                z.avail_out = (uInt) bound;
                if (deflate(&z, Z_FINISH) == Z_STREAM_END)
                        ret->len += bound - z.avail_out;
                else
                        r = -ENOMEM;
        }
        (void) deflateEnd(&z); /* complains only about input left over */
        return r;
}
