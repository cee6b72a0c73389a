#include <errno.h>
#include <string.h>

#include "lib/check-main.h"
#include "util/base64.h"

/* RFC 4648, section 10, and all bits set. */
static const struct {
        const char *bytes, *text;
} vectors[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"torvalds/linux", "dG9ydmFsZHMvbGludXg="},
        {"\xff\xff\xfe", "///+"},
};

START_TEST(bytes_become_text) {
        _cleanup_free_ char *text = base64_encode(vectors[_i].bytes, strlen(vectors[_i].bytes));
        ck_assert_str_eq(text, vectors[_i].text);
}
END_TEST

START_TEST(text_becomes_bytes) {
        _cleanup_buf_ Buf b = {0};

        ck_assert_int_eq(buf_append_str(&b, "before "), 0);
        ck_assert_int_eq(base64_decode(vectors[_i].text, &b), 0);
        ck_assert_uint_eq(b.len, 7 + strlen(vectors[_i].bytes));
        ck_assert_mem_eq(b.data + 7, vectors[_i].bytes, b.len - 7);
}
END_TEST

START_TEST(line_ends_are_passed_by) {
        _cleanup_buf_ Buf b = {0};

        ck_assert_int_eq(base64_decode("Zm\n9v\r\nYmFy\n", &b), 0);
        ck_assert_uint_eq(b.len, 6);
        ck_assert_mem_eq(b.data, "foobar", 6);
}
END_TEST

static const char *const broken[] = {
        "Z",
        "Zg",
        "Zg=",
        "Zg==Zg==",
        "Zh==",
        "Zm9=",
        "====",
        "Z===",
        "Zm9v Zm9v",
        "Zm9-",
        "Zg=\xc3",
        "=Zg=",
        "Z=g=",
        "Zm9v=",
};

START_TEST(what_is_none_is_refused) {
        _cleanup_buf_ Buf b = {0};

        ck_assert_int_eq(base64_decode(broken[_i], &b), -EBADMSG);
        ck_assert_uint_eq(b.len, 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_loop_test(tc, bytes_become_text, 0, ELEMENTSOF(vectors));
        tcase_add_loop_test(tc, text_becomes_bytes, 0, ELEMENTSOF(vectors));
        tcase_add_test(tc, line_ends_are_passed_by);
        tcase_add_loop_test(tc, what_is_none_is_refused, 0, ELEMENTSOF(broken));
}

CHECK_MAIN("util-base64", add_tests)
