/* Moving a checkout to another commit, as `git checkout` would: by the difference of the trees.
 *
 * First the whole difference is worked out from parsed listings, with no lock held: it may read the
 * disk and may find trees missing, which the caller fetches before trying again. Then it is applied
 * in one critical section: every directory the kernel knows switches to its new tree. A look-up
 * checks under the same lock that the directory still shows the tree it looked in, so no stale
 * child is made. Last, the kernel is told every name that changed; it serialises that with look-ups
 * in flight by the directory's own lock.
 *
 * Files need nothing: a changed file is another node under the same name.
 *
 * Trees share sub-trees, so a few kilobytes of them can stand for more directories than any memory
 * holds; and after a branch was rewritten, nobody may have the old trees any more. A difference
 * that is too large or too deep or cannot be known is not worked out: only the root switches, the
 * kernel is told to ask for everything again, and a directory that is found showing an old tree
 * switches then (ns_entry_node_locked()), as does one that was removed and came back. */

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "util/array.h"
#include "util/stats.h"

typedef struct Change Change;
struct Change {
        const char *name; /* of the directory, borrowed from a listing; NULL for the root of the
                             checkout */
        Oid from, to;
        Change *children; /* sub-directories that are in both and differ */
        size_t n_children, cap_children;
        const char **names; /* entries that came, went, or became something else; borrowed */
        size_t n_names, cap_names;
        Listing *old, *new; /* references; NULL where the tree is none */
};

/* The names of a tree are bounded by its size, its depth by the length of a path. */
#define MAX_DEPTH 2048
/* Names and directories that differ. */
#define MAX_CHANGES (1u << 18)

typedef struct Difference {
        Namespace *ns;
        Checkout *checkout;
        Oid *missing;
        size_t n_missing, cap_missing;
        size_t n_changes;
} Difference;

static void change_done(Change *c) {
        for (size_t i = 0; i < c->n_children; i++)
                change_done(&c->children[i]);
        free(c->children);
        free(c->names);
        listing_unref(c->old);
        listing_unref(c->new);
}

static int add_missing(Difference *d, const Oid *tree) {
        int r = ARRAY_RESERVE(d->missing, d->cap_missing, d->n_missing + 1);
        if (r < 0)
                return r;
        d->missing[d->n_missing++] = *tree;
        return 0;
}

/* 0 with or without a listing, or < 0. A missing tree is noted; a malformed one counts as empty:
 * the directory shows an error of its own when it is opened. */
static int load(Difference *d, const Oid *tree, Listing **ret) {
        const NsCall call = {.flags = NS_MAY_BLOCK};

        if (oid_is_none(tree))
                return 0;
        int r = ns_listing(d->ns, &call, d->checkout, tree, ret);
        if (r == NS_PARKED)
                return add_missing(d, tree);
        return r == -EBADMSG ? 0 : MIN(r, 0);
}

static int add_name(Change *c, const char *name) {
        int r = ARRAY_RESERVE(c->names, c->cap_names, c->n_names + 1);
        if (r < 0)
                return r;
        c->names[c->n_names++] = name;
        return 0;
}

static int add_child(Change *c, const char *name, const Oid *from, const Oid *to) {
        int r = ARRAY_RESERVE(c->children, c->cap_children, c->n_children + 1);
        if (r < 0)
                return r;
        c->children[c->n_children++] = (Change){.name = name, .from = *from, .to = *to};
        return 0;
}

/* One name: what it was and what it is, one of which may be NULL. */
static int
compare_entry(Change *c, const Listing *names, const ListingEntry *was, const ListingEntry *is) {
        assert(was || is);
        if (was && is && was->kind == is->kind) {
                if (oid_equal(&was->oid, &is->oid))
                        return 0;
                if (was->kind == ENTRY_DIR)
                        return add_child(c, listing_name(names, is), &was->oid, &is->oid);
                if (was->kind == ENTRY_SUBMODULE)
                        return 0; /* an empty directory before and after */
        }
        return add_name(c, listing_name(names, is ? is : was));
}

