#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge/json.h"
#include "lib/check-main.h"
#include "util/stats.h"

static Json *parse(const char *text) {
        Json *json = NULL;

        ck_assert_msg(json_parse(text, strlen(text), &json) == 0, "%s", text);
        return json;
}

static void assert_refused(const char *text, size_t len, int expected) {
        Json *json = (Json *) &json;

        ck_assert_msg(json_parse(text, len, &json) == expected, "%s", text);
        ck_assert_ptr_eq(json, &json); /* untouched */
}

START_TEST(members_are_found_by_name_and_type) {
        _cleanup_(json_freep) Json *json =
                parse(" {\"s\": \"caf\\u00e9\", \"b\": true, \"n\": 7, \"o\": {\"s\": \"in\"}, "
                      "\"a\": [\"x\", 3, \"y\"]} \r\n");
        uint64_t n = 0;

        ck_assert_str_eq(json_get_string(json, "s"), "caf\xc3\xa9");
        ck_assert(json_get_bool(json, "b"));
        ck_assert_int_eq(json_get_uint64(json, "n", &n), 1);
        ck_assert_uint_eq(n, 7);
        ck_assert_str_eq(json_get_string(json_get_object(json, "o"), "s"), "in");
        const Json *array = json_get_array(json, "a");
        ck_assert_uint_eq(json_array_size(array), 3);
        ck_assert_str_eq(json_string(json_array_get(array, 0)), "x");
        ck_assert_ptr_null(json_string(json_array_get(array, 1)));
        ck_assert_str_eq(json_string(json_array_get(array, 2)), "y");
        ck_assert_ptr_null(json_array_get(array, 3));
        ck_assert_ptr_null(json_array_get(array, SIZE_MAX));
}
END_TEST

/* Whatever is asked of whatever value: nothing, rather than something converted. */
START_TEST(another_type_is_nothing) {
        _cleanup_(json_freep) Json *json =
                parse("{\"v\": [null, true, \"5x\", {\"v\": 1}, [1], 1.5, 1e3, \"\"]}");
        const Json *values = json_get_array(json, "v");

        ck_assert_uint_eq(json_array_size(values), 8);
        for (size_t i = 0; i < 8; i++) {
                const Json *v = json_array_get(values, i);
                uint64_t n;
                ck_assert_ptr_null(json_get_string(v, "v"));
                ck_assert_ptr_null(json_get_object(v, "v"));
                ck_assert_ptr_null(json_get_array(v, "v"));
                ck_assert(!json_get_bool(v, "v"));
                ck_assert(json_has(v, "v") == (i == 3));
                ck_assert_int_eq(json_get_uint64(v, "v", &n), i == 3);
                ck_assert_uint_eq(json_array_size(v), i == 4);
                ck_assert(json_is_array(v) == (i == 4));
                ck_assert((json_string(v) != NULL) == (i == 2 || i == 7));
        }
        ck_assert_ptr_null(json_get_string(NULL, "v"));
        ck_assert_uint_eq(json_array_size(NULL), 0);
        ck_assert_ptr_null(json_array_get(NULL, 0));
        ck_assert_ptr_null(json_string(NULL));
}
END_TEST

START_TEST(members_of_other_types_are_nothing) {
        _cleanup_(json_freep) Json *json =
                parse("{\"null\": null, \"s\": \"text\", \"n\": 1, \"d\": 2.0, \"b\": false}");
        uint64_t n = 99;

        ck_assert_ptr_null(json_get_string(json, "null"));
        ck_assert_ptr_null(json_get_object(json, "null"));
        ck_assert_ptr_null(json_get_string(json, "n"));
        ck_assert_ptr_null(json_get_object(json, "s"));
        ck_assert_ptr_null(json_get_array(json, "s"));
        ck_assert(!json_get_bool(json, "b"));
        ck_assert(!json_get_bool(json, "n"));
        ck_assert(!json_get_bool(json, "missing"));
        ck_assert_int_eq(json_get_uint64(json, "s", &n), 0);
        ck_assert_int_eq(json_get_uint64(json, "d", &n), 0);
        ck_assert_int_eq(json_get_uint64(json, "null", &n), 0);
        ck_assert_int_eq(json_get_uint64(json, "missing", &n), 0);
        ck_assert_uint_eq(n, 99);
}
END_TEST

