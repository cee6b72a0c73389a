#include <errno.h>
#include <string.h>

#include "gitfs/macro.h"

#include "lib/check-main.h"
#include "object/tree-object.h"
#include "util/buf.h"

#define RAW "ABCDEFGHIJKLMNOPQRST"

static void append_entry(Buf *b, const char *mode_and_name) {
        ck_assert_int_eq(buf_append(b, mode_and_name, strlen(mode_and_name) + 1), 0);
        ck_assert_int_eq(buf_append(b, RAW, 20), 0);
}

/* What the iterator says to a tree of this single entry. */
static int first_result(const char *mode_and_name, TreeEntry *ret) {
        static Buf b; /* the entry points into it */
        TreeIter it;

        buf_done(&b);
        append_entry(&b, mode_and_name);
        tree_iter_init(&it, OID_SHA1, b.data, b.len);
        return tree_iter_next(&it, ret);
}

START_TEST(test_kinds) {
        static const struct {
                const char *text;
                EntryKind kind;
        } cases[] = {
                {"100644 f", ENTRY_FILE},
                {"100664 f", ENTRY_FILE},
                {"100600 f", ENTRY_FILE},
                {"100755 f", ENTRY_EXEC},
                {"120000 f", ENTRY_SYMLINK},
                {"40000 f", ENTRY_DIR},
                {"040000 f", ENTRY_DIR},
                {"160000 f", ENTRY_SUBMODULE},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                TreeEntry e;
                ck_assert_int_eq(first_result(cases[i].text, &e), 1);
                ck_assert_int_eq(e.kind, cases[i].kind);
                ck_assert_uint_eq(e.name_len, 1);
                ck_assert_mem_eq(e.name, "f", 2);
                ck_assert_int_eq(e.oid.algo, OID_SHA1);
                ck_assert_mem_eq(e.oid.id, RAW "\0\0\0\0\0\0\0\0\0\0\0\0", OID_RAW_MAX);
        }
}
END_TEST

START_TEST(test_modes_refused) {
        static const char *const cases[] = {
                " f",
                "f",
                "10064x f",
                "100648 f",
                "0 f",
                "644 f",
                "140000 f",
                "60000 f",
                "20000 f",
                "10000 f",
                "-1 f",
                "+100644 f",
                "1100644 f",
                "0100644100644 f",
                "100644",
                "100644\tf",
                " 100644 f",
                "170000 f",
                "0000000000000000100644 f",
                "37777777777777100644 f",
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                TreeEntry e;
                ck_assert_msg(
                        first_result(cases[i], &e) == -EBADMSG, "\"%s\" was accepted", cases[i]);
        }
}
END_TEST

START_TEST(test_names_refused) {
        static const char *const bad[] = {
                "100644 ",
                "100644 .",
                "40000 ..",
                "40000 .git",
                "40000 .GIT",
                "100644 .gIt",
                "100644 /",
                "100644 a/b",
                "100644 /a",
                "100644 a/",
                "120000 ../x",
        };
        static const char *const good[] = {
                "100644 ...",
                "100644 .gi",
                "100644 .gitx",
                "100644 .gitignore",
                "100644 git",
                "100644  ",
                "100644 ..a",
                "100644 \xff\xfe",
                "100644 a\nb",
                "100644 .gitmodules",
                "100644 -rf",
        };
        TreeEntry e;
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ck_assert_msg(first_result(bad[i], &e) == -EBADMSG, "\"%s\" was accepted", bad[i]);
        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                ck_assert_msg(first_result(good[i], &e) == 1, "\"%s\" was refused", good[i]);
                ck_assert_str_eq(e.name, strchr(good[i], ' ') + 1);
        }
}
END_TEST

START_TEST(test_several_and_empty) {
        _cleanup_buf_ Buf b = {0};
        TreeIter it;
        TreeEntry e;

        tree_iter_init(&it, OID_SHA1, NULL, 0);
        ck_assert_int_eq(tree_iter_next(&it, &e), 0);

        append_entry(&b, "100644 a");
        append_entry(&b, "40000 b");
        append_entry(&b, "100644 a");
        tree_iter_init(&it, OID_SHA1, b.data, b.len);
        for (const char *name = "aba"; *name; name++) {
                ck_assert_int_eq(tree_iter_next(&it, &e), 1);
                ck_assert_int_eq(e.name[0], *name);
        }
        ck_assert_int_eq(tree_iter_next(&it, &e), 0);
        ck_assert_int_eq(tree_iter_next(&it, &e), 0);
}
END_TEST

START_TEST(test_every_truncation) {
        _cleanup_buf_ Buf b = {0};
        TreeEntry e;

        append_entry(&b, "100644 name");
        for (size_t len = 1; len < b.len; len++) {
                /* An exact copy, so that ASan sees a read behind the end. */
                uint8_t *copy = malloc(len);
                ck_assert_ptr_nonnull(copy);
                memcpy(copy, b.data, len);
                TreeIter it;
                tree_iter_init(&it, OID_SHA1, copy, len);
                ck_assert_int_eq(tree_iter_next(&it, &e), -EBADMSG);
                free(copy);
        }
}
END_TEST

START_TEST(test_sha256_entry) {
        static const char tree[] = "100644 f\0" RAW "UVWXYZ012345";
        TreeIter it;
        TreeEntry e;

        tree_iter_init(&it, OID_SHA256, tree, sizeof(tree) - 1);
        ck_assert_int_eq(tree_iter_next(&it, &e), 1);
        ck_assert_mem_eq(e.oid.id, RAW "UVWXYZ012345", 32);
        ck_assert_int_eq(tree_iter_next(&it, &e), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_kinds);
        tcase_add_test(tc, test_modes_refused);
        tcase_add_test(tc, test_names_refused);
        tcase_add_test(tc, test_several_and_empty);
        tcase_add_test(tc, test_every_truncation);
        tcase_add_test(tc, test_sha256_entry);
}

CHECK_MAIN("tree-object", add_tests)
