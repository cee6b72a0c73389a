#include "tree/repo.h"

#include <errno.h>
#include <string.h>

#include "tree/checkout.h"
#include "tree/owner.h"

int repo_new(Owner *owner, const char *name, Source *source, Repo **ret) {
        Repo *repo = calloc(1, sizeof(*repo));
        if (!repo)
                return -ENOMEM;
        repo->name = strdup(name);
        if (!repo->name) {
                free(repo);
                return -ENOMEM;
        }
        repo->ref = REF_INIT;
        repo->owner = owner_ref(owner);
        repo->org = owner->org;
        repo->source = source_ref(source);
        mutex_init(&repo->lock, LOCK_RANK_REPO);
        fetch_queue_init(&repo->queue);
        *ret = repo;
        return 0;
}

Repo *repo_ref(Repo *repo) {
        ref_get(&repo->ref);
        return repo;
}

Repo *repo_unref(Repo *repo) {
        if (!repo || !ref_put(&repo->ref))
                return NULL;
        fetch_queue_done(&repo->queue);
        htable_done(&repo->checkouts);
        source_unref(repo->source);
        mutex_destroy(&repo->lock);
        owner_unref(repo->owner);
        free(repo->name);
        free(repo);
        return NULL;
}

typedef struct CheckoutList {
        Checkout **items;
        size_t n, cap;
} CheckoutList;

static void collect_checkout(HTableLink *link, void *userdata) {
        CheckoutList *list = userdata;

        if (list->n < list->cap)
                list->items[list->n++] = checkout_ref(container_of(link, Checkout, link));
}

/* References to all checkouts; the caller drops them and frees items. Empty when out of memory. */
static CheckoutList list_checkouts(Repo *repo) {
        CheckoutList list = {0};

        MUTEX_GUARD(&repo->lock);
        list.cap = repo->checkouts.n_entries;
        list.items = calloc(list.cap + 1, sizeof(Checkout *));
        if (list.items)
                htable_each(&repo->checkouts, collect_checkout, &list);
        return list;
}

void repo_each_checkout(Repo *repo, void (*fn)(Checkout *c, void *userdata), void *userdata) {
        CheckoutList list = list_checkouts(repo);

        for (size_t i = 0; i < list.n; i++) {
                fn(list.items[i], userdata);
                checkout_unref(list.items[i]);
        }
        free(list.items);
}

static Checkout *find_locked(Repo *repo, const char *refspec, uint64_t hash) {
        HTABLE_FOREACH (l, &repo->checkouts, hash) {
                Checkout *c = container_of(l, Checkout, link);
                if (strcmp(c->refspec, refspec) == 0)
                        return c;
        }
        return NULL;
}

/* The table's reference is dropped without the lock: it may be the last, and freeing a checkout
 * drops the repository. */
void repo_remove_checkout(Repo *repo, Checkout *c) {
        mutex_lock(&repo->lock);
        bool there = find_locked(repo, c->refspec, c->link.hash) == c;
        if (there)
                htable_remove(&repo->checkouts, &c->link);
        mutex_unlock(&repo->lock);
        if (there)
                checkout_unref(c);
}

static void take_out(Checkout *c, void *userdata) {
        repo_remove_checkout(userdata, c);
}

void repo_close(Repo *repo) {
        mutex_lock(&repo->lock);
        repo->closed = true;
        mutex_unlock(&repo->lock);
        repo_each_checkout(repo, take_out, repo);
}

static void count_users(HTableLink *link, void *userdata) {
        size_t *n = userdata;
        const Checkout *c = container_of(link, Checkout, link);

        if (atomic_load_explicit(&c->ref.n, memory_order_relaxed) > 1)
                (*n)++;
}

bool repo_is_unused(Repo *repo, unsigned n_refs) {
        size_t n_users = 0;

        MUTEX_GUARD(&repo->lock);
        htable_each(&repo->checkouts, count_users, &n_users);
        return n_users == 0 && fetch_queue_is_idle_locked(&repo->queue) &&
               atomic_load_explicit(&repo->ref.n, memory_order_relaxed) ==
                       1 + repo->checkouts.n_entries + n_refs;
}

bool repo_tells_sizes(const Repo *repo) {
        return !atomic_load(&repo->sizes_refused) &&
               !atomic_load_explicit(&repo->source->no_sizes, memory_order_relaxed);
}

size_t repo_n_checkouts(Repo *repo) {
        MUTEX_GUARD(&repo->lock);
        return repo->checkouts.n_entries;
}

Checkout *repo_find_checkout(Repo *repo, const char *refspec) {
        MUTEX_GUARD(&repo->lock);
        Checkout *c = find_locked(repo, refspec, hash_string(refspec));
        return c ? checkout_ref(c) : NULL;
}

typedef struct Unused {
        Repo *repo;
        HTableLink *list;
} Unused;

static void take_unused(HTableLink *link, void *userdata) {
        Unused *unused = userdata;
        const Checkout *c = container_of(link, Checkout, link);

        if (atomic_load_explicit(&c->ref.n, memory_order_relaxed) > 1)
                return;
        htable_remove(&unused->repo->checkouts, link);
        link->next = unused->list;
        unused->list = link;
}

Checkout *repo_add_checkout(Repo *repo, Checkout *c) {
        uint64_t hash = hash_string(c->refspec);
        Unused unused = {.repo = repo};

        mutex_lock(&repo->lock);
        Checkout *kept = find_locked(repo, c->refspec, hash);
        if (!kept) {
                /* Whoever walks through all commits of a repository must not fill the memory. */
                if (repo->checkouts.n_entries >= REPO_MAX_UNUSED)
                        htable_each(&repo->checkouts, take_unused, &unused);
                kept = c;
                if (!repo->closed && htable_add(&repo->checkouts, &c->link, hash) >= 0)
                        checkout_ref(c);
        }
        checkout_ref(kept);
        mutex_unlock(&repo->lock);

        while (unused.list) {
                Checkout *gone = container_of(unused.list, Checkout, link);
                unused.list = gone->link.next;
                checkout_unref(gone);
        }
        return kept;
}
