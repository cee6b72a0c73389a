#pragma once

#include "tree/checkout.h"

/* Finding out that somebody walks over a repository, and fetching ahead what he reads next: see
 * walker.c for how much. walk_missed() and walk_read() (tree/namespace-private.h) are what it is
 * told. */

typedef struct Walkers Walkers;

/* NULL-safe, returns NULL. */
Walkers *walkers_free(Walkers *walkers);
