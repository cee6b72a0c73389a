/* What a walker is to have is looked up in the trees, and asked for.
 *
 * What follows a place is what a walk meets next in the order of listings, directories where they
 * stand, then what it would have met before; backwards for who goes backwards. Of that goes what is
 * not here, as far as the plan allows; the files of a window go out as the trees that they lie
 * below, where that says it shorter. What is asked for is noted in the ledger (ahead.h) with a tag,
 * by which walker.c tells how far the reader is. */

#include "tree/walk-plan.h"

#include "tree/ahead.h"
#include "tree/namespace-private.h"

#define MAX_LOOKED 100000     /* entries, to find what is missing */
#define MAX_LOOKED_REST 10000 /* the same, while the reader waits */
#define MAX_LINKS 1000

/* --- the tag: slot, window, part of the window --- */

#define N_WINDOWS 64 /* that are told apart */
#define N_PARTS 16

static_assert(WALK_N_SLOTS * N_WINDOWS * N_PARTS - 1 <= AHEAD_TAG_MAX, "a tag fits");

static unsigned make_tag(const WalkPlan *plan, unsigned part) {
        return plan->slot + WALK_N_SLOTS * (plan->window_id % N_WINDOWS + N_WINDOWS * part);
}

unsigned walk_tag_slot(unsigned tag) {
        return tag % WALK_N_SLOTS;
}

bool walk_tag_is_of(unsigned tag, unsigned window_id) {
        return tag / WALK_N_SLOTS % N_WINDOWS == window_id % N_WINDOWS;
}

bool walk_tag_is_late(unsigned tag) {
        return tag / WALK_N_SLOTS / N_WINDOWS >= N_PARTS / 2;
}

static void note_all(const WalkPlan *plan, const WalkGather *g, AheadPolicy policy) {
        uint64_t cost = 0;

        for (size_t i = 0; i < g->n; i++) {
                unsigned part = (unsigned) (cost * N_PARTS / (g->cost + 1));
                if (i + 1 == g->n)
                        part = N_PARTS - 1; /* however large it is */
                ahead_note_tagged(policy, &g->wants[i].oid, make_tag(plan, part));
                cost += walk_cost(g->wants[i].size);
        }
}

void walk_plan_note_file(const WalkPlan *plan) {
        const Oid oid = node_oid(plan->file);

        ahead_note_tagged(AHEAD_NONE, &oid, make_tag(plan, 0));
}

static void send(const WalkPlan *plan, FetchLane lane, const BlobWants *blobs) {
        fetch_queue_ahead(plan->ns, node_checkout(plan->file)->repo, lane, blobs);
}

/* --- gathering --- */

/* Some more that comes next after `from`. */
static int gather_from(
        const WalkPlan *plan,
        WalkGather *g,
        const WalkPlace *from,
        unsigned scope,
        bool flat,
        bool backward) {
        WalkCursor cursor;

        int r = walk_cursor_init(
                &cursor,
                plan->ns,
                node_checkout(plan->file),
                from,
                scope,
                backward,
                /* inclusive= */ false);
        cursor.flat = flat;
        if (r > 0)
                r = walk_gather(g, &cursor, NULL);
        walk_cursor_done(&cursor);
        return r;
}

/* The small files beside this one. Whoever reads the first of a directory goes on in its order;
 * another one may have been picked, so those before it are as likely as those behind. */
int walk_plan_gather_siblings(const WalkPlan *plan, WalkGather *g) {
        const Oid oid = node_oid(plan->file);
        uint64_t size = node_size(plan->file);
        const WalkPlace *file = &plan->place;
        WalkPlace dir = *file;

        *g = (WalkGather){
                .max_cost = (plan->first ? plan->window / 8 : plan->window) + walk_cost(size),
                .max_object_size = plan->window / 4,
                .max_looked = MAX_LOOKED,
        };
        int r = walk_gather_add(g, &oid, size);
        if (r < 0)
                return r;
        if (plan->first)
                return gather_from(plan, g, file, plan->scope, /* flat= */ false, plan->backward);
        r = gather_from(plan, g, file, file->depth, /* flat= */ true, /* backward= */ false);
        if (r > 0)
                r = gather_from(plan, g, file, file->depth, /* flat= */ true, /* backward= */ true);
        dir.depth--;
        if (r > 0 && dir.depth >= plan->scope)
                r = gather_from(plan, g, &dir, plan->scope, /* flat= */ false, false);
        return r;
}

