#pragma once

#include "object/oid.h"
#include "tree/tree-forward.h"

/* Sizes that nobody waits for: what demand-sizes.c and demand-sizes-ahead.c do for each other, and
 * what those tell them who list. Any thread. */

/* Asks for the sizes of this directory and of what lies below it and behind it, for nobody in
 * particular. When that cannot begin, whoever wants them asks himself. Never blocks. */
void demand_sizes_begin_ahead(Namespace *ns, Checkout *c, Listing *l);
/* Under the checkout's lock: this directory is asked for when nothing else is. Without memory, or
 * beyond the limit, it is forgotten. */
void sizes_later_remember_locked(Checkout *c, const Oid *tree);
/* Begins one of those, if there is one and nothing else is under way. May read the disk. */
void sizes_later_begin(Namespace *ns, Checkout *c);
/* A directory is listed whose sizes are here since that question, as ahead_take() told. It may be
 * time for the next one. Never blocks. */
void demand_sizes_walked(Namespace *ns, Checkout *c, Listing *l, unsigned turn);
