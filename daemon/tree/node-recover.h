#pragma once

#include "tree/node-arena.h"
#include "tree/node.h"

/* What another process left in an arena. Every byte of it is taken for foreign. */

/* Finds the nodes that the kernel knows, and those above them, in an arena that was opened; the
 * others are free from now on. These are whole but for their places in a table: `ref` counts what
 * they refer to each other and the kernel, owners and checkouts are NULL. A move of a branch that
 * was not finished has not happened. Returns the root, or NULL: there is none, so the arena is of
 * no use. */
Node *node_recover(NodeArena *a);
