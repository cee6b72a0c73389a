/* Sizes that nobody waits for yet. Listing a directory asks for them, but does not wait for them. A
 * walk of names (`find`) would only be slowed down by what it does not want: so what was listed is
 * remembered, and asked for when nothing has been listed for a moment, unless it came by then.
 *
 * One question does not hold all of a large repository. Who lists directory after directory of what
 * the last one brought walks, and will come to the others: these are asked for meanwhile. So he
 * waits for the first question only, and when he stops one at most was in vain. Of who reads as
 * well the files are on their way, and bring their sizes. */

#include "tree/demand-sizes-ahead.h"

#include <stdlib.h>

#include "tree/ahead.h"
#include "tree/namespace-private.h"
#include "util/array.h"

#define MAX_LATER 4096 /* directories */
/* Without a listing, until their sizes are asked for: longer than a walk pauses, and less than it
 * takes to type the next command. */
#define QUIET_USEC (100 * USEC_PER_MSEC)
/* More than somebody looks at who does not walk, and few of those that one question brings. */
#define WALK_DIRS 16

void sizes_later_remember_locked(Checkout *c, const Oid *tree) {
        if (c->n_sizes_later == MAX_LATER ||
            ARRAY_RESERVE(c->sizes_later, c->cap_sizes_later, c->n_sizes_later + 1) < 0) {
                ahead_dropped(AHEAD_CHILDREN, 1);
                return;
        }
        c->sizes_later[c->n_sizes_later++] = *tree;
}

/* One that was listed; false where there is none, or others are being asked for. */
static bool take_later(Checkout *c, Oid *ret) {
        MUTEX_GUARD(&c->lock);
        if (c->sizes || c->n_sizes_later == 0)
                return false;
        *ret = c->sizes_later[--c->n_sizes_later];
        if (c->n_sizes_later == 0) {
                free(c->sizes_later);
                c->sizes_later = NULL;
                c->cap_sizes_later = 0;
        }
        return true;
}

void sizes_later_begin(Namespace *ns, Checkout *c) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        Oid tree;

        while (demand_sizes_pays(ns, c->repo) && take_later(c, &tree)) {
                _cleanup_(listing_unrefp) Listing *l = NULL;
                if (ns_listing(ns, &call, NULL, &tree, &l) > 0 && !ns_sizes_known(ns, l) &&
                    !walk_is_gathering(c) && !demand_files_are_soon(c->repo, l))
                        demand_sizes_begin_ahead(ns, c, l);
        }
}

typedef struct QuietOperation {
        Timer timer;
        Namespace *ns;
        Checkout *checkout; /* a reference */
} QuietOperation;

static bool is_quiet(Checkout *c, uint64_t *ret_when) {
        MUTEX_GUARD(&c->lock);
        *ret_when = c->listed_usec + QUIET_USEC;
        c->sizes_armed = *ret_when > now_usec();
        return !c->sizes_armed;
}

static void on_quiet_timer(Task *task) {
        QuietOperation *op = container_of(task, QuietOperation, timer.task);
        Namespace *ns = op->ns;
        uint64_t when;

        bool quiet = is_quiet(op->checkout, &when);
        /* Waiting on is an operation of its own, which does not begin once the name space stops. */
        if (!quiet && ns_operation_begin(ns) == 0)
                timers_arm(ns->timers, &op->timer, when);
        else {
                if (quiet)
                        sizes_later_begin(ns, op->checkout);
                checkout_unref(op->checkout);
                free(op);
        }
        ns_operation_end(ns);
}

/* True: the timer is the caller's to arm. */
static bool remember(Checkout *c, const Oid *tree) {
        uint64_t now = now_usec();

        MUTEX_GUARD(&c->lock);
        if (c->sizes_pause_usec > now)
                return false;
        c->listed_usec = now;
        sizes_later_remember_locked(c, tree);
        bool armed = c->sizes_armed;
        c->sizes_armed = true;
        return !armed;
}

static void disarm(Checkout *c) {
        MUTEX_GUARD(&c->lock);
        c->sizes_armed = false;
}

void demand_sizes_ahead(Namespace *ns, Checkout *c, Listing *l) {
        void *memory;

        if (!ns_ahead(ns).children || !remember(c, &l->oid))
                return;
        if (demand_begin(ns, sizeof(QuietOperation), &memory) < 0) {
                disarm(c);
                return;
        }
        QuietOperation *op = memory;
        op->ns = ns;
        op->checkout = checkout_ref(c);
        op->timer.task.run = on_quiet_timer;
        timers_arm(ns->timers, &op->timer, now_usec() + QUIET_USEC);
}

/* True once for each question, while no other one is under way. */
static bool is_walked(Checkout *c, unsigned turn) {
        MUTEX_GUARD(&c->lock);
        return turn != 0 && turn == c->sizes_turn && !c->sizes && ++c->n_sizes_walked == WALK_DIRS;
}

void demand_sizes_walked(Namespace *ns, Checkout *c, Listing *l, unsigned turn) {
        if (!walk_is_on(c) && is_walked(c, turn) && ns_ahead(ns).children &&
            demand_sizes_pays(ns, c->repo))
                demand_sizes_begin_ahead(ns, c, l);
}
