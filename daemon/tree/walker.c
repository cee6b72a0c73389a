/* Reading ahead of a walk (`tar`, `grep -r`, a build). How much, is a bet on what was read so far:
 *
 *      a file of a directory that was listed        its small neighbours, SiblingLimit= bytes: 256K
 *                                                   are 60K packed, some 40 files, less than the
 *                                                   round trip costs on most links
 *      the first file of the directory              an eighth of that, but in the order of a walk
 *      the first of the repository, or of several   all of the rest, where it is known to be a
 *      directories that were listed                 third of WalkLimit= at most
 *      half of that, or a close miss behind it      what follows, 8 times as much; and again, up to
 *                                                   WalkLimit=
 *      half of it, from the first file of all       all of the rest, if it is half of WalkLimit= at
 *                                                   most: nobody but a walk begins there
 *      several files, and into another directory    all of the rest, up to WalkLimit=; or a quarter
 *                                                   of that of it
 *
 * With 256K, 2M, 16M, 64M a repository of 17 MB (perl) comes in one request, and one of a gigabyte
 * in some twenty windows. Bets that are lost: who reads one file after a listing has 256K fetched
 * for nothing, who stops after n bytes 8n of them, who reads the first file of all and stops, a
 * third of WalkLimit=, and who reads a few files as a walk would, all of it, which is 16M packed
 * and two seconds of a slow line. A file of a directory that nobody listed comes alone. A miss that
 * continues no walk may be one of many in no order: the window doubles with each.
 *
 * What follows (walk-plan.c) ends where the walk ends: at the highest directory above the file that
 * was listed, with all those between them; where nobody listed anything, at the highest that the
 * walk was in.
 *
 * A window is asked for when the reader is in the second half of the one before, which the ledger
 * (ahead.c) tells: it keeps for each file the walker, the window, and how far in it the file is. So
 * a walk that stops is followed by nothing, and one that goes on never waits. READs that come in
 * another order, or for a part of the files, or not at all as the kernel has them already, do no
 * harm.
 *
 * There are a few walkers per checkout, told apart by where they are. A file that is missing is
 * handled on a worker before it is asked for, so that its neighbours share its request; windows are
 * gathered in the background. A place in the tree is kept as a list of indices, so a walker that is
 * forgotten holds nothing. */

#include "tree/walker.h"

#include <errno.h>

#include "tree/ahead.h"
#include "tree/namespace-private.h"
#include "tree/walk-plan.h"

#define N_WALKERS WALK_N_SLOTS
/* Reads further apart than this are not one walk. */
#define GAP_USEC (5 * USEC_PER_SEC)
/* Up and down: from a file to one in a directory next to its own, and a bit. */
#define NEAR 4
#define GROWTH 8
#define MIN_WINDOW (UINT64_C(256) << 10) /* where SiblingLimit= does not say */
/* Files that were read before entering another directory means something. */
#define MIN_USED_CROSSING 3
#define MIN_USED 2

typedef struct Walker {
        /* Without the lock, relaxed: hints. */
        /* Last read of something that was fetched for it; 0: unused. */
        atomic_uint_least64_t read_usec;
        atomic_uint_least64_t dir; /* id of the directory of the last miss; 0: was left since */
        atomic_uint window_id;
        atomic_uint n_used; /* files of the window that were read */
        atomic_bool due;    /* there is more to ask for */

        /* Guarded by the lock: */
        WalkPlace last, next; /* the last miss; where to go on */
        unsigned scope;       /* as in WalkCursor */
        uint64_t window;      /* cost */
        bool backward;
        bool from_start; /* it began with the first file of the directory that is walked */
} Walker;

struct Walkers {
        atomic_uint n_gathering; /* windows that are being gathered and asked for */
        Mutex lock;              /* guards the walkers, and: */
        unsigned n_jumps;        /* misses that continued no walk, each close to the one before */
        uint64_t jump_usec;
        Walker walkers[N_WALKERS];
};

/* --- life --- */

static Walkers *walkers_of(Checkout *c) {
        Walkers *w = atomic_load(&c->walkers), *none = NULL;

        if (w)
                return w;
        w = calloc(1, sizeof(*w));
        if (!w)
                return NULL;
        mutex_init(&w->lock, LOCK_RANK_LEAF);
        if (atomic_compare_exchange_strong(&c->walkers, &none, w))
                return w;
        walkers_free(w);
        return none;
}

Walkers *walkers_free(Walkers *walkers) {
        if (!walkers)
                return NULL;
        mutex_destroy(&walkers->lock);
        free(walkers);
        return NULL;
}

