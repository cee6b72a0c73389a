#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Values of options as text. All return 0, or -EINVAL for what is not of the kind, or -ERANGE for
 * what does not fit. */

/* "yes", "true", "on", "1" and their opposites, in any case. */
int value_parse_bool(const char *s, bool *ret);
/* Decimal digits, nothing else. */
int value_parse_u64(const char *s, uint64_t *ret);
/* Bytes: digits, with K, M, G or T for powers of 1024. */
int value_parse_bytes(const char *s, uint64_t *ret);
/* A time span as in systemd: "90" (seconds), "500ms", "1min 30s", "2h"; there is no
 * "infinity". */
int value_parse_usec(const char *s, uint64_t *ret);
/* An absolute path without "..", simplified. Owned by the caller; -ENOMEM. */
int value_parse_path(const char *s, char **ret);

/* False for the kernels (6.9 to 6.12) that keep a cached directory beyond its time. `release` is
 * uname's. What cannot be read counts as good. */
bool kernel_expires_directories(const char *release);