void walk_plan_send_siblings(const WalkPlan *plan, const WalkGather *g) {
        note_all(plan, g, AHEAD_SIBLINGS);
        walk_plan_note_file(plan);
        ahead_dropped(AHEAD_SIBLINGS, g->n_skipped);
        send(plan, LANE_WAITING, &(BlobWants){.wants = g->wants, .n = g->n});
}

/* What the window holds, from the place on, and around the end. 1: that is all; *ret_next: else
 * where to go on. */
static int gather_next(const WalkPlan *plan, WalkGather *g, WalkPlace *ret_next) {
        WalkPlace begin = plan->place;
        WalkCursor cursor;

        *ret_next = plan->place;
        int r = walk_cursor_init(
                &cursor,
                plan->ns,
                node_checkout(plan->file),
                &plan->place,
                plan->scope,
                plan->backward,
                /* inclusive= */ true);
        if (r > 0) {
                r = walk_gather(g, &cursor, NULL);
                if (r == 0)
                        (void) walk_cursor_place(&cursor, ret_next); /* it is not at the end */
        }
        walk_cursor_done(&cursor);
        if (r <= 0)
                return r;

        begin.depth = plan->scope;
        begin.at[plan->scope - 1] = 0;
        r = walk_cursor_init(
                &cursor,
                plan->ns,
                node_checkout(plan->file),
                plan->backward ? &plan->place : &begin,
                plan->scope,
                /* backward= */ false,
                /* inclusive= */ true);
        if (r > 0)
                r = walk_gather(g, &cursor, plan->backward ? NULL : &plan->place);
        walk_cursor_done(&cursor);
        return r;
}

/* Who reads ahead of the sizes goes by those of the files that came last. */
static uint64_t guess_size(const WalkPlan *plan) {
        Repo *repo = node_checkout(plan->file)->repo;

        MUTEX_GUARD(&repo->lock);
        return repo->queue.mean_bytes;
}

int walk_plan_gather_window(const WalkPlan *plan, WalkGather *g, WalkPlace *ret_next) {
        const WalkGather empty = {.max_looked = MAX_LOOKED, .guess = guess_size(plan)};

        *g = empty;
        if (plan->all_limit > 0) {
                g->max_cost = plan->all_limit;
                int r = gather_next(plan, g, ret_next);
                if (r != 0)
                        return r;
                walk_gather_done(g);
                *g = empty;
        }
        g->max_cost = plan->window;
        g->max_object_size = MAX(plan->window / 2, UINT64_C(1) << 20);
        return gather_next(plan, g, ret_next);
}

/* Trees keep a window in one request. One that others follow is better cut: its parts come side by
 * side, while the reader is in the one before. */
void walk_plan_send_window(const WalkPlan *plan, const WalkGather *g, bool last) {
        const BlobWants blobs = {
                .wants = g->wants,
                .n = g->n,
                .names = g->names,
                .n_names = last && fetch_names_pay(g->n_names, g->n) ? g->n_names : 0,
                .n_new = g->n_new,
        };

        note_all(plan, g, AHEAD_WALK);
        ahead_dropped(AHEAD_WALK, g->n_skipped);
        send(plan, LANE_READAHEAD, &blobs);
}

static bool sizes_are_known(const WalkGather *g) {
        for (size_t i = 0; i < g->n; i++)
                if (g->wants[i].size == SIZE_UNKNOWN)
                        return false;
        return true;
}

bool walk_plan_fetch_rest(const WalkPlan *plan) {
        _cleanup_walk_gather_ WalkGather g = {
                .max_cost = plan->all_limit,
                .max_looked = MAX_LOOKED_REST,
        };
        WalkPlace next;

        if (plan->all_limit == 0 || gather_next(plan, &g, &next) <= 0 || !sizes_are_known(&g))
                return false;
        walk_plan_send_window(plan, &g, /* last= */ true);
        walk_plan_note_file(plan);
        return true;
}

void walk_fetch_links(Namespace *ns, Node *link, const WalkPlace *place) {
        const WalkPlan plan = {.ns = ns, .file = link, .place = *place, .scope = 1};
        _cleanup_walk_gather_ WalkGather g = {
                .max_cost = MAX_LINKS * walk_cost(64),
                .max_looked = MAX_LOOKED,
                .symlinks_only = true,
        };

        const Oid oid = node_oid(link);
        int r = walk_gather_add(&g, &oid, node_size(link));
        if (r >= 0)
                r = gather_from(&plan, &g, place, 1, false, false);
        if (r > 0)
                r = gather_from(&plan, &g, place, 1, false, true);
        if (r >= 0)
                send(&plan, LANE_WAITING, &(BlobWants){.wants = g.wants, .n = g.n});
}