/* --- what to do --- */

typedef struct WalkMiss {
        WalkPlace place;
        unsigned n_listed; /* directories, its own and above */
        unsigned n_first;  /* of directories, its own and above, whose first file it is */
} WalkMiss;

/* A walker who waits for a slow line is no later than what he waits for. */
static bool is_recent(const Checkout *c, const Walker *walker, uint64_t now) {
        uint64_t last = atomic_load_explicit(&walker->read_usec, memory_order_relaxed);
        uint64_t came = atomic_load_explicit(&c->repo->queue.ahead_usec, memory_order_relaxed);

        return last != 0 && MAX(last, came) + GAP_USEC > now;
}

/* The walker that is about there. */
static Walker *find_near(const Checkout *c, Walkers *w, const WalkPlace *place, uint64_t now) {
        Walker *best = NULL;
        unsigned best_distance = NEAR + 1;

        for (size_t i = 0; i < N_WALKERS; i++) {
                Walker *walker = &w->walkers[i];
                if (!is_recent(c, walker, now))
                        continue;
                unsigned distance =
                        MIN(walk_place_distance(place, &walker->last),
                            walk_place_distance(place, &walker->next));
                if (distance < best_distance) {
                        best_distance = distance;
                        best = walker;
                }
        }
        return best;
}

static Walker *find_oldest(Walkers *w) {
        Walker *oldest = &w->walkers[0];

        for (size_t i = 1; i < N_WALKERS; i++)
                if (atomic_load_explicit(&w->walkers[i].read_usec, memory_order_relaxed) <
                    atomic_load_explicit(&oldest->read_usec, memory_order_relaxed))
                        oldest = &w->walkers[i];
        return oldest;
}

static void next_window(Walker *walker, uint64_t window, WalkPlan *plan) {
        walker->window = window;
        atomic_store_explicit(&walker->due, false, memory_order_relaxed);
        atomic_store_explicit(&walker->n_used, 0, memory_order_relaxed);
        plan->window_id =
                atomic_fetch_add_explicit(&walker->window_id, 1, memory_order_relaxed) + 1;
        plan->window = window;
        plan->scope = walker->scope;
        plan->backward = walker->backward;
}

/* What windows grow from. */
static uint64_t base_window(const NsAhead *limits) {
        return limits->sibling_limit > 0 ? limits->sibling_limit : MIN_WINDOW;
}

/* Nobody but a walk begins with the first file of all: of the repository, or of several directories
 * that were listed. */
static bool begins_walk(const WalkMiss *miss) {
        return miss->n_listed > 0 && miss->n_first >= miss->n_listed &&
               (miss->n_listed > 1 || miss->place.depth == 1);
}

/* A miss that belongs to no walk, or begins one. */
static uint64_t
first_window(Walkers *w, const WalkMiss *miss, const NsAhead *limits, uint64_t now) {
        w->n_jumps = now < w->jump_usec + GAP_USEC ? w->n_jumps + 1 : 0;
        w->jump_usec = now;
        unsigned doublings = MIN(w->n_jumps, 20u);
        if ((miss->n_listed == 0 || limits->sibling_limit == 0) && doublings-- == 0)
                return 0;
        uint64_t most = MAX(limits->walk_limit, limits->sibling_limit);
        return MIN(base_window(limits) << doublings, most);
}

static uint64_t larger_window(const Walker *walker, const NsAhead *limits) {
        uint64_t window = MAX(walker->window * GROWTH, base_window(limits));

        return limits->walk_limit > 0 ? MIN(window, limits->walk_limit) : limits->sibling_limit;
}

static void plan_miss(
        Walkers *w, const Node *file, const WalkMiss *miss, const NsAhead *limits, WalkPlan *plan) {
        uint64_t now = now_usec();
        const WalkPlace *place = &miss->place;
        unsigned scope = place->depth - miss->n_listed + (miss->n_listed > 0);

        MUTEX_GUARD(&w->lock);
        Walker *walker = find_near(node_checkout(file), w, place, now);
        uint64_t window;
        bool begins = !walker && begins_walk(miss);
        if (walker) {
                window = larger_window(walker, limits);
                scope = MIN(scope, walk_place_common(&walker->last, place) + 1);
                scope = MIN(scope, walker->scope);
                walker->backward = walk_place_compare(place, &walker->last) < 0;
        } else {
                walker = find_oldest(w);
                window = first_window(w, miss, limits, now);
                walker->backward = false;
        }
        atomic_store_explicit(&walker->read_usec, now, memory_order_relaxed);
        atomic_store_explicit(&walker->dir, node_parent(file)->id, memory_order_relaxed);
        walker->scope = scope;
        walker->from_start = miss->n_listed > 0 && scope + miss->n_first > place->depth;
        walker->last = walker->next = *place;
        next_window(walker, window, plan);
        plan->slot = (unsigned) (walker - w->walkers);
        /* Not so much that the file would have to wait for its neighbours. */
        plan->siblings = window <= limits->sibling_limit;
        if (begins && plan->siblings)
                plan->all_limit = limits->walk_limit / 3;
        plan->place = *place;
        plan->first = miss->n_first > 0;
}

