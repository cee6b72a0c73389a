/* Sizes where the server tells none without content, or where files are so tiny that those cost no
 * less: files are fetched for the sake of their sizes.
 * Whoever wants a size waits for that file alone; here it is seen to that others come with it.
 *
 *      a file of a directory that was listed (`ls -l`)    the files of that directory; of tiny ones
 *                                                         what a walk wants next, if it may begin
 *                                                         there
 *      then one of another directory below the same one   all of the rest below that, if WalkLimit=
 *                                                         allows; or a quarter of that of it
 *      and again                                          as much as WalkLimit= allows
 *
 * "The same" is the highest directory that was listed, with all those between. What follows is what
 * lies below the directory, then below the one above it, and so on; sizes that are known have come
 * by. Nobody knows how large files are before they are here: each counts as an average one, but for
 * tiny ones, of which a sample tells, or many that came. As with
 * reads (walker.c), the next window is asked for when somebody uses the second half of the last, so
 * a walk that stops is followed by nothing; the ledger (ahead.c) has the directories, with a tag on
 * those of the second half, of which the first that is used has the next window asked for.
 *
 * The files go through the repository's queue. What is fetched for one miss or one window is an
 * operation. It waits until all of it is here, for one file at a time beginning with the last, and
 * keeps the sizes of the directories that are complete: they stay known when the files have made
 * room for others. */

#include "tree/size-walk.h"

#include <errno.h>

#include "tree/ahead.h"
#include "tree/demand-sizes-ahead.h"
#include "tree/namespace-private.h"
#include "tree/walk-cursor.h"
#include "tree/walk.h"
#include "util/buf.h"

/* From one directory to the next, beside a round trip: nobody types as fast. */
#define GAP_USEC (2 * USEC_PER_SEC)
#define MAX_OWN 4000 /* files of one directory at a time */
#define MAX_WINDOWS 2
/* Files that came, to tell by them how large others are; what is tiny; and for how many more. */
#define MIN_CAME 512
#define TINY_MEAN 256
#define GROWTH 8
/* One request of tiny files takes less than the round trip that it may save. */
#define FIRST_WINDOW 2000

struct SizeWalk {
        Mutex lock;         /* guards what follows */
        Oid scope;          /* the tree that is walked */
        uint64_t dir;       /* id of the directory of the last miss */
        uint64_t usec;      /* when sizes were last missed, came, or were used */
        unsigned n_steps;   /* from one directory to another */
        unsigned n_windows; /* under way */
        unsigned window_id; /* of the last that was asked for */
};

typedef struct SizeFetch {
        Task task;
        FlightWaiter waiter; /* for files that are on their way */
        Namespace *ns;
        Checkout *checkout;     /* a reference */
        Listing *listing;       /* of the directory; a reference */
        Oid up[WALK_DEPTH_MAX]; /* the trees of those above it, up to the scope */
        size_t n_up;
        bool begins; /* nothing stands before it in all that was listed */
        unsigned window_id;
        size_t window;     /* files beyond the directory's own; 0: none */
        Walk walk;         /* what lies below; without a window only the directory */
        WalkGather gather; /* first those of the directory */
        size_t n_left;     /* of them, not yet known to be here */
} SizeFetch;

/* --- life --- */

static SizeWalk *size_walk_of(Checkout *c) {
        SizeWalk *w = atomic_load(&c->size_walk), *none = NULL;

        if (w)
                return w;
        w = calloc(1, sizeof(*w));
        if (!w)
                return NULL;
        mutex_init(&w->lock, LOCK_RANK_LEAF);
        if (atomic_compare_exchange_strong(&c->size_walk, &none, w))
                return w;
        size_walk_free(w);
        return none;
}

SizeWalk *size_walk_free(SizeWalk *w) {
        if (!w)
                return NULL;
        mutex_destroy(&w->lock);
        free(w);
        return NULL;
}

/* --- what to do --- */