START_TEST(numbers_are_exact_or_nothing) {
        static const struct {
                const char *text;
                int expected;
                uint64_t n;
        } cases[] = {
                {"0", 1, 0},
                {"-0", 1, 0},
                {"-1", 0, 0},
                {"-9223372036854775808", 0, 0},
                {"9007199254740993", 1, 9007199254740993},
                {"9223372036854775807", 1, INT64_MAX},
                {"9223372036854775808", 1, UINT64_C(9223372036854775808)},
                {"18446744073709551614", 1, UINT64_MAX - 1},
                {"18446744073709551616", 0, 0},
                {"99999999999999999999999999999999", 0, 0},
                {"-99999999999999999999999999999999", 0, 0},
                {"\"18446744073709551615\"", 1, UINT64_MAX},
                {"\"18446744073709551616\"", 0, 0},
                {"\"0042\"", 1, 42},
                {"\"-1\"", 0, 0},
                {"\"+1\"", 0, 0},
                {"\" 1\"", 0, 0},
                {"\"1 \"", 0, 0},
                {"\"\"", 0, 0},
                {"\"0x10\"", 0, 0},
                {"\"1\\u0000\"", 0, 0},
                {"1.0", 0, 0},
                {"1e300", 0, 0},
                {"NaN", 0, 0},
                {"true", 0, 0},
                {"[1]", 0, 0},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char text[100];
                (void) snprintf(text, sizeof(text), "{\"n\": %s}", cases[i].text);
                _cleanup_(json_freep) Json *json = parse(text);
                uint64_t n = 0;
                ck_assert_msg(
                        json_get_uint64(json, "n", &n) == cases[i].expected && n == cases[i].n,
                        "%s",
                        text);
        }
}
END_TEST

START_TEST(a_string_with_nul_is_none) {
        _cleanup_(json_freep) Json *json =
                parse("{\"s\": \"acme\\u0000/evil\", \"t\": \"\\u0000\"}");

        ck_assert_ptr_null(json_get_string(json, "s"));
        ck_assert_ptr_null(json_get_string(json, "t"));
}
END_TEST

START_TEST(the_last_of_two_members_counts) {
        _cleanup_(json_freep) Json *json = parse("{\"s\": \"a\", \"s\": {}, \"s\": \"b\"}");

        ck_assert_str_eq(json_get_string(json, "s"), "b");
}
END_TEST

START_TEST(what_is_no_json_is_refused) {
        static const char *const cases[] = {
                "",
                " ",
                "{",
                "[1,",
                "[1,]",
                "{\"a\":1,}",
                "{\"a\"}",
                "{a:1}",
                "{'a':1}",
                "{'\"': 1}",
                "['a']",
                "\"open",
                "nul",
                "-",
                "1 2",
                "{}{}",
                "{} x",
                "[1] // comment",
                "/* comment */ 1",
                "<!DOCTYPE html>",
                "\xef\xbb\xbf{}",
                "\"\xff\"",     /* no UTF-8 */
                "\"\xc0\xaf\"", /* overlong */
                "\"\xe2\x82\"", /* cut */
                "{\"\x80\": true}",
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_refused(cases[i], strlen(cases[i]), -EBADMSG);
        assert_refused("{}\0", 3, -EBADMSG);
        assert_refused("{}\0{}", 5, -EBADMSG);
        assert_refused("1\0", 2, -EBADMSG);
        assert_refused("{\"a\":\0 1}", 9, -EBADMSG);
        assert_refused("\"a\0b\"", 5, -EBADMSG);
}
END_TEST

START_TEST(any_value_is_a_document) {
        static const char *const cases[] = {"12", "-1.5", "true", "\"s\"", "[]", "{}"};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(json_freep) Json *json = parse(cases[i]);
                ck_assert_ptr_nonnull(json);
        }
        ck_assert_ptr_null(parse("null"));
}
END_TEST

