#include <errno.h>
#include <string.h>

#include "lib/check-main.h"
#include "object/object.h"

static void setup(void) {
        ck_assert_int_eq(object_library_init(), 0);
}

START_TEST(test_type_names) {
        for (int t = OBJECT_COMMIT; t <= OBJECT_TAG; t++) {
                const char *name = object_type_name((ObjectType) t);
                ck_assert_int_eq(object_type_from_name(name, strlen(name)), t);
                ck_assert_int_eq(object_type_from_name(name, strlen(name) - 1), -EINVAL);
        }
        ck_assert_int_eq(object_type_from_name("", 0), -EINVAL);
        ck_assert_int_eq(object_type_from_name("blobs", 5), -EINVAL);
        ck_assert_int_eq(object_type_from_name("Blob", 4), -EINVAL);
        ck_assert_int_eq(object_type_from_name("blob\n", 4), OBJECT_BLOB);
}
END_TEST

static void check_hash(ObjectType type, const char *data, const char *expected) {
        char hex[OID_HEX_MAX + 1];
        Oid oid;

        ck_assert_int_eq(object_hash(OID_SHA1, type, data, data ? strlen(data) : 0, &oid), 0);
        ck_assert_str_eq(oid_to_hex(&oid, hex), expected);
}

START_TEST(test_hash_known_ids) {
        /* As `git hash-object` names them. */
        check_hash(OBJECT_BLOB, NULL, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        check_hash(OBJECT_TREE, NULL, "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        check_hash(OBJECT_BLOB, "hello\n", "ce013625030ba8dba906f756967f9e9ca394464a");
}
END_TEST

START_TEST(test_hash_sha256_unsupported) {
        Oid oid;

        ck_assert_int_eq(object_hash(OID_SHA256, OBJECT_BLOB, "x", 1, &oid), -EOPNOTSUPP);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, setup, object_library_done);
        tcase_add_test(tc, test_type_names);
        tcase_add_test(tc, test_hash_known_ids);
        tcase_add_test(tc, test_hash_sha256_unsupported);
}

CHECK_MAIN("object", add_tests)
