#pragma once

#include <stddef.h>
#include <stdint.h>

#include "object/oid.h"

/* A line of the answer to object-info, "<oid> <size>". 1; 0 where there is no number: the server
 * has no such object; -EBADMSG. */
int git_size_line_parse(const char *line, size_t len, Oid *ret_oid, uint64_t *ret_size);
