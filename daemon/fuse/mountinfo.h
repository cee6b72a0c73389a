#pragma once

#include <stddef.h>

/* What /proc/self/mountinfo says about one mount point. */
typedef struct MountInfo {
        unsigned major, minor;
        char fstype[64]; /* truncated to fit */
} MountInfo;

/* Finds what is mounted at `path` (absolute, canonical) in the text of a mountinfo file; of several
 * the one on top, which is the last. Lines that make no sense are passed over. 1 and *ret, or 0. */
int mountinfo_find(const char *text, size_t len, const char *path, MountInfo *ret);
