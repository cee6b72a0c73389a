#pragma once

#include <stddef.h>

#include "gitfs/macro.h"

#include "object/oid.h"
#include "store/store.h"

/* Where in a tree objects lie, for forges that want to know a path where we have an id. Embedded by
 * value; not thread-safe. */
typedef struct TreePath {
        Oid oid;
        char *path; /* owned; below the root, without a slash in front; bytes, perhaps no UTF-8 */
} TreePath;

typedef struct TreePaths {
        TreePath *items; /* owned; in the order of the tree: what lies together stands together */
        size_t n;
} TreePaths;

/* Finds one path for each of these blobs and trees that lies below the root tree and can be reached
 * through trees in the store; others are left out. Submodules, and paths longer than PATH_MAX, are
 * passed by; at most a million trees are read. Blocks: workers only. 0, -ENOMEM or -E2BIG; a tree
 * that cannot be read is as good as none. */
int tree_paths_find(Store *store, const Oid *root, const Oid *oids, size_t n_oids, TreePaths *ret);
void tree_paths_done(TreePaths *paths);
#define _cleanup_tree_paths_ _cleanup_(tree_paths_done)
