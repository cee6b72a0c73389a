#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "object/oid.h"
#include "tree/node.h"
#include "tree/tree-forward.h"
#include "util/htable.h"
#include "util/mutex.h"

/* A repository at a ref: the commit that "repo@ref" shows now. Its lock guards which tree every
 * directory below it shows, so that a move of the branch is one step. */
struct Checkout {
        HTableLink link; /* in its repository */
        Ref ref;
        Repo *repo;     /* a reference */
        char *refspec;  /* as in the path, decoded; "" for the default branch */
        bool moves;     /* constant: a branch */
        char *resolved; /* constant: "refs/heads/main", or the commit's hex */

        Mutex lock; /* guards what follows, and NodeDir of its directories */
        Oid commit; /* none: nothing committed yet */
        Oid root;   /* none likewise */
        int64_t time;
        uint64_t checked_usec; /* when the ref was last resolved */
        uint64_t n_root_nodes; /* NODE_CHECKOUT nodes made so far: tells whether one came meanwhile
                                */
        bool trees_coming; /* the fetch that brought the root is still bringing what is below it */
        Oid *awaited;      /* trees that somebody waits for and expects of that fetch; owned */
        size_t n_awaited, cap_awaited;

        struct SizesOperation *sizes; /* those under way (demand-sizes.c) */
        unsigned sizes_turn;          /* of the last of them, 0 before the first */
        unsigned n_sizes_walked;      /* directories listed of those that it brought */
        /* demand-sizes-ahead.c: trees of directories listed and not asked for yet; owned */
        Oid *sizes_later;
        size_t n_sizes_later, cap_sizes_later;
        bool sizes_armed;          /* they are going to be, */
        uint64_t listed_usec;      /* some time after the last of them */
        uint64_t sizes_pause_usec; /* nobody asks for sizes ahead until then; */
        bool sizes_narrow;         /* nor for what is not below his own directory */
        Oid sizes_lacking;         /* tree of one with a file that the server lacks; or none */

        _Atomic(struct Walkers *) walkers;  /* walker.c; NULL until something was read */
        atomic_uint_least64_t last_miss_id; /* of a node; relaxed, a hint */
        /* size-walk.c; NULL until sizes were wanted that come with content */
        _Atomic(struct SizeWalk *) size_walk;
};

typedef struct CheckoutState {
        Oid commit, root;
        int64_t time;
} CheckoutState;

int checkout_new(
        Repo *repo,
        const char *refspec,
        const char *resolved,
        bool moves,
        const CheckoutState *state,
        Checkout **ret);
Checkout *checkout_ref(Checkout *c);
Checkout *checkout_unref(Checkout *c);
DEFINE_CLEANUP(Checkout *, checkout_unref)

void checkout_get_state(Checkout *c, CheckoutState *ret);
/* When the ref was last resolved. */
uint64_t checkout_checked(Checkout *c);
void checkout_set_checked(Checkout *c, uint64_t now);

/* Between these two, the checkout is shown while its trees are still arriving. The second hands
 * over the trees that were awaited, an allocated array: they are here by now, or will not come. */
void checkout_trees_begin(Checkout *c);
size_t checkout_trees_end(Checkout *c, Oid **ret);
bool checkout_trees_coming(Checkout *c);
/* True if a tree that is not here is to be expected; then checkout_trees_end() hands it over. */
bool checkout_await_tree(Checkout *c, const Oid *tree);

/* The tree that a directory shows now; none for an empty one. */
Oid checkout_dir_tree(Checkout *c, const Node *dir);
