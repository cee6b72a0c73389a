#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "object/tree-object.h"
#include "tree/tree-forward.h"
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
 * references.
 *
 * Nodes lie in the slots of an arena (node-arena.h), each as long as its kind and name make it.
 * Files are the mass: theirs is 41 bytes, the raw object id and the name. What only directories
 * have stands in theirs. */

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
        _NODE_KIND_MAX,
} NodeKind;

typedef enum NodeState {
        NODE_FREE, /* the slot holds no node, or not all of one: as a page that was never used */
        NODE_LIVE,
} NodeState;

/* Trees a directory showed before, so that a listing that started on one can end on it. */
#define NODE_N_PAST_TREES 4

typedef struct NodePast {
        Oid trees[NODE_N_PAST_TREES];
        unsigned next;
} NodePast;

/* What a directory shows. */
typedef struct NodeShown {
        Oid tree;   /* none while it is empty */
        Oid commit; /* of a checkout */
        int64_t mtime;
        uint32_t move; /* the move of its checkout that brought it; 0: none did */
} NodeShown;

struct Node {
        uint64_t id;
        /* By kind: node_size(), node_owner() and node_checkout() know which. */
        union {
                uint64_t size;      /* files and symlinks; constant */
                Owner *owner;       /* NODE_ORG (its own directory), NODE_OWNER: a reference */
                Checkout *checkout; /* NODE_CHECKOUT: a reference; directories below it: borrowed
                                       from that ancestor */
        } has;
        uint32_t n_lookup; /* guarded by the shard; sticks to NODE_N_LOOKUP_MAX */
        Ref ref;
        uint32_t next;      /* in a shard of the table: a slot of the arena, 0 at the end */
        int32_t up;         /* see node_parent() */
        uint32_t mtime_low; /* files and symlinks; see node_mtime() */
        int8_t mtime_high;  /* of 40 bits: 17,000 years */
        uint8_t name_len;   /* NAME_MAX at most */
        uint8_t kind : 4;   /* NodeKind */
        uint8_t algo : 4;   /* OidAlgo of a file or symlink */
        atomic_uchar state; /* NodeState; LIVE is stored last, FREE first */
        uint8_t rest[];     /* files: the raw id of the blob, and the name; directories: NodeDir */
};

/* Of what stands in slots: to be changed with it. */
#define NODE_LAYOUT 1

/* More than the kernel gives in a life: a node that got there is kept until the end. */
#define NODE_N_LOOKUP_MAX UINT32_MAX

/* The rest of a directory; guarded by the checkout. */
typedef struct NodeDir {
        NodePast *past; /* NULL until the tree changes once */
        /* Two, of which one is current, so that whoever looks at any moment, another process
         * included, sees one or the other. */
        NodeShown shown[2];
        atomic_uchar current;
        uint8_t flags;   /* DirFlags */
        uint8_t follows; /* a checkout: of a branch; constant */
        /* Of a checkout: the last move that was applied in full, and the last of which the kernel
         * has been told. What a later one than the first brought has not happened. */
        atomic_uint_least32_t moved, told;
        char name[]; /* and of a checkout: Checkout.resolved, and the URL of its source, or "" */
} NodeDir;

typedef enum DirFlags {
        DIR_LISTED =
                1
                << 0, /* its entries were listed: look-ups that follow ask for all sizes at once */
        DIR_MISSED = 1 << 1,  /* a look-up in it had to fetch a size already */
        DIR_AWAITED = 1 << 2, /* a listing of it has waited for sizes already */
} DirFlags;

static inline bool node_is_dir(const Node *node) {
        return node->kind <= NODE_SUBMODULE;
}

/* A directory above repositories: its `owner` says what is in it. */
static inline bool node_is_owner(const Node *node) {
        return node->kind == NODE_ORG || node->kind == NODE_OWNER;
}

/* The node above, to which this one has a reference; NULL for the root. */
static inline Node *node_parent(const Node *node) {
        return node->up ? (Node *) ((uintptr_t) node + (uintptr_t) ((intptr_t) node->up * 8))
                        : NULL;
}

static inline NodeDir *node_dir(Node *dir) {
        assert(node_is_dir(dir));
        return (NodeDir *) (void *) dir->rest;
}

