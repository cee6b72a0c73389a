#include "util/base64.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t len) {
        const uint8_t *in = data;
        char *text = malloc((len + 2) / 3 * 4 + 1);

        if (!text)
                return NULL;
        char *out = text;
        for (size_t i = 0; i < len; i += 3) {
                size_t n = MIN(len - i, (size_t) 3);
                uint32_t bits = (uint32_t) in[i] << 16;
                if (n > 1)
                        bits |= (uint32_t) in[i + 1] << 8;
                if (n > 2)
                        bits |= in[i + 2];
                *out++ = alphabet[bits >> 18];
                *out++ = alphabet[bits >> 12 & 63];
                *out++ = alphabet[bits >> 6 & 63];
                *out++ = alphabet[bits & 63];
        }
        /* What stands for no byte. */
        if (len % 3 > 0)
                out[-1] = '=';
        if (len % 3 == 1)
                out[-2] = '=';
        *out = '\0';
        return text;
}

static int digit(char c) {
        const char *p = c ? strchr(alphabet, c) : NULL;

        return p ? (int) (p - alphabet) : -EBADMSG;
}

/* Four characters, of which the last two may be padding: one to three bytes, or -EBADMSG. */
static int decode_group(const char group[4], uint8_t out[3]) {
        int n = group[3] != '=' ? 4 : group[2] != '=' ? 3 : 2;
        uint32_t bits = 0;

        for (int i = 0; i < 4; i++) {
                int d = i < n ? digit(group[i]) : 0;
                if (d < 0)
                        return d;
                bits = bits << 6 | (uint32_t) d;
        }
        for (int i = 0; i < 3; i++)
                out[i] = (uint8_t) (bits >> (16 - 8 * i));
        for (int i = n - 1; i < 3; i++)
                if (out[i] != 0)
                        return -EBADMSG;
        return n - 1;
}

int base64_decode(const char *text, Buf *ret) {
        size_t before = ret->len, n = 0;
        bool ended = false;
        char group[4];
        int r = buf_reserve(ret, strlen(text) / 4 * 3 + 3);

        for (; r >= 0 && *text; text++) {
                if (*text == '\n' || *text == '\r')
                        continue;
                group[n++] = *text;
                if (ended)
                        r = -EBADMSG;
                else if (n == 4) {
                        r = decode_group(group, ret->data + ret->len);
                        ret->len += r > 0 ? (size_t) r : 0;
                        ended = r < 3;
                        n = 0;
                }
        }
        if (r >= 0 && n > 0)
                r = -EBADMSG;
        if (r < 0) {
                ret->len = before;
                return r;
        }
        return 0;
}