static const Oid *scope_of(const SizeFetch *f) {
        return f->n_up > 0 ? &f->up[f->n_up - 1] : &f->listing->oid;
}

/* How many WalkLimit= allows. Where there was a sample (demand-sizes.c) it tells how large they
 * are. Else they are taken to be as tiny as those that came, for GROWTH times as many: what follows
 * may well be larger, but files that are not tiny differ too much to go by them. */
static size_t most_files(const SizeFetch *f) {
        uint64_t limit = ns_ahead(f->ns).walk_limit;
        Repo *repo = f->checkout->repo;
        const FetchQueue *q = &repo->queue;

        MUTEX_GUARD(&repo->lock);
        if (atomic_load(&repo->tiny))
                return limit / walk_cost(q->mean_bytes);
        size_t most = limit / walk_cost(SIZE_UNKNOWN);
        if (q->n_came < MIN_CAME || q->bytes_came > q->n_came * TINY_MEAN)
                return most;
        uint64_t more = MIN(limit / walk_cost(q->bytes_came / q->n_came), GROWTH * q->n_came);
        return MAX(most, more);
}

static bool is_recent_locked(const Checkout *c, const SizeWalk *w, uint64_t now) {
        const Source *source = c->repo->source;

        return now <
               w->usec + GAP_USEC + atomic_load_explicit(&source->rtt_usec, memory_order_relaxed);
}

static bool goes_on_locked(const SizeWalk *w, const SizeFetch *f, uint64_t dir, uint64_t now) {
        return f->n_up > 0 && is_recent_locked(f->checkout, w, now) && w->dir != dir &&
               oid_equal(&w->scope, scope_of(f));
}

/* More than this directory is about to be fetched. */
static bool goes_on(SizeWalk *w, const SizeFetch *f, uint64_t dir) {
        uint64_t now = now_usec();

        MUTEX_GUARD(&w->lock);
        return goes_on_locked(w, f, dir, now);
}

/* Somebody came to this directory, and finds sizes there or not. How many files to fetch ahead. */
static size_t plan_window(SizeWalk *w, const SizeFetch *f, uint64_t dir, bool missed) {
        uint64_t now = now_usec();
        size_t most = most_files(f);

        MUTEX_GUARD(&w->lock);
        bool next = goes_on_locked(w, f, dir, now);
        w->usec = now;
        w->scope = *scope_of(f);
        w->dir = dir;
        w->n_steps = next ? w->n_steps + 1 : 0;
        if (most == 0 || w->n_windows == MAX_WINDOWS)
                return 0;
        if (!next)
                return f->begins ? MIN(most, (size_t) FIRST_WINDOW) : 0;
        return missed && w->n_steps == 1 ? MAX(most / 4, (size_t) 1) : most;
}

bool size_walk_is_on(Checkout *c) {
        SizeWalk *w = atomic_load(&c->size_walk);
        uint64_t now = now_usec();

        if (!w)
                return false;
        MUTEX_GUARD(&w->lock);
        return w->n_steps > 0 && is_recent_locked(c, w, now);
}

/* The trees of the directories above, as far as they were listed. */
static void list_above(SizeFetch *f, const Node *dir) {
        MUTEX_GUARD(&f->checkout->lock);
        while (dir->kind == NODE_DIR && f->n_up < WALK_DEPTH_MAX) {
                Node *up = node_parent(dir);
                if (!(node_dir(up)->flags & DIR_LISTED))
                        break;
                f->up[f->n_up++] = node_shown(up)->tree;
                dir = up;
        }
}

/* --- fetching --- */

/* The files of the directory, from the one that is missed on, and then those before it. */
static int gather_own(SizeFetch *f, const ListingEntry *missed) {
        const Listing *l = f->listing;
        size_t first = (size_t) (missed - l->entries);
        int r = 0;

        for (size_t i = 0; i < l->n_entries && f->gather.n < MAX_OWN && r >= 0; i++) {
                ListingEntry *e = &l->entries[(first + i) % l->n_entries];
                if (entry_is_blob(e) && ns_entry_size(f->ns, e) == SIZE_UNKNOWN)
                        r = walk_gather_add(&f->gather, &e->oid, SIZE_UNKNOWN);
        }
        return r;
}

