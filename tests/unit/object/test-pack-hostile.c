/* Packs that no git would write. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gitfs/macro.h"

#include "lib/check-main.h"
#include "lib/pack-builder.h"
#include "object/object.h"
#include "pack-feed.h"

#define LONG_CHAIN 20000

static void setup(void) {
        ck_assert_int_eq(object_library_init(), 0);
}

static int feed_all(const Buf *pack, MemorySink *sink) {
        return feed_pack(pack->data, pack->len, SIZE_MAX, sink);
}

/* Adds the trailer, feeds the pack whole and byte by byte, and returns what both said. */
static int try_pack(Buf *pack) {
        MemorySink whole = {0}, bytes = {0};

        pack_build_trailer(pack);
        int r = feed_all(pack, &whole);
        ck_assert_int_eq(feed_pack(pack->data, pack->len, 1, &bytes), r);
        memory_sink_done(&whole);
        memory_sink_done(&bytes);
        return r;
}

static void id_of(const void *data, size_t len, Oid *ret) {
        ck_assert_int_eq(object_hash(OID_SHA1, OBJECT_BLOB, data, len, ret), 0);
}

START_TEST(test_headers) {
        static const struct {
                uint32_t version, n;
                int result;
        } cases[] = {
                {2, 0, 0},
                {3, 0, 0},
                {0, 0, -EBADMSG},
                {1, 0, -EBADMSG},
                {4, 0, -EBADMSG},
                {2, 1, -EBADMSG}, /* the trailer is no entry */
                {2, UINT32_MAX, -EFBIG},
                {2, 1000001, -EFBIG},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ Buf pack = {0};
                pack_build_header(&pack, cases[i].version, cases[i].n);
                ck_assert_msg(try_pack(&pack) == cases[i].result, "case %zu", i);
        }
        _cleanup_buf_ Buf pack = {0};
        ck_assert_int_eq(buf_append(&pack, "PUCK\0\0\0\2\0\0\0\0", 12), 0);
        ck_assert_int_eq(try_pack(&pack), -EBADMSG);
}
END_TEST

START_TEST(test_sha256_unsupported) {
        PackLimits limits = PACK_TEST_LIMITS;
        MemorySink sink = {0};
        PackReader *r = NULL;

        ck_assert_int_eq(
                pack_reader_new(OID_SHA256, &limits, &memory_sink_ops, &sink, &r), -EOPNOTSUPP);
        ck_assert_ptr_null(r);
}
END_TEST

START_TEST(test_wrong_number_of_entries) {
        for (uint32_t announced = 0; announced < 4; announced++) {
                _cleanup_buf_ Buf pack = {0};
                pack_build_header(&pack, 2, announced);
                (void) pack_build_object(&pack, OBJECT_BLOB, "a", 1);
                (void) pack_build_object(&pack, OBJECT_BLOB, "b", 1);
                ck_assert_int_eq(try_pack(&pack), announced == 2 ? 0 : -EBADMSG);
        }
}
END_TEST

START_TEST(test_bytes_behind_the_end) {
        _cleanup_buf_ Buf pack = {0};
        MemorySink sink = {0};

        pack_build_header(&pack, 2, 0);
        pack_build_trailer(&pack);
        ck_assert_int_eq(buf_append(&pack, "", 1), 0);
        ck_assert_int_eq(feed_all(&pack, &sink), -EBADMSG);
        ck_assert_int_eq(feed_pack(pack.data, pack.len, 1, &sink), -EBADMSG);
}
END_TEST

START_TEST(test_types) {
        for (unsigned type = 0; type < 8; type++) {
                _cleanup_buf_ Buf pack = {0};
                pack_build_header(&pack, 2, 1);
                (void) pack_build_object(&pack, type, "x", 1);
                ck_assert_int_eq(try_pack(&pack), type >= 1 && type <= 4 ? 0 : -EBADMSG);
        }
}
END_TEST

