#pragma once

#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

/* A growable byte buffer, embedded by value. A zeroed Buf is empty and valid. Not thread-safe.
 * Appending functions return 0 or -ENOMEM and leave the buffer unchanged on failure. */
typedef struct Buf {
        uint8_t *data; /* owned; NULL while cap is 0 */
        size_t len;    /* bytes in use */
        size_t cap;    /* bytes allocated */
} Buf;

/* Makes room for `extra` bytes behind len. */
int buf_reserve(Buf *b, size_t extra);
int buf_append(Buf *b, const void *data, size_t len);
int buf_append_str(Buf *b, const char *s);
int buf_appendf(Buf *b, const char *fmt, ...) _printf_(2, 3);
/* Appends a NUL that is not counted in len and returns the text, owned by b; NULL when out of
 * memory. */
const char *buf_str(Buf *b);
/* Frees the contents; b is empty and usable afterwards. */
void buf_done(Buf *b);

/* The same, and nothing of it is left in memory. What was appended over the capacity of the moment
 * has left copies: reserve first. */
void buf_wipe(Buf *b);

#define _cleanup_buf_ _cleanup_(buf_done)
