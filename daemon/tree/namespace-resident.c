/* What of a directory is here already: for whoever hands it on before it is asked for. Nothing is
 * asked of anybody. */

#include <errno.h>

#include "tree/namespace-private.h"

/* Whom the kernel knows of a directory is known by its id; where two ids collided the second one is
 * just not found. */
static Node *entry_node(Namespace *ns, Node *dir, const Listing *l, const ListingEntry *e) {
        const NodeSpec spec = ns_entry_spec(dir, l, e, 0);

        return node_table_find(ns->nodes, &spec);
}

/* 1: go on with the next; 0: not here, or enough. */
static int show_entry(Namespace *ns, Node *node, uint64_t max_size, NsFileFn fn, void *userdata) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        _cleanup_object_ref_ ObjectRef content = {0};

        if (node_size(node) > max_size)
                return fn(node->id, NULL, userdata);
        const Oid oid = node_oid(node);
        int r = ns_object(ns, &call, STORE_OBJECT, &oid, &content);
        if (r <= 0 || content.size != node_size(node) || content.type != OBJECT_BLOB)
                return MIN(r, 0);
        walk_read(ns, node);
        return fn(node->id, &content, userdata);
}

static size_t index_after(Namespace *ns, const Listing *l, uint64_t after) {
        size_t i = 0;
        Node *node = after == 0 ? NULL : node_table_get(ns->nodes, after);

        if (node) {
                const ListingEntry *e = listing_find(l, node_name(node), node->name_len);
                i = e ? (size_t) (e - l->entries) + 1 : 0;
                node_table_put(ns->nodes, node);
        }
        return i;
}

static int resident_files(
        Namespace *ns, Node *dir, uint64_t after, uint64_t max_size, NsFileFn fn, void *userdata) {
        _cleanup_(listing_unrefp) Listing *l = NULL;
        int r = 1;

        if (dir->kind != NODE_CHECKOUT && dir->kind != NODE_DIR)
                return 0;
        Oid tree = checkout_dir_tree(node_checkout(dir), dir);
        l = listing_cache_get(ns->listings, &tree);
        if (!l)
                return 0;
        for (size_t i = index_after(ns, l, after); i < l->n_entries && r > 0; i++) {
                const ListingEntry *e = &l->entries[i];
                if (e->kind != ENTRY_FILE && e->kind != ENTRY_EXEC)
                        continue;
                Node *node = entry_node(ns, dir, l, e);
                if (!node)
                        continue; /* the kernel does not know it */
                r = show_entry(ns, node, max_size, fn, userdata);
                node_table_put(ns->nodes, node);
        }
        return r;
}

int ns_resident_files(
        Namespace *ns,
        uint64_t dir,
        uint64_t after,
        uint64_t max_size,
        NsFileFn fn,
        void *userdata) {
        Node *node = node_table_get(ns->nodes, dir);
        if (!node)
                return -ESTALE;
        int r = !node_is_attached(node) ? 0
                                        : resident_files(ns, node, after, max_size, fn, userdata);
        node_table_put(ns->nodes, node);
        return r;
}

uint64_t ns_parent(Namespace *ns, uint64_t id) {
        Node *node = node_table_get(ns->nodes, id);
        uint64_t parent = node && node_parent(node) ? node_parent(node)->id : 0;

        if (node)
                node_table_put(ns->nodes, node);
        return parent;
}
