/* Nodes of the process before this one, which know what they are but not whose. They are attached
 * to the orgs, owners and checkouts of this process when somebody needs that: what is asked of a
 * file whose blob is here does not. An org must be configured still; what is below it is taken as
 * the kernel knows it, without asking anybody. A repository is where it was found before; a
 * checkout shows the commit it showed, and is due for a look at what its branch shows by now.
 *
 * Nodes that nobody asks for are attached, too, as their branches move: attach_all(), on the first
 * few polls, which is how often it takes until the repositories are opened. */

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "tree/namespace-private.h"

/* --- the repository --- */

typedef struct AttachOperation {
        ForgeLookup lookup;
        Namespace *ns;
        Owner *owner;
        FlightKey key;
        char *url;
        char name[];
} AttachOperation;

static void
repo_opened(ForgeLookup *lookup, int result, const ForgeFound *found, const Failure *failure) {
        AttachOperation *op = container_of(lookup, AttachOperation, lookup);
        _cleanup_(source_unrefp) Source *source = found ? found->source : NULL;
        _cleanup_(repo_unrefp) Repo *repo = NULL;
        Namespace *ns = op->ns;

        if (source)
                result = owner_add_repo(op->owner, op->name, source, &repo);
        else if (result >= 0 || result == -ENOENT)
                result = -ESTALE; /* an owner has that name by now, or nothing */
        ns_report(ns, op->owner->org, MIN(result, 0), failure);
        flight_land(ns->flights, &op->key, MIN(result, 0), failure);
        owner_unref(op->owner);
        free(op->url);
        free(op);
        ns_operation_end(ns);
}

/* NS_PARKED, or < 0. Without a waiter it is only started. */
static int
open_repo(Namespace *ns, FlightWaiter *waiter, Owner *owner, const char *name, const char *url) {
        FlightKey key = demand_key_name(owner, DEMAND_ATTACH, name);
        size_t len = strlen(name) + 1;

        int r = flight_join(ns->flights, &key, waiter);
        if (r <= 0)
                return r < 0 ? r : NS_PARKED;
        AttachOperation *op = demand_start(ns, &key, sizeof(*op) + len);
        if (!op)
                return NS_PARKED;
        memcpy(op->name, name, len);
        op->ns = ns;
        op->owner = owner_ref(owner);
        op->key = key;
        op->url = strdup(url);
        op->lookup.owner = owner->path;
        op->lookup.name = op->name;
        op->lookup.found_at = op->url && op->url[0] ? op->url : NULL;
        op->lookup.done = repo_opened;
        forge_lookup(owner->org->forge, &op->lookup);
        return NS_PARKED;
}

/* --- one node, whose parent is attached --- */

/* 1 if it is this node that the spec means. */
static int attach_as(Namespace *ns, const Node *node, const NodeSpec *spec) {
        Node *found = node_table_find(ns->nodes, spec);
        int r = found == node ? 1 : -ESTALE;

        node_table_put(ns->nodes, found);
        return r;
}

static NodeSpec spec_of(const Node *node) {
        return (NodeSpec){
                .kind = (NodeKind) node->kind,
                .parent = node_parent(node),
                .name = node_name(node),
                .name_len = node->name_len,
        };
}

static int attach_org(Namespace *ns, const Node *node) {
        _cleanup_(org_unrefp) Org *org = ns_find_org(ns, node_name(node));
        NodeSpec spec = spec_of(node);

        if (!org)
                return -ESTALE;
        spec.owner = &org->root;
        spec.generation = org->generation;
        return attach_as(ns, node, &spec);
}

static int attach_owner(Namespace *ns, const Node *node) {
        _cleanup_(owner_unrefp) Owner *owner = NULL;
        NodeSpec spec = spec_of(node);

        int r = owner_add_owner(node_owner(node_parent(node)), node_name(node), &owner);
        if (r < 0)
                return r == -ENOENT ? -ESTALE : r;
        spec.owner = owner;
        return attach_as(ns, node, &spec);
}

/* Of several directories that show one checkout (spellings of its ref), one may not have followed
 * its last move. But a checkout that was fetched ahead, and that nobody was shown yet, goes back to
 * what the kernel knows, and is moved from there. */
