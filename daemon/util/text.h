#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

/* Names in a git tree are bytes; a D-Bus string and a JSON document are UTF-8. Between the two
 * stands a reversible spelling: a byte that is not part of valid UTF-8 is written \xHH, a backslash
 * is doubled, everything else is itself. */

/* Decodes one character at s (which ends with NUL): its length in bytes, with *ret_char set, or 0
 * when the bytes are not valid UTF-8 (overlong forms, surrogates and over U+10FFFF included). */
size_t utf8_decode(const char *s, uint32_t *ret_char);

/* The reversible spelling of any bytes; NULL when out of memory. */
char *text_escape(const char *bytes);
/* Back to bytes, in place. A backslash that begins no escape stands for itself, so that a person
 * may type a path as it is. -EINVAL for an escape that stands for NUL. */
int text_unescape(char *text);
/* For sentences, where nothing has to be read back: replaces, in place, each byte that is not valid
 * UTF-8 by '?', and each control character by a space. */
void text_sanitize(char *text);
