/* The operations of the file system on the typed name space. Each is written as if everything were
 * resident; the first thing that is not ends it with NS_PARKED or NS_BLOCKS, and it is done again
 * from the start. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tree/ahead.h"
#include "tree/namespace-private.h"
#include "tree/owner-walk.h"
#include "util/path.h"
#include "util/stats.h"

bool ns_is_probe(const char *name) {
        static const char *const probes[] = {
                ".git",
                ".hg",
                ".svn",
                ".bzr",
                ".DS_Store",
                ".Trash",
                ".hidden",
                ".directory",
                ".xdg-volume-info",
                "HEAD",
                "autorun.inf"};

        for (size_t i = 0; i < ELEMENTSOF(probes); i++)
                if (strcmp(name, probes[i]) == 0)
                        return true;
        return strncmp(name, ".Trash-", strlen(".Trash-")) == 0;
}

NodeSpec ns_entry_spec(Node *dir, const Listing *l, const ListingEntry *e, int64_t mtime) {
        return (NodeSpec){
                .kind = node_kind_of_entry((EntryKind) e->kind),
                .parent = dir,
                .name = listing_name(l, e),
                .name_len = e->name_len,
                .oid = e->oid,
                .size = listing_size(e),
                .mtime = mtime,
                .checkout = node_checkout(dir),
        };
}

/* A move of its own, of which the kernel has to be told as of any other. */
static void switch_dir_locked(Node *dir, const Oid *tree, int64_t mtime) {
        atomic_uint_least32_t *moved = &node_dir(node_root_of(dir))->moved;
        const NodeShown shown = {.tree = *tree, .mtime = mtime, .move = atomic_load(moved) + 1};

        node_show_locked(dir, &shown);
        atomic_store_explicit(moved, shown.move, memory_order_release);
}

/* A directory that was removed, and came back while somebody was still in it, is the same node but
 * missed what became of it. */
int ns_entry_node_locked(
        Namespace *ns,
        Node *dir,
        const Listing *l,
        const ListingEntry *e,
        Node **ret,
        bool *ret_switched) {
        const NodeSpec spec = ns_entry_spec(dir, l, e, node_checkout(dir)->time);

        int r = node_table_get_or_add(ns->nodes, &spec, ret);
        if (r < 0)
                return r;
        *ret_switched = r == 0 && node_is_dir(*ret) && !oid_equal(&node_shown(*ret)->tree, &e->oid);
        if (*ret_switched)
                switch_dir_locked(*ret, &e->oid, spec.mtime);
        return 0;
}

static void forget_name(uint64_t id, uint64_t parent, const char *name, void *userdata) {
        ns_entry_changed(userdata, parent, name);
        ns_inode_changed(userdata, id);
}

void ns_forget_below(Namespace *ns, Node *dir) {
        const NsTarget target = {.node = dir};

        /* Out of memory: what the kernel knows is old, but was true once. */
        (void) ns_each_known(ns, &target, forget_name, ns);
        ns_note_told(ns, dir);
}

typedef struct Told {
        Namespace *ns;
        Node *root; /* a reference */
        uint32_t move;
} Told;

static void told(void *userdata) {
        Told *told = userdata;

        /* Where the process ends for a successor, what was queued was dropped. */
        if (!node_table_is_kept(told->ns->nodes))
                node_told(told->root, told->move);
        node_table_put(told->ns->nodes, told->root);
        free(told);
}

/* Where it cannot be noted a successor tells the kernel once more. */
void ns_note_told(Namespace *ns, Node *dir) {
        Node *root = node_root_of(dir);
        NsObserver observer = ns_observer(ns);

        Told *t = root ? calloc(1, sizeof(*t)) : NULL;
        if (!t)
                return;
        *t = (Told){.ns = ns, .root = node_ref(root), .move = atomic_load(&node_dir(root)->moved)};
        if (observer.when_told)
                observer.when_told(told, t, observer.userdata);
        else
                told(t);
}

static int child_of_root(Namespace *ns, Node *root, const char *name, Node **ret) {
        _cleanup_(org_unrefp) Org *org = ns_find_org(ns, name);
        if (!org)
                return 0;
        const NodeSpec spec = {
                .kind = NODE_ORG,
                .parent = root,
                .name = name,
                .name_len = strlen(name),
                .owner = &org->root,
                .generation = org->generation,
        };
        int r = node_table_get_or_add(ns->nodes, &spec, ret);
        return r < 0 ? r : 1;
}

