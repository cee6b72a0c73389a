#pragma once

#include <stddef.h>

#include "gitfs/macro.h"

/* A directory for one test. A failure fails the running test. */
typedef struct TempDir {
        char *path; /* owned */
} TempDir;

void temp_dir_init(TempDir *t);
/* Removes it with everything in it; fine on a zeroed one. */
void temp_dir_done(TempDir *t);
/* Writes a file in it, and the directories on the way. */
void temp_dir_write(const TempDir *t, const char *name, const void *data, size_t len);

#define _cleanup_temp_dir_ _cleanup_(temp_dir_done)
