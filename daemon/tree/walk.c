#include "tree/walk.h"

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"

/* Misses further apart than this are not one walk. */
#define WALK_GAP_USEC (2 * USEC_PER_SEC)
#define WALK_FIRST_WINDOW 16
#define READ_AHEAD_MAX_FILES 2000
/* Where nearly all is here already, looking for the rest must not cost more than it saves. */
#define READ_AHEAD_MAX_LOOKED 20000
#define READ_AHEAD_MAX_BYTES (16u << 20)
#define READ_AHEAD_MAX_SIZE (1u << 20)

static int add_item(Walk *walk, Listing *l, ListingEntry *e) {
        if (walk->n_items == walk->cap_items) {
                size_t cap = walk->cap_items ? walk->cap_items * 2 : 256;
                WalkItem *items = realloc(walk->items, cap * sizeof(*items));
                if (!items)
                        return -ENOMEM;
                walk->items = items;
                walk->cap_items = cap;
        }
        walk->items[walk->n_items++] = (WalkItem){.entry = e, .listing = l};
        return 0;
}

static int add_listing(Walk *walk, Listing *l) {
        if (walk->n_listings == walk->cap_listings) {
                size_t cap = walk->cap_listings ? walk->cap_listings * 2 : 64;
                Listing **listings = realloc(walk->listings, cap * sizeof(Listing *));
                if (!listings)
                        return -ENOMEM;
                walk->listings = listings;
                walk->cap_listings = cap;
        }
        walk->listings[walk->n_listings++] = listing_ref(l);
        return 0;
}

void walk_done(Walk *walk) {
        for (size_t i = 0; i < walk->n_listings; i++)
                listing_unref(walk->listings[i]);
        free(walk->listings);
        free(walk->items);
        oid_set_done(&walk->entered);
        *walk = (Walk){0};
}

static bool wanted(Namespace *ns, ListingEntry *e, const WalkLimits *limits) {
        if (!entry_is_blob(e))
                return false;
        uint64_t size = ns_entry_size(ns, e);
        if (limits->missing_sizes_only)
                return size == SIZE_UNKNOWN;
        if (limits->max_object_size > 0 && size != SIZE_UNKNOWN && size > limits->max_object_size)
                return false;
        return limits->all || !store_has(ns->context->store, STORE_OBJECT, &e->oid);
}

static bool full(const Walk *walk, const WalkLimits *limits, bool first) {
        if (first && limits->whole_first_listing)
                return false;
        return walk->n_items >= limits->max_items ||
               (limits->max_looked > 0 && walk->n_looked >= limits->max_looked) ||
               (limits->max_bytes > 0 && walk->bytes >= limits->max_bytes);
}

/* Takes the blobs of one directory, from entry `at` on. */
static int
take_blobs(Namespace *ns, Listing *l, size_t at, const WalkLimits *limits, bool first, Walk *walk) {
        int r = add_listing(walk, l);

        for (size_t i = at; r >= 0 && i < l->n_entries && !full(walk, limits, first); i++) {
                ListingEntry *e = &l->entries[i];
                walk->n_looked++;
                if (!wanted(ns, e, limits))
                        continue;
                r = add_item(walk, l, e);
                uint64_t size = listing_size(e);
                walk->bytes += size == SIZE_UNKNOWN ? 0 : size;
        }
        return r;
}

typedef struct WalkFrame {
        Listing *listing; /* borrowed from the walk */
        size_t at;
} WalkFrame;

/* git's own limit on nesting is the path length; a hostile tree can be deeper than any stack. */
#define WALK_MAX_DEPTH 2048

static int walk_from(
        Namespace *ns, Listing *from, size_t at, const WalkLimits *limits, bool first, Walk *walk) {
        _cleanup_free_ WalkFrame *stack = calloc(WALK_MAX_DEPTH, sizeof(*stack));
        size_t depth = 0;
        const NsCall call = {.flags = NS_MAY_BLOCK};

        if (!stack)
                return -ENOMEM;
        int r = at == 0 ? oid_set_add(&walk->entered, &from->oid) : 1;
        if (r <= 0)
                return r;
        r = take_blobs(ns, from, at, limits, first, walk);
        if (r < 0)
                return r;
        stack[depth++] = (WalkFrame){.listing = from, .at = at};
        while (depth > 0 && !full(walk, limits, false)) {
                WalkFrame *f = &stack[depth - 1];
                if (f->at == f->listing->n_entries) {
                        depth--;
                        continue;
                }
                const ListingEntry *e = &f->listing->entries[f->at++];
                if (e->kind != ENTRY_DIR)
                        continue;
                _cleanup_(listing_unrefp) Listing *l = NULL;
                if (depth == WALK_MAX_DEPTH || ns_listing(ns, &call, NULL, &e->oid, &l) <= 0)
                        continue; /* not here: the walk only takes what costs nothing */
                r = oid_set_add(&walk->entered, &l->oid);
                if (r == 0)
                        continue;
                if (r > 0)
                        r = take_blobs(ns, l, 0, limits, false, walk);
                if (r < 0)
                        return r;
                stack[depth++] = (WalkFrame){.listing = l};
        }
        return 0;
}