/* What comes next, at most `max` files. 1: that is all below the scope; 0: a part; < 0. */
static int walk_next(SizeFetch *f, size_t max) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        const WalkLimits limits = {.max_items = max, .missing_sizes_only = true};

        int r = walk_below(f->ns, f->listing, &limits, &f->walk);
        for (size_t i = 0; i < f->n_up && f->walk.n_items < max && r >= 0; i++) {
                _cleanup_(listing_unrefp) Listing *l = NULL;
                if (ns_listing(f->ns, &call, NULL, &f->up[i], &l) > 0)
                        r = walk_below(f->ns, l, &limits, &f->walk);
        }
        return r < 0 ? r : f->walk.n_items < max;
}

static void note_directories(const SizeFetch *f, size_t n, bool more) {
        const Listing *last = f->listing;

        for (size_t i = 0; i < n; i++) {
                const Listing *l = f->walk.items[i].listing;
                unsigned tag = more && (f->begins || i >= n / 2) ? f->window_id : 0;
                if (l != last && l != f->listing)
                        ahead_note_tagged(AHEAD_CHILDREN, &l->oid, tag);
                last = l;
        }
}

static bool is_missing(const SizeFetch *f, const ListingEntry *e) {
        return demand_blob_is_missing(f->ns, f->checkout->repo, &e->oid);
}

/* Its size is not known, and it is not on its way. */
static bool is_wanted(const SizeFetch *f, const ListingEntry *e) {
        return entry_is_blob(e) && listing_size(e) == SIZE_UNKNOWN && is_missing(f, e);
}

/* Its tree was here: what is below it is wanted, too. */
static bool is_entered(const SizeFetch *f, const ListingEntry *e) {
        return oid_set_has(&f->walk.entered, &e->oid);
}

static bool is_whole(const SizeFetch *f, const Listing *l, const OidSet *parts) {
        for (size_t i = 0; i < l->n_entries; i++) {
                const ListingEntry *e = &l->entries[i];
                if (e->kind == ENTRY_DIR ? !is_entered(f, e) || oid_set_has(parts, &e->oid)
                                         : entry_is_blob(e) && !is_wanted(f, e))
                        return false;
        }
        return true;
}

/* The trees of which a part is wanted: those from the scope down to this directory, and where
 * something is here or on its way. 0 or -ENOMEM. */
static int find_parts(const SizeFetch *f, OidSet *ret) {
        int r = oid_set_add(ret, &f->listing->oid);

        for (size_t i = 0; i < f->n_up && r >= 0; i++)
                r = oid_set_add(ret, &f->up[i]);
        /* From the end: what is below a directory comes behind it. */
        for (size_t i = f->walk.n_listings; i > 0 && r >= 0; i--)
                if (!is_whole(f, f->walk.listings[i - 1], ret))
                        r = oid_set_add(ret, &f->walk.listings[i - 1]->oid);
        return MIN(r, 0);
}

static int add_name(Buf *names, const Oid *oid, bool is_tree) {
        const FetchName name = {.oid = *oid, .is_tree = is_tree};

        return buf_append(names, &name, sizeof(name));
}

/* All of the rest in few words: directories that are wanted whole, and what is missing in others.
 */
static int name_rest(const SizeFetch *f, Buf *ret) {
        _cleanup_oid_set_ OidSet parts = {0};

        int r = find_parts(f, &parts);
        for (size_t i = 0; i < f->walk.n_listings && r >= 0; i++) {
                const Listing *l = f->walk.listings[i];
                if (!oid_set_has(&parts, &l->oid))
                        continue;
                for (size_t j = 0; j < l->n_entries && r >= 0; j++) {
                        const ListingEntry *e = &l->entries[j];
                        if (e->kind == ENTRY_DIR && is_entered(f, e) &&
                            !oid_set_has(&parts, &e->oid))
                                r = add_name(ret, &e->oid, /* is_tree= */ true);
                        else if (is_wanted(f, e))
                                r = add_name(ret, &e->oid, /* is_tree= */ false);
                }
        }
        return r;
}

