/* What the kernel may not have heard of branches that moved. A process tells it behind the move
 * (checkout-move.c), and may end before that, or in the middle of it; more than one move may have
 * gone by untold. So its successor asks not what has changed but what is true now: in a directory
 * that such a move switched, every name that it shows has to be looked up before it is believed,
 * as the kernel may know that there is none, and each node that is not what is shown under its name
 * is dropped. What is the same node stays where it is, with whoever stands in it.
 *
 * Which directories these are is noted when the nodes are taken over, as nothing moves before that
 * is over; what they show is looked at when they are told. Trees that are not on this machine (of a
 * local repository none is, after a crash) are asked for, but not waited for long: then the name of
 * the directory itself is dropped, and with it all that nobody uses. That costs who stands in it
 * the path of where he is, until somebody looks it up. */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "tree/namespace-private.h"
#include "util/array.h"

/* For any tree to come: what else has to be told waits as well. */
#define PATIENCE_USEC (5 * USEC_PER_SEC)

typedef struct UntoldDir {
        Node *dir;      /* a reference */
        Oid tree;       /* what it showed when it was taken over */
        bool switched;  /* otherwise it is only the root of one that was */
        uint32_t moved; /* of a root: its last move */
        Listing *shown; /* while it is told: a reference; NULL where it is empty or not known */
} UntoldDir;

struct UntoldMoves {
        UntoldDir *dirs; /* owned; by address, once they are complete */
        size_t n, cap;
        int error;
};

/* --- noting --- */

static int add_dir(UntoldMoves *u, const UntoldDir *dir) {
        int r = ARRAY_RESERVE(u->dirs, u->cap, u->n + 1);
        if (r < 0)
                return r;
        u->dirs[u->n] = *dir;
        node_ref(u->dirs[u->n++].dir);
        return 0;
}

static void note(Node *node, void *userdata) {
        UntoldMoves *u = userdata;

        if (u->error < 0 || (node->kind != NODE_CHECKOUT && node->kind != NODE_DIR))
                return;
        Node *root = node_root_of(node);
        uint32_t told = atomic_load(&node_dir(root)->told);
        uint32_t moved = atomic_load(&node_dir(root)->moved);
        const UntoldDir dir = {
                .dir = node,
                .tree = node_shown(node)->tree,
                .switched = node_shown(node)->move > told,
                .moved = moved,
        };
        if (told != moved && (dir.switched || node == root))
                u->error = add_dir(u, &dir);
}

static int by_address(const void *a, const void *b) {
        uintptr_t x = (uintptr_t) ((const UntoldDir *) a)->dir;
        uintptr_t y = (uintptr_t) ((const UntoldDir *) b)->dir;

        return x < y ? -1 : x > y;
}

int untold_moves_new(NodeTable *nodes, UntoldMoves **ret) {
        UntoldMoves *u = calloc(1, sizeof(*u));
        if (!u)
                return -ENOMEM;

        int r = node_table_each(nodes, note, u);
        if (r >= 0)
                r = u->error;
        if (r < 0) {
                untold_moves_free(nodes, u);
                return r;
        }
        if (u->n > 0)
                qsort(u->dirs, u->n, sizeof(*u->dirs), by_address);
        *ret = u;
        return 0;
}

UntoldMoves *untold_moves_free(NodeTable *nodes, UntoldMoves *u) {
        if (!u)
                return NULL;
        for (size_t i = 0; i < u->n; i++) {
                listing_unref(u->dirs[i].shown);
                node_table_put(nodes, u->dirs[i].dir);
        }
        free(u->dirs);
        free(u);
        return NULL;
}

/* --- waiting for trees --- */

typedef struct Wait {
        FlightWaiter waiter;
        Mutex lock;
        pthread_cond_t changed;
        bool landed; /* guarded by lock */
        int result;
} Wait;

static void wait_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Wait *w = container_of(waiter, Wait, waiter);

        MUTEX_GUARD(&w->lock);
        w->result = result;
        w->landed = true;
        (void) pthread_cond_signal(&w->changed); /* cannot fail */
}

static int await(Namespace *ns, Wait *w, uint64_t deadline) {
        bool in_time = true;

        mutex_lock(&w->lock);
        while (!w->landed && in_time)
                in_time = mutex_wait_until(&w->lock, &w->changed, deadline);
        mutex_unlock(&w->lock);
        if (!in_time && flight_leave(ns->flights, &w->waiter))
                return -ETIMEDOUT;
        MUTEX_GUARD(&w->lock);
        while (!w->landed)
                mutex_wait(&w->lock, &w->changed); /* it is about to run */
        w->landed = false;
        return w->result;
}

