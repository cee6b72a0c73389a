#include "tree/walk.h"

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"

/* Misses further apart than this are not one walk. */
#define WALK_GAP_USEC (2 * USEC_PER_SEC)
#define WALK_FIRST_WINDOW 16
#define WALK_GROWTH 4
#define READ_AHEAD_MAX_FILES 4000
#define READ_AHEAD_MAX_LINKS 1000
#define READ_AHEAD_MAX_BYTES (64u << 20)
/* Large files are left to who wants them, until it is certain that all are wanted. */
#define READ_AHEAD_MAX_SIZE (1u << 20)
#define READ_AHEAD_MAX_SIZE_PER_FILE 4096
#define READ_AHEAD_MIN_MARKED 64
/* Where nearly all is here already, looking for the rest must not cost more than it saves. */
#define READ_AHEAD_MAX_LOOKED 20000
#define READ_AHEAD_MAX_LOOKED_LINKS 100000

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
        if (!entry_is_blob(e) || (limits->symlinks_only && e->kind != ENTRY_SYMLINK))
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
               (limits->max_bytes > 0 && walk->bytes >= limits->max_bytes) ||
               (limits->max_looked > 0 && walk->n_looked >= limits->max_looked);
}

/* Some entries of one directory, one after the other, forward or backward. */
typedef struct WalkRun {
        Listing *listing; /* borrowed from the walk */
        size_t start;     /* the first entry; backward: the one behind the first */
        size_t n, done;
} WalkRun;

static WalkRun run_of_all(Listing *l, const WalkLimits *limits) {
        return (WalkRun){
                .listing = l,
                .start = limits->backward ? l->n_entries : 0,
                .n = l->n_entries,
        };
}

static ListingEntry *run_next(WalkRun *run, const WalkLimits *limits) {
        size_t i = run->done++;

        return &run->listing->entries[limits->backward ? run->start - 1 - i : run->start + i];
}

/* Takes the blobs of one directory. */
static int
take_blobs(Namespace *ns, WalkRun run, const WalkLimits *limits, bool first, Walk *walk) {
        int r = add_listing(walk, run.listing);

        while (r >= 0 && run.done < run.n && !full(walk, limits, first)) {
                ListingEntry *e = run_next(&run, limits);
                walk->n_looked++;
                if (!wanted(ns, e, limits))
                        continue;
                r = add_item(walk, run.listing, e);
                uint64_t size = listing_size(e);
                walk->bytes += size == SIZE_UNKNOWN ? 0 : size;
        }
        return r;
}

/* git's own limit on nesting is the path length; a hostile tree can be deeper than any stack. */
#define WALK_MAX_DEPTH 2048

static int
walk_run(Namespace *ns, const WalkRun *from, const WalkLimits *limits, bool first, Walk *walk) {
        _cleanup_free_ WalkRun *stack = calloc(WALK_MAX_DEPTH, sizeof(*stack));
        size_t depth = 0;
        const NsCall call = {.flags = NS_MAY_BLOCK};

        if (!stack)
                return -ENOMEM;
        int r = from->n == from->listing->n_entries
                        ? oid_set_add(&walk->entered, &from->listing->oid)
                        : 1;
        if (r <= 0)
                return r;
        r = take_blobs(ns, *from, limits, first, walk);
        if (r < 0)
                return r;
        stack[depth++] = *from;
        while (depth > 0 && !full(walk, limits, false)) {
                WalkRun *top = &stack[depth - 1];
                if (top->done == top->n) {
                        depth--;
                        continue;
                }
                const ListingEntry *e = run_next(top, limits);
                if (e->kind != ENTRY_DIR)
                        continue;
                _cleanup_(listing_unrefp) Listing *l = NULL;
                if (depth == WALK_MAX_DEPTH || ns_listing(ns, &call, NULL, &e->oid, &l) <= 0)
                        continue; /* not here: the walk only takes what costs nothing */
                r = oid_set_add(&walk->entered, &l->oid);
                if (r == 0)
                        continue;
                stack[depth] = run_of_all(l, limits);
                if (r > 0)
                        r = take_blobs(ns, stack[depth++], limits, false, walk);
                if (r < 0)
                        return r;
        }
        return 0;
}

int walk_below(Namespace *ns, Listing *from, const WalkLimits *limits, Walk *walk) {
        const WalkRun run = run_of_all(from, limits);

        return walk_run(ns, &run, limits, true, walk);
}

size_t walk_window(Checkout *c, size_t max) {
        uint64_t now = now_usec();
        uint64_t last = atomic_exchange_explicit(&c->last_miss_usec, now, memory_order_relaxed);
        unsigned window = atomic_load_explicit(&c->window, memory_order_relaxed);

        uint64_t gaps = (now - last) / WALK_GAP_USEC;
        if (gaps > 0) {
                /* A pause may only be a server that takes its time for the last batch. */
                window = gaps < 8 ? window >> (2 * gaps) : 0;
                if (window < WALK_FIRST_WINDOW)
                        window = 0;
        } else
                window = window == 0 ? WALK_FIRST_WINDOW : MIN(window * WALK_GROWTH, 1u << 16);
        atomic_store_explicit(&c->window, window, memory_order_relaxed);
        return MIN((size_t) window, max);
}