/* The names to ask for instead of the n files of the walk, in *ret; none where that would be no
 * shorter. */
static void name_window(const SizeFetch *f, size_t n, Buf *ret) {
        if (n < FETCH_NAMED_MIN || name_rest(f, ret) < 0 ||
            !fetch_names_pay(ret->len / sizeof(FetchName), n))
                ret->len = 0;
}

static int fetch_window(SizeFetch *f) {
        SizeWalk *w = size_walk_of(f->checkout);
        _cleanup_buf_ Buf names = {0};
        size_t n_own = f->gather.n;

        mutex_lock(&w->lock);
        w->n_windows++;
        f->window_id = w->window_id = w->window_id % AHEAD_TAG_MAX + 1;
        mutex_unlock(&w->lock);
        int r = walk_next(f, f->begins ? f->window : most_files(f));
        if (r < 0)
                return r;
        bool all = r > 0;
        size_t n = all ? f->walk.n_items : MIN(f->walk.n_items, f->window);
        for (size_t i = 0; i < n; i++) {
                r = walk_gather_add(&f->gather, &f->walk.items[i].entry->oid, SIZE_UNKNOWN);
                if (r < 0)
                        return r;
        }
        if (all)
                name_window(f, n, &names);
        note_directories(f, n, !all);
        const BlobWants blobs = {
                .wants = f->gather.wants + n_own,
                .n = n,
                .names = (const FetchName *) (const void *) names.data,
                .n_names = names.len / sizeof(FetchName),
        };
        fetch_queue_ahead(f->ns, f->checkout->repo, LANE_READAHEAD, &blobs);
        return 0;
}

static void size_fetch_free(SizeFetch *f) {
        Namespace *ns = f->ns;

        walk_done(&f->walk);
        walk_gather_done(&f->gather);
        listing_unref(f->listing);
        checkout_unref(f->checkout);
        free(f);
        ns_operation_end(ns);
}

static void finish(SizeFetch *f) {
        SizeWalk *w = size_walk_of(f->checkout);

        ns_keep_sizes(f->ns, f->checkout->repo->source, f->walk.listings, f->walk.n_listings);
        mutex_lock(&w->lock);
        w->usec = now_usec();
        w->n_windows -= f->window > 0;
        mutex_unlock(&w->lock);
        size_fetch_free(f);
}

/* What does not come is no error of anybody here: who waits for it is told. */
static void await_rest(SizeFetch *f) {
        Repo *repo = f->checkout->repo;

        while (f->n_left > 0)
                if (demand_blob_follow(f->ns, &f->waiter, repo, &f->gather.wants[--f->n_left].oid))
                        return; /* file_landed() goes on */
        finish(f);
}

static void file_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        await_rest(container_of(waiter, SizeFetch, waiter));
}

/* Lands when the window has been asked for. */
static FlightKey window_key(const Checkout *c) {
        return (FlightKey){.scope = c, .kind = DEMAND_SIZE_WINDOW};
}

/* Without memory for the window there is none. */
static void run(Task *task) {
        SizeFetch *f = container_of(task, SizeFetch, task);
        const WalkLimits own = {.missing_sizes_only = true};

        if (f->window > 0) {
                const FlightKey key = window_key(f->checkout);
                (void) fetch_window(f);
                flight_land(f->ns->flights, &key, 0, NULL);
        } else
                (void) walk_below(f->ns, f->listing, &own, &f->walk);
        f->n_left = f->gather.n;
        await_rest(f);
}

