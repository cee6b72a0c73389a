#include "object/pktline.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "object/hex.h"

#define PKT_HEADER 4

int pkt_append(Buf *b, const void *data, size_t len) {
        char header[PKT_HEADER + 1];

        if (len > PKT_MAX_PAYLOAD)
                return -E2BIG;
        /* Room for both at once, so that a failure leaves the buffer as it was. */
        int r = buf_reserve(b, PKT_HEADER + len);
        if (r < 0)
                return r;
        (void) snprintf(header, sizeof(header), "%04x", (unsigned) (len + PKT_HEADER) & 0xffff);
        r = buf_append(b, header, PKT_HEADER);
        return r < 0 ? r : buf_append(b, data, len);
}

int pkt_appendf(Buf *b, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        int n = vasprintf(&text, fmt, ap);
        va_end(ap);
        if (n < 0) {
                text = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        return pkt_append(b, text, (size_t) n);
}

int pkt_append_flush(Buf *b) {
        return buf_append(b, "0000", PKT_HEADER);
}

int pkt_append_delim(Buf *b) {
        return buf_append(b, "0001", PKT_HEADER);
}

static int parse_length(const uint8_t header[PKT_HEADER]) {
        int len = 0;

        for (size_t i = 0; i < PKT_HEADER; i++) {
                int digit = hex_digit_value((char) header[i]);
                if (digit < 0)
                        return -EBADMSG;
                len = len << 4 | digit;
        }
        return len;
}

/* The header is complete: delivers packets without payload, else sets up the wait for it. */
static int handle_header(PktReader *r, PktHandler handler, void *userdata) {
        int len = parse_length(r->header);
        if (len < 0)
                return len;
        if (len >= PKT_HEADER && len <= PKT_MAX_PAYLOAD + PKT_HEADER) {
                r->expected = (size_t) len - PKT_HEADER;
                return 0;
        }
        if (len > 1)
                return -EBADMSG;
        r->n_header = 0;
        return handler(len == 0 ? PKT_FLUSH : PKT_DELIM, NULL, 0, userdata);
}

/* Takes what it can of the payload; *ret_used is valid on success. */
static int take_payload(
        PktReader *r,
        const uint8_t *p,
        size_t len,
        PktHandler handler,
        void *userdata,
        size_t *ret_used) {
        size_t n = MIN(len, r->expected - r->payload.len);
        const uint8_t *packet = p;

        /* A packet that lies whole in this piece is handed on from where it is. */
        if (r->payload.len > 0 || n < r->expected) {
                int q = buf_append(&r->payload, p, n);
                if (q < 0)
                        return q;
                if (r->payload.len < r->expected) {
                        *ret_used = n;
                        return 0;
                }
                packet = r->payload.data;
        }
        r->n_header = 0;
        r->payload.len = 0;
        int q = handler(PKT_DATA, packet, r->expected, userdata);
        if (q < 0)
                return q;
        *ret_used = n;
        return 0;
}

int pkt_reader_feed(
        PktReader *r, const void *data, size_t len, PktHandler handler, void *userdata) {
        if (len == 0)
                return 0;

        const uint8_t *p = data, *end = p + len;
        while (p < end) {
                if (r->n_header < PKT_HEADER) {
                        r->header[r->n_header++] = *p++;
                        if (r->n_header < PKT_HEADER)
                                continue;
                        int q = handle_header(r, handler, userdata);
                        if (q < 0)
                                return q;
                        if (r->n_header < PKT_HEADER || r->expected > 0)
                                continue;
                }
                size_t used;
                int q = take_payload(r, p, (size_t) (end - p), handler, userdata, &used);
                if (q < 0)
                        return q;
                p += used;
        }
        return 0;
}

bool pkt_reader_idle(const PktReader *r) {
        return r->n_header == 0;
}

void pkt_reader_done(PktReader *r) {
        buf_done(&r->payload);
        *r = (PktReader){0};
}
