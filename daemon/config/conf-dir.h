#pragma once

#include <stddef.h>

#include "config/config.h"
#include "util/buf.h"

/* The names of the files *.conf in a directory, sorted by their bytes; hidden files are left out.
 * 0, also where there is no such directory, or negative errno. *ret is NULL-terminated; free it
 * with string_list_free(). */
int conf_dir_list(const char *dir, char ***ret);

/* Reads one file. -ENOENT where there is none (*ret_error is not set then), other errno with
 * *ret_error. */
int conf_file_read(const char *path, Buf *ret, ConfigError *ret_error);
