/* Asking for things, part two: which commit a ref shows. One state machine serves the first look-up
 * of a repository@ref and every later refresh of it:
 *
 *      resolve the ref -> fetch the commit unless it is here
 *                              -> look-up: make the checkout
 *                              -> refresh: move it, fetching trees that the comparison needs
 *                                 until none is missing
 *
 * A look-up makes the checkout as soon as the root tree is here: the trees below it are used as
 * they arrive.
 *
 * Nobody waits long for a server that does not answer. Where the first question fails for that
 * reason, or has no answer yet when patience is over, those who wait are shown what is
 * remembered: the checkout as it is, or the commit that the ref showed in an earlier process. What
 * the server says later is followed as any other move. See patience.h. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "object/commit-object.h"
#include "tree/namespace-private.h"
#include "tree/patience.h"
#include "tree/remembered.h"
#include "util/stats.h"

/* A comparison that still misses trees after this many fetches will not get better: the store is
 * too small for them, or the server plays games. */
#define MAX_TREE_ROUNDS 256

typedef struct CheckoutOperation {
        Fetch fetch;
        Patience patience; /* a refresh has none */
        Namespace *ns;
        Repo *repo;
        Checkout *checkout;  /* the one being refreshed; NULL in a look-up */
        Checkout *early;     /* of a look-up: made while its trees are still coming */
        CheckoutState state; /* where the ref points now */
        bool moves;
        bool news;     /* of a refresh: it points elsewhere than before */
        bool blindly;  /* see checkout_move() */
        bool stale_ok; /* see demand_check() */
        unsigned rounds;
        Oid *oids; /* what fetch.oids points to */
        char resolved[sizeof(((Fetch *) 0)->resolved)];
        char refspec[];
} CheckoutOperation;

static void remember_negative(CheckoutOperation *op) {
        _cleanup_free_ char *name = NULL;

        if (asprintf(&name, "%s@%s", op->repo->name, op->refspec) < 0) {
                name = NULL; /* not remembered: the next look-up asks again */
                return;
        }
        owner_add_negative(op->repo->owner, name, now_usec() + ns_negative_timeout(op->ns, NULL));
}

static void operation_free(Patience *p) {
        CheckoutOperation *op = container_of(p, CheckoutOperation, patience);

        checkout_unref(op->checkout);
        checkout_unref(op->early);
        repo_unref(op->repo);
        free(op->oids);
        free(op);
}

/* What was remembered is shown, and the server says something else. */
static void follow_recalled(CheckoutOperation *op) {
        _cleanup_(checkout_unrefp) Checkout *c = repo_find_checkout(op->repo, op->refspec);
        CheckoutState shown;

        if (!c)
                return;
        checkout_get_state(c, &shown);
        if (!oid_equal(&shown.commit, &op->state.commit))
                (void) ns_refresh(op->ns, c, NULL, NULL); /* or the next poll does it */
}

static void remember(CheckoutOperation *op, int result) {
        RememberedRef ref = {.commit = op->state.commit, .moves = op->moves};

        if (result == -ENOENT && !op->checkout)
                remember_no_ref(op->ns, op->repo, op->refspec);
        if (result < 0 || (op->checkout && !op->news))
                return;
        memcpy(ref.resolved, op->resolved, sizeof(ref.resolved));
        remember_ref(op->ns, op->repo, op->refspec, &ref);
}

/* The name does not exist, though what is remembered of it may have been shown. */
static void deny(CheckoutOperation *op) {
        _cleanup_(checkout_unrefp) Checkout *c =
                op->checkout ? checkout_ref(op->checkout)
                             : repo_find_checkout(op->repo, op->refspec);

        patience_deny(&op->patience);
        remember_negative(op);
        if (c)
                repo_remove_checkout(op->repo, c);
        if (patience_has_shown(&op->patience))
                ns_ref_changed(op->ns, op->repo, op->refspec);
}

static void operation_end(CheckoutOperation *op, int result, const Failure *failure) {
        Namespace *ns = op->ns;
        bool look_up = !op->checkout || op->stale_ok;

        patience_stop(&op->patience);
        if (op->checkout) {
                stat_add(STAT_REFRESH_FAILED, result < 0);
                /* A failure counts as a check too: the next poll comes after the usual interval,
                 * and until then the last known commit is served. */
                checkout_set_checked(op->checkout, now_usec());
        }
        if (result == -ENOENT && !op->early && look_up)
                deny(op);
        ns_report(ns, op->repo->org, result, failure);
        if (failure && !op->checkout && !op->early && remembered_will_do(result, failure))
                patience_fail(&op->patience, result, failure);
        else
                patience_land(&op->patience, op->stale_ok ? 0 : result, failure);
        remember(op, result);
        if (result >= 0 && !op->checkout)
                follow_recalled(op);
        patience_end(&op->patience);
}