static bool catch_up_locked(Node *node, Checkout *c) {
        const NodeShown *now = node_shown(node);
        NodeShown shown = {.tree = c->root, .commit = c->commit, .mtime = c->time};

        if (oid_equal(&now->commit, &c->commit) && oid_equal(&now->tree, &c->root))
                return false;
        if (c->n_root_nodes == 0) {
                c->commit = now->commit;
                c->root = now->tree;
                c->time = now->mtime;
                c->checked_usec = 0;
                return false;
        }
        shown.move = atomic_load(&node_dir(node)->moved) + 1;
        node_show_locked(node, &shown);
        atomic_store(&node_dir(node)->moved, shown.move);
        return true;
}

static int attach_to_checkout(Namespace *ns, Node *node, Checkout *c) {
        NodeSpec spec = spec_of(node);

        spec.checkout = c;
        mutex_lock(&c->lock);
        bool switched = catch_up_locked(node, c);
        int r = attach_as(ns, node, &spec);
        c->n_root_nodes++;
        mutex_unlock(&c->lock);
        if (switched)
                ns_forget_below(ns, node);
        return r;
}

static int attach_to_repo(Namespace *ns, Node *node, Repo *repo, const char *refspec) {
        _cleanup_(checkout_unrefp) Checkout *c = repo_find_checkout(repo, refspec);

        if (!c) {
                _cleanup_(checkout_unrefp) Checkout *made = NULL;
                const NodeCheckout record = node_checkout_record(node);
                const CheckoutState state = {
                        .commit = record.shown.commit,
                        .root = record.shown.tree,
                        .time = record.shown.mtime,
                };
                int r = checkout_new(repo, refspec, record.resolved, record.follows, &state, &made);
                if (r < 0)
                        return r;
                checkout_set_checked(made, 0); /* nobody knows for how long it was not looked at */
                c = repo_add_checkout(repo, made);
        }
        return attach_to_checkout(ns, node, c);
}

static int attach_checkout(Namespace *ns, FlightWaiter *waiter, Node *node) {
        char repo_name[NAME_MAX + 1], refspec[NAME_MAX + 1];
        Owner *owner = node_owner(node_parent(node));

        if (atomic_load(&owner->closed) || ns_split_name(node_name(node), repo_name, refspec) < 0)
                return -ESTALE;
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(owner, repo_name);
        if (!repo)
                return open_repo(ns, waiter, owner, repo_name, node_checkout_record(node).url);
        return attach_to_repo(ns, node, repo, refspec);
}

static int attach_one(Namespace *ns, FlightWaiter *waiter, Node *node) {
        NodeSpec spec;

        switch ((NodeKind) node->kind) {
        case NODE_ORG:
                return attach_org(ns, node);
        case NODE_OWNER:
                return attach_owner(ns, node);
        case NODE_CHECKOUT:
                return attach_checkout(ns, waiter, node);
        default:
                spec = spec_of(node);
                spec.checkout = node_checkout(node_parent(node));
                return attach_as(ns, node, &spec);
        }
}

/* --- with all above it --- */

static int attach(Namespace *ns, FlightWaiter *waiter, Node *node) {
        for (;;) {
                Node *first = NULL;
                for (Node *n = node; n && !node_is_attached(n); n = node_parent(n))
                        first = node_is_dir(n) ? n : first;
                if (!first)
                        return 1;
                int r = attach_one(ns, waiter, first);
                if (r != 1)
                        return r;
        }
}

int ns_attach(Namespace *ns, const NsCall *call, Node *node) {
        if (ns->n_recovered == 0 || node_is_attached(node))
                return 1;
        if (!call->waiter && !(call->flags & NS_MAY_BLOCK))
                return NS_PARKED;
        return attach(ns, call->waiter, node);
}

static void attach_checkout_node(Node *node, void *userdata) {
        /* What cannot be attached is stale: whoever uses it is told so. */
        if (node->kind == NODE_CHECKOUT)
                (void) attach(userdata, NULL, node);
}

void ns_attach_all(Namespace *ns) {
        if (ns->n_recovered > 0 && atomic_load(&ns->n_attach_rounds) > 0) {
                atomic_fetch_sub(&ns->n_attach_rounds, 1);
                /* Out of memory: the next poll is a second away. */
                (void) node_table_each(ns->nodes, attach_checkout_node, ns);
        }
}