/* NUL-terminated. */
static inline const char *node_name(const Node *node) {
        return (const char *) node->rest +
               (node_is_dir(node) ? offsetof(NodeDir, name) : oid_raw_size(node->algo));
}

/* Of a file or symlink. */
static inline uint64_t node_size(const Node *file) {
        assert(!node_is_dir(file));
        return file->has.size;
}

/* What a directory above repositories shows: borrowed; NULL until it is attached. */
static inline Owner *node_owner(const Node *dir) {
        assert(node_is_owner(dir));
        return dir->has.owner;
}

/* The checkout that this is, or is below, file or directory: borrowed; NULL until it is attached.
 */
static inline Checkout *node_checkout(const Node *node) {
        const Node *dir = node_is_dir(node) ? node : node_parent(node);

        assert(dir->kind >= NODE_CHECKOUT && node_is_dir(dir));
        return dir->has.checkout;
}

/* False for what was recovered, and has no owner or checkout yet. */
static inline bool node_is_attached(const Node *node) {
        const Node *dir = node_is_dir(node) ? node : node_parent(node);

        return dir->kind == NODE_ROOT || __atomic_load_n(&dir->has.checkout, __ATOMIC_ACQUIRE);
}

/* The blob of a file or symlink. */
static inline Oid node_oid(const Node *file) {
        Oid oid = {.algo = file->algo};

        assert(!node_is_dir(file));
        memcpy(oid.id, file->rest, oid_raw_size(file->algo));
        return oid;
}

/* What a directory shows; with its checkout locked, if it has one. */
static inline const NodeShown *node_shown(const Node *dir) {
        const NodeDir *d = (const NodeDir *) (const void *) dir->rest;

        return &d->shown[atomic_load_explicit(&d->current, memory_order_relaxed)];
}

/* Seconds; of a directory with its checkout locked, if it has one. */
static inline int64_t node_mtime(const Node *node) {
        if (node_is_dir(node))
                return node_shown(node)->mtime;
        return (int64_t) ((uint64_t) (int64_t) node->mtime_high << 32) | node->mtime_low;
}

/* What to find or to make. */
typedef struct NodeSpec {
        NodeKind kind;
        Node *parent;
        const char *name;
        size_t name_len; /* up to NAME_MAX */
        Oid oid;         /* not part of the identity of directories */
        uint64_t size;
        int64_t mtime;
        Owner *owner;        /* NODE_ORG, NODE_OWNER: a reference is taken; NULL finds any */
        uint64_t generation; /* NODE_ORG: Org.generation */
        Checkout *checkout;  /* NODE_CHECKOUT: a reference is taken; below it borrowed */
} NodeSpec;

/* The id the node has, or would have: also its inode number. Of further ones in case it is taken,
 * the one of this number. */
uint64_t node_id(const NodeSpec *spec);
uint64_t node_salted_id(const NodeSpec *spec, uint64_t salt);
uint32_t node_mode(NodeKind kind);
NodeKind node_kind_of_entry(EntryKind kind);

/* What a checkout's node remembers for the next process. */
typedef struct NodeCheckout {
        const char *resolved, *url; /* of the node */
        NodeShown shown;
        bool follows;
} NodeCheckout;
NodeCheckout node_checkout_record(Node *node);

/* The bytes that a node of this spec takes, and the pool that they are taken from. */
size_t node_memory(const NodeSpec *spec);
#define NODE_N_POOLS 64u
static inline unsigned node_pool_of(uint64_t id) {
        return (unsigned) (id >> 8) % NODE_N_POOLS;
}
/* Makes a node in zeroed memory of that size, all but its place in a table: with one reference, and
 * taking one to its parent and its owner or checkout. It is live when this returns. */
void node_init(Node *node, const NodeSpec *spec, uint64_t id);
/* True if it is what the spec says. */
bool node_matches(const Node *node, const NodeSpec *spec);
/* With the checkout locked: the directory shows this from now on. A listing of it that is under way
 * can still end on the tree before. */
void node_show_locked(Node *dir, const NodeShown *shown);
/* The kernel has been told of this move of a checkout, and of those before. */
void node_told(Node *checkout, uint32_t move);
/* The checkout that this directory is, or is below; NULL in a place where there is none. */
Node *node_root_of(Node *dir);

static inline Node *node_ref(Node *node) {
        ref_get(&node->ref);
        return node;
}