/* Reads the commit, through annotated tags. 1, 0 where it is not in the store, < 0. */
static int read_commit(Store *store, Oid *oid, CheckoutState *ret) {
        for (unsigned depth = 0; depth < 8; depth++) {
                _cleanup_object_ref_ ObjectRef object = {0};
                int r = store_get(store, STORE_OBJECT, oid, &object);
                if (r <= 0)
                        return r;
                if (object.type == OBJECT_TAG) {
                        TagObject tag;
                        r = tag_parse(oid->algo, object.data, object.size, &tag);
                        if (r < 0)
                                return r;
                        *oid = tag.target;
                        continue;
                }
                if (object.type != OBJECT_COMMIT)
                        return -ENOENT; /* a ref to a blob or a tree: nothing to show */
                CommitObject commit;
                r = commit_parse(oid->algo, object.data, object.size, &commit);
                if (r < 0)
                        return r;
                *ret = (CheckoutState){
                        .commit = *oid, .root = commit.tree, .time = commit.commit_time};
                return 1;
        }
        return -ELOOP;
}

static void show_remembered(CheckoutOperation *op) {
        _cleanup_(checkout_unrefp) Checkout *c = NULL;
        Namespace *ns = op->ns;
        RememberedRef ref;
        CheckoutState state;

        if (remembered_ref(ns, op->repo, op->refspec, &ref) <= 0 ||
            read_commit(ns->context->store, &ref.commit, &state) <= 0 ||
            checkout_new(op->repo, op->refspec, ref.resolved, ref.moves, &state, &c) < 0)
                return;
        checkout_unref(repo_add_checkout(op->repo, c));
        stat_add(STAT_RECALLED, 1);
        if (patience_show(&op->patience))
                deny(op);
}

static void recall(Patience *p) {
        CheckoutOperation *op = container_of(p, CheckoutOperation, patience);

        if (!op->checkout)
                show_remembered(op);
        else {
                checkout_set_checked(op->checkout, now_usec());
                (void) patience_show(p); /* who denies one that is shown removes it himself */
        }
        patience_unref(p);
}

static void next_fetch(CheckoutOperation *op, FetchKind kind, Oid *oids, size_t n) {
        free(op->oids);
        op->oids = oids;
        op->fetch.kind = kind;
        op->fetch.oids = oids;
        op->fetch.n_oids = n;
        op->fetch.deadline_usec =
                kind == FETCH_REF ? ns_deadline(op->ns) : ns_transfer_deadline(op->ns);
        source_fetch(op->repo->source, &op->fetch);
}

static void move(CheckoutOperation *op) {
        Oid *missing = NULL;
        size_t n_missing = 0;
        CheckoutState now;

        checkout_get_state(op->checkout, &now);
        op->news = op->news || !oid_equal(&now.commit, &op->state.commit);

        int r = checkout_move(op->ns, op->checkout, &op->state, op->blindly, &missing, &n_missing);
        if (r <= 0) {
                operation_end(op, r, NULL);
                return;
        }
        if (++op->rounds > MAX_TREE_ROUNDS) {
                free(missing);
                op->blindly = true; /* then none is missing */
                move(op);
                return;
        }
        next_fetch(op, FETCH_TREES, missing, n_missing);
}

static void publish(CheckoutOperation *op) {
        if (op->checkout) {
                move(op);
                return;
        }
        _cleanup_(checkout_unrefp) Checkout *c = NULL;
        int r = checkout_new(op->repo, op->refspec, op->resolved, op->moves, &op->state, &c);
        if (r >= 0)
                checkout_unref(repo_add_checkout(op->repo, c));
        operation_end(op, r, NULL);
}

/* The commit is here, and its root tree: what is below it can wait for its trees one by one. */
static void publish_early(CheckoutOperation *op) {
        _cleanup_(checkout_unrefp) Checkout *c = NULL;

        if (checkout_new(op->repo, op->refspec, op->resolved, op->moves, &op->state, &c) < 0)
                return; /* tried again when all is here */
        checkout_trees_begin(c);
        op->early = repo_add_checkout(op->repo, c);
        patience_land(&op->patience, 0, NULL);
}

static int fetch_commit(CheckoutOperation *op, const Oid *commit) {
        Oid *oid = malloc(sizeof(*oid));
        if (!oid)
                return -ENOMEM;
        *oid = *commit;
        if (op->checkout) {
                CheckoutState now;
                checkout_get_state(op->checkout, &now);
                op->fetch.have_tree = now.root;
        }
        next_fetch(op, FETCH_COMMIT, oid, 1);
        return 0;
}

static void ref_resolved(CheckoutOperation *op) {
        Oid commit = op->fetch.commit;
        int r = 0;

        patience_answering(&op->patience);
        op->moves = op->fetch.moves;
        memcpy(op->resolved, op->fetch.resolved, sizeof(op->resolved));
        if (oid_is_none(&commit)) {
                op->state = (CheckoutState){0};
                publish(op);
                return;
        }
        r = read_commit(op->ns->context->store, &commit, &op->state);
        if (r > 0)
                publish(op);
        else if (r < 0 || (r = fetch_commit(op, &commit)) < 0)
                operation_end(op, r, NULL);
}