/* 1: dir->shown is what it shows, or NULL where that is nothing; 0: to be tried again; < 0. */
static int try_listing(Namespace *ns, UntoldDir *dir, Wait *w, uint64_t deadline) {
        const NsCall call = {.flags = NS_MAY_BLOCK, .waiter = &w->waiter};
        /* What is attached may move again; what is not does not. */
        Checkout *c = node_is_attached(dir->dir) ? node_checkout(dir->dir) : NULL;
        Oid tree = c ? checkout_dir_tree(c, dir->dir) : dir->tree;

        if (oid_is_none(&tree))
                return 1;
        int r = ns_listing(ns, &call, c, &tree, &dir->shown);
        if (r == 1)
                return 1;
        if (r == NS_PARKED && !c) /* it asked nobody */
                r = ns_attach(ns, &call, dir->dir);
        if (r == NS_PARKED)
                r = await(ns, w, deadline);
        return MIN(r, 0);
}

static int find_listing(Namespace *ns, UntoldDir *dir, uint64_t deadline) {
        Wait w = {.waiter.landed = wait_landed};
        int r;

        mutex_init(&w.lock, LOCK_RANK_LEAF);
        (void) pthread_cond_init(&w.changed, NULL); /* cannot fail on Linux */
        do
                r = try_listing(ns, dir, &w, deadline);
        while (r == 0 && now_usec() < deadline);
        (void) pthread_cond_destroy(&w.changed); /* nobody waits: cannot fail */
        mutex_destroy(&w.lock);
        return r == 0 ? -ETIMEDOUT : r;
}

/* --- telling --- */

typedef struct Telling {
        const UntoldMoves *moves;
        const NsTeller *teller;
} Telling;

static void drop(const Telling *t, const Node *node) {
        t->teller->drop(node_parent(node)->id, node_name(node), t->teller->userdata);
}

static void tell_names(const Telling *t, const UntoldDir *dir) {
        const Listing *l = dir->shown;

        for (size_t i = 0; l && i < l->n_entries; i++) {
                const ListingEntry *e = &l->entries[i];
                if (e->name_len != LISTING_NAME_TOO_LONG)
                        t->teller->expire(dir->dir->id, listing_name(l, e), t->teller->userdata);
        }
}

static bool is_shown(const Listing *l, const Node *node) {
        const ListingEntry *e = l ? listing_find(l, node_name(node), node->name_len) : NULL;

        if (!e || node_kind_of_entry((EntryKind) e->kind) != (NodeKind) node->kind)
                return false;
        if (node_is_dir(node))
                return true;
        Oid oid = node_oid(node);
        return oid_equal(&oid, &e->oid);
}

static void tell_node(Node *node, void *userdata) {
        const Telling *t = userdata;
        const UntoldDir key = {.dir = node_parent(node)};
        const UntoldDir *dir = bsearch(&key, t->moves->dirs, t->moves->n, sizeof(key), by_address);

        if (dir && dir->switched && !is_shown(dir->shown, node))
                drop(t, node);
}

void ns_retell(Namespace *ns, const NsTeller *teller) {
        uint64_t deadline = now_usec() + PATIENCE_USEC;
        UntoldMoves *u = TAKE_PTR(ns->untold);
        Telling t = {.moves = u, .teller = teller};
        int r = 0;

        if (!u)
                return;
        for (size_t i = 0; i < u->n && r >= 0; i++) {
                if (!u->dirs[i].switched)
                        continue;
                if (teller->stopped(teller->userdata))
                        r = -ECANCELED;
                else if (find_listing(ns, &u->dirs[i], deadline) >= 0)
                        deadline = now_usec() + PATIENCE_USEC;
                else
                        drop(&t, u->dirs[i].dir);
                tell_names(&t, &u->dirs[i]);
        }
        if (u->n > 0 && r >= 0)
                r = node_table_each(ns->nodes, tell_node, &t);
        /* Where memory is short, or the process ends and the kernel is told no more, a successor
         * does all of it again. */
        if (node_table_is_kept(ns->nodes) || teller->stopped(teller->userdata))
                r = -ECANCELED;
        for (size_t i = 0; i < u->n && r >= 0; i++)
                if (u->dirs[i].dir->kind == NODE_CHECKOUT)
                        node_told(u->dirs[i].dir, u->dirs[i].moved);
        untold_moves_free(ns->nodes, u);
}
