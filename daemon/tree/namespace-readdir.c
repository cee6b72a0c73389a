/* Listings. There are no directory handles, so an offset says by itself where a listing stands: in
 * a tree or the list of an owner, a tag of it and the index in it; among orgs, the inode number of
 * the last entry, in whose order they are listed. So a listing survives a move of the branch (it
 * ends on the tree it began with), names that come and go, and another daemon. */

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "util/path.h"
#include "util/stats.h"

#define N_DOTS 2

typedef struct Readdir {
        Namespace *ns;
        const NsCall *call;
        Node *dir;
        uint64_t offset;
        bool plus;
        NsFill fill;
        void *userdata;
} Readdir;

static bool fill_dots(const Readdir *rd, uint64_t tag) {
        for (uint64_t i = rd->offset & UINT32_MAX; i < N_DOTS; i++) {
                const Node *node = i == 0 || !node_parent(rd->dir) ? rd->dir : node_parent(rd->dir);
                const NsAttr attr = {.ino = node->id, .mode = node_mode((NodeKind) node->kind)};
                if (!rd->fill(i == 0 ? "." : "..", &attr, tag | (i + 1), rd->userdata))
                        return false;
        }
        return true;
}

/* --- orgs --- */

typedef struct NameIno {
        uint64_t ino;
        const char *name;
        NodeKind kind;
} NameIno;

static int compare_inos(const void *a, const void *b) {
        uint64_t x = ((const NameIno *) a)->ino, y = ((const NameIno *) b)->ino;

        return x < y ? -1 : x > y;
}

static void fill_attr(NodeKind kind, uint64_t ino, NsAttr *ret) {
        *ret = (NsAttr){.ino = ino, .mode = node_mode(kind)};
}

static uint64_t name_ino(const Readdir *rd, NodeKind kind, const char *name, uint64_t generation) {
        const NodeSpec spec = {
                .kind = kind,
                .parent = rd->dir,
                .name = name,
                .name_len = strlen(name),
                .generation = generation,
        };

        return node_id(&spec);
}

static int readdir_orgs(const Readdir *rd, char **names, const uint64_t *generations, size_t n) {
        _cleanup_free_ NameIno *entries = calloc(n + 1, sizeof(*entries));
        if (!entries)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++)
                entries[i] = (NameIno){
                        .ino = name_ino(rd, NODE_ORG, names[i], generations[i]), .name = names[i]};
        qsort(entries, n, sizeof(*entries), compare_inos);

        /* Inode numbers of made nodes are above 1, so they cannot be taken for the offsets of the
         * dots. */
        if (rd->offset < N_DOTS && !fill_dots(rd, 0))
                return 0;
        for (size_t i = 0; i < n; i++) {
                NsAttr attr;
                uint64_t offset = entries[i].ino + N_DOTS;
                fill_attr(NODE_ORG, entries[i].ino, &attr);
                if (rd->offset >= offset)
                        continue;
                if (!rd->fill(entries[i].name, &attr, offset, rd->userdata))
                        break;
        }
        return 0;
}

static int readdir_root(const Readdir *rd) {
        Namespace *ns = rd->ns;
        _cleanup_free_ uint64_t *generations = NULL;
        char **names;
        size_t n = 0;
        int r = 0;

        mutex_lock(&ns->lock);
        names = calloc(ns->n_orgs + 1, sizeof(*names));
        generations = calloc(ns->n_orgs + 1, sizeof(*generations));
        if (!generations)
                r = -ENOMEM;
        for (size_t i = 0; names && generations && i < ns->n_orgs; i++) {
                names[n] = strdup(ns->orgs[i]->config->name);
                if (!names[n]) {
                        r = -ENOMEM;
                        break;
                }
                generations[n++] = ns->orgs[i]->generation;
        }
        mutex_unlock(&ns->lock);
        if (!names)
                return -ENOMEM;
        if (r >= 0)
                r = readdir_orgs(rd, names, generations, n);
        for (size_t i = 0; i < n; i++)
                free(names[i]);
        free(names);
        return r;
}

/* --- owners ---
 *
 * First what the forge listed, in its order: the offset is the tag of the list and an index in it.
 * Then what look-ups found and this list lacks: the tag, and a key that is the upper half of the
 * inode number, in the order of which they come. */

#define FOUND (UINT64_C(1) << 62)

static uint64_t list_tag(const NameList *list) {
        return (uint64_t) list->tag << 32;
}

static NodeKind kind_of(ForgeEntryKind kind) {
        return kind == FORGE_OWNER ? NODE_OWNER : NODE_CHECKOUT;
}

