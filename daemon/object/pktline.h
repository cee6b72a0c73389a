#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

/* git's pkt-line framing (gitprotocol-common(5)): four hex digits of length, then payload. */

#define PKT_MAX_PAYLOAD 65516

typedef enum PktType {
        PKT_DATA,
        PKT_FLUSH, /* 0000 */
        PKT_DELIM, /* 0001 */
} PktType;

/* Appends one packet to b; the text is sent as it is (callers end text lines with \n). -E2BIG when
 * too long. */
int pkt_append(Buf *b, const void *data, size_t len);
int pkt_appendf(Buf *b, const char *fmt, ...) _printf_(2, 3);
int pkt_append_flush(Buf *b);
int pkt_append_delim(Buf *b);

/* A push parser: feed it bytes in whatever pieces they arrive. Embedded by value; zeroed is valid.
 */
typedef struct PktReader {
        uint8_t header[4];
        unsigned n_header;
        Buf payload;     /* the packet being collected, when it does not lie whole in one piece */
        size_t expected; /* payload length of that packet */
} PktReader;

/* Called for each packet; data is valid during the call only. A negative return stops the parser
 * and is returned by pkt_reader_feed(). */
typedef int (*PktHandler)(PktType type, const uint8_t *data, size_t len, void *userdata);

/* 0, -EBADMSG for a broken length (the response-end packet 0002 counts as broken: it never appears
 * on HTTP), -ENOMEM, or what the handler returned. */
int pkt_reader_feed(PktReader *r, const void *data, size_t len, PktHandler handler, void *userdata);
/* True between packets: an end of the stream here is not a truncation by itself. */
bool pkt_reader_idle(const PktReader *r);
void pkt_reader_done(PktReader *r);
