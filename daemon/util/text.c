#include "util/text.h"

#include <errno.h>
#include <string.h>

#include "util/buf.h"

static size_t sequence_length(unsigned char lead) {
        if (lead < 0x80)
                return 1;
        if (lead >= 0xc2 && lead <= 0xdf)
                return 2;
        if (lead >= 0xe0 && lead <= 0xef)
                return 3;
        if (lead >= 0xf0 && lead <= 0xf4)
                return 4;
        return 0;
}

size_t utf8_decode(const char *s, uint32_t *ret_char) {
        static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t len = sequence_length((unsigned char) s[0]);
        uint32_t c;

        if (len == 0)
                return 0;
        c = len == 1 ? (unsigned char) s[0] : (unsigned char) s[0] & (0x7fu >> len);
        for (size_t i = 1; i < len; i++) {
                if (((unsigned char) s[i] & 0xc0) != 0x80) /* also stops at NUL */
                        return 0;
                c = c << 6 | ((unsigned char) s[i] & 0x3f);
        }
        if (c < smallest[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;
        *ret_char = c;
        return len;
}

char *text_escape(const char *bytes) {
        _cleanup_buf_ Buf b = {0};
        uint32_t c;
        int r = 0;

        while (*bytes && r >= 0) {
                size_t n = utf8_decode(bytes, &c);
                if (n == 0) {
                        r = buf_appendf(&b, "\\x%02x", (unsigned char) *bytes);
                        n = 1;
                } else if (*bytes == '\\')
                        r = buf_append_str(&b, "\\\\");
                else
                        r = buf_append(&b, bytes, n);
                bytes += n;
        }
        if (r < 0 || !buf_str(&b))
                return NULL;
        return (char *) TAKE_PTR(b.data);
}

static int hex_value(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

int text_unescape(char *text) {
        char *out = text;

        for (const char *in = text; *in; in++) {
                if (in[0] == '\\' && in[1] == '\\')
                        in++;
                else if (
                        in[0] == '\\' && in[1] == 'x' && hex_value(in[2]) >= 0 &&
                        hex_value(in[3]) >= 0) {
                        int byte = hex_value(in[2]) * 16 + hex_value(in[3]);
                        if (byte == 0)
                                return -EINVAL;
                        *out++ = (char) byte;
                        in += 3;
                        continue;
                }
                *out++ = *in;
        }
        *out = '\0';
        return 0;
}

void text_sanitize(char *text) {
        uint32_t c;

        while (*text) {
                size_t n = utf8_decode(text, &c);
                if (n == 0) {
                        *text = '?';
                        n = 1;
                } else if (c < 0x20 || (c >= 0x7f && c < 0xa0))
                        memset(text, ' ', n);
                text += n;
        }
}
