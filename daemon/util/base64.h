#pragma once

#include <stddef.h>

#include "gitfs/macro.h"

#include "util/buf.h"

/* Base64 as in RFC 4648, section 4: the standard alphabet, with padding. */

/* The text, owned by the caller; NULL when out of memory. */
char *base64_encode(const void *data, size_t len);
/* Appends what the text stands for. Line ends are passed by. 0, -ENOMEM, or -EBADMSG for what is no
 * Base64, padding left out or bits behind the end included; ret is unchanged then. */
int base64_decode(const char *text, Buf *ret);
