#pragma once

#include <stddef.h>

#include "lib/temp-dir.h"
#include "util/buf.h"

/* Real repositories for unit tests, made by the git command in a directory of their own. A failure
 * fails the running test. */

typedef struct GitFixture {
        TempDir dir; /* the work tree */
} GitFixture;

/* Makes an empty repository. `object_format` is "sha1" or "sha256". */
void git_fixture_init(GitFixture *f, const char *object_format);
/* Removes it. */
void git_fixture_done(GitFixture *f);

#define _cleanup_git_fixture_ _cleanup_(git_fixture_done)

/* Runs `git -C path ARGS...` with this input (NULL for none) and gives what it printed; NULL ends
 * the list. Names and dates of commits are fixed. */
void git_fixture_run(GitFixture *f, const Buf *input, Buf *ret_output, ...)
        __attribute__((sentinel));
/* The same for one line of output, such as an id; without the line's end. Owned by the caller. */
char *git_fixture_line(GitFixture *f, ...) __attribute__((sentinel));
/* Writes a file in the work tree. */
void git_fixture_write(GitFixture *f, const char *name, const void *data, size_t len);
/* Adds everything and commits it. */
void git_fixture_commit(GitFixture *f, const char *message);
