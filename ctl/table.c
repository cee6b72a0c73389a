#include "ctl/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "util/array.h"
#include "util/text.h"

#define GAP 2

typedef struct Cell {
        char *text; /* owned */
        size_t columns;
        CellStyle style;
} Cell;

struct Table {
        const char *const *headers;
        size_t n_columns;
        Cell *cells; /* owned; n_cells of them, row by row */
        size_t n_cells, n_allocated;
        int error; /* the first failure of an addition */
};

Table *table_new(const char *const *headers) {
        Table *t = calloc(1, sizeof(*t));
        if (!t)
                return NULL;
        t->headers = headers;
        while (headers[t->n_columns])
                t->n_columns++;
        return t;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;
        for (size_t i = 0; i < t->n_cells; i++)
                free(t->cells[i].text);
        free(t->cells);
        free(t);
        return NULL;
}

size_t text_columns(const char *s) {
        size_t columns = 0;
        uint32_t c;

        while (*s) {
                size_t n = utf8_decode(s, &c);
                int width = n == 0 ? 1 : wcwidth((wchar_t) c);
                /* A character that this libc does not know is most likely a narrow one. */
                columns += width < 0 ? 1 : (size_t) width;
                s += n == 0 ? 1 : n;
        }
        return columns;
}

void table_add(Table *t, CellStyle style, const char *text) {
        if (t->error < 0)
                return;
        t->error = ARRAY_RESERVE(t->cells, t->n_allocated, t->n_cells + 1);
        if (t->error < 0)
                return;
        char *copy = strdup(text ? text : "");
        if (!copy) {
                t->error = -ENOMEM;
                return;
        }
        text_sanitize(copy);
        t->cells[t->n_cells++] = (Cell){copy, text_columns(copy), style};
}

void table_addf(Table *t, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = NULL;
        va_end(ap);
        if (text)
                table_add(t, CELL_PLAIN, text);
        else
                t->error = -ENOMEM;
}

size_t table_rows(const Table *t) {
        return t->n_cells / t->n_columns;
}

static const char *title(const Table *t, size_t column) {
        const char *h = t->headers[column];
        return *h == '>' ? h + 1 : h;
}

static const char *escape_of(CellStyle style) {
        return style == CELL_GOOD ? "\x1b[32m" : style == CELL_BAD ? "\x1b[31m" : "";
}

/* The last column is not filled up: no blanks at the end of a line. */
static void print_cell(
        const Table *t,
        FILE *f,
        size_t column,
        size_t width,
        const Cell *cell,
        const char *escape) {
        size_t fill = width - cell->columns;
        bool right = t->headers[column][0] == '>', last = column + 1 == t->n_columns;

        (void) fprintf(/* table_print() asks ferror() */
                       f,
                       "%*s%s%s%s%*s",
                       right ? (int) fill : 0,
                       "",
                       escape,
                       cell->text,
                       *escape ? "\x1b[0m" : "",
                       last ? 0 : (int) (right ? GAP : fill + GAP),
                       "");
        if (last)
                (void) fputc('\n', f); /* as above */
}

static void print_titles(const Table *t, FILE *f, const size_t *widths, bool colours) {
        bool any = false;

        for (size_t i = 0; i < t->n_columns; i++)
                any = any || title(t, i)[0];
        for (size_t i = 0; any && i < t->n_columns; i++) {
                char *text = (char *) title(t, i); /* print_cell() only reads it */
                Cell cell = {.text = text, .columns = text_columns(text)};
                print_cell(t, f, i, widths[i], &cell, colours ? "\x1b[1m" : "");
        }
}

int table_print(const Table *t, FILE *f) {
        bool colours = style_allowed(f);

        if (t->error < 0)
                return t->error;
        _cleanup_free_ size_t *widths = calloc(t->n_columns, sizeof(*widths));
        if (!widths)
                return -ENOMEM;
        for (size_t i = 0; i < t->n_columns; i++)
                widths[i] = text_columns(title(t, i));
        for (size_t i = 0; i < t->n_cells; i++)
                widths[i % t->n_columns] = MAX(widths[i % t->n_columns], t->cells[i].columns);

        print_titles(t, f, widths, colours);
        for (size_t i = 0; i < t->n_cells; i++) {
                size_t column = i % t->n_columns;
                const char *escape = colours ? escape_of(t->cells[i].style) : "";
                print_cell(t, f, column, widths[column], &t->cells[i], escape);
        }
        return ferror(f) ? -EIO : 0;
}

bool style_allowed(FILE *f) {
        const char *no_color = getenv("NO_COLOR"); // NOLINT(concurrency-mt-unsafe): one thread
        const char *term = getenv("TERM");         // NOLINT(concurrency-mt-unsafe): one thread

        if (no_color && *no_color)
                return false;
        return isatty(fileno(f)) && term && strcmp(term, "dumb") != 0;
}