/* Keys that collide move up, so that all differ. */
static int
fill_found_names(const Readdir *rd, const NameList *list, const FoundName *found, size_t n) {
        uint64_t next_key = 0;

        _cleanup_free_ NameIno *entries = calloc(n + 1, sizeof(*entries));
        if (!entries)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                NodeKind kind = kind_of(found[i].kind);
                entries[i] = (NameIno){
                        .ino = name_ino(rd, kind, found[i].name, 0),
                        .name = found[i].name,
                        .kind = kind,
                };
        }
        qsort(entries, n, sizeof(*entries), compare_inos);
        for (size_t i = 0; i < n; i++) {
                uint64_t key = MAX(entries[i].ino >> 31, next_key);
                uint64_t offset = FOUND | list_tag(list) | key;
                NsAttr attr;
                fill_attr(entries[i].kind, entries[i].ino, &attr);
                next_key = MIN(key + 1, (uint64_t) UINT32_MAX);
                if ((rd->offset & FOUND) && (rd->offset & UINT32_MAX) >= key)
                        continue;
                if (!rd->fill(entries[i].name, &attr, offset, rd->userdata))
                        break;
        }
        return 0;
}

static int fill_found(const Readdir *rd, NameList *list) {
        FoundName *found;
        size_t n;

        int r = owner_get_found(node_owner(rd->dir), list, &found, &n);
        if (r < 0)
                return r;
        r = fill_found_names(rd, list, found, n);
        owner_found_free(found, n);
        return r;
}

static int fill_list(const Readdir *rd, NameList *list, uint64_t now) {
        uint64_t tag = list_tag(list);
        uint64_t first = rd->offset & UINT32_MAX;
        uint64_t i = first < N_DOTS ? 0 : first - N_DOTS;
        bool filled = first < N_DOTS;
        NameListState state;

        if (!fill_dots(rd, tag))
                return 0;
        do {
                const NameEntry *e;
                for (; (e = name_list_at(list, i)); i++) {
                        NodeKind kind = kind_of(e->kind);
                        NsAttr attr;
                        fill_attr(kind, name_ino(rd, kind, e->name, 0), &attr);
                        if (!rd->fill(e->name, &attr, tag | (i + N_DOTS + 1), rd->userdata))
                                return 0;
                        filled = true;
                }
                state = name_list_state(list);
        } while (i < state.n_shown);
        if (!state.ended)
                return filled ? 0
                              : demand_news(rd->ns, rd->call, node_owner(rd->dir), list, i, now);
        if (state.error < 0)
                return filled ? 0 : state.error;
        return fill_found(rd, list);
}

/* The list that this reading began on; if nobody remembers it, the same place in the one that is
 * shown. */
static NameList *find_list(const Readdir *rd) {
        Owner *owner = node_owner(rd->dir);

        NameList *list = owner_list_of(owner, (uint32_t) (rd->offset >> 32) & NAME_LIST_TAG_MAX);
        return list ? list : owner_list(owner);
}

/* A reading begins: what to read, or NULL where there is nothing that is as new as *ret_since. */
static NameList *begin_list(const Readdir *rd, uint64_t now, uint64_t *ret_since) {
        Owner *owner = node_owner(rd->dir);
        uint64_t interval = ns_poll_interval(rd->ns, owner->org);
        uint64_t age = MAX(interval, USEC_PER_SEC);
        uint64_t since = now < age ? 1 : now - age;

        *ret_since = since;
        if (!ns_can_list(owner, since))
                return NULL;
        if (owner->org->forge->ops->revalidates && interval > 0 &&
            owner_relist_due(owner, since, now))
                demand_list_ahead(rd->ns, owner, FETCH_REFRESH);
        return owner_list(owner); /* NULL: flushed just now */
}

/* Whoever looks at the names of repositories may well enter one: a round trip less by then. */
static void expect_look_ups(const Readdir *rd) {
        NsAhead limits = ns_ahead(rd->ns);

        if (rd->offset == 0 && limits.children && !limits.alone)
                forge_expect(node_owner(rd->dir)->org->forge);
}

static int readdir_owner(const Readdir *rd) {
        _cleanup_(name_list_unrefp) NameList *list = NULL;
        Owner *owner = node_owner(rd->dir);
        uint64_t now = now_usec(), since = 1;

        if (atomic_load(&owner->closed))
                return -ENOENT;
        expect_look_ups(rd);
        list = rd->offset == 0 ? begin_list(rd, now, &since) : find_list(rd);
        if (!list)
                return demand_news(rd->ns, rd->call, owner, NULL, 0, since);
        return rd->offset & FOUND ? fill_found(rd, list) : fill_list(rd, list, now);
}

