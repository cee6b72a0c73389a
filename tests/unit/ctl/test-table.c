#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "ctl/progress.h"
#include "ctl/table.h"
#include "lib/check-main.h"

static void assert_printed(const Table *t, const char *expected) {
        char *text = NULL;
        size_t len;
        FILE *f = open_memstream(&text, &len);

        ck_assert_ptr_nonnull(f);
        ck_assert_int_eq(table_print(t, f), 0);
        ck_assert_int_eq(fclose(f), 0);
        ck_assert_str_eq(text, expected);
        free(text);
}

START_TEST(columns_are_aligned) {
        static const char *const headers[] = {"NAME", ">SIZE", "URL", NULL};
        _cleanup_(table_freep) Table *t = table_new(headers);

        table_add(t, CELL_PLAIN, "a");
        table_addf(t, "%d", 12345);
        table_add(t, CELL_PLAIN, "x");
        table_add(t, CELL_GOOD, "longer");
        table_addf(t, "%d", 7);
        table_add(t, CELL_PLAIN, NULL);
        ck_assert_uint_eq(table_rows(t), 2);
        assert_printed(
                t,
                "NAME     SIZE  URL\n"
                "a       12345  x\n"
                "longer      7  \n");
}
END_TEST

START_TEST(widths_are_terminal_columns) {
        static const char *const headers[] = {"", "", NULL};
        _cleanup_(table_freep) Table *t = table_new(headers);

        ck_assert_uint_eq(text_columns("gr\xc3\xbc\xc3\x9f"), 4);
        ck_assert_uint_eq(text_columns("\xe6\xbc\xa2\xe5\xad\x97"), 4); /* two wide characters */
        ck_assert_uint_eq(text_columns("e\xcc\x81"), 1);                /* a combining accent */
        table_add(t, CELL_PLAIN, "\xe6\xbc\xa2");
        table_add(t, CELL_PLAIN, "1");
        table_add(t, CELL_PLAIN, "\xc3\xbc");
        table_add(t, CELL_PLAIN, "2");
        assert_printed(t, "\xe6\xbc\xa2  1\n\xc3\xbc   2\n");
}
END_TEST

START_TEST(cells_cannot_harm_the_terminal) {
        static const char *const headers[] = {"", NULL};
        _cleanup_(table_freep) Table *t = table_new(headers);

        table_add(t, CELL_BAD, "a\x1b[2Jb\xff\nc");
        assert_printed(t, "a [2Jb? c\n");
}
END_TEST

START_TEST(progress_is_a_bar_once_the_total_is_known) {
        char line[160];

        progress_format(line, sizeof(line), 3, 0, 512);
        ck_assert_str_eq(line, "3 objects, 512 B");
        progress_format(line, sizeof(line), 50, 100, 1536);
        ck_assert_str_eq(line, "[###############...............] 50/100 objects, 1.5 KiB");
        progress_format(line, sizeof(line), 7, 5, 20 << 20); /* more than was announced */
        ck_assert_str_eq(line, "[##############################] 5/5 objects, 20 MiB");
}
END_TEST

static void add_tests(TCase *tc) {
        (void) setlocale(LC_CTYPE, "C.UTF-8"); // NOLINT(concurrency-mt-unsafe): one thread
        tcase_add_test(tc, columns_are_aligned);
        tcase_add_test(tc, widths_are_terminal_columns);
        tcase_add_test(tc, cells_cannot_harm_the_terminal);
        tcase_add_test(tc, progress_is_a_bar_once_the_total_is_known);
}

CHECK_MAIN("table", add_tests)
