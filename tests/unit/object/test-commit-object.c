#include <errno.h>
#include <string.h>

#include "gitfs/macro.h"

#include "lib/check-main.h"
#include "object/commit-object.h"

#define HEX "0123456789abcdef0123456789abcdef01234567"
#define HEAD "tree " HEX "\nparent " HEX "\nauthor A <a@b> 1 +0000\n"

static int parse(const char *text, CommitObject *ret) {
        return commit_parse(OID_SHA1, text, strlen(text), ret);
}

START_TEST(test_commit) {
        CommitObject c;
        Oid tree;

        ck_assert_int_eq(oid_from_hex(&tree, HEX, 40), 0);
        ck_assert_int_eq(
                parse(HEAD "committer C <c@d> 1700000000 +0100\n\ncommitter X <x> 5 +0\n", &c), 0);
        ck_assert(oid_equal(&c.tree, &tree));
        ck_assert_int_eq(c.commit_time, 1700000000);
}
END_TEST

START_TEST(test_commit_dates) {
        static const struct {
                const char *text;
                int64_t time;
        } cases[] = {
                {"tree " HEX "\n", 0},
                {HEAD "\ncommitter C <c@d> 9 +0100\n", 0}, /* in the message */
                {HEAD "committer C <c@d> 9", 0},           /* cut off */
                {HEAD "committer C <c@d>\n", 0},
                {HEAD "committer C <c@d> \n", 0},
                {HEAD "committer C 9 +0000\n", 0},
                {HEAD "committer C <c@d> -9 +0100\n", 0},
                {HEAD "committer C <c@d> 9x +0100\n", 0},
                {HEAD "committer C <c@d> 99999999999999999999 +0100\n", 0},
                {HEAD "committer C <c@d> 9223372036854775807 +0100\n", INT64_MAX},
                {HEAD "committer C <c@d> 9\n", 9},
                {HEAD "committer C> <c>d> 9 +0000\n", 9},
                {"tree " HEX "\ngpgsig -----\n x\n\ncommitter C <c> 8 +0\n", 0},
                {"tree " HEX "\nencoding X\ncommitter C <c> 8 +0\n", 8},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                CommitObject c = {.commit_time = -1};
                ck_assert_int_eq(parse(cases[i].text, &c), 0);
                ck_assert_msg(c.commit_time == cases[i].time, "case %zu", i);
        }
}
END_TEST

START_TEST(test_commit_refused) {
        static const char *const cases[] = {
                "",
                "tree",
                "tree \n",
                "tree " HEX,
                "tree " HEX " \n",
                "Tree " HEX "\n",
                "tree  " HEX "\n",
                "tree 0123456789abcdef0123456789abcdef0123456\n",
                "tree 0123456789abcdef0123456789abcdef0123456g\n",
                "tree " HEX "0123456789abcdef01234567\n",
                "parent " HEX "\ntree " HEX "\n",
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                CommitObject c;
                ck_assert_msg(parse(cases[i], &c) == -EBADMSG, "case %zu", i);
        }
        CommitObject c;
        ck_assert_int_eq(commit_parse(OID_SHA1, NULL, 0, &c), -EBADMSG);
}
END_TEST

START_TEST(test_tag) {
        static const char text[] = "object " HEX "\ntype commit\ntag v1\n\nmessage\n";
        static const char *const bad[] = {
                "",
                "type commit\n",
                "object " HEX "\n",
                "object " HEX "\ntype commit",
                "object " HEX "\ntype \n",
                "object " HEX "\ntype commits\n",
                "object " HEX "0\ntype commit\n",
        };
        TagObject t;

        ck_assert_int_eq(tag_parse(OID_SHA1, text, strlen(text), &t), 0);
        ck_assert_int_eq(t.target_type, OBJECT_COMMIT);
        ck_assert_int_eq(t.target.id[1], 0x23);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ck_assert_msg(
                        tag_parse(OID_SHA1, bad[i], strlen(bad[i]), &t) == -EBADMSG, "case %zu", i);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_commit);
        tcase_add_test(tc, test_commit_dates);
        tcase_add_test(tc, test_commit_refused);
        tcase_add_test(tc, test_tag);
}

CHECK_MAIN("commit-object", add_tests)
