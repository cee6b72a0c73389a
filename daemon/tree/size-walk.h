#pragma once

#include <stdbool.h>

#include "tree/tree-forward.h"

/* Sizes from a server that tells them with content only: which files are fetched for the sake of
 * their sizes, see size-walk.c. size_walk_missed() and size_walk_used() (tree/namespace-private.h)
 * are what it is told. */

typedef struct SizeWalk SizeWalk;

/* Somebody goes from one directory to the next, and looks at sizes. */
bool size_walk_is_on(Checkout *c);
/* NULL-safe, returns NULL. */
SizeWalk *size_walk_free(SizeWalk *w);
