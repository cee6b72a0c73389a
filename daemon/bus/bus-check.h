#pragma once

#include <stdint.h>

#include "util/failure.h"

/* What clients send, checked: functions of plain values, which know of no connection and no
 * manager. 0, or < 0 with the reason. */

/* Bytes in their reversible spelling (util/text.h), into bytes: allocated. -EINVAL. */
int bus_check_bytes(const char *text, char **ret, Failure *ret_failure);
/* A path in that spelling, into one relative to the mount point: allocated. -EXDEV where it leads
 * out of the mount. */
int bus_check_path(const char *text, const char *mount_point, char **ret, Failure *ret_failure);
/* -EINVAL for flags that are none of these. */
int bus_check_flags(uint64_t flags, uint64_t known, Failure *ret_failure);

/* The id in the path of a job's object: 1, or 0 for what cannot be one. */
int bus_job_id(const char *object, uint32_t *ret);
