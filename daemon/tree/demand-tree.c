/* Asking for things, part three: trees, and the news that an object has come. */

#include <errno.h>

#include "tree/namespace-private.h"

typedef struct TreeOperation {
        Fetch fetch;
        Namespace *ns;
        Checkout *checkout;
        FlightKey key;
        Oid oid; /* what fetch.oids points to */
} TreeOperation;

void demand_object_arrived(
        Namespace *ns, Repo *repo, const Oid *oid, ObjectType type, uint64_t size) {
        if (type != OBJECT_TREE && type != OBJECT_BLOB)
                return;
        if (type == OBJECT_BLOB)
                fetch_queue_forget(repo, oid);
        FlightKey key = demand_key_oid(repo, type == OBJECT_TREE ? DEMAND_TREE : DEMAND_BLOB, oid);
        flight_land(ns->flights, &key, 0, NULL);
}

static void tree_object(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        TreeOperation *op = container_of(fetch, TreeOperation, fetch);

        demand_object_arrived(op->ns, op->checkout->repo, oid, type, size);
}

static void tree_done(Fetch *fetch, int result, const Failure *failure) {
        TreeOperation *op = container_of(fetch, TreeOperation, fetch);
        Namespace *ns = op->ns;

        /* A server that cannot send trees without their files sends the whole commit instead. */
        if (result == -EOPNOTSUPP && fetch->kind == FETCH_TREES) {
                CheckoutState state;
                checkout_get_state(op->checkout, &state);
                op->oid = state.commit;
                fetch->kind = FETCH_COMMIT;
                source_fetch(op->checkout->repo->source, fetch);
                return;
        }
        Failure why;
        result = demand_object_result(result, failure, &why);
        ns_report(ns, op->checkout->repo->org, result, &why);
        flight_land(ns->flights, &op->key, result, &why);
        checkout_unref(op->checkout);
        free(op);
        ns_operation_end(ns);
}

void demand_trees_came(Namespace *ns, Checkout *c) {
        const FlightKey all = {.scope = c, .kind = DEMAND_TREES};
        Oid *awaited;
        size_t n = checkout_trees_end(c, &awaited);

        /* Also what did not come: whoever waits looks again, and then asks for it. */
        for (size_t i = 0; i < n; i++) {
                FlightKey key = demand_key_oid(c->repo, DEMAND_TREE, &awaited[i]);
                flight_land(ns->flights, &key, 0, NULL);
        }
        flight_land(ns->flights, &all, 0, NULL);
        free(awaited);
}

int demand_trees(Namespace *ns, const NsCall *call, Checkout *c) {
        const FlightKey key = {.scope = c, .kind = DEMAND_TREES};

        if (!checkout_trees_coming(c))
                return 1;
        int r = demand_join(ns, call, &key);
        if (r <= 0)
                return r;
        if (!checkout_trees_coming(c)) /* the last came just now, before there was a flight */
                flight_land(ns->flights, &key, 0, NULL);
        return NS_PARKED;
}

int demand_tree(Namespace *ns, const NsCall *call, Checkout *c, const Oid *tree) {
        FlightKey key = demand_key_oid(c->repo, DEMAND_TREE, tree);

        int r = demand_join(ns, call, &key);
        if (r <= 0)
                return r;
        if (store_has(ns->context->store, STORE_OBJECT, tree)) {
                flight_land(ns->flights, &key, 0, NULL);
                return NS_PARKED;
        }
        if (checkout_await_tree(c, tree))
                return NS_PARKED;
        TreeOperation *op = demand_start(ns, &key, sizeof(*op));
        if (!op)
                return NS_PARKED;
        op->ns = ns;
        op->checkout = checkout_ref(c);
        op->key = key;
        op->oid = *tree;
        op->fetch = (Fetch){
                .kind = FETCH_TREES,
                .priority = FETCH_WAITING,
                .deadline_usec = ns_transfer_deadline(ns),
                .oids = &op->oid,
                .n_oids = 1,
                .object = tree_object,
                .done = tree_done,
        };
        source_fetch(c->repo->source, &op->fetch);
        return NS_PARKED;
}
