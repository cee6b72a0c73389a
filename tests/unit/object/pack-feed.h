#pragma once

#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/memory-sink.h"
#include "object/pack-reader.h"

/* How the tests of the pack reader run it. */

#define PACK_TEST_LIMITS                                                                           \
        ((PackLimits){                                                                             \
                .max_object_size = 64 << 20,                                                       \
                .max_objects = 1000000,                                                            \
                .max_pending_bytes = 32 << 20,                                                     \
        })

/* Feeds the pack in pieces of this size (0: random ones) and returns the first error, or what
 * finish says. Checks that errors stay and that the sink got everything back. */
static inline int feed_pack_limited(
        const PackLimits *limits, const uint8_t *pack, size_t len, size_t piece, MemorySink *sink) {
        PackReader *r;
        unsigned seed = 1;
        int q = 0;

        ck_assert_int_eq(pack_reader_new(OID_SHA1, limits, &memory_sink_ops, sink, &r), 0);
        for (size_t at = 0, n; q == 0 && at < len; at += n) {
                n = piece > 0 ? piece : 1 + (size_t) rand_r(&seed) % 5000;
                n = n < len - at ? n : len - at;
                /* An exact copy, so that ASan sees a read outside of the piece. */
                uint8_t *copy = malloc(MAX(n, (size_t) 1));
                if (!copy) /* a ck_assert() is a system call, too slow for every byte */
                        ck_abort_msg("out of memory");
                memcpy(copy, pack + at, n);
                q = pack_reader_feed(r, copy, n);
                free(copy);
        }
        ck_assert_int_le(q, 0);
        if (q < 0) {
                ck_assert_int_eq(pack_reader_feed(r, "x", 1), q);
                ck_assert_int_eq(pack_reader_finish(r), q);
        } else
                q = pack_reader_finish(r);
        if (q == 0)
                ck_assert_uint_eq(pack_reader_committed(r), pack_reader_expected(r));
        ck_assert_uint_eq(pack_reader_committed(r), sink->n_commits - (q == -EDQUOT ? 1 : 0));
        ck_assert_ptr_null(pack_reader_free(r));
        ck_assert_uint_eq(sink->n_begun, 0);
        ck_assert_uint_eq(sink->n_held, 0);
        return q;
}

static inline int feed_pack(const uint8_t *pack, size_t len, size_t piece, MemorySink *sink) {
        PackLimits limits = PACK_TEST_LIMITS;

        return feed_pack_limited(&limits, pack, len, piece, sink);
}