/* What follows the length is not looked at: the text need not end with NUL. */
START_TEST(the_length_ends_the_text) {
        Json *json = NULL;

        ck_assert_int_eq(json_parse("[12345", 6, &json), -EBADMSG);
        ck_assert_int_eq(json_parse("[1]]", 3, &json), 0);
        ck_assert_uint_eq(json_array_size(json), 1);
        json = json_free(json);
        ck_assert_int_eq(json_parse("123", 2, &json), 0);
        ck_assert_ptr_null(json_free(json));
}
END_TEST

START_TEST(depth_is_bounded) {
        char text[2 * JSON_MAX_DEPTH + 3];
        size_t deepest = 0;

        for (size_t depth = 1; depth <= JSON_MAX_DEPTH + 1; depth++) {
                Json *json = NULL;
                memset(text, '[', depth);
                memset(text + depth, ']', depth);
                if (json_parse(text, 2 * depth, &json) == 0)
                        deepest = depth;
                (void) json_free(json);
        }
        ck_assert_uint_eq(deepest, JSON_MAX_DEPTH);
}
END_TEST

START_TEST(memory_is_bounded) {
        const size_t n = 3 << 20;
        _cleanup_free_ char *text = malloc(n);

        /* [[],[],[],...: three bytes each, and some hundred in memory. */
        ck_assert_ptr_nonnull(text);
        for (size_t i = 0; i < n; i++)
                text[i] = "[],"[i % 3];
        text[1] = text[2] = ' ';
        text[n - 1] = ']';
        assert_refused(text, n, -EFBIG);

        /* What looks like containers in a string costs nothing. */
        memset(text, '[', n);
        text[0] = text[n - 1] = '"';
        Json *json = NULL;
        ck_assert_int_eq(json_parse(text, n, &json), 0);
        ck_assert_uint_eq(strlen(json_string(json)), n - 2);
        (void) json_free(json);
}
END_TEST

START_TEST(strings_are_quoted) {
        static const struct {
                const char *in, *out;
        } cases[] = {
                {"", "\"\""},
                {"plain", "\"plain\""},
                {"a\"b\\c", "\"a\\\"b\\\\c\""},
                {"\n\t\x01\x7f", "\"\\u000a\\u0009\\u0001\\u007f\""},
                {"caf\xc3\xa9", "\"caf\xc3\xa9\""},
                {"\xff.\xe2\x82", "\"\xef\xbf\xbd.\xef\xbf\xbd\xef\xbf\xbd\""},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ Buf b = {0};
                ck_assert_int_eq(json_append_string(&b, cases[i].in), 0);
                ck_assert_str_eq(buf_str(&b), cases[i].out);
                _cleanup_(json_freep) Json *json = parse(buf_str(&b));
                ck_assert_ptr_nonnull(json_string(json));
        }
}
END_TEST

/* An array of n empty objects, each of which counts as a kilobyte and more. */
static char *many_objects(unsigned n) {
        char *text = malloc(3 * (size_t) n + 2);

        ck_assert_ptr_nonnull(text);
        for (unsigned i = 0; i < n; i++)
                memcpy(text + 1 + 3 * (size_t) i, "{},", 3);
        text[0] = '[';
        text[3 * (size_t) n] = ']';
        text[3 * (size_t) n + 1] = '\0';
        return text;
}

