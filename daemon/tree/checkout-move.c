/* Moving a checkout to another commit, as `git checkout` would: by the difference of the trees.
 *
 * First the whole difference is worked out from parsed listings, with no lock held: it may read the
 * disk and may find trees missing, which the caller fetches before trying again. Then it is applied
 * in one critical section: every directory the kernel knows switches to its new tree. A look-up
 * checks under the same lock that the directory still shows the tree it looked in, so no stale
 * child is made. Last, the kernel is told every name that changed; it serialises that with look-ups
 * in flight by the directory's own lock.
 *
 * Files need nothing: a changed file is another node under the same name. */

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
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

typedef struct Difference {
        Namespace *ns;
        Checkout *checkout;
        Oid *missing;
        size_t n_missing, cap_missing;
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
        if (d->n_missing == d->cap_missing) {
                size_t cap = d->cap_missing ? d->cap_missing * 2 : 16;
                Oid *missing = realloc(d->missing, cap * sizeof(*missing));
                if (!missing)
                        return -ENOMEM;
                d->missing = missing;
                d->cap_missing = cap;
        }
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
        if (c->n_names == c->cap_names) {
                size_t cap = c->cap_names ? c->cap_names * 2 : 16;
                const char **names = realloc(c->names, cap * sizeof(*names));
                if (!names)
                        return -ENOMEM;
                c->names = names;
                c->cap_names = cap;
        }
        c->names[c->n_names++] = name;
        return 0;
}

static int add_child(Change *c, const char *name, const Oid *from, const Oid *to) {
        if (c->n_children == c->cap_children) {
                size_t cap = c->cap_children ? c->cap_children * 2 : 16;
                Change *children = realloc(c->children, cap * sizeof(*children));
                if (!children)
                        return -ENOMEM;
                c->children = children;
                c->cap_children = cap;
        }
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
        for (size_t i = 0; r >= 0 && i < c->n_children; i++)
                r = compare(d, &c->children[i], depth + 1);
        return r;
}

static void remember_past(Node *dir) {
        if (oid_is_none(&dir->oid))
                return;
        if (!dir->past)
                dir->past = calloc(1, sizeof(*dir->past));
        if (dir->past) /* else a listing in progress ends in ESTALE */
                dir->past->trees[dir->past->next++ % NODE_N_PAST_TREES] = dir->oid;
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
static void
apply_locked(Namespace *ns, Node *node, const Change *change, int64_t time, AppliedList *applied) {
        remember_past(node);
        node->oid = change->to;
        node->mtime = time;
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
                        apply_locked(ns, known, child, time, applied);
        }
}

/* The directory in the mount that shows this checkout. */
typedef struct FindRoot {
        Checkout *checkout;
        Node *nodes[16]; /* several spellings of one ref are several directories */
        size_t n;
} FindRoot;

static void find_root(Node *node, void *userdata) {
        FindRoot *f = userdata;

        if (node->kind == NODE_CHECKOUT && node->checkout == f->checkout &&
            f->n < ELEMENTSOF(f->nodes))
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

static void put_roots(Namespace *ns, FindRoot *roots) {
        for (size_t i = 0; i < roots->n; i++)
                node_table_put(ns->nodes, roots->nodes[i]);
        roots->n = 0;
}

/* Locks the checkout with its root nodes in *roots. The table cannot be searched with the lock
 * held, so a node that is made in between starts the search again. */
static void lock_with_roots(Namespace *ns, Checkout *c, FindRoot *roots) {
        for (;;) {
                mutex_lock(&c->lock);
                uint64_t before = c->n_root_nodes;
                mutex_unlock(&c->lock);
                node_table_each(ns->nodes, find_root, roots);
                mutex_lock(&c->lock);
                if (before == c->n_root_nodes)
                        return;
                mutex_unlock(&c->lock);
                put_roots(ns, roots);
        }
}

static int apply(Namespace *ns, Checkout *c, const CheckoutState *to, const Change *change) {
        FindRoot roots = {.checkout = c};
        size_t cap = count_changes(change) * ELEMENTSOF(roots.nodes);
        AppliedList applied = {.items = calloc(cap, sizeof(*applied.items))};

        if (!applied.items)
                return -ENOMEM;
        lock_with_roots(ns, c, &roots);
        c->commit = to->commit;
        c->root = to->root;
        c->time = to->time;
        for (size_t i = 0; i < roots.n; i++)
                apply_locked(ns, node_ref(roots.nodes[i]), change, to->time, &applied);
        mutex_unlock(&c->lock);

        tell_kernel(ns, &applied);
        for (size_t i = 0; i < applied.n; i++)
                node_table_put(ns->nodes, applied.items[i].node);
        put_roots(ns, &roots);
        free(applied.items);
        return 0;
}

int checkout_move(
        Namespace *ns,
        Checkout *c,
        const CheckoutState *to,
        Oid **ret_missing,
        size_t *ret_n_missing) {
        Difference d = {.ns = ns, .checkout = c};
        CheckoutState now;

        checkout_get_state(c, &now);
        if (oid_equal(&now.commit, &to->commit))
                return 0;

        Change root = {.from = now.root, .to = to->root};
        int r = compare(&d, &root, 0);
        if (r >= 0 && d.n_missing > 0) {
                change_done(&root);
                *ret_missing = d.missing;
                *ret_n_missing = d.n_missing;
                return 1;
        }
        if (r >= 0)
                r = apply(ns, c, to, &root);
        if (r >= 0)
                stat_add(STAT_REFRESH_MOVED, 1);
        change_done(&root);
        free(d.missing);
        return r;
}
