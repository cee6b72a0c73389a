#include "tree/walk-cursor.h"

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "util/array.h"

/* What a file costs whatever its size: the server looks it up, the pack names it, it is hashed and
 * kept. */
#define FILE_COST 512

/* --- places --- */

unsigned walk_place_common(const WalkPlace *a, const WalkPlace *b) {
        unsigned n = MIN(a->depth, b->depth), i = 0;

        while (i < n && a->at[i] == b->at[i])
                i++;
        return i;
}

unsigned walk_place_distance(const WalkPlace *a, const WalkPlace *b) {
        return a->depth + b->depth - 2 * walk_place_common(a, b);
}

int walk_place_compare(const WalkPlace *a, const WalkPlace *b) {
        unsigned i = walk_place_common(a, b);

        if (i == a->depth || i == b->depth)
                return (a->depth > b->depth) - (a->depth < b->depth);
        return a->at[i] < b->at[i] ? -1 : 1;
}

/* NULL where the tree is not here, or there is none. */
static Listing *tree_listing(Namespace *ns, const Oid *tree) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        Listing *l;

        return !oid_is_none(tree) && ns_listing(ns, &call, NULL, tree, &l) > 0 ? l : NULL;
}

/* What the directory shows now. */
static Listing *dir_listing(Namespace *ns, const Node *dir, bool *ret_listed) {
        Checkout *c = node_checkout(dir);

        mutex_lock(&c->lock);
        Oid tree = node_shown(dir)->tree;
        *ret_listed = (node_dir((Node *) dir)->flags & DIR_LISTED) != 0;
        mutex_unlock(&c->lock);
        return tree_listing(ns, &tree);
}

static bool is_first_blob(const Listing *l, size_t index) {
        for (size_t i = 0; i < index; i++)
                if (entry_is_blob(&l->entries[i]))
                        return false;
        return true;
}

static bool is_first_of_all(const Listing *l, size_t index) {
        for (size_t i = 0; i < index; i++)
                if (entry_is_blob(&l->entries[i]) || l->entries[i].kind == ENTRY_DIR)
                        return false;
        return true;
}

int walk_place_find(
        Namespace *ns,
        const Node *file,
        WalkPlace *ret,
        unsigned *ret_listed,
        unsigned *ret_first) {
        unsigned depth = 0, listed = 0, first = 0;
        bool gap = false, later = false;

        for (const Node *n = file; n->kind != NODE_CHECKOUT; n = node_parent(n))
                if (++depth > WALK_DEPTH_MAX)
                        return 0;
        ret->depth = depth;
        for (const Node *n = file; n->kind != NODE_CHECKOUT; n = node_parent(n)) {
                bool here_listed;
                _cleanup_(listing_unrefp) Listing *l =
                        dir_listing(ns, node_parent(n), &here_listed);
                const ListingEntry *e = l ? listing_find(l, node_name(n), n->name_len) : NULL;
                if (!e)
                        return 0;
                ret->at[--depth] = (uint32_t) (e - l->entries);
                gap |= !here_listed;
                listed += !gap;
                later |= node_is_dir(n) ? !is_first_of_all(l, ret->at[depth])
                                        : !is_first_blob(l, ret->at[depth]);
                first += !later;
        }
        *ret_listed = listed;
        *ret_first = first;
        return 1;
}

/* --- the cursor --- */

void walk_cursor_done(WalkCursor *cursor) {
        while (cursor->depth > 0)
                listing_unref(cursor->stack[--cursor->depth]);
}

int walk_cursor_init(
        WalkCursor *cursor,
        Namespace *ns,
        Checkout *c,
        const WalkPlace *place,
        unsigned scope,
        bool backward,
        bool inclusive) {
        CheckoutState state;

        checkout_get_state(c, &state);
        Oid tree = state.root;
        scope = MAX(scope, 1u);
        *cursor = (WalkCursor){.ns = ns, .repo = c->repo, .scope = scope, .backward = backward};
        for (unsigned i = 0; i < place->depth; i++) {
                Listing *l = tree_listing(ns, &tree);
                if (!l)
                        return 0;
                cursor->stack[cursor->depth++] = l;
                /* The directory it is in was entered already; in the last one it stands before the
                 * entry, or behind. */
                bool last = i + 1 == place->depth;
                bool before = last && inclusive != backward;
                cursor->at[i] =
                        (uint32_t) MIN(place->at[i] + (last ? !before : !backward), l->n_entries);
                if (last)
                        break;
                if (place->at[i] >= l->n_entries || l->entries[place->at[i]].kind != ENTRY_DIR)
                        return 0;
                tree = l->entries[place->at[i]].oid;
        }
        return 1;
}

bool walk_cursor_place(const WalkCursor *cursor, WalkPlace *ret) {
        ret->depth = cursor->depth;
        for (unsigned i = 0; i < cursor->depth; i++) {
                bool entered = i + 1 < cursor->depth;
                /* Of the directories that were entered at[] stands behind (or before) them already.
                 */
                ret->at[i] = cursor->at[i] - (cursor->backward ? !entered : entered);
        }
        return cursor->depth >= cursor->scope;
}