/* --- fetching --- */

static void set_next(const WalkPlan *plan, const WalkPlace *next) {
        Walkers *w = walkers_of(node_checkout(plan->file));
        Walker *walker = &w->walkers[plan->slot];

        MUTEX_GUARD(&w->lock);
        if (atomic_load_explicit(&walker->window_id, memory_order_relaxed) != plan->window_id)
                return; /* another miss came meanwhile */
        walker->next = *next;
        atomic_store_explicit(&walker->due, true, memory_order_relaxed);
}

static void fetch_siblings(const WalkPlan *plan) {
        _cleanup_walk_gather_ WalkGather g = {0};

        if (walk_plan_gather_siblings(plan, &g) < 0)
                return;
        set_next(plan, &plan->place);
        walk_plan_send_siblings(plan, &g);
}

static void fetch_window(const WalkPlan *plan) {
        _cleanup_walk_gather_ WalkGather g = {0};
        WalkPlace next;

        int r = walk_plan_gather_window(plan, &g, &next);
        if (r < 0 || g.n == 0)
                return;
        if (r == 0)
                set_next(plan, &next);
        walk_plan_send_window(plan, &g, /* last= */ r > 0);
}

typedef struct WindowTask {
        Task task;
        WalkPlan plan; /* holds a reference to its file */
} WindowTask;

/* Lands when the window of this walker has been asked for. */
static FlightKey window_key(const Checkout *c, unsigned slot) {
        return (FlightKey){.scope = c, .kind = DEMAND_WALK, .id = {(uint8_t) slot}};
}

static void window_run(Task *task) {
        WindowTask *t = container_of(task, WindowTask, task);
        Namespace *ns = t->plan.ns;
        Node *file = t->plan.file;
        const FlightKey key = window_key(node_checkout(file), t->plan.slot);

        fetch_window(&t->plan);
        atomic_fetch_sub(&walkers_of(node_checkout(file))->n_gathering, 1);
        flight_land(ns->flights, &key, 0, NULL);
        node_table_put(ns->nodes, file);
        free(t);
        ns_operation_end(ns);
}

/* Where there is no memory for it, it is just as well left out. */
static void start_window(const WalkPlan *plan) {
        Namespace *ns = plan->ns;
        const FlightKey key = window_key(node_checkout(plan->file), plan->slot);
        void *memory;

        if (flight_join(ns->flights, &key, NULL) <= 0)
                return;
        if (demand_begin(ns, sizeof(WindowTask), &memory) < 0) {
                flight_land(ns->flights, &key, 0, NULL);
                return;
        }
        WindowTask *t = memory;
        t->plan = *plan;
        t->plan.file = node_ref(plan->file);
        t->task.run = window_run;
        atomic_fetch_add(&walkers_of(node_checkout(plan->file))->n_gathering, 1);
        pool_submit(ns->context->pool, &t->task, TASK_NORMAL);
}

/* 1: the call waits for it; 0: there is none; < 0. */
static int wait_for_slot(Namespace *ns, const NsCall *call, Checkout *c, unsigned slot) {
        const FlightKey key = window_key(c, slot);

        return demand_wait(ns, call, &key);
}

/* A window is being gathered that the file is likely to be in: asking for it alone would cost a
 * request, and say nothing about the walk. As above. */
static int wait_for_window(
        Namespace *ns, const NsCall *call, Checkout *c, Walkers *w, const WalkPlace *place) {
        mutex_lock(&w->lock);
        Walker *walker = find_near(c, w, place, now_usec());
        unsigned slot = walker ? (unsigned) (walker - w->walkers) : 0;
        mutex_unlock(&w->lock);
        return walker ? wait_for_slot(ns, call, c, slot) : 0;
}