int walk_below(Namespace *ns, Listing *from, const WalkLimits *limits, Walk *walk) {
        return walk_from(ns, from, 0, limits, true, walk);
}

size_t walk_window(Checkout *c, size_t max) {
        uint64_t now = now_usec();
        uint64_t last = atomic_exchange_explicit(&c->last_miss_usec, now, memory_order_relaxed);
        unsigned window = atomic_load_explicit(&c->window, memory_order_relaxed);

        if (now - last > WALK_GAP_USEC)
                window = 0;
        else
                window = window == 0 ? WALK_FIRST_WINDOW : MIN(window * 2, 1u << 16);
        atomic_store_explicit(&c->window, window, memory_order_relaxed);
        return MIN((size_t) window, max);
}

/* The directory's listing as it is now, and where `name` stands in it. */
static int
locate(Namespace *ns, Checkout *c, Node *dir, const Node *child, Listing **ret, size_t *ret_at) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        Oid tree = checkout_dir_tree(c, dir);

        if (oid_is_none(&tree))
                return 0;
        int r = ns_listing(ns, &call, c, &tree, ret);
        if (r <= 0)
                return 0;
        const ListingEntry *e = listing_find(*ret, child->name, child->name_len);
        *ret_at = e ? (size_t) (e - (*ret)->entries) + 1 : (*ret)->n_entries;
        return 1;
}

typedef struct ReadAhead {
        Task task;
        Namespace *ns;
        Node *file; /* a reference */
        size_t max_items;
} ReadAhead;

static void read_ahead(Namespace *ns, Node *file, size_t max_items) {
        Checkout *c = file->checkout;
        Walk walk = {0};
        const WalkLimits limits = {
                .max_items = max_items,
                .max_looked = READ_AHEAD_MAX_LOOKED,
                .max_bytes = READ_AHEAD_MAX_BYTES,
                .max_object_size = READ_AHEAD_MAX_SIZE,
        };
        const Node *child = file;

        /* After this file, then after its directory, and so on up to the root of the repository.
         * Some walk backwards: where little is missing ahead, what stands just before is taken too.
         */
        while (!full(&walk, &limits, false) && child->kind != NODE_CHECKOUT) {
                _cleanup_(listing_unrefp) Listing *l = NULL;
                size_t at;
                if (locate(ns, c, child->parent, child, &l, &at) <= 0)
                        break;
                if (walk_from(ns, l, at, &limits, false, &walk) < 0 ||
                    walk_from(ns, l, at > max_items ? at - max_items : 0, &limits, false, &walk) <
                            0)
                        break;
                child = child->parent;
        }
        const NsCall call = {0};
        for (size_t i = 0; i < walk.n_items; i++)
                (void) demand_blob(ns, &call, c->repo, &walk.items[i].entry->oid, FETCH_READAHEAD);
        walk_done(&walk);
}

static void read_ahead_run(Task *task) {
        ReadAhead *ra = container_of(task, ReadAhead, task);
        Namespace *ns = ra->ns;

        read_ahead(ns, ra->file, ra->max_items);
        node_table_put(ns->nodes, ra->file);
        free(ra);
        ns_operation_end(ns);
}

void walk_missed(Namespace *ns, Node *file) {
        Checkout *c = file->checkout;

        if (c->repo->source->objects_in_memory)
                return;
        /* Several reads of one file are one miss. */
        if (atomic_exchange_explicit(&c->last_miss_id, file->id, memory_order_relaxed) == file->id)
                return;
        size_t max_items = walk_window(c, READ_AHEAD_MAX_FILES);
        if (max_items == 0 || ns_operation_begin(ns) < 0)
                return;
        ReadAhead *ra = calloc(1, sizeof(*ra));
        if (!ra) {
                ns_operation_end(ns);
                return;
        }
        ra->task.run = read_ahead_run;
        ra->ns = ns;
        ra->file = node_ref(file);
        ra->max_items = max_items;
        pool_submit(ns->context->pool, &ra->task, TASK_BACKGROUND);
}
