#pragma once

#include "util/buf.h"
#include "util/failure.h"

/* The list of pins: a file of the user's configuration, one path a line, written as a whole. */

/* Calls fn with each path in it, relative to the mount point: 0, -E2BIG where there are too many,
 * or another errno, which ends it. 0; 1 if the file cannot be read, which is logged, as are lines
 * that make no sense; < 0 what fn returned, or -ENOMEM. No file is an empty one. */
int pin_list_read(
        const char *file,
        const char *mount_point,
        int (*fn)(const char *path, void *userdata),
        void *userdata);
/* Makes the directory where it is missing. 0, or an errno with the reason. The lines are paths,
 * each with a newline behind it. */
int pin_list_write(const char *file, const Buf *lines, Failure *ret_failure);