static void start(SizeFetch *f, uint64_t dir, bool missed) {
        const FlightKey key = window_key(f->checkout);

        size_t window = plan_window(size_walk_of(f->checkout), f, dir, missed);
        /* One at a time: whoever misses something meanwhile waits for it. */
        if (window > 0 && flight_join(f->ns->flights, &key, NULL) > 0)
                f->window = window;
        pool_submit(f->ns->context->pool, &f->task, TASK_NORMAL);
}

/* Nobody but a walk begins with the first of several directories that were listed. What it wants
 * next may be fetched at once where that is little. */
static bool begins_walk(Namespace *ns, const Node *dir) {
        unsigned n_listed, n_first;
        WalkPlace place;

        return atomic_load(&node_checkout(dir)->repo->tiny) && ns_ahead(ns).sibling_limit > 0 &&
               dir->kind == NODE_DIR && walk_place_find(ns, dir, &place, &n_listed, &n_first) > 0 &&
               n_listed > 1 && n_first >= n_listed;
}

static SizeFetch *size_fetch_new(Namespace *ns, const Node *dir, Listing *l) {
        void *memory;

        if (!size_walk_of(node_checkout(dir)) || demand_begin(ns, sizeof(SizeFetch), &memory) < 0)
                return NULL;
        SizeFetch *f = memory;
        f->ns = ns;
        f->checkout = checkout_ref(node_checkout(dir));
        f->listing = listing_ref(l);
        f->waiter.landed = file_landed;
        f->task.run = run;
        list_above(f, dir);
        return f;
}

/* A window is being gathered that the file is likely to be in: asking for it alone would cost a
 * request, and say nothing about the walk. 1: the call waits for it; 0: there is none; < 0. */
static int wait_for_window(Namespace *ns, const NsCall *call, Checkout *c) {
        const FlightKey key = window_key(c);

        return demand_wait(ns, call, &key);
}

int size_walk_missed(
        Namespace *ns, const NsCall *call, Node *dir, Listing *l, const ListingEntry *missed) {
        Repo *repo = node_checkout(dir)->repo;

        if (demand_blob_is_coming(repo, &missed->oid))
                return 0;
        int r = wait_for_window(ns, call, node_checkout(dir));
        if (r != 0)
                return r > 0 ? NS_PARKED : r;
        SizeFetch *f = size_fetch_new(ns, dir, l);
        if (!f)
                return 0; /* it comes alone */
        f->begins = begins_walk(ns, dir);
        /* What is walked over is known when all trees are here. */
        r = f->begins || goes_on(size_walk_of(f->checkout), f, dir->id)
                    ? demand_trees(ns, call, f->checkout)
                    : 1;
        if (r != 1) {
                size_fetch_free(f);
                return r;
        }
        if (gather_own(f, missed) >= 0) {
                const BlobWants own = {.wants = f->gather.wants, .n = f->gather.n};
                fetch_queue_ahead(ns, repo, LANE_WAITING, &own);
        }
        start(f, dir->id, /* missed= */ true);
        return 0;
}

/* It is in the second half of the last window; else it only shows that the walk goes on. */
static bool is_due(SizeWalk *w, const Checkout *c, unsigned tag) {
        uint64_t now = now_usec();

        MUTEX_GUARD(&w->lock);
        if (tag != 0 && tag == w->window_id)
                return true;
        if (is_recent_locked(c, w, now))
                w->usec = now;
        return false;
}

void size_walk_used(Namespace *ns, Node *dir, Listing *l) {
        AheadPolicy policy;
        unsigned tag;

        if (!ahead_take(&l->oid, &policy, &tag) || policy != AHEAD_CHILDREN)
                return;
        Checkout *c = node_checkout(dir);
        SizeWalk *w = atomic_load(&c->size_walk);
        if (!w) {
                demand_sizes_walked(ns, c, l, tag); /* the server is asked for sizes */
                return;
        }
        if (!is_due(w, c, tag))
                return;
        SizeFetch *f = size_fetch_new(ns, dir, l);
        if (f) /* else it is asked for when it is missed */
                start(f, dir->id, /* missed= */ false);
}
