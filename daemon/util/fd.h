#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "util/buf.h"
#include "util/failure.h"

/* Descriptors and small files. All return 0 or a negative errno. */

/* Closes fd if it is one and returns -1; keeps errno. */
int safe_close(int fd);

static inline void closep(int *fd) {
        safe_close(*fd);
}
#define _cleanup_close_ _cleanup_(closep)

/* Through short writes and EINTR. */
int write_all(int fd, const void *data, size_t len);
/* Appends the whole file to ret; -EFBIG past `max` bytes. */
int read_file(const char *path, size_t max, Buf *ret);
/* Replaces path with these bytes by way of a temporary file and a rename. */
int write_file_atomic(const char *path, const void *data, size_t len, mode_t mode);
/* Like mkdir -p: 0 also where it exists already; -ENOTDIR where something else is there. */
int mkdir_parents(const char *path, mode_t mode);
/* The same for the directory that path is in. */
int mkdir_above(const char *path, mode_t mode);
/* Writes a file that nobody but this user may read, in a directory that only he may enter: both are
 * made where they are missing, the file is replaced. An errno comes with the reason. */
int write_own_file(const char *path, const void *data, size_t len, Failure *ret_failure);