/* The directory's listing as it is now, and what a walk meets in it after `child`. */
static int
locate(Namespace *ns,
       Checkout *c,
       const Node *child,
       const WalkLimits *limits,
       Listing **ret,
       WalkRun *ret_run) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        Oid tree = checkout_dir_tree(c, child->parent);

        if (oid_is_none(&tree))
                return 0;
        int r = ns_listing(ns, &call, c, &tree, ret);
        if (r <= 0)
                return 0;
        Listing *l = *ret;
        const ListingEntry *e = listing_find(l, child->name, child->name_len);
        size_t i = e ? (size_t) (e - l->entries) : l->n_entries;
        if (limits->backward)
                *ret_run = (WalkRun){.listing = l, .start = i, .n = i};
        else {
                size_t start = MIN(i + 1, l->n_entries);
                *ret_run = (WalkRun){.listing = l, .start = start, .n = l->n_entries - start};
        }
        return 1;
}

/* What comes after this file, then after its directory, and so on up to the root of the repository.
 */
static void walk_on(Namespace *ns, Node *file, const WalkLimits *limits, Walk *walk) {
        walk->n_looked = 0;
        for (const Node *child = file; child->kind != NODE_CHECKOUT && !full(walk, limits, false);
             child = child->parent) {
                _cleanup_(listing_unrefp) Listing *l = NULL;
                WalkRun run;
                if (locate(ns, file->checkout, child, limits, &l, &run) <= 0 ||
                    walk_run(ns, &run, limits, false, walk) < 0)
                        break;
        }
}

typedef struct ReadAhead {
        Task task;
        Namespace *ns;
        Node *file; /* a reference */
        size_t max_items;
} ReadAhead;

/* Enough of an id to know it again; 0 is no mark. */
static uint64_t mark_of(const Oid *oid) {
        uint64_t mark;

        memcpy(&mark, oid->id, sizeof(mark));
        return mark;
}

/* When the reader comes to the middle of what was asked for, it is time to ask for more. */
static void set_mark(Checkout *c, const Walk *walk) {
        if (walk->n_items < READ_AHEAD_MIN_MARKED)
                return;
        const ListingEntry *middle = walk->items[walk->n_items / 2].entry;
        atomic_store_explicit(&c->mark, mark_of(&middle->oid), memory_order_relaxed);
}

static void want_all(Namespace *ns, Repo *repo, const Walk *walk) {
        _cleanup_free_ BlobWant *wants = calloc(walk->n_items + 1, sizeof(*wants));

        if (!wants)
                return; /* nobody waits for it */
        for (size_t i = 0; i < walk->n_items; i++)
                wants[i] = (BlobWant){
                        .oid = walk->items[i].entry->oid,
                        .size = listing_size(walk->items[i].entry),
                };
        fetch_queue_ahead(ns, repo, NULL, wants, walk->n_items, FETCH_READAHEAD);
}

static void read_ahead(Namespace *ns, Node *file, size_t max_items) {
        bool links = file->kind == NODE_SYMLINK;
        uint64_t large =
                MAX((uint64_t) max_items * READ_AHEAD_MAX_SIZE_PER_FILE,
                    (uint64_t) READ_AHEAD_MAX_SIZE);
        Walk walk = {0};
        WalkLimits limits = {
                .max_items = max_items,
                .max_bytes = READ_AHEAD_MAX_BYTES,
                .max_object_size = large,
                .max_looked = links ? READ_AHEAD_MAX_LOOKED_LINKS : READ_AHEAD_MAX_LOOKED,
                .symlinks_only = links,
        };

        walk_on(ns, file, &limits, &walk);
        /* Whoever reads backwards, or in no order, has less and less before it. */
        limits.backward = true;
        walk_on(ns, file, &limits, &walk);
        want_all(ns, file->checkout->repo, &walk);
        if (!links)
                set_mark(file->checkout, &walk);
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

/* How much to ask for ahead. The targets of links are small, and whoever wants one (`ls -l`) wants
 * all of them; it need not want the files. */
static size_t read_ahead_window(Checkout *c, const Node *file) {
        if (file->kind == NODE_SYMLINK)
                return READ_AHEAD_MAX_LINKS;
        return walk_window(c, READ_AHEAD_MAX_FILES);
}

static void start_read_ahead(Namespace *ns, Node *file) {
        size_t max_items = read_ahead_window(file->checkout, file);

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

void walk_missed(Namespace *ns, Node *file) {
        Checkout *c = file->checkout;

        if (c->repo->source->objects_in_memory)
                return;
        /* Several reads of one file are one miss. */
        if (atomic_exchange_explicit(&c->last_miss_id, file->id, memory_order_relaxed) != file->id)
                start_read_ahead(ns, file);
}

void walk_read(Namespace *ns, Node *file) {
        atomic_uint_least64_t *mark = &file->checkout->mark;
        uint64_t m = mark_of(&file->oid);

        if (m == 0 || atomic_load_explicit(mark, memory_order_relaxed) != m)
                return;
        if (atomic_exchange_explicit(mark, 0, memory_order_relaxed) == m)
                start_read_ahead(ns, file);
}
