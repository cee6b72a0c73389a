#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "gitfs/macro.h"

/* Tables for people: columns are as wide as their widest cell, measured in terminal columns. A cell
 * may hold any bytes; control characters and broken UTF-8 are replaced. */
typedef struct Table Table;

typedef enum CellStyle {
        CELL_PLAIN,
        CELL_GOOD,
        CELL_BAD,
} CellStyle;

/* `headers` holds one title for each column and a final NULL; a title that begins with '>' (not
 * shown) makes a column of numbers, aligned to the right. All titles empty: no title line. NULL
 * when out of memory. */
Table *table_new(const char *const *headers);
Table *table_free(Table *t);
DEFINE_CLEANUP(Table *, table_free)

/* Appends the next cell, from left to right, row by row; NULL counts as "". A failure is kept and
 * reported by table_print(). */
void table_add(Table *t, CellStyle style, const char *text);
void table_addf(Table *t, const char *fmt, ...) _printf_(2, 3);
/* Complete rows so far. */
size_t table_rows(const Table *t);
/* 0, -ENOMEM, or the errno of a failed write. Colours only where style_allowed(). */
int table_print(const Table *t, FILE *f);

/* Whether f takes colours: a terminal that is not dumb, and no $NO_COLOR. */
bool style_allowed(FILE *f);
/* Terminal columns that the text takes. */
size_t text_columns(const char *s);
