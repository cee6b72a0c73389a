#include <string.h>

#include "lib/check-main.h"
#include "util/failure.h"
#include "util/redact.h"
#include "util/text.h"

static const char *redacted(const char *text) {
        static char copy[512];

        ck_assert_uint_lt(strlen(text), sizeof(copy));
        memcpy(copy, text, strlen(text) + 1);
        redact_urls(copy);
        return copy;
}

START_TEST(test_user_information_of_urls_is_starred) { /* F11 */
        ck_assert_str_eq(redacted("https://user:t0ken@host/x"), "https://***@host/x");
        ck_assert_str_eq(
                redacted("at https://t@h and http://u:p@i:80/"),
                "at https://*@h and http://***@i:80/");
        ck_assert_str_eq(redacted("\"https://a:b@c\""), "\"https://***@c\"");
        /* The last @ of the authority ends the secret; one in the path is part of the path. */
        ck_assert_str_eq(redacted("https://u:p@ss@host/a@b"), "https://***@host/a@b");
        ck_assert_str_eq(redacted("https://host/repo@ref"), "https://host/repo@ref");
        ck_assert_str_eq(redacted("no url: a@b ://"), "no url: a@b ://");
}
END_TEST

START_TEST(test_values_of_headers_and_fields_are_starred) { /* F11 */
        ck_assert_str_eq(redacted("Authorization: Basic dTpw"), "Authorization: ***");
        ck_assert_str_eq(
                redacted("x AUTHORIZATION:Bearer abc\r\nnext"), "x AUTHORIZATION:***\r\nnext");
        ck_assert_str_eq(redacted("PRIVATE-TOKEN: glpat-1"), "PRIVATE-TOKEN: ***");
        ck_assert_str_eq(redacted("username=u\npassword=hunter2\n"), "username=u\npassword=***\n");
        ck_assert_str_eq(redacted("password="), "password=");
}
END_TEST

START_TEST(test_tokens_are_starred_by_their_shape) { /* F11 */
        ck_assert_str_eq(redacted("bad ghp_0123456789abcdefABCDEF here"), "bad *** here");
        ck_assert_str_eq(redacted("(github_pat_11AB_0123456789)"), "(***)");
        ck_assert_str_eq(redacted("a=glpat-x0123456789_-zz,gho_0123456789ab"), "a=***,***");
        /* Names that only begin so. */
        ck_assert_str_eq(
                redacted("ghp_tools and myghp_0123456789ab"), "ghp_tools and myghp_0123456789ab");
}
END_TEST

START_TEST(test_failures_are_redacted_and_fit) {
        char longer[1000];
        Failure f;

        memset(longer, 'x', sizeof(longer) - 1);
        longer[sizeof(longer) - 1] = '\0';
        ck_assert_int_eq(
                failure_set(&f, FAILURE_AUTH, "https://u:secret@h refused"),
                failure_errno(FAILURE_AUTH));
        ck_assert_ptr_null(strstr(f.text, "secret"));
        ck_assert_int_lt(failure_set(&f, FAILURE_SERVER, "%s", longer), 0);
        ck_assert_uint_eq(strlen(f.text), sizeof(f.text) - 1);
        ck_assert_int_lt(failure_set(NULL, FAILURE_SERVER, "nobody listens"), 0);
        for (int c = FAILURE_NONE + 1; c < _FAILURE_CLASS_MAX; c++) {
                ck_assert_int_lt(failure_errno((FailureClass) c), 0);
                ck_assert_ptr_nonnull(failure_class_name((FailureClass) c));
        }
}
END_TEST

/* Wherever the text is cut, it must not be cut in a way that hides a secret from the search. */
START_TEST(test_failures_that_are_cut_keep_secrets) { /* F11 */
        Failure f;

        for (int n = 0; n < 200; n++) {
                (void) failure_set(
                        &f, FAILURE_SERVER, "%*shttps://user:secret@host/path", n, "no answer of");
                ck_assert_msg(!strstr(f.text, "user") && !strstr(f.text, "secr"), "%s", f.text);
        }
}
END_TEST

START_TEST(test_failures_are_printable) {
        Failure f;

        (void) failure_set(&f, FAILURE_SERVER, "type \"text\x1b[2J\nx\xc2\x9bm\xff\xc3\xa9\"");
        ck_assert_str_eq(f.text, "type \"text [2J x  m?\xc3\xa9\"");
        for (int n = 190; n < 200; n++) {
                uint32_t c;
                (void) failure_set(&f, FAILURE_SERVER, "%*s\xe2\x82\xac", n, "");
                for (const char *p = f.text; *p; p += utf8_decode(p, &c))
                        ck_assert_uint_gt(utf8_decode(p, &c), 0);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_user_information_of_urls_is_starred);
        tcase_add_test(tc, test_values_of_headers_and_fields_are_starred);
        tcase_add_test(tc, test_tokens_are_starred_by_their_shape);
        tcase_add_test(tc, test_failures_are_redacted_and_fit);
        tcase_add_test(tc, test_failures_that_are_cut_keep_secrets);
        tcase_add_test(tc, test_failures_are_printable);
}

CHECK_MAIN("redact", add_tests)