uint64_t walk_cost(uint64_t size) {
        return blob_want_bytes(&(BlobWant){.size = size}) + FILE_COST;
}

void walk_gather_done(WalkGather *g) {
        free(g->wants);
        free(g->names);
        g->wants = NULL;
        g->names = NULL;
        g->n = g->cap = g->n_names = g->cap_names = 0;
}

static int add_name(WalkGather *g, const Oid *oid) {
        int r = ARRAY_RESERVE(g->names, g->cap_names, g->n_names + 1);

        if (r >= 0)
                g->names[g->n_names++] = (FetchName){.oid = *oid};
        return MIN(r, 0);
}

int walk_gather_add(WalkGather *g, const Oid *oid, uint64_t size) {
        int r = ARRAY_RESERVE(g->wants, g->cap, g->n + 1);
        if (r < 0)
                return r;
        g->wants[g->n++] = (BlobWant){.oid = *oid, .size = size};
        g->cost += walk_cost(size);
        return 0;
}

static void enter(WalkCursor *cursor, const WalkGather *g, Listing *child) {
        cursor->at[cursor->depth] = cursor->backward ? (uint32_t) child->n_entries : 0;
        cursor->marks[cursor->depth] = (WalkMark){
                .entered = !g->symlinks_only,
                .n_names = g->n_names,
                .new_cost = g->new_cost,
                .all_cost = g->all_cost,
        };
        cursor->stack[cursor->depth++] = child;
}

/* Of a directory that was gone through, and of which nearly all is wanted, the tree says that in
 * one word. There is room for it where one goes. */
static void leave(WalkCursor *cursor, WalkGather *g) {
        Listing *l = cursor->stack[--cursor->depth];
        const WalkMark *mark = &cursor->marks[cursor->depth];

        if (mark->entered && g->n_names > mark->n_names &&
            FETCH_NEARLY_ALL(g->new_cost - mark->new_cost, g->all_cost - mark->all_cost)) {
                g->names[mark->n_names] = (FetchName){.oid = l->oid, .is_tree = true};
                g->n_names = mark->n_names + 1;
        }
        listing_unref(l);
}

/* What is below these is not all known: their trees would bring more than was gathered. */
static void pass_over(WalkCursor *cursor) {
        for (unsigned i = 0; i < cursor->depth; i++)
                cursor->marks[i].entered = false;
}

/* The next blob, or NULL at the end, or where enough was looked at: a few trees can stand for more
 * directories than anybody can go through, and hold no blob at all. */
static ListingEntry *next_blob(WalkCursor *cursor, WalkGather *g) {
        while (cursor->depth >= cursor->scope && g->n_looked < g->max_looked) {
                unsigned top = cursor->depth - 1;
                Listing *l = cursor->stack[top];
                uint32_t *at = &cursor->at[top];
                if (cursor->backward ? *at == 0 : *at >= l->n_entries) {
                        leave(cursor, g);
                        continue;
                }
                ListingEntry *e = &l->entries[cursor->backward ? --*at : (*at)++];
                g->n_looked++;
                if (entry_is_blob(e))
                        return e;
                if (e->kind != ENTRY_DIR)
                        continue;
                Listing *child = cursor->flat || cursor->depth == WALK_DEPTH_MAX
                                         ? NULL
                                         : tree_listing(cursor->ns, &e->oid);
                if (child)
                        enter(cursor, g, child);
                else /* not here: the walk only takes what costs nothing */
                        pass_over(cursor);
        }
        return NULL;
}

static bool is_full(const WalkGather *g) {
        return (g->max_cost > 0 && g->cost >= g->max_cost) || g->n_looked >= g->max_looked;
}

/* True once the cursor, going forward, has come to `stop`. */
static bool is_past(const WalkCursor *cursor, const WalkPlace *stop) {
        WalkPlace here;

        return stop && (!walk_cursor_place(cursor, &here) || walk_place_compare(&here, stop) > 0);
}

int walk_gather(WalkGather *g, WalkCursor *cursor, const WalkPlace *stop) {
        Store *store = cursor->ns->context->store;

        while (!is_full(g)) {
                ListingEntry *e = next_blob(cursor, g);
                if (!e && is_full(g))
                        break;
                if (!e || is_past(cursor, stop))
                        return 1;
                if (g->symlinks_only && e->kind != ENTRY_SYMLINK)
                        continue;
                uint64_t size = listing_size(e);
                bool known = size != SIZE_UNKNOWN;
                if (!known && g->guess > 0)
                        size = g->guess;
                g->all_cost += walk_cost(size);
                if (store_has(store, STORE_OBJECT, &e->oid))
                        continue;
                if (g->max_object_size > 0 && known && size > g->max_object_size) {
                        g->n_skipped++;
                        continue;
                }
                int r = walk_gather_add(g, &e->oid, size);
                if (r >= 0 && demand_blob_is_missing(cursor->ns, cursor->repo, &e->oid)) {
                        g->n_new++;
                        g->new_cost += walk_cost(size);
                        r = add_name(g, &e->oid);
                }
                if (r < 0)
                        return r;
        }
        return 0;
}
