#include "forge/ssh-scan.h"

#include <ctype.h>
#include <errno.h>

#include "gitfs/macro.h"

#define HEADER_LEN 4
#define MAX_LENGTH 65520

static int hex_value(uint8_t c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (uint8_t) tolower(c);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 0 is a flush. The other lengths below that of the header have no payload. */
static int packet_length(const uint8_t header[HEADER_LEN]) {
        int length = 0;

        for (size_t i = 0; i < HEADER_LEN; i++) {
                int value = hex_value(header[i]);
                if (value < 0)
                        return -EBADMSG;
                length = length << 4 | value;
        }
        return length <= MAX_LENGTH ? length : -EBADMSG;
}

int64_t ssh_scan(SshScan *scan, const uint8_t *data, size_t len, bool *ret_end) {
        size_t i = 0;

        *ret_end = false;
        while (i < len) {
                if (scan->left > 0) {
                        size_t n = MIN(len - i, (size_t) scan->left);
                        scan->left -= (uint32_t) n;
                        i += n;
                        continue;
                }
                scan->header[scan->n_header++] = data[i++];
                if (scan->n_header < HEADER_LEN)
                        continue;
                scan->n_header = 0;
                int length = packet_length(scan->header);
                if (length < 0)
                        return length;
                if (length == 0) {
                        *ret_end = true;
                        break;
                }
                scan->left = length > HEADER_LEN ? (uint32_t) (length - HEADER_LEN) : 0;
        }
        return (int64_t) i;
}