/* The declared size and the stream must agree, byte for byte: no zip bombs. */
START_TEST(test_declared_size) {
        static uint8_t bomb[1 << 20];
        static const struct {
                uint64_t declared;
                size_t actual;
                int result;
        } cases[] = {
                {0, 0, 0},
                {0, 1, -EBADMSG},
                {0, sizeof(bomb), -EBADMSG},
                {1, 0, -EBADMSG},
                {5, 4, -EBADMSG},
                {5, 5, 0},
                {5, 6, -EBADMSG},
                {5, sizeof(bomb), -EBADMSG},
                {sizeof(bomb), sizeof(bomb), 0},
                {64 << 20, 5, -EBADMSG},
                {(64 << 20) + 1, 5, -EFBIG},
                {UINT64_MAX, 5, -EFBIG},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ Buf pack = {0};
                pack_build_header(&pack, 2, 1);
                pack_build_type(&pack, OBJECT_BLOB, cases[i].declared);
                pack_build_deflated(&pack, bomb, cases[i].actual);
                ck_assert_msg(try_pack(&pack) == cases[i].result, "case %zu", i);
        }
}
END_TEST

START_TEST(test_size_overflow) {
        static const uint8_t sizes[][12] = {
                {0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0, 0},
                {0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 0x80, 0x80},
        };
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_buf_ Buf pack = {0};
                pack_build_header(&pack, 2, 1);
                ck_assert_int_eq(buf_append(&pack, sizes[i], sizeof(sizes[i])), 0);
                ck_assert_int_eq(try_pack(&pack), -EBADMSG);
        }
}
END_TEST

START_TEST(test_not_zlib) {
        static const char *const streams[] = {
                "not deflated at all",
                "\x78\xbb\x01\x02\x03\x04", /* wants a preset dictionary */
                "\x78\x9c\x07",             /* reserved block type */
        };
        for (size_t i = 0; i < ELEMENTSOF(streams); i++) {
                _cleanup_buf_ Buf pack = {0};
                pack_build_header(&pack, 2, 1);
                pack_build_type(&pack, OBJECT_BLOB, 5);
                ck_assert_int_eq(buf_append_str(&pack, streams[i]), 0);
                ck_assert_int_eq(try_pack(&pack), -EBADMSG);
        }
}
END_TEST

START_TEST(test_empty_objects) {
        static const char delta[] = {5, 0}; /* from five bytes to none */
        static const char again[] = {0, 1, 1, 'z'};
        _cleanup_buf_ Buf pack = {0};
        MemorySink sink = {0};
        Oid empty, z;

        pack_build_header(&pack, 2, 4);
        (void) pack_build_object(&pack, OBJECT_TREE, NULL, 0);
        uint64_t base = pack_build_object(&pack, OBJECT_BLOB, "12345", 5);
        base = pack_build_offset_delta(&pack, base, delta, sizeof(delta));
        (void) pack_build_offset_delta(&pack, base, again, sizeof(again));
        pack_build_trailer(&pack);
        ck_assert_int_eq(feed_all(&pack, &sink), 0);
        id_of(NULL, 0, &empty);
        id_of("z", 1, &z);
        ck_assert_ptr_nonnull(memory_sink_find(&sink, &empty));
        ck_assert_ptr_nonnull(memory_sink_find(&sink, &z));
        memory_sink_done(&sink);
}
END_TEST

START_TEST(test_offset_bases) {
        static const struct {
                int64_t base; /* minus where the good base is; the delta stands at 20 or so */
                int result;
        } cases[] = {{0, 0}, {1, -EBADMSG}, {-1, -EBADMSG}, {-12, -EBADMSG}};
        _cleanup_buf_ Buf delta = {0};

        pack_build_delta(&delta, 5, 2, "x");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ Buf pack = {0};
                pack_build_header(&pack, 2, 2);
                uint64_t base = pack_build_object(&pack, OBJECT_BLOB, "12345", 5);
                base += (uint64_t) cases[i].base;
                (void) pack_build_offset_delta(&pack, base, delta.data, delta.len);
                ck_assert_int_eq(try_pack(&pack), cases[i].result);
        }

        /* On itself, before the pack, and farther than 64 bits count. */
        static const char *const distances[] = {
                "\x00", "\x7f", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"};
        for (size_t i = 0; i < ELEMENTSOF(distances); i++) {
                _cleanup_buf_ Buf pack = {0};
                pack_build_header(&pack, 2, 1);
                pack_build_type(&pack, 6, delta.len);
                ck_assert_int_eq(
                        buf_append(&pack, distances[i], i == 0 ? 1 : strlen(distances[i])), 0);
                pack_build_deflated(&pack, delta.data, delta.len);
                ck_assert_int_eq(try_pack(&pack), -EBADMSG);
        }
}
END_TEST