static int compare_listings(Change *c) {
        int r = 0;

        for (size_t i = 0; c->new &&r >= 0 && i < c->new->n_entries; i++) {
                const ListingEntry *is = &c->new->entries[i];
                if (is->name_len == LISTING_NAME_TOO_LONG)
                        continue;
                const ListingEntry *was =
                        c->old ? listing_find(c->old, listing_name(c->new, is), is->name_len)
                               : NULL;
                r = compare_entry(c, c->new, was, is);
        }
        for (size_t i = 0; c->old && r >= 0 && i < c->old->n_entries; i++) {
                const ListingEntry *was = &c->old->entries[i];
                if (was->name_len == LISTING_NAME_TOO_LONG)
                        continue;
                if (!c->new || !listing_find(c->new, listing_name(c->old, was), was->name_len))
                        r = add_name(c, listing_name(c->old, was));
        }
        return r;
}

static int compare(Difference *d, Change *c, unsigned depth) {
        if (depth > MAX_DEPTH)
                return -ELOOP;
        int r = load(d, &c->from, &c->old);
        if (r >= 0)
                r = load(d, &c->to, &c->new);
        if (r < 0 || d->n_missing > 0)
                return r;
        r = compare_listings(c);
        d->n_changes += c->n_names + c->n_children;
        if (r >= 0 && d->n_changes > MAX_CHANGES)
                return -E2BIG;
        for (size_t i = 0; r >= 0 && i < c->n_children; i++)
                r = compare(d, &c->children[i], depth + 1);
        return r;
}

typedef struct Applied {
        Node *node; /* a reference */
        const Change *change;
} Applied;

typedef struct AppliedList {
        Applied *items;
        size_t n;
} AppliedList;

static size_t count_changes(const Change *c) {
        size_t n = 1;

        for (size_t i = 0; i < c->n_children; i++)
                n += count_changes(&c->children[i]);
        return n;
}

/* With the checkout locked. Directories that are not known to anybody have no node: they will be
 * made from their parent's new listing. `node` is a reference that the list takes over. */
static void apply_locked(
        Namespace *ns,
        Node *node,
        const Change *change,
        const NodeShown *to,
        AppliedList *applied) {
        NodeShown shown = *to;

        shown.tree = change->to;
        node_show_locked(node, &shown);
        applied->items[applied->n++] = (Applied){.node = node, .change = change};

        for (size_t i = 0; i < change->n_children; i++) {
                const Change *child = &change->children[i];
                const NodeSpec spec = {
                        .kind = NODE_DIR,
                        .parent = node,
                        .name = child->name,
                        .name_len = strlen(child->name),
                };
                Node *known = node_table_find(ns->nodes, &spec);
                if (known)
                        apply_locked(ns, known, child, to, applied);
        }
}

/* All at once also for a successor: what is marked with a move that the root does not have yet has
 * not happened. */
static void apply_to_root_locked(
        Namespace *ns,
        Node *root,
        const Change *change,
        const CheckoutState *to,
        AppliedList *applied) {
        atomic_uint_least32_t *moved = &node_dir(root)->moved;
        const NodeShown shown = {
                .commit = to->commit, .mtime = to->time, .move = atomic_load(moved) + 1};

        apply_locked(ns, node_ref(root), change, &shown, applied);
        atomic_store_explicit(moved, shown.move, memory_order_release);
}

/* The directory in the mount that shows this checkout. */
typedef struct FindRoot {
        Checkout *checkout;
        Node **nodes; /* references: several spellings of one ref are several directories */
        size_t n, cap;
        int error;
} FindRoot;

static void find_root(Node *node, void *userdata) {
        FindRoot *f = userdata;

        if (node->kind != NODE_CHECKOUT || node_checkout(node) != f->checkout || f->error < 0)
                return;
        f->error = ARRAY_RESERVE(f->nodes, f->cap, f->n + 1);
        if (f->error >= 0)
                f->nodes[f->n++] = node_ref(node);
}

static void tell_kernel(Namespace *ns, const AppliedList *applied) {
        for (size_t i = 0; i < applied->n; i++) {
                const Applied *a = &applied->items[i];
                for (size_t k = 0; k < a->change->n_names; k++)
                        ns_entry_changed(ns, a->node->id, a->change->names[k]);
                ns_inode_changed(ns, a->node->id);
        }
}

static void forget_everything(Node *node, void *userdata) {
        const Difference *d = userdata;

        if (node->kind < NODE_CHECKOUT || node_checkout(node) != d->checkout)
                return;
        ns_entry_changed(d->ns, node_parent(node)->id, node_name(node));
        if (node_is_dir(node))
                ns_inode_changed(d->ns, node->id);
}

