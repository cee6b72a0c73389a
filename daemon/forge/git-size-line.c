#include "forge/git-size-line.h"

#include <errno.h>
#include <string.h>

#define DIGITS_MAX 19 /* fit into 64 bits */

static int parse_size(const char *text, size_t len, uint64_t *ret) {
        uint64_t size = 0;

        if (len > DIGITS_MAX)
                return -EBADMSG;
        for (size_t i = 0; i < len; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return -EBADMSG;
                size = size * 10 + (uint64_t) (text[i] - '0');
        }
        if (size > INT64_MAX) /* no file has such a size */
                return -EBADMSG;
        *ret = size;
        return 1;
}

int git_size_line_parse(const char *line, size_t len, Oid *ret_oid, uint64_t *ret_size) {
        const char *space = memchr(line, ' ', len);
        size_t hex_len = space ? (size_t) (space - line) : len;

        if (oid_from_hex(ret_oid, line, hex_len) < 0)
                return -EBADMSG;
        if (hex_len + 1 >= len)
                return 0;
        return parse_size(space + 1, len - hex_len - 1, ret_size);
}
