#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gitfs/macro.h"

#include "lib/check-main.h"
#include "object/pktline.h"

/* Writes down what arrives: "D<payload>|", "F|" or "L|". */
static int record(PktType type, const uint8_t *data, size_t len, void *userdata) {
        Buf *log = userdata;
        const char *letter = type == PKT_DATA ? "D" : type == PKT_FLUSH ? "F" : "L";

        ck_assert_int_eq(buf_append_str(log, letter), 0);
        ck_assert_int_eq(buf_append(log, data, len), 0);
        return buf_append_str(log, "|");
}

static int feed_in_pieces(PktReader *r, const char *text, size_t len, size_t piece, Buf *log) {
        for (size_t at = 0; at < len; at += piece) {
                int q = pkt_reader_feed(r, text + at, MIN(piece, len - at), record, log);
                if (q < 0)
                        return q;
        }
        return 0;
}

START_TEST(test_read_in_pieces) {
        static const char text[] = "000ahello\n000000010004"
                                   "0005x0000";
        for (size_t piece = 1; piece < sizeof(text); piece++) {
                _cleanup_buf_ Buf log = {0};
                PktReader r = {0};

                ck_assert_int_eq(feed_in_pieces(&r, text, sizeof(text) - 1, piece, &log), 0);
                ck_assert_str_eq(buf_str(&log), "Dhello\n|F|L|D|Dx|F|");
                ck_assert(pkt_reader_idle(&r));
                pkt_reader_done(&r);
        }
}
END_TEST

START_TEST(test_idle_only_between_packets) {
        static const char text[] = "0006ab";
        _cleanup_buf_ Buf log = {0};
        PktReader r = {0};

        ck_assert_int_eq(pkt_reader_feed(&r, NULL, 0, record, &log), 0);
        ck_assert(pkt_reader_idle(&r));
        for (size_t i = 0; i < 6; i++) {
                ck_assert_int_eq(pkt_reader_feed(&r, text + i, 1, record, &log), 0);
                ck_assert_int_eq(pkt_reader_idle(&r), i == 5);
        }
        pkt_reader_done(&r);
}
END_TEST

START_TEST(test_lengths_refused) {
        static const char *const bad[] = {
                "0002",
                "0003",
                "fff1",
                "ffff",
                "00g0",
                " 004",
                "-001",
                "0x04",
                "+004",
                "\n004",
        };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_buf_ Buf log = {0};
                PktReader r = {0};
                ck_assert_msg(
                        pkt_reader_feed(&r, bad[i], 4, record, &log) == -EBADMSG,
                        "%s was accepted",
                        bad[i]);
                ck_assert_uint_eq(log.len, 0);
                pkt_reader_done(&r);
        }
}
END_TEST

START_TEST(test_largest_packet) {
        static char payload[PKT_MAX_PAYLOAD + 1];
        _cleanup_buf_ Buf wire = {0};

        memset(payload, 'x', sizeof(payload));
        ck_assert_int_eq(pkt_append(&wire, payload, sizeof(payload)), -E2BIG);
        ck_assert_uint_eq(wire.len, 0);
        ck_assert_int_eq(pkt_append(&wire, payload, PKT_MAX_PAYLOAD), 0);
        ck_assert_uint_eq(wire.len, 65520);
        ck_assert_mem_eq(wire.data, "fff0", 4);

        static const size_t pieces[] = {1, 4, 5, 1000, 65519, 65520};
        for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
                _cleanup_buf_ Buf log = {0};
                PktReader r = {0};
                ck_assert_int_eq(
                        feed_in_pieces(&r, (char *) wire.data, wire.len, pieces[i], &log), 0);
                ck_assert_uint_eq(log.len, PKT_MAX_PAYLOAD + 2);
                ck_assert_mem_eq(log.data + 1, payload, PKT_MAX_PAYLOAD);
                pkt_reader_done(&r);
        }
}
END_TEST

static int refuse_second(PktType type, const uint8_t *data, size_t len, void *userdata) {
        unsigned *n = userdata;
        return ++*n == 2 ? -ECANCELED : 0;
}

START_TEST(test_handler_stops) {
        unsigned n = 0;
        PktReader r = {0};

        ck_assert_int_eq(pkt_reader_feed(&r, "0005a0005b0005c", 15, refuse_second, &n), -ECANCELED);
        ck_assert_uint_eq(n, 2);
        n = 1;
        pkt_reader_done(&r);
        ck_assert_int_eq(pkt_reader_feed(&r, "0000", 4, refuse_second, &n), -ECANCELED);
        pkt_reader_done(&r);
}
END_TEST

START_TEST(test_write) {
        _cleanup_buf_ Buf b = {0};

        ck_assert_int_eq(pkt_appendf(&b, "want %s %d\n", "x", 12), 0);
        ck_assert_int_eq(pkt_append_delim(&b), 0);
        ck_assert_int_eq(pkt_append(&b, NULL, 0), 0);
        ck_assert_int_eq(pkt_append_flush(&b), 0);
        ck_assert_str_eq(buf_str(&b), "000ewant x 12\n000100040000");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_read_in_pieces);
        tcase_add_test(tc, test_idle_only_between_packets);
        tcase_add_test(tc, test_lengths_refused);
        tcase_add_test(tc, test_largest_packet);
        tcase_add_test(tc, test_handler_stops);
        tcase_add_test(tc, test_write);
}

CHECK_MAIN("pktline", add_tests)
