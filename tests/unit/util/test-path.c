#include <errno.h>
#include <string.h>

#include "lib/check-main.h"
#include "util/path.h"

static const char *simplified(const char *path) {
        static char copy[256];

        memcpy(copy, path, strlen(path) + 1);
        path_simplify(copy);
        return copy;
}

START_TEST(test_simplify) {
        ck_assert_str_eq(simplified("/a//b/./c/"), "/a/b/c");
        ck_assert_str_eq(simplified("/"), "/");
        ck_assert_str_eq(simplified("///"), "/");
        ck_assert_str_eq(simplified("/."), "/");
        ck_assert_str_eq(simplified("/a/../b"), "/a/../b");
        ck_assert_str_eq(simplified("/a/.b/..c"), "/a/.b/..c");
        ck_assert_str_eq(simplified("a/b/"), "a/b");
        ck_assert_str_eq(simplified(""), "");
}
END_TEST

START_TEST(test_names) {
        char name[257];

        ck_assert(name_is_valid("linux"));
        ck_assert(name_is_valid(".github"));
        ck_assert(name_is_valid("\xff\xfe"));
        ck_assert(!name_is_valid(""));
        ck_assert(!name_is_valid("."));
        ck_assert(!name_is_valid(".."));
        ck_assert(!name_is_valid(".git"));
        ck_assert(!name_is_valid(".Git"));
        ck_assert(!name_is_valid("a/b"));
        ck_assert(!name_is_valid("a\nb"));
        memset(name, 'n', 256);
        name[256] = '\0';
        ck_assert(!name_is_valid(name));
        name[255] = '\0';
        ck_assert(name_is_valid(name));
}
END_TEST

START_TEST(test_percent) {
        char s[32] = "feature%2Fx%20";

        ck_assert_int_eq(percent_decode(s), 0);
        ck_assert_str_eq(s, "feature/x ");
        static const char *const broken[] = {"%", "%2", "%2g", "a%00b", "%%"};
        for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
                memcpy(s, broken[i], strlen(broken[i]) + 1);
                ck_assert_int_eq(percent_decode(s), -EINVAL);
        }
        _cleanup_free_ char *encoded = percent_encode("a b/\xff~", "/");
        ck_assert_str_eq(encoded, "a%20b/%FF~");
}
END_TEST

START_TEST(test_join) {
        _cleanup_free_ char *a = path_join("/x", "y/", "z", NULL);
        _cleanup_free_ char *b = path_join("/", "y", NULL);

        ck_assert_str_eq(a, "/x/y/z");
        ck_assert_str_eq(b, "/y");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_simplify);
        tcase_add_test(tc, test_names);
        tcase_add_test(tc, test_percent);
        tcase_add_test(tc, test_join);
}

CHECK_MAIN("path", add_tests)