static void note_roots_told(Node *node, void *userdata) {
        const Difference *d = userdata;

        if (node->kind == NODE_CHECKOUT && node_checkout(node) == d->checkout)
                ns_note_told(d->ns, node);
}

static void put_roots(Namespace *ns, FindRoot *roots) {
        for (size_t i = 0; i < roots->n; i++)
                node_table_put(ns->nodes, roots->nodes[i]);
        free(roots->nodes);
        *roots = (FindRoot){.checkout = roots->checkout};
}

/* Locks the checkout with its root nodes in *roots, and room for what is applied to each. The table
 * cannot be searched with the lock held, so a node that is made in between starts the search again.
 * After an error it is not locked. */
static int lock_with_roots(
        Namespace *ns, Checkout *c, size_t n_changes, FindRoot *roots, AppliedList *applied) {
        for (;;) {
                mutex_lock(&c->lock);
                uint64_t before = c->n_root_nodes;
                mutex_unlock(&c->lock);
                int r = node_table_each(ns->nodes, find_root, roots);
                if (r < 0 || roots->error < 0)
                        return r < 0 ? r : roots->error;
                applied->items = calloc(n_changes * roots->n + 1, sizeof(*applied->items));
                if (!applied->items)
                        return -ENOMEM;
                mutex_lock(&c->lock);
                if (before == c->n_root_nodes)
                        return 0;
                mutex_unlock(&c->lock);
                put_roots(ns, roots);
                free(TAKE_PTR(applied->items));
        }
}

/* -EAGAIN where the checkout shows another commit by now than the one that was compared. */
static int
apply(Namespace *ns,
      Checkout *c,
      const CheckoutState *from,
      const CheckoutState *to,
      const Change *change,
      bool untold) {
        FindRoot roots = {.checkout = c};
        AppliedList applied = {0};

        int r = lock_with_roots(ns, c, count_changes(change), &roots, &applied);
        if (r >= 0) {
                if (oid_equal(&c->commit, &from->commit) && oid_equal(&c->root, &from->root)) {
                        c->commit = to->commit;
                        c->root = to->root;
                        c->time = to->time;
                        for (size_t i = 0; i < roots.n; i++)
                                apply_to_root_locked(ns, roots.nodes[i], change, to, &applied);
                } else
                        r = -EAGAIN;
                mutex_unlock(&c->lock);
        }

        tell_kernel(ns, &applied);
        for (size_t i = 0; r >= 0 && !untold && i < roots.n; i++)
                ns_note_told(ns, roots.nodes[i]);
        for (size_t i = 0; i < applied.n; i++)
                node_table_put(ns->nodes, applied.items[i].node);
        put_roots(ns, &roots);
        free(applied.items);
        return r;
}

/* As checkout_move(), or -EAGAIN. */
static int
move_from(Difference *d, const CheckoutState *from, const CheckoutState *to, bool blindly) {
        Change root = {.from = from->root, .to = to->root};

        int r = blindly ? -E2BIG : compare(d, &root, 0);
        bool untold = r == -E2BIG || r == -ELOOP;
        if (untold) {
                change_done(&root);
                root = (Change){.from = from->root, .to = to->root};
                r = 0;
        }
        if (r >= 0 && d->n_missing > 0 && !untold)
                r = 1;
        else if (r >= 0)
                r = apply(d->ns, d->checkout, from, to, &root, untold);
        change_done(&root);
        if (r == 0 && untold)
                r = node_table_each(d->ns->nodes, forget_everything, d);
        if (r == 0 && untold)
                r = node_table_each(d->ns->nodes, note_roots_told, d);
        return r;
}

int checkout_move(
        Namespace *ns,
        Checkout *c,
        const CheckoutState *to,
        bool blindly,
        Oid **ret_missing,
        size_t *ret_n_missing) {
        CheckoutState now;
        Difference d;
        int r;

        /* Two may move it at the same time: somebody who looks it up, and the poll. */
        do {
                checkout_get_state(c, &now);
                if (oid_equal(&now.commit, &to->commit))
                        return 0;
                d = (Difference){.ns = ns, .checkout = c};
                r = move_from(&d, &now, to, blindly);
                if (r == 1) {
                        *ret_missing = d.missing;
                        *ret_n_missing = d.n_missing;
                        return 1;
                }
                free(d.missing);
        } while (r == -EAGAIN);
        if (r >= 0)
                stat_add(STAT_REFRESH_MOVED, 1);
        return r;
}
