#include <errno.h>
#include <string.h>

#include "gitfs/macro.h"

#include "lib/check-main.h"
#include "object/delta.h"

#define BASE "0123456789"

/* Applies `delta` (a literal) to BASE and returns the result code; out holds result_size bytes. */
#define APPLY(delta, out, result_size)                                                             \
        delta_apply(                                                                               \
                (const uint8_t *) BASE,                                                            \
                10,                                                                                \
                (const uint8_t *) (delta),                                                         \
                sizeof(delta) - 1,                                                                 \
                (uint8_t *) (out),                                                                 \
                (result_size))

START_TEST(test_copy_and_insert) {
        char out[8];

        /* copy offset 2 length 3; insert "ab"; copy offset 0 length 1 (no offset byte) */
        ck_assert_int_eq(
                APPLY("\x0a\x06\x91\x02\x03\x02"
                      "ab\x90\x01",
                      out,
                      6),
                0);
        ck_assert_mem_eq(out, "234ab0", 6);
        ck_assert_int_eq(APPLY("\x0a\x00", out, 0), 0);
}
END_TEST

START_TEST(test_refused) {
        char out[8];

        ck_assert_int_eq(APPLY("", out, 6), -EBADMSG);
        ck_assert_int_eq(APPLY("\x0a", out, 6), -EBADMSG);
        ck_assert_int_eq(APPLY("\x8a", out, 6), -EBADMSG);
        ck_assert_int_eq(APPLY("\x0b\x01\x01x", out, 1), -EBADMSG);        /* base size */
        ck_assert_int_eq(APPLY("\x0a\x02\x01x", out, 1), -EBADMSG);        /* result size */
        ck_assert_int_eq(APPLY("\x0a\x02\x01x", out, 2), -EBADMSG);        /* too little */
        ck_assert_int_eq(APPLY("\x0a\x01\x02xy", out, 1), -EBADMSG);       /* too much */
        ck_assert_int_eq(APPLY("\x0a\x01\x00", out, 1), -EBADMSG);         /* reserved */
        ck_assert_int_eq(APPLY("\x0a\x02\x02x", out, 2), -EBADMSG);        /* insert cut off */
        ck_assert_int_eq(APPLY("\x0a\x03\x91\x02", out, 3), -EBADMSG);     /* copy cut off */
        ck_assert_int_eq(APPLY("\x0a\x01\x91\x0a\x01", out, 1), -EBADMSG); /* behind the base */
        ck_assert_int_eq(APPLY("\x0a\x02\x91\x09\x02", out, 2), -EBADMSG); /* over its end */
        ck_assert_int_eq(
                APPLY("\x0a\x01\x9f\xff\xff\xff\xff\x01", out, 1), -EBADMSG); /* far offset */
        ck_assert_int_eq(APPLY("\x0a\x01\x80", out, 1), -EBADMSG);            /* 64 KiB */
}
END_TEST

START_TEST(test_copy_length_zero_is_64k) {
        static uint8_t base[0x10000], out[0x10000];
        static const uint8_t delta[] = {0x80, 0x80, 0x04, 0x80, 0x80, 0x04, 0x80};

        memset(base, 7, sizeof(base));
        ck_assert_int_eq(
                delta_apply(base, sizeof(base), delta, sizeof(delta), out, sizeof(out)), 0);
        ck_assert_mem_eq(out, base, sizeof(out));
}
END_TEST

START_TEST(test_sizes) {
        uint64_t base, result;
        size_t n;

        static const uint8_t small[] = {0x80, 0x01, 0x7f, 0xff};
        ck_assert_int_eq(delta_sizes(small, sizeof(small), &base, &result, &n), 0);
        ck_assert_uint_eq(base, 128);
        ck_assert_uint_eq(result, 127);
        ck_assert_uint_eq(n, 3);

        /* 2^64 - 1 is the last that fits. */
        uint8_t wide[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00};
        ck_assert_int_eq(delta_sizes(wide, sizeof(wide), &base, &result, &n), 0);
        ck_assert_uint_eq(base, UINT64_MAX);
        wide[9] = 0x02;
        ck_assert_int_eq(delta_sizes(wide, sizeof(wide), &base, &result, &n), -EBADMSG);
        wide[9] = 0x80;
        ck_assert_int_eq(delta_sizes(wide, sizeof(wide), &base, &result, &n), -EBADMSG);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_copy_and_insert);
        tcase_add_test(tc, test_refused);
        tcase_add_test(tc, test_copy_length_zero_is_64k);
        tcase_add_test(tc, test_sizes);
}

CHECK_MAIN("delta", add_tests)
