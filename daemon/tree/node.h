#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "object/tree-object.h"
#include "tree/tree-forward.h"
#include "util/htable.h"
#include "util/ref.h"

/* A node: what the kernel calls an inode. Two counts: `ref` is ours, `n_lookup` the kernel's, which
 * holds one of ours while it is above zero. Nodes exist while somebody refers to them and are found
 * again under the same id afterwards, because ids are computed from what the node is:
 *
 *      root            1
 *      org             hash(root, name, generation)
 *      owner           hash(parent's id, name, that it is an owner)
 *      checkout        hash(parent's id, "repo@ref")
 *      directory       hash(parent's id, name)
 *      file, symlink   hash(parent's id, name, kind, object id)
 *
 * So a directory keeps its id when its content changes, and a file whose content changes becomes
 * another node. The same holds in the next process, which is what lets it take over the kernel's
 * references. */

typedef enum NodeKind {
        NODE_ROOT,
        NODE_ORG,
        NODE_OWNER,    /* a directory above repositories, in an org or another owner */
        NODE_CHECKOUT, /* a repository at a ref: a directory of the root tree of its commit */
        NODE_DIR,
        NODE_SUBMODULE,
        NODE_FILE,
        NODE_EXEC,
        NODE_SYMLINK,
} NodeKind;

/* Trees a directory showed before, so that a listing that started on one can end on it. */
#define NODE_N_PAST_TREES 4

typedef struct NodePast {
        Oid trees[NODE_N_PAST_TREES];
        unsigned next;
} NodePast;

struct Node {
        HTableLink link; /* in a shard of the table; hash is the id */
        uint64_t id;
        uint64_t n_lookup; /* guarded by the shard */
        Ref ref;
        uint8_t kind;      /* NodeKind */
        uint8_t dir_flags; /* DirFlags; guarded by the checkout */
        uint16_t name_len;
        Node *parent; /* a reference; NULL for the root */
        union {
                Owner *owner;       /* NODE_ORG (its own directory), NODE_OWNER: a reference */
                Checkout *checkout; /* NODE_CHECKOUT: a reference; below it borrowed from that
                                       ancestor */
        };
        Oid oid; /* files and symlinks: the blob, constant. Directories: the tree now, guarded by
                  * the checkout; none while it is empty */
        int64_t mtime; /* seconds; directories: guarded by the checkout */
        union {
                uint64_t size;  /* files and symlinks; constant */
                NodePast *past; /* directories: guarded by the checkout; NULL until the tree changes
                                   once */
        };
        char name[]; /* NUL-terminated */
};

typedef enum DirFlags {
        DIR_LISTED =
                1
                << 0, /* its entries were listed: look-ups that follow ask for all sizes at once */
        DIR_MISSED = 1 << 1, /* a look-up in it had to fetch a size already */
} DirFlags;

static inline int node_is_dir(const Node *node) {
        return node->kind <= NODE_SUBMODULE;
}

/* A directory above repositories: its `owner` says what is in it. */
static inline bool node_is_owner(const Node *node) {
        return node->kind == NODE_ORG || node->kind == NODE_OWNER;
}

/* What to find or to make. */
typedef struct NodeSpec {
        NodeKind kind;
        Node *parent;
        const char *name;
        size_t name_len;
        Oid oid; /* not part of the identity of directories */
        uint64_t size;
        int64_t mtime;
        Owner *owner;        /* NODE_ORG, NODE_OWNER: a reference is taken; NULL finds any */
        uint64_t generation; /* NODE_ORG: Org.generation */
        Checkout *checkout;  /* NODE_CHECKOUT: a reference is taken; below it borrowed */
} NodeSpec;

/* The id the node has, or would have: also its inode number. */
uint64_t node_id(const NodeSpec *spec);
uint32_t node_mode(NodeKind kind);
NodeKind node_kind_of_entry(EntryKind kind);

static inline Node *node_ref(Node *node) {
        ref_get(&node->ref);
        return node;
}
