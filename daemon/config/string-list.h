#pragma once

#include <stddef.h>

#include "gitfs/macro.h"

/* NULL-terminated arrays of owned strings. NULL is the empty list. */

size_t string_list_length(char *const *list);
/* Appends a copy. -ENOMEM leaves the list as it was. */
int string_list_add(char ***list, const char *s);
int string_list_copy(char *const *list, char ***ret);
char **string_list_free(char **list);
DEFINE_CLEANUP(char **, string_list_free)
