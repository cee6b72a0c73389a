#include <errno.h>
#include <string.h>

#include "lib/check-main.h"
#include "util/text.h"

static bool is_utf8(const char *s) {
        uint32_t c;

        for (size_t n; *s; s += n) {
                n = utf8_decode(s, &c);
                if (n == 0)
                        return false;
        }
        return true;
}

static void assert_escaped(const char *bytes, const char *text) {
        _cleanup_free_ char *escaped = text_escape(bytes);

        ck_assert_str_eq(escaped, text);
        ck_assert(is_utf8(escaped));
        ck_assert_int_eq(text_unescape(escaped), 0);
        ck_assert_str_eq(escaped, bytes);
}

/* F5: names that are not UTF-8 are names like others. */
START_TEST(escaping_is_reversible) {
        assert_escaped("", "");
        assert_escaped("src/main.c", "src/main.c");
        assert_escaped("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
        assert_escaped("caf\xe9", "caf\\xe9");
        assert_escaped("a\\x41", "a\\\\x41");
        assert_escaped("\\\\", "\\\\\\\\");
        assert_escaped("\xff\xfe/\x80", "\\xff\\xfe/\\x80");
        assert_escaped("\xf0\x9f\x98\x80\xf0\x9f", "\xf0\x9f\x98\x80\\xf0\\x9f");
}
END_TEST

START_TEST(what_is_no_escape_stands_for_itself) {
        char lone[] = "a\\b\\x4", nul[] = "a\\x00";

        ck_assert_int_eq(text_unescape(lone), 0);
        ck_assert_str_eq(lone, "a\\b\\x4");
        ck_assert_int_eq(text_unescape(nul), -EINVAL);
}
END_TEST

START_TEST(invalid_utf8_is_told) {
        ck_assert(is_utf8("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"));
        ck_assert(!is_utf8("\xc0\xaf"));         /* overlong */
        ck_assert(!is_utf8("\xe0\x80\x80"));     /* overlong */
        ck_assert(!is_utf8("\xed\xa0\x80"));     /* surrogate */
        ck_assert(!is_utf8("\xf4\x90\x80\x80")); /* too large */
        ck_assert(!is_utf8("\xe2\x82"));         /* cut off */
}
END_TEST

START_TEST(sentences_lose_what_could_harm_a_terminal) {
        char text[] = "\x1b[31mred\xc2\x9b"
                      "2J \xff\xc3\xa9\n";

        text_sanitize(text);
        ck_assert_str_eq(text, " [31mred  2J ?\xc3\xa9 ");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, escaping_is_reversible);
        tcase_add_test(tc, what_is_no_escape_stands_for_itself);
        tcase_add_test(tc, invalid_utf8_is_told);
        tcase_add_test(tc, sentences_lose_what_could_harm_a_terminal);
}

CHECK_MAIN("text", add_tests)