int ns_split_name(const char *name, char *repo, char *refspec) {
        const char *at = strchr(name, '@');
        size_t len = at ? (size_t) (at - name) : strlen(name);

        memcpy(repo, name, len);
        repo[len] = '\0';
        memcpy(refspec, at ? at + 1 : "", at ? strlen(at + 1) + 1 : 1);
        if (!name_is_valid(repo) || (at && refspec[0] == '\0'))
                return -ENOENT;
        if (percent_decode(refspec) < 0)
                return -ENOENT;
        if (strcmp(refspec, "HEAD") == 0)
                refspec[0] = '\0';
        return 0;
}

/* A checkout nobody looked at was not polled: it may be far behind. */
static bool needs_check(Namespace *ns, Checkout *c) {
        uint64_t interval = ns_poll_interval(ns, c->repo->org);

        return c->moves && interval > 0 && checkout_checked(c) + interval < now_usec();
}

/* The owner of this name in another one, if it is known: 1, 0 or < 0. */
static int find_owner(Owner *owner, const char *name, Owner **ret) {
        _cleanup_(owner_unrefp) Owner *child = owner_find_owner(owner, name);
        ForgeEntryKind kind;

        if (!child || !owner_is_believed(child)) {
                if (!owner_lists(owner, name, &kind) || kind != FORGE_OWNER)
                        return 0;
                owner_unref(TAKE_PTR(child));
                int r = owner_add_owner(owner, name, &child);
                if (r < 0)
                        return r;
                atomic_store(&child->doubted_until_usec, 0);
        }
        *ret = TAKE_PTR(child);
        return 1;
}

static int known_owner(Namespace *ns, Node *dir, const char *name, Node **ret) {
        _cleanup_(owner_unrefp) Owner *owner = NULL;

        int r = find_owner(node_owner(dir), name, &owner);
        if (r <= 0)
                return r;
        const NodeSpec spec = {
                .kind = NODE_OWNER,
                .parent = dir,
                .name = name,
                .name_len = strlen(name),
                .owner = owner,
        };
        r = node_table_get_or_add(ns->nodes, &spec, ret);
        return r < 0 ? r : 1;
}

static bool is_negative(Owner *owner, const char *name) {
        bool negative = owner_is_negative(owner, name);

        stat_add(STAT_NEGATIVE_HIT, negative);
        return negative;
}

static void wait_for_repo(Namespace *ns, const NsCall *call, Owner *owner, const char *name) {
        if (call->waiter)
                owner_walk_entered(ns, owner, name);
}

/* What a predecessor gave to the kernel goes on showing the commit that it showed, whatever its
 * branch is by now, and is moved from that one. 1, NS_PARKED or < 0. */
static int attach_known(Namespace *ns, const NsCall *call, Node *dir, const char *name) {
        const NodeSpec spec = {
                .kind = NODE_CHECKOUT,
                .parent = dir,
                .name = name,
                .name_len = strlen(name),
        };
        if (ns->n_recovered == 0)
                return 1;
        Node *node = node_table_find(ns->nodes, &spec);
        int r = node ? ns_attach(ns, call, node) : 1;
        node_table_put(ns->nodes, node);
        return r == -ESTALE ? 1 : r; /* then it is another one */
}

static int
child_of_owner(Namespace *ns, const NsCall *call, Node *dir, const char *name, Node **ret) {
        char repo_name[NAME_MAX + 1], refspec[NAME_MAX + 1];
        Owner *owner = node_owner(dir);

        if (atomic_load(&owner->closed) || ns_is_probe(name) ||
            ns_split_name(name, repo_name, refspec) < 0)
                return 0;
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(owner, repo_name);
        if (!repo || atomic_load(&repo->doubtful)) {
                int r = known_owner(ns, dir, repo_name, ret);
                if (r > 0 && strcmp(name, repo_name) != 0) { /* only repositories have refs */
                        node_table_put(ns->nodes, TAKE_PTR(*ret));
                        return 0;
                }
                if (r != 0)
                        return r;
                if (is_negative(owner, repo_name))
                        return 0;
                wait_for_repo(ns, call, owner, name);
                return demand_name(ns, call, owner, repo_name);
        }
        int r = attach_known(ns, call, dir, name);
        if (r != 1)
                return r;
        _cleanup_(checkout_unrefp) Checkout *c = repo_find_checkout(repo, refspec);
        if (!c) {
                char full[2 * NAME_MAX + 2];
                (void) snprintf(full, sizeof(full), "%s@%s", repo_name, refspec);
                if (is_negative(owner, full))
                        return 0;
                wait_for_repo(ns, call, owner, name);
                return demand_checkout(ns, call, repo, refspec);
        }

        NodeSpec spec = {
                .kind = NODE_CHECKOUT,
                .parent = dir,
                .name = name,
                .name_len = strlen(name),
                .checkout = c,
        };
        *ret = node_table_find(ns->nodes, &spec);
        if (*ret)
                return 1;
        if (needs_check(ns, c))
                return demand_check(ns, call, c);
        mutex_lock(&c->lock);
        Oid commit = c->commit;
        spec.oid = c->root;
        spec.mtime = c->time;
        r = node_table_get_or_add(ns->nodes, &spec, ret);
        c->n_root_nodes += r > 0;
        mutex_unlock(&c->lock);
        if (r > 0) {
                ahead_used(&commit);
                owner_walk_entered(ns, owner, name);
        }
        return r < 0 ? r : 1;
}

