#include <errno.h>
#include <string.h>

#include "lib/check-main.h"
#include "object/oid.h"

#define HEX40 "0123456789abcdef0123456789abcdef01234567"
#define HEX64 HEX40 "0123456789abcdef01234567"

START_TEST(test_hex_round_trip) {
        static const char *const hexes[] = {HEX40, HEX64};
        char out[OID_HEX_MAX + 1];

        for (size_t i = 0; i < 2; i++) {
                Oid oid;
                ck_assert_int_eq(oid_from_hex(&oid, hexes[i], strlen(hexes[i])), 0);
                ck_assert_int_eq(oid.algo, i == 0 ? OID_SHA1 : OID_SHA256);
                ck_assert_str_eq(oid_to_hex(&oid, out), hexes[i]);

                Oid raw;
                oid_from_raw(&raw, (OidAlgo) oid.algo, oid.id);
                ck_assert(oid_equal(&raw, &oid));
        }
}
END_TEST

START_TEST(test_hex_upper_case) {
        Oid lower, upper;

        ck_assert_int_eq(oid_from_hex(&lower, HEX40, 40), 0);
        ck_assert_int_eq(oid_from_hex(&upper, "0123456789ABCDEF0123456789ABCDEF01234567", 40), 0);
        ck_assert(oid_equal(&lower, &upper));
}
END_TEST

START_TEST(test_hex_refused) {
        Oid oid, before;

        memset(&oid, 0x5a, sizeof(oid));
        before = oid;
        for (size_t len = 0; len < 64; len++)
                if (len != 40)
                        ck_assert_int_eq(oid_from_hex(&oid, HEX64, len), -EINVAL);
        static const char bad[] = "/:@`Gg\0 -\x80";
        for (size_t i = 0; i < sizeof(bad) - 1; i++)
                for (size_t at = 0; at < 40; at += 39) {
                        char hex[] = HEX40;
                        hex[at] = bad[i];
                        ck_assert_int_eq(oid_from_hex(&oid, hex, 40), -EINVAL);
                }
        ck_assert_mem_eq(&oid, &before, sizeof(oid));
}
END_TEST

START_TEST(test_equality) {
        Oid sha1, sha256;

        /* The same first 20 bytes and zeros behind are still another name. */
        ck_assert_int_eq(oid_from_hex(&sha1, HEX40, 40), 0);
        ck_assert_int_eq(oid_from_hex(&sha256, HEX40 "000000000000000000000000", 64), 0);
        ck_assert(!oid_equal(&sha1, &sha256));

        Oid last = sha1;
        last.id[19] ^= 1;
        ck_assert(!oid_equal(&sha1, &last));

        Oid none = {0};
        char out[OID_HEX_MAX + 1] = "x";
        ck_assert(oid_is_none(&none));
        ck_assert(!oid_is_none(&sha1));
        ck_assert_str_eq(oid_to_hex(&none, out), "");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_hex_round_trip);
        tcase_add_test(tc, test_hex_upper_case);
        tcase_add_test(tc, test_hex_refused);
        tcase_add_test(tc, test_equality);
}

CHECK_MAIN("oid", add_tests)