/* --- directories of a commit --- */

static uint64_t tree_tag(const Oid *tree) {
        return (oid_prefix64(tree) & INT32_MAX) << 32;
}

/* A tree that a directory shows, or showed. */
typedef struct Shown {
        Oid tree;
        int64_t mtime;
        bool now;
} Shown;

/* The tree that this listing started on: the one shown now, or one shown before. */
static int find_tree(const Readdir *rd, Shown *ret) {
        Checkout *c = node_checkout(rd->dir);
        uint64_t tag = rd->offset & ~(uint64_t) UINT32_MAX;

        MUTEX_GUARD(&c->lock);
        const NodePast *past = node_dir(rd->dir)->past;
        *ret = (Shown){.tree = node_shown(rd->dir)->tree, .mtime = c->time, .now = true};
        if (rd->offset == 0 || tree_tag(&ret->tree) == tag)
                return 0;
        ret->now = false;
        for (size_t i = 0; past && i < NODE_N_PAST_TREES; i++)
                if (tree_tag(&past->trees[i]) == tag) {
                        ret->tree = past->trees[i];
                        return 0;
                }
        /* Past trees are not handed to a successor; the one before this is. */
        const NodeDir *dir = node_dir(rd->dir);
        const Oid *before =
                &dir->shown[!atomic_load_explicit(&dir->current, memory_order_relaxed)].tree;
        if (!oid_is_none(before) && tree_tag(before) == tag) {
                ret->tree = *before;
                return 0;
        }
        if (tag == 0) { /* it was empty when the listing began: it ends there */
                ret->tree = (Oid){0};
                return 0;
        }
        return -ESTALE;
}

/* What a directory shows is guarded by the checkout, so its node is made with that locked. 1; 0
 * when the directory that is read shows another tree by now. */
static int
give_dir(const Readdir *rd, const Shown *shown, const Listing *l, ListingEntry *e, Node **ret) {
        Checkout *c = node_checkout(rd->dir);
        bool switched = false;
        int r = 0;

        mutex_lock(&c->lock);
        bool current = oid_equal(&node_shown(rd->dir)->tree, &shown->tree);
        if (current)
                r = ns_entry_node_locked(rd->ns, rd->dir, l, e, ret, &switched);
        mutex_unlock(&c->lock);
        if (r < 0 || !current)
                return MIN(r, 0);
        if (switched)
                ns_forget_below(rd->ns, *ret);
        node_table_kernel_get(rd->ns->nodes, *ret);
        return 1;
}

/* Makes the node of an entry for READDIRPLUS, and gives it to the kernel: before the reply, as the
 * kernel may forget it again as soon as it has that. 1; 0 when the directory shows another tree by
 * now: then only the name is given, and the kernel looks it up in the new one.
 *
 * A file is what it is in whichever tree, so its node needs no lock but its own. The branch may
 * move meanwhile: then the kernel is told of the name when it has taken in this reply, as it holds
 * the directory's lock until then. */
static int
give_node(const Readdir *rd, const Shown *shown, const Listing *l, ListingEntry *e, Node **ret) {
        if (!shown->now)
                return 0;
        if (e->kind == ENTRY_DIR)
                return give_dir(rd, shown, l, e, ret);
        const NodeSpec spec = ns_entry_spec(rd->dir, l, e, shown->mtime);
        int r = node_table_give(rd->ns->nodes, &spec, ret);
        return r < 0 ? r : 1;
}

/* 1 given, 0 no room, < 0. */
static int fill_entry(
        const Readdir *rd, const Shown *shown, const Listing *l, ListingEntry *e, uint64_t next) {
        Node *node = NULL;
        NsAttr attr;

        if (rd->plus && listing_size(e) != SIZE_UNKNOWN) {
                int r = give_node(rd, shown, l, e, &node);
                if (r < 0)
                        return r;
        }
        if (node)
                ns_node_attr(rd->ns, node, &attr);
        else {
                const NodeSpec spec = ns_entry_spec(rd->dir, l, e, 0);
                attr = (NsAttr){.ino = node_id(&spec), .mode = node_mode(spec.kind)};
        }
        bool room = rd->fill(listing_name(l, e), &attr, next, rd->userdata);
        if (node) {
                if (!room)
                        node_table_kernel_put(rd->ns->nodes, node->id, 1);
                node_table_put(rd->ns->nodes, node);
        }
        return room;
}