/* Somebody wants one entry whose size is not known. The first in a directory is likely to be read:
 * its content brings the size with it in one round trip. After that, or after a listing, all of the
 * directory's are. Who walks has his files on their way before he comes to them, and waits for
 * those: sizes that they bring are not asked for beside them. */
static int demand_entry_size(
        Namespace *ns, const NsCall *call, Checkout *c, Node *dir, Listing *l, ListingEntry *e) {
        if (!(call->flags & NS_MAY_BLOCK))
                return NS_BLOCKS;
        mutex_lock(&c->lock);
        bool many = node_dir(dir)->flags != 0;
        mutex_unlock(&c->lock);
        if (c->repo->source->objects_in_memory)
                return demand_sizes(ns, call, c, l);
        /* What came just now is not on its way any more. */
        if (many && !demand_blob_is_soon(c->repo, &e->oid) &&
            ns_entry_size(ns, e) == SIZE_UNKNOWN) {
                int r = walk_await_window(ns, call, c);
                if (r > 0 && demand_sizes_pays(ns, c->repo) && !demand_sizes_does_without(ns, c))
                        return demand_sizes(ns, call, c, l);
                if (r > 0 && call->waiter && !ns_ahead(ns).alone)
                        r = size_walk_missed(ns, call, dir, l, e);
                if (r < 0)
                        return r;
        }
        int r = demand_blob(ns, call, c->repo, &e->oid);
        if (r == NS_PARKED && call->waiter) {
                MUTEX_GUARD(&c->lock);
                node_dir(dir)->flags |= DIR_MISSED;
        }
        return r;
}

static int
child_of_dir(Namespace *ns, const NsCall *call, Node *dir, const char *name, Node **ret) {
        Checkout *c = node_checkout(dir);

        for (;;) {
                _cleanup_(listing_unrefp) Listing *l = NULL;
                Oid tree = checkout_dir_tree(c, dir);
                if (oid_is_none(&tree))
                        return 0;
                int r = ns_listing(ns, call, c, &tree, &l);
                if (r < 0)
                        return r;
                ListingEntry *e = listing_find(l, name, strlen(name));
                if (!e)
                        return 0;
                if (ns_entry_size(ns, e) == SIZE_UNKNOWN)
                        return demand_entry_size(ns, call, c, dir, l, e);
                size_walk_used(ns, dir, l);

                bool switched = false;
                mutex_lock(&c->lock);
                bool current = oid_equal(&node_shown(dir)->tree, &tree);
                if (current)
                        r = ns_entry_node_locked(ns, dir, l, e, ret, &switched);
                mutex_unlock(&c->lock);
                if (!current)
                        continue; /* the branch moved meanwhile: what was found is no longer true */
                if (switched)
                        ns_forget_below(ns, *ret);
                return r < 0 ? r : 1;
        }
}

int ns_child(Namespace *ns, const NsCall *call, Node *parent, const char *name, Node **ret) {
        if (strlen(name) > NAME_MAX)
                return -ENAMETOOLONG;
        int r = ns_attach(ns, call, parent);
        if (r != 1)
                return r;
        switch ((NodeKind) parent->kind) {
        case NODE_ROOT:
                return child_of_root(ns, parent, name, ret);
        case NODE_ORG:
        case NODE_OWNER:
                return child_of_owner(ns, call, parent, name, ret);
        case NODE_CHECKOUT:
        case NODE_DIR:
                return child_of_dir(ns, call, parent, name, ret);
        case NODE_SUBMODULE:
                return 0;
        default:
                return -ENOTDIR;
        }
}