static void *parse_again_and_again(void *userdata) {
        const char *text = userdata;
        intptr_t good = 1;

        for (int i = 0; i < 2; i++) {
                Json *json = NULL;
                good &= json_parse(text, strlen(text), &json) == 0;
                good &= stat_get(STAT_JSON_BYTES_NOW) > 0;
                good &= stat_get(STAT_JSON_BYTES_NOW) <= JSON_MAX_MEMORY;
                json_free(json);
        }
        return (void *) good;
}

START_TEST(all_documents_together_are_bounded_R3) {
        _cleanup_free_ char *text = many_objects(90000);
        pthread_t threads[5];

        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, parse_again_and_again, text), 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++) {
                void *good = NULL;
                ck_assert_int_eq(pthread_join(threads[i], &good), 0);
                ck_assert_ptr_nonnull(good);
        }
        ck_assert_int_eq(stat_get(STAT_JSON_BYTES_NOW), 0);
        /* What fails takes nothing. */
        text[strlen(text) - 1] = '}';
        assert_refused(text, strlen(text), -EBADMSG);
        ck_assert_int_eq(stat_get(STAT_JSON_BYTES_NOW), 0);
}
END_TEST

/* A document that is none, but would be large: so much is known before it is parsed. */
typedef struct Nonsense {
        pthread_t thread;
        char *text;
        size_t len;
        atomic_bool ended;
} Nonsense;

static void *parse_nonsense(void *userdata) {
        Nonsense *n = userdata;
        Json *json = NULL;

        int r = json_parse(n->text, n->len, &json);
        atomic_store(&n->ended, true);
        return (void *) (intptr_t) r;
}

static void start_nonsense(Nonsense *n, size_t len) {
        *n = (Nonsense){.text = malloc(len), .len = len};
        ck_assert_ptr_nonnull(n->text);
        memset(n->text, '{', len);
        ck_assert_int_eq(pthread_create(&n->thread, NULL, parse_nonsense, n), 0);
}

static void join_nonsense(Nonsense *n) {
        void *result;

        ck_assert_int_eq(pthread_join(n->thread, &result), 0);
        ck_assert_int_eq((intptr_t) result, -EBADMSG);
        free(n->text);
}

START_TEST(a_large_document_waits_behind_no_later_one_R3) {
        _cleanup_free_ char *text = many_objects(20000);
        Nonsense large, small;
        Json *json = NULL;

        ck_assert_int_eq(json_parse(text, strlen(text), &json), 0);
        start_nonsense(&large, 380000);
        while (stat_get(STAT_JSON_WAITING_NOW) < 1)
                (void) sched_yield();
        /* There is room for this one, but it is not its turn. */
        start_nonsense(&small, 3000);
        while (stat_get(STAT_JSON_WAITING_NOW) < 2 && !atomic_load(&small.ended))
                (void) sched_yield();
        ck_assert(!atomic_load(&small.ended));
        ck_assert(!atomic_load(&large.ended));
        json_free(json);
        join_nonsense(&large);
        join_nonsense(&small);
        ck_assert_int_eq(stat_get(STAT_JSON_WAITING_NOW), 0);
        ck_assert_int_eq(stat_get(STAT_JSON_BYTES_NOW), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, all_documents_together_are_bounded_R3);
        tcase_add_test(tc, a_large_document_waits_behind_no_later_one_R3);
        tcase_add_test(tc, members_are_found_by_name_and_type);
        tcase_add_test(tc, another_type_is_nothing);
        tcase_add_test(tc, members_of_other_types_are_nothing);
        tcase_add_test(tc, numbers_are_exact_or_nothing);
        tcase_add_test(tc, a_string_with_nul_is_none);
        tcase_add_test(tc, the_last_of_two_members_counts);
        tcase_add_test(tc, what_is_no_json_is_refused);
        tcase_add_test(tc, any_value_is_a_document);
        tcase_add_test(tc, the_length_ends_the_text);
        tcase_add_test(tc, depth_is_bounded);
        tcase_add_test(tc, memory_is_bounded);
        tcase_add_test(tc, strings_are_quoted);
}

CHECK_MAIN("json", add_tests)
