#pragma once

#include "gitfs/macro.h"

#include "tree/tree-forward.h"

/* The moves of branches of which the process before this one may not have told the kernel; see
 * ns_retell(). */
typedef struct UntoldMoves UntoldMoves;

/* Of nodes that were taken over, and that nobody uses yet. 0 or -ENOMEM. */
int untold_moves_new(NodeTable *nodes, UntoldMoves **ret);
/* NULL-safe, returns NULL. */
UntoldMoves *untold_moves_free(NodeTable *nodes, UntoldMoves *u);