/* The branch may have moved while files were given. A move that works out its difference tells the
 * kernel of each name that is in it; one that cannot tells only of the nodes that it finds, and did
 * not see those that were made behind it. */
static void
tell_if_moved(const Readdir *rd, const Shown *shown, const Listing *l, uint64_t from, uint64_t to) {
        if (!rd->plus || !shown->now)
                return;
        Oid tree = checkout_dir_tree(node_checkout(rd->dir), rd->dir);
        if (oid_equal(&tree, &shown->tree))
                return;
        for (uint64_t i = from; i < to; i++)
                ns_entry_changed(rd->ns, rd->dir->id, listing_name(l, &l->entries[i]));
}

static int fill_entries(const Readdir *rd, const Shown *shown, Listing *l) {
        uint64_t tag = tree_tag(&shown->tree);
        uint64_t index = rd->offset & UINT32_MAX;
        uint64_t from = index < N_DOTS ? 0 : index - N_DOTS, i;
        int r = 1;

        if (!fill_dots(rd, tag))
                return 0;
        for (i = from; i < l->n_entries && r > 0; i++) {
                ListingEntry *e = &l->entries[i];
                if (e->name_len != LISTING_NAME_TOO_LONG)
                        r = fill_entry(rd, shown, l, e, tag | (i + N_DOTS + 1));
        }
        tell_if_moved(rd, shown, l, from, i);
        return MIN(r, 0);
}

/* Names do not wait for sizes, unless those are on this machine, or about to come for a walk over
 * sizes: they are asked for, and who wants one (`ls -l`) waits for it in his first look-up. 0,
 * NS_PARKED, NS_BLOCKS or < 0. */
static int list_sizes(const Readdir *rd, Listing *l) {
        Checkout *c = node_checkout(rd->dir);

        if (ns_sizes_known(rd->ns, l)) {
                size_walk_used(rd->ns, rd->dir, l);
                return 0;
        }
        if (!demand_sizes_pays(rd->ns, c->repo))
                return rd->plus ? size_walk_listed(rd->ns, rd->call, rd->dir, l) : 0;
        if (!c->repo->source->objects_in_memory) {
                demand_sizes_ahead(rd->ns, c, l);
                return 0;
        }
        if (!rd->plus)
                return 0;
        if (!(rd->call->flags & NS_MAY_BLOCK))
                return NS_BLOCKS;
        return demand_sizes(rd->ns, rd->call, c, l);
}

static int readdir_tree(const Readdir *rd) {
        Checkout *c = node_checkout(rd->dir);
        _cleanup_(listing_unrefp) Listing *l = NULL;
        Shown shown;

        int r = find_tree(rd, &shown);
        if (r < 0)
                return r;
        if (oid_is_none(&shown.tree)) {
                (void) fill_dots(rd, 0);
                return 0;
        }
        r = ns_listing(rd->ns, rd->call, c, &shown.tree, &l);
        if (r < 0)
                return r;
        if (rd->offset == 0) {
                mutex_lock(&c->lock);
                node_dir(rd->dir)->flags |= DIR_LISTED;
                mutex_unlock(&c->lock);
                r = list_sizes(rd, l);
                if (r < 0)
                        return r;
        }
        return fill_entries(rd, &shown, l);
}

int ns_readdir(
        Namespace *ns,
        const NsCall *call,
        uint64_t id,
        uint64_t offset,
        bool plus,
        NsFill fill,
        void *userdata) {
        Node *dir = node_table_get(ns->nodes, id);
        if (!dir)
                return -ESTALE;
        const Readdir rd = {
                .ns = ns,
                .call = call,
                .dir = dir,
                .offset = offset,
                .plus = plus,
                .fill = fill,
                .userdata = userdata,
        };

        int r = ns_attach(ns, call, dir);
        if (r != 1) {
                node_table_put(ns->nodes, dir);
                return r;
        }
        switch ((NodeKind) dir->kind) {
        case NODE_ROOT:
                r = readdir_root(&rd);
                break;
        case NODE_ORG:
        case NODE_OWNER:
                r = readdir_owner(&rd);
                break;
        case NODE_CHECKOUT:
        case NODE_DIR:
                r = readdir_tree(&rd);
                break;
        case NODE_SUBMODULE:
                (void) fill_dots(&rd, 0);
                r = 0;
                break;
        default:
                r = -ENOTDIR;
        }
        node_table_put(ns->nodes, dir);
        return r;
}