static void fetched(Fetch *fetch, int result, const Failure *failure) {
        CheckoutOperation *op = container_of(fetch, CheckoutOperation, fetch);

        if (op->early)
                demand_trees_came(op->ns, op->early);

        /* The branch was rewritten, and its server has no use for what we compare with. */
        if (result == -ENOENT && fetch->kind == FETCH_TREES && !op->blindly) {
                op->blindly = true;
                publish(op);
                return;
        }
        if (result < 0) {
                operation_end(op, result, failure);
                return;
        }
        if (fetch->kind == FETCH_REF) {
                ref_resolved(op);
                return;
        }
        if (op->early) {
                operation_end(op, 0, NULL);
                return;
        }
        if (fetch->kind == FETCH_COMMIT) {
                Oid commit = op->oids[0];
                int r = read_commit(op->ns->context->store, &commit, &op->state);
                if (r <= 0) {
                        operation_end(op, r < 0 ? r : -EIO, NULL);
                        return;
                }
        }
        publish(op);
}

static void object_arrived(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        CheckoutOperation *op = container_of(fetch, CheckoutOperation, fetch);

        demand_object_arrived(op->ns, op->repo, oid, type, size);
        if (fetch->kind != FETCH_COMMIT || op->checkout || op->early)
                return;
        if (type == OBJECT_COMMIT) {
                Oid commit = op->oids[0];
                if (read_commit(op->ns->context->store, &commit, &op->state) <= 0)
                        op->state =
                                (CheckoutState){0}; /* another one, or damage: seen at the end */
        } else if (type == OBJECT_TREE && oid_equal(oid, &op->state.root))
                publish_early(op);
}

static void operation_start(
        Namespace *ns,
        Repo *repo,
        const char *refspec,
        Checkout *c,
        bool stale_ok,
        FetchPriority priority,
        const FlightKey *key) {
        size_t len = strlen(refspec) + 1;

        CheckoutOperation *op = demand_start(ns, key, sizeof(*op) + len);
        if (!op)
                return;
        memcpy(op->refspec, refspec, len);
        op->ns = ns;
        patience_init(&op->patience, ns, key);
        op->patience.recall = recall;
        op->patience.free = operation_free;
        op->repo = repo_ref(repo);
        op->checkout = c ? checkout_ref(c) : NULL;
        op->fetch.object = object_arrived;
        op->fetch.done = fetched;
        op->stale_ok = stale_ok;
        op->fetch.priority = priority;
        if (priority == FETCH_PREFETCH)
                op->fetch.waited = &op->repo->waited;
        op->fetch.refname = strcmp(op->refspec, "") == 0 ? NULL : op->refspec;
        /* A refresh asks for the branch that was resolved: were the default branch renamed, the
         * checkout would otherwise change its meaning under its users. */
        if (c && strncmp(c->resolved, "refs/", strlen("refs/")) == 0)
                op->fetch.refname = c->resolved;
        if (!c || stale_ok)
                patience_begin(&op->patience);
        next_fetch(op, FETCH_REF, NULL, 0);
}

int demand_checkout(Namespace *ns, const NsCall *call, Repo *repo, const char *refspec) {
        FlightKey key = demand_key_name(repo, DEMAND_CHECKOUT, refspec);

        /* Whoever joins what is fetched ahead must not be held back as that is. */
        if (call->waiter && !(call->flags & NS_AHEAD))
                atomic_store_explicit(&repo->waited, true, memory_order_relaxed);
        int r = demand_join(ns, call, &key);
        if (r <= 0)
                return r;
        Checkout *known = repo_find_checkout(repo, refspec);
        if (known) {
                checkout_unref(known);
                flight_land(ns->flights, &key, 0, NULL);
                return NS_PARKED;
        }
        FetchPriority priority = call->flags & NS_AHEAD ? FETCH_PREFETCH : FETCH_WAITING;
        operation_start(ns, repo, refspec, NULL, false, priority, &key);
        return NS_PARKED;
}

int demand_refresh(Namespace *ns, const NsCall *call, Checkout *c) {
        FlightKey key = demand_key_name(c->repo, DEMAND_REFRESH, c->refspec);

        int r = demand_join(ns, call, &key);
        if (r <= 0)
                return r;
        stat_add(STAT_REFRESH_RUNS, 1);
        operation_start(ns, c->repo, c->refspec, c, false, FETCH_REFRESH, &key);
        return NS_PARKED;
}

int demand_check(Namespace *ns, const NsCall *call, Checkout *c) {
        FlightKey key = demand_key_name(c->repo, DEMAND_CHECKOUT, c->refspec);

        int r = demand_join(ns, call, &key);
        if (r <= 0)
                return r;
        stat_add(STAT_REFRESH_RUNS, 1);
        operation_start(ns, c->repo, c->refspec, c, true, FETCH_WAITING, &key);
        return NS_PARKED;
}