void ns_node_attr(Namespace *ns, const Node *node, NsAttr *ret) {
        *ret = (NsAttr){
                .id = node->id,
                .ino = node->id,
                .mode = node_mode((NodeKind) node->kind),
                .entry_timeout_usec = USEC_INFINITY,
                .attr_timeout_usec = USEC_INFINITY,
        };
        if (!node_is_dir(node)) {
                ret->size = node_size(node);
                ret->mtime = node_mtime(node);
                return;
        }
        /* Directories have no size of their own; this is what most file systems show for a small
         * one. */
        ret->size = 4096;
        /* Of what is not attached nothing changes. */
        bool attached = node_is_attached(node);
        if (attached && (node->kind == NODE_CHECKOUT || node->kind == NODE_DIR)) {
                MUTEX_GUARD(&node_checkout(node)->lock);
                ret->mtime = node_mtime(node);
        } else
                ret->mtime = node_mtime(node);
        if (attached && node->kind == NODE_OWNER &&
            atomic_load(&node_owner(node)->doubted_until_usec) != 0)
                ret->entry_timeout_usec = ns_negative_timeout(ns, NULL);
}

int ns_getattr(Namespace *ns, uint64_t id, NsAttr *ret) {
        Node *node = node_table_get(ns->nodes, id);
        if (!node)
                return -ESTALE;
        ns_node_attr(ns, node, ret);
        node_table_put(ns->nodes, node);
        return 0;
}

uint64_t ns_negative_timeout(Namespace *ns, const Node *parent) {
        /* Names in the root and in trees are known for certain, and changes are told. */
        if (parent && !node_is_owner(parent))
                return USEC_INFINITY;
        MUTEX_GUARD(&ns->lock);
        return ns->config.negative_timeout_usec;
}

static int
lookup_child(Namespace *ns, const NsCall *call, Node *parent, const char *name, NsAttr *ret) {
        Node *child = NULL;

        int r = ns_child(ns, call, parent, name, &child);
        if (r == -ENOENT)
                r = 0; /* the forge said so just now; only the first to ask hears it this way */
        if (r > 0) {
                assert(child);
                ns_node_attr(ns, child, ret);
                node_table_kernel_get(ns->nodes, child);
                node_table_put(ns->nodes, child);
        } else if (r == 0)
                *ret = (NsAttr){.entry_timeout_usec = ns_negative_timeout(ns, parent)};
        return r;
}

int ns_lookup(Namespace *ns, const NsCall *call, uint64_t parent, const char *name, NsAttr *ret) {
        Node *node = node_table_get(ns->nodes, parent);
        if (!node)
                return -ESTALE;
        int r = lookup_child(ns, call, node, name, ret);
        node_table_put(ns->nodes, node);
        return r;
}

void ns_forget(Namespace *ns, uint64_t id, uint64_t n) {
        node_table_kernel_put(ns->nodes, id, n);
}

static int content_of(Namespace *ns, const NsCall *call, Node *node, ObjectRef *ret) {
        _cleanup_object_ref_ ObjectRef object = {0};

        if (node_is_dir(node))
                return -EISDIR;
        const Oid oid = node_oid(node);
        int r = ns_object(ns, call, STORE_OBJECT, &oid, &object);
        if (r == 0) {
                r = ns_attach(ns, call, node);
                if (r != 1)
                        return r;
                Checkout *c = node_checkout(node);
                if (call->waiter &&
                    (!demand_blob_is_coming(c->repo, &oid) || walk_is_gathering(c))) {
                        if (!(call->flags & NS_MAY_BLOCK))
                                return NS_BLOCKS;
                        r = walk_missed(ns, call, node);
                        if (r != 0)
                                return r;
                }
                return demand_blob(ns, call, c->repo, &oid);
        }
        if (r < 0)
                return r;
        if (object.type != OBJECT_BLOB || object.size != node_size(node)) {
                /* The server told another size than its object has. The kernel knows the file by
                 * that size, so it cannot be served; what was remembered goes, and the name is
                 * looked up anew. */
                r = ns_attach(ns, call, node);
                if (r != 1)
                        return r;
                stat_add(STAT_FETCH_CORRUPT, 1);
                Oid tree = checkout_dir_tree(node_checkout(node), node_parent(node));
                store_forget(ns->context->store, STORE_SIZES, &tree);
                listing_cache_remove(ns->listings, &tree);
                ns_entry_changed(ns, node_parent(node)->id, node_name(node));
                return -EIO;
        }
        if (ns->n_recovered == 0 || node_is_attached(node))
                walk_read(ns, node);
        *ret = object;
        object = (ObjectRef){0};
        return 0;
}

int ns_content(Namespace *ns, const NsCall *call, uint64_t id, ObjectRef *ret) {
        Node *node = node_table_get(ns->nodes, id);
        if (!node)
                return -ESTALE;
        int r = content_of(ns, call, node, ret);
        node_table_put(ns->nodes, node);
        return r;
}