START_TEST(test_deltas_refused) {
        static const struct {
                const char *delta;
                size_t len;
                int result;
        } cases[] = {
                {"\x05\x01\x01x", 4, 0},
                {"", 0, -EBADMSG},
                {"\x05", 1, -EBADMSG},
                {"\x06\x01\x01x", 4, -EBADMSG},
                {"\x05\x02\x01x", 4, -EBADMSG},
                {"\x05\x06\x90\x06", 4, -EBADMSG},
                {"\x05\xff\xff\xff\xff\x7f\x01x", 8, -EFBIG},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ Buf pack = {0};
                pack_build_header(&pack, 2, 2);
                uint64_t base = pack_build_object(&pack, OBJECT_BLOB, "12345", 5);
                (void) pack_build_offset_delta(&pack, base, cases[i].delta, cases[i].len);
                ck_assert_msg(try_pack(&pack) == cases[i].result, "case %zu", i);
        }
}
END_TEST

START_TEST(test_reference_cycle) {
        _cleanup_buf_ Buf pack = {0};
        _cleanup_buf_ Buf delta = {0};
        Oid a, b;

        /* Each says that it is the other with one byte replaced: neither can ever be had. */
        id_of("1a", 2, &a);
        id_of("1b", 2, &b);
        pack_build_header(&pack, 2, 2);
        pack_build_delta(&delta, 2, 1, "b");
        (void) pack_build_ref_delta(&pack, &a, delta.data, delta.len);
        delta.len = 0;
        pack_build_delta(&delta, 2, 1, "a");
        (void) pack_build_ref_delta(&pack, &b, delta.data, delta.len);
        ck_assert_int_eq(try_pack(&pack), -EBADMSG);
}
END_TEST

START_TEST(test_waiting_for_an_entry) {
        _cleanup_buf_ Buf pack = {0};
        _cleanup_buf_ Buf delta = {0};
        MemorySink sink = {0};
        Oid base, result;

        /* Offset deltas on a reference delta whose base comes last. */
        id_of("12345", 5, &base);
        pack_build_header(&pack, 2, 4);
        pack_build_delta(&delta, 5, 4, "x");
        uint64_t at = pack_build_ref_delta(&pack, &base, delta.data, delta.len);
        for (const char *tail = "yz"; *tail; tail++) {
                delta.len = 0;
                pack_build_delta(&delta, 5, 4, (char[]){*tail, 0});
                at = pack_build_offset_delta(&pack, at, delta.data, delta.len);
        }
        (void) pack_build_object(&pack, OBJECT_BLOB, "12345", 5);
        pack_build_trailer(&pack);
        ck_assert_int_eq(feed_all(&pack, &sink), 0);
        id_of("1234z", 5, &result);
        ck_assert_ptr_nonnull(memory_sink_find(&sink, &result));
        ck_assert_uint_eq(sink.table.n_entries, 4);
        memory_sink_done(&sink);
}
END_TEST

