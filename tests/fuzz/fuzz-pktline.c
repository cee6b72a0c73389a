/* The first byte is the size of the pieces, the rest the stream. Cut otherwise, it must say the
 * same. */

#include <string.h>

#include "gitfs/macro.h"

#include "fuzz.h"
#include "object/pktline.h"

static int record(PktType type, const uint8_t *data, size_t len, void *userdata) {
        Buf *log = userdata;
        uint8_t header[2] = {(uint8_t) type, 0};

        FUZZ_CHECK(len <= PKT_MAX_PAYLOAD && (type == PKT_DATA || len == 0));
        FUZZ_CHECK(buf_append(log, header, sizeof(header)) == 0);
        FUZZ_CHECK(buf_append(log, data, len) == 0);
        return 0;
}

static int run(const uint8_t *data, size_t size, size_t piece, Buf *log, bool *ret_idle) {
        PktReader r = {0};
        int q = 0;

        for (size_t at = 0; q == 0 && at < size; at += piece)
                q = pkt_reader_feed(&r, data + at, MIN(piece, size - at), record, log);
        *ret_idle = pkt_reader_idle(&r);
        pkt_reader_done(&r);
        return q;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_buf_ Buf pieces = {0};
        _cleanup_buf_ Buf whole = {0};
        bool pieces_idle, whole_idle;

        if (size == 0)
                return 0;
        int a = run(data + 1, size - 1, 1 + (size_t) data[0], &pieces, &pieces_idle);
        int b = run(data + 1, size - 1, SIZE_MAX / 2, &whole, &whole_idle);
        FUZZ_CHECK(a == b && pieces.len == whole.len && (a < 0 || pieces_idle == whole_idle));
        FUZZ_CHECK(whole.len == 0 || memcmp(pieces.data, whole.data, whole.len) == 0);
        return 0;
}
