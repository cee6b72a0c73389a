#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "gitfs/macro.h"

#include "util/failure.h"

/* Names and paths as text. */

/* Formats "%s/%s/..." parts into a new string, NULL-terminated list; NULL when out of memory. */
char *path_join(const char *first, ...) __attribute__((sentinel));
/* "/a//b/./c/" becomes "/a/b/c", in place; ".." is kept, so that the caller can refuse it. */
void path_simplify(char *path);
/* Turns what a user typed into a path relative to `root`, which is absolute and simple: allocated.
 * -EINVAL with the reason when it lies outside. */
int path_below(const char *root, const char *path, char **ret, Failure *ret_failure);
/* True for the last component of an org or repository: not empty, not ".", ".." or ".git", no '/',
 * no control bytes, at most 255 bytes. */
bool name_is_valid(const char *name);
/* Percent-decodes in place ("feature%2Fx"); -EINVAL for a broken escape or one that decodes to NUL.
 */
int percent_decode(char *s);
/* Percent-encodes every byte that is not unreserved (RFC 3986) or in `keep`; NULL when out of
 * memory. */
char *percent_encode(const char *s, const char *keep);

/* $XDG_RUNTIME_DIR, $XDG_CONFIG_HOME (or ~/.config), $XDG_CACHE_HOME (or ~/.cache) joined with
 * `suffix`. Call before any thread runs. 0, -ENOENT where neither the variable nor a home directory
 * is known, or -ENOMEM. ret is owned by the caller. Without $XDG_RUNTIME_DIR the directory is
 * /tmp/gitfs-UID. */
int path_runtime(const char *suffix, char **ret);
int path_config(const char *suffix, char **ret);
int path_cache(const char *suffix, char **ret);