/* Neither a chain that is resolved as it comes nor one that waits to its end costs stack. */
START_TEST(test_long_chains) {
        _cleanup_buf_ Buf forward = {0};
        _cleanup_buf_ Buf backward = {0};
        MemorySink sink = {0};
        Oid base, last;

        pack_build_header(&forward, 2, LONG_CHAIN + 1);
        pack_build_header(&backward, 2, LONG_CHAIN + 1);
        id_of("000000", 6, &base);
        uint64_t at = pack_build_object(&forward, OBJECT_BLOB, "000000", 6);
        uint64_t back = 0;
        for (int i = 1; i <= LONG_CHAIN; i++) {
                _cleanup_buf_ Buf delta = {0};
                char tail[8];
                (void) snprintf(tail, sizeof(tail), "%06d", i);
                pack_build_delta(&delta, 6, 0, tail);
                at = pack_build_offset_delta(&forward, at, delta.data, delta.len);
                back = i == 1 ? pack_build_ref_delta(&backward, &base, delta.data, delta.len)
                              : pack_build_offset_delta(&backward, back, delta.data, delta.len);
        }
        (void) pack_build_object(&backward, OBJECT_BLOB, "000000", 6);
        pack_build_trailer(&forward);
        pack_build_trailer(&backward);
        id_of("020000", 6, &last);
        ck_assert_int_eq(feed_all(&forward, &sink), 0);
        ck_assert_ptr_nonnull(memory_sink_find(&sink, &last));
        memory_sink_done(&sink);
        ck_assert_int_eq(feed_all(&backward, &sink), 0);
        ck_assert_ptr_nonnull(memory_sink_find(&sink, &last));
        memory_sink_done(&sink);
}
END_TEST

START_TEST(test_one_delta_over_the_bound) {
        static uint8_t zeros[4096];
        PackLimits limits = PACK_TEST_LIMITS;
        _cleanup_buf_ Buf pack = {0};
        MemorySink sink = {0};

        limits.max_pending_bytes = 4095;
        pack_build_header(&pack, 2, 2);
        uint64_t base = pack_build_object(&pack, OBJECT_BLOB, "12345", 5);
        (void) pack_build_offset_delta(&pack, base, zeros, sizeof(zeros));
        pack_build_trailer(&pack);
        ck_assert_int_eq(feed_pack_limited(&limits, pack.data, pack.len, 0, &sink), -EFBIG);
        memory_sink_done(&sink);
}
END_TEST

START_TEST(test_sink_errors_are_passed_on) {
        _cleanup_buf_ Buf pack = {0};

        pack_build_header(&pack, 2, 3);
        (void) pack_build_object(&pack, OBJECT_BLOB, "1", 1);
        (void) pack_build_object(&pack, OBJECT_BLOB, "22", 2);
        (void) pack_build_object(&pack, OBJECT_BLOB, "333", 3);
        pack_build_trailer(&pack);
        for (size_t n = 1; n <= 3; n++) {
                MemorySink sink = {.fail_commit = n};
                ck_assert_int_eq(feed_all(&pack, &sink), -EDQUOT);
                ck_assert_uint_eq(sink.n_commits, n);
                memory_sink_done(&sink);
        }
        MemorySink sink = {.bytes_max = 3};
        ck_assert_int_eq(feed_all(&pack, &sink), -ENOSPC);
        memory_sink_done(&sink);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, setup, object_library_done);
        tcase_add_test(tc, test_headers);
        tcase_add_test(tc, test_sha256_unsupported);
        tcase_add_test(tc, test_wrong_number_of_entries);
        tcase_add_test(tc, test_bytes_behind_the_end);
        tcase_add_test(tc, test_types);
        tcase_add_test(tc, test_declared_size);
        tcase_add_test(tc, test_size_overflow);
        tcase_add_test(tc, test_not_zlib);
        tcase_add_test(tc, test_empty_objects);
        tcase_add_test(tc, test_offset_bases);
        tcase_add_test(tc, test_deltas_refused);
        tcase_add_test(tc, test_reference_cycle);
        tcase_add_test(tc, test_waiting_for_an_entry);
        tcase_add_test(tc, test_long_chains);
        tcase_add_test(tc, test_one_delta_over_the_bound);
        tcase_add_test(tc, test_sink_errors_are_passed_on);
}

CHECK_MAIN("pack-hostile", add_tests)
