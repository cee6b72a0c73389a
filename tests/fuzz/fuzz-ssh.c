/* What comes from ssh. The first byte says from where: its output, in which the end of an answer is
 * found without reading it, and in any pieces at the same place; or what it says on standard error,
 * of which one line becomes the reason of a failure. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#include "forge/ssh-failure.h"
#include "forge/ssh-scan.h"
#include "fuzz.h"
#include "object/pktline.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

static int64_t scan(const uint8_t *data, size_t size, size_t piece, bool *ret_end) {
        SshScan s = {0};
        size_t at = 0;

        *ret_end = false;
        while (at < size && !*ret_end) {
                size_t n = MIN(piece, size - at);
                int64_t k = ssh_scan(&s, data + at, n, ret_end);
                if (k < 0)
                        return k;
                FUZZ_CHECK((size_t) k <= n && (*ret_end || (size_t) k == n));
                at += (size_t) k;
        }
        return (int64_t) at;
}

static int stop_at_flush(PktType type, const uint8_t *data, size_t len, void *userdata) {
        if (type == PKT_FLUSH)
                *(bool *) userdata = true;
        return type == PKT_FLUSH ? -ECANCELED : 0;
}

/* Who reads the packets later comes to the same end. */
static void check_scan(const uint8_t *data, size_t size, size_t piece) {
        PktReader reader = {0};
        bool whole_end, pieces_end, flushed = false;

        int64_t whole = scan(data, size, SIZE_MAX / 2, &whole_end);
        int64_t pieces = scan(data, size, piece, &pieces_end);
        FUZZ_CHECK(whole == pieces && (whole < 0 || whole_end == pieces_end));
        if (whole >= 0)
                (void) pkt_reader_feed(
                        &reader,
                        data,
                        (size_t) whole,
                        stop_at_flush,
                        &flushed); /* an end, or none */
        FUZZ_CHECK(whole < 0 || !flushed || whole_end);
        pkt_reader_done(&reader);
}

static void check_failure(const uint8_t *data, size_t size, int status) {
        _cleanup_free_ char *errors = strndup((const char *) data, size);
        Failure failure = {0};

        FUZZ_CHECK(errors);
        int r = ssh_failure("ssh://git@example.org", status, errors, &failure);
        FUZZ_CHECK(r < 0 && r == failure_errno(failure.class) && failure.text[0]);
        for (const char *p = failure.text; *p; p++)
                FUZZ_CHECK((unsigned char) *p >= ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size == 0)
                return 0;
        if (data[0] < 128)
                check_scan(data + 1, size - 1, 1 + (size_t) data[0]);
        else
                check_failure(data + 1, size - 1, data[0] == UINT8_MAX ? 255 : data[0] - 128);
        return 0;
}
