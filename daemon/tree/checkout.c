#include "tree/checkout.h"

#include <errno.h>
#include <string.h>

#include "tree/repo.h"
#include "tree/size-walk.h"
#include "tree/walker.h"
#include "util/array.h"
#include "util/clock.h"

int checkout_new(
        Repo *repo,
        const char *refspec,
        const char *resolved,
        bool moves,
        const CheckoutState *state,
        Checkout **ret) {
        Checkout *alloc = calloc(1, sizeof(*alloc));
        if (!alloc)
                return -ENOMEM;
        alloc->ref = REF_INIT;
        alloc->repo = repo_ref(repo);
        mutex_init(&alloc->lock, LOCK_RANK_CHECKOUT);
        _cleanup_(checkout_unrefp) Checkout *c = alloc;

        c->refspec = strdup(refspec);
        c->resolved = strdup(resolved);
        if (!c->refspec || !c->resolved)
                return -ENOMEM;
        c->moves = moves;
        c->commit = state->commit;
        c->root = state->root;
        c->time = state->time;
        c->checked_usec = now_usec();
        *ret = TAKE_PTR(c);
        return 0;
}

Checkout *checkout_ref(Checkout *c) {
        ref_get(&c->ref);
        return c;
}

Checkout *checkout_unref(Checkout *c) {
        if (!c || !ref_put(&c->ref))
                return NULL;
        repo_unref(c->repo);
        mutex_destroy(&c->lock);
        walkers_free(atomic_load(&c->walkers));
        size_walk_free(atomic_load(&c->size_walk));
        free(c->refspec);
        free(c->resolved);
        free(c->awaited);
        free(c->sizes_later);
        free(c);
        return NULL;
}

void checkout_get_state(Checkout *c, CheckoutState *ret) {
        MUTEX_GUARD(&c->lock);
        *ret = (CheckoutState){.commit = c->commit, .root = c->root, .time = c->time};
}

uint64_t checkout_checked(Checkout *c) {
        MUTEX_GUARD(&c->lock);
        return c->checked_usec;
}

void checkout_set_checked(Checkout *c, uint64_t now) {
        MUTEX_GUARD(&c->lock);
        c->checked_usec = now;
}

void checkout_trees_begin(Checkout *c) {
        MUTEX_GUARD(&c->lock);
        c->trees_coming = true;
}

size_t checkout_trees_end(Checkout *c, Oid **ret) {
        MUTEX_GUARD(&c->lock);
        size_t n = c->n_awaited;
        *ret = TAKE_PTR(c->awaited);
        c->n_awaited = c->cap_awaited = 0;
        c->trees_coming = false;
        return n;
}

bool checkout_trees_coming(Checkout *c) {
        MUTEX_GUARD(&c->lock);
        return c->trees_coming;
}

bool checkout_await_tree(Checkout *c, const Oid *tree) {
        MUTEX_GUARD(&c->lock);
        if (!c->trees_coming || ARRAY_RESERVE(c->awaited, c->cap_awaited, c->n_awaited + 1) < 0)
                return false;
        c->awaited[c->n_awaited++] = *tree;
        return true;
}

Oid checkout_dir_tree(Checkout *c, const Node *dir) {
        MUTEX_GUARD(&c->lock);
        return node_shown(dir)->tree;
}