int walk_missed(Namespace *ns, const NsCall *call, Node *file) {
        Checkout *c = node_checkout(file);
        const Oid oid = node_oid(file);
        NsAhead limits = ns_ahead(ns);
        WalkPlan plan = {.ns = ns, .file = file};
        WalkMiss miss;

        if (c->repo->source->objects_in_memory ||
            (limits.sibling_limit == 0 && limits.walk_limit == 0))
                return 0;
        if (walk_place_find(ns, file, &miss.place, &miss.n_listed, &miss.n_first) <= 0)
                return 0;
        if (file->kind == NODE_SYMLINK) {
                walk_fetch_links(ns, file, &miss.place);
                return 0;
        }
        Walkers *w = walkers_of(c);
        int r = w ? wait_for_window(ns, call, c, w, &miss.place) : -ENOMEM;
        if (r != 0 || demand_blob_is_coming(c->repo, &oid))
                return r > 0 ? NS_PARKED : 0;
        /* Several reads of one file are one miss. */
        if (atomic_exchange_explicit(&c->last_miss_id, file->id, memory_order_relaxed) == file->id)
                return 0;
        ahead_lost(&oid);
        plan_miss(w, file, &miss, &limits, &plan);
        if (plan.siblings && plan.window > 0) {
                if (!walk_plan_fetch_rest(&plan))
                        fetch_siblings(&plan);
        } else {
                walk_plan_note_file(&plan);
                if (plan.window > 0)
                        start_window(&plan);
        }
        return 0;
}

bool walk_is_on(const Checkout *c) {
        Walkers *w = atomic_load(&c->walkers);
        uint64_t now = now_usec();

        for (size_t i = 0; w && i < N_WALKERS; i++)
                if (is_recent(c, &w->walkers[i], now))
                        return true;
        return false;
}

bool walk_is_gathering(Checkout *c) {
        Walkers *w = atomic_load(&c->walkers);

        return w && atomic_load(&w->n_gathering) > 0;
}

int walk_await_window(Namespace *ns, const NsCall *call, Checkout *c) {
        if (!walk_is_gathering(c) || !call->waiter)
                return 1;
        for (unsigned slot = 0; slot < N_WALKERS; slot++) {
                int r = wait_for_slot(ns, call, c, slot);
                if (r != 0)
                        return r < 0 ? r : NS_PARKED;
        }
        return 1;
}

/* It is time for more. */
static void go_on(Namespace *ns, Node *file, Walkers *w, unsigned slot, bool crossed) {
        NsAhead limits = ns_ahead(ns);
        WalkPlan plan = {.ns = ns, .file = file, .slot = slot};
        Walker *walker = &w->walkers[slot];

        if (limits.walk_limit == 0)
                return;
        mutex_lock(&w->lock);
        uint64_t window = MAX(walker->window, limits.sibling_limit) * GROWTH;
        if (crossed) {
                window = MAX(window, limits.walk_limit / 4);
                plan.all_limit = limits.walk_limit;
                atomic_store_explicit(&walker->dir, 0, memory_order_relaxed);
        } else if (walker->from_start)
                plan.all_limit = limits.walk_limit / 2;
        plan.place = walker->next;
        next_window(walker, MIN(window, limits.walk_limit), &plan);
        mutex_unlock(&w->lock);
        start_window(&plan);
}

/* On the hot path, but only for what was fetched for a walker, once. */
static void used(Namespace *ns, Node *file, unsigned tag) {
        Walkers *w = atomic_load(&node_checkout(file)->walkers);
        unsigned slot = walk_tag_slot(tag);
        Walker *walker = w ? &w->walkers[slot] : NULL;

        uint64_t now = now_usec();
        if (!walker || !is_recent(node_checkout(file), walker, now))
                return;
        atomic_store_explicit(&walker->read_usec, now, memory_order_relaxed);
        if (!walk_tag_is_of(tag, atomic_load_explicit(&walker->window_id, memory_order_relaxed)))
                return; /* of a window before */
        unsigned n = atomic_fetch_add_explicit(&walker->n_used, 1, memory_order_relaxed) + 1;
        uint64_t dir = atomic_load_explicit(&walker->dir, memory_order_relaxed);
        bool crossed = dir != 0 && dir != node_parent(file)->id && n > MIN_USED_CROSSING;
        if (!crossed && (n < MIN_USED || !walk_tag_is_late(tag)))
                return;
        if (atomic_load_explicit(&walker->due, memory_order_relaxed) &&
            atomic_exchange_explicit(&walker->due, false, memory_order_relaxed))
                go_on(ns, file, w, slot, crossed);
}

void walk_read(Namespace *ns, Node *file) {
        AheadPolicy policy;
        const Oid oid = node_oid(file);
        unsigned tag;

        if (ahead_take(&oid, &policy, &tag) && policy != AHEAD_CHILDREN)
                used(ns, file, tag);
}
