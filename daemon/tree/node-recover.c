/* Four passes over all slots. Each is judged by itself first; then the chains above those that the
 * kernel knows are followed up to the root, once, which finds what refers to nothing, to something
 * of the wrong kind, or in a circle; then what is good is cleared of all that was of the process
 * before, and last its references are counted. The verdict stands in Node.next meanwhile, which a
 * table sets anew. */

#include "tree/node-recover.h"

#include <limits.h>
#include <string.h>

#include "gitfs/macro.h"

enum {
        MARK_BAD,
        MARK_WHOLE,   /* all of it makes sense by itself */
        MARK_VISITED, /* is being followed, or leads nowhere */
        MARK_GOOD,
};

typedef struct Recovery {
        NodeArena *arena;
        Node *root;
        bool twice; /* two roots */
} Recovery;

/* --- one by one --- */

static bool is_oid(const Oid *oid) {
        size_t n = oid_raw_size((OidAlgo) oid->algo);

        if (oid->algo > OID_SHA256)
                return false;
        for (size_t i = n; i < OID_RAW_MAX; i++)
                if (oid->id[i] != 0)
                        return false;
        return true;
}

static bool is_name(const char *name, size_t len, NodeKind kind) {
        if (memchr(name, '\0', len + 1) != name + len)
                return false;
        if (kind == NODE_ROOT)
                return len == 0;
        return len > 0 && !memchr(name, '/', len) && strcmp(name, ".") != 0 &&
               strcmp(name, "..") != 0;
}

/* Two strings that end within the slot. */
static bool has_record(const char *p, const char *end) {
        for (unsigned i = 0; i < 2; i++) {
                p = p < end ? memchr(p, '\0', (size_t) (end - p)) : NULL;
                if (!p)
                        return false;
                p++;
        }
        return true;
}

static bool is_dir_whole(Node *node, const char *end) {
        const NodeDir *dir = node_dir(node);

        return (const char *) node->rest + offsetof(NodeDir, name) + node->name_len < end &&
               atomic_load_explicit(&dir->current, memory_order_relaxed) < ELEMENTSOF(dir->shown) &&
               is_oid(&dir->shown[0].tree) && is_oid(&dir->shown[0].commit) &&
               is_oid(&dir->shown[1].tree) && is_oid(&dir->shown[1].commit) &&
               is_name(dir->name, node->name_len, (NodeKind) node->kind) &&
               (node->kind != NODE_CHECKOUT || has_record(dir->name + node->name_len + 1, end));
}

static bool is_file_whole(const Node *node, const char *end) {
        const char *name = (const char *) node->rest + oid_raw_size((OidAlgo) node->algo);

        return (node->algo == OID_SHA1 || node->algo == OID_SHA256) &&
               name + node->name_len < end && is_name(name, node->name_len, (NodeKind) node->kind);
}

static bool is_whole(Node *node, size_t size) {
        const char *end = (const char *) node + size;

        if (size < offsetof(Node, rest) + 1 ||
            atomic_load_explicit(&node->state, memory_order_acquire) != NODE_LIVE ||
            node->kind >= _NODE_KIND_MAX || node->id == 0 || node->id > INT64_MAX ||
            (node->id == 1) != (node->kind == NODE_ROOT))
                return false;
        return node_is_dir(node) ? size > offsetof(Node, rest) + offsetof(NodeDir, name) &&
                                           is_dir_whole(node, end)
                                 : is_file_whole(node, end);
}

static void judge(void *slot, size_t size, unsigned pool, void *userdata) {
        Recovery *rec = userdata;
        Node *node = slot;
        bool whole = is_whole(node, size) && pool == node_pool_of(node->id);

        node->next = whole ? MARK_WHOLE : MARK_BAD;
        if (!whole || node->kind != NODE_ROOT)
                return;
        rec->twice |= rec->root != NULL;
        rec->root = node;
        node->up = 0;
        node->next = MARK_GOOD;
}

/* --- chains --- */

static bool may_be_in(NodeKind kind, NodeKind above) {
        switch (kind) {
        case NODE_ORG:
                return above == NODE_ROOT;
        case NODE_OWNER:
        case NODE_CHECKOUT:
                return above == NODE_ORG || above == NODE_OWNER;
        default:
                return above == NODE_CHECKOUT || above == NODE_DIR;
        }
}

/* The node above, if there is one that may be. */
static Node *step_up(const Recovery *rec, const Node *node) {
        Node *up = node_parent(node);

        return up && node_arena_has(rec->arena, (uintptr_t) up) && up->next != MARK_BAD &&
                               may_be_in((NodeKind) node->kind, (NodeKind) up->kind)
                       ? up
                       : NULL;
}

static void follow(void *slot, size_t size, unsigned pool, void *userdata) {
        const Recovery *rec = userdata;
        Node *node = slot, *end;

        if (node->next != MARK_WHOLE || node->n_lookup == 0)
                return;
        for (end = node; end && end->next == MARK_WHOLE; end = step_up(rec, end))
                end->next = MARK_VISITED;
        if (!end || end->next != MARK_GOOD)
                return;
        for (; node != end; node = node_parent(node))
                node->next = MARK_GOOD;
}

/* --- what was of the other process --- */

/* Trees that came with a move that did not come to its end. */
static void undo_move(Node *dir) {
        NodeDir *d = node_dir(dir);
        unsigned current = atomic_load_explicit(&d->current, memory_order_relaxed);

        if (d->shown[current].move == 0)
                return;
        Node *root = node_root_of(dir);
        if (!root || d->shown[current].move <= atomic_load(&node_dir(root)->moved))
                return;
        atomic_store_explicit(&d->current, (unsigned char) !current, memory_order_release);
}

static void clear(void *slot, size_t size, unsigned pool, void *userdata) {
        Node *node = slot;

        if (node->next != MARK_GOOD) {
                atomic_store(&node->state, NODE_FREE);
                return;
        }
        atomic_store_explicit(&node->ref.n, 0, memory_order_relaxed);
        if (!node_is_dir(node))
                return;
        node->has.checkout = NULL;
        node_dir(node)->past = NULL;
        node_dir(node)->flags = 0;
        undo_move(node);
}

static void count(void *slot, size_t size, unsigned pool, void *userdata) {
        Node *node = slot, *up = node_parent(node);

        if (atomic_load_explicit(&node->state, memory_order_relaxed) != NODE_LIVE)
                return;
        if (node->n_lookup > 0)
                atomic_fetch_add_explicit(&node->ref.n, 1, memory_order_relaxed);
        if (up)
                atomic_fetch_add_explicit(&up->ref.n, 1, memory_order_relaxed);
}

Node *node_recover(NodeArena *a) {
        Recovery rec = {.arena = a};

        node_arena_each(a, judge, &rec);
        if (!rec.root || rec.twice)
                return NULL;
        node_arena_each(a, follow, &rec);
        node_arena_each(a, clear, &rec);
        node_arena_each(a, count, &rec);
        return rec.root;
}
