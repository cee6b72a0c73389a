#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "tree/walk.h"

/* Polls until all that was recovered is attached: who opens a repository does not wait for it. */
#define ATTACH_ROUNDS 4

/* fd is -1 where there are no nodes to take over. */
static int new_with_nodes(
        const NsConfig *config,
        const ForgeContext *context,
        FlightTable *flights,
        int fd,
        Namespace **ret) {
        Namespace *alloc = calloc(1, sizeof(*alloc));
        if (!alloc)
                return -ENOMEM;
        mutex_init(&alloc->lock, LOCK_RANK_MANAGER);
        int r = -pthread_cond_init(&alloc->idle, NULL);
        if (r < 0) {
                free(alloc);
                return r;
        }
        _cleanup_(ns_freep) Namespace *ns = alloc;

        ns->config = *config;
        ns->context = context;
        ns->flights = flights;
        r = listing_cache_new(config->listing_limit, &ns->listings);
        if (r >= 0)
                r = timers_new(context->pool, &ns->timers);
        if (r >= 0) /* last, as it takes the descriptor */
                r = fd < 0 ? node_table_new(&ns->nodes) : node_table_recover(fd, &ns->nodes);
        if (r < 0)
                return r;
        if (fd >= 0) {
                ns->n_recovered = node_table_size(ns->nodes);
                atomic_init(&ns->n_attach_rounds, ATTACH_ROUNDS);
                /* Out of memory: what the kernel knows is old, but was true once. */
                (void) untold_moves_new(ns->nodes, &ns->untold);
        }
        *ret = TAKE_PTR(ns);
        return 0;
}

int ns_new(
        const NsConfig *config,
        const ForgeContext *context,
        FlightTable *flights,
        Namespace **ret) {
        return new_with_nodes(config, context, flights, -1, ret);
}

int ns_new_from(
        const NsConfig *config,
        const ForgeContext *context,
        FlightTable *flights,
        int fd,
        Namespace **ret) {
        assert(fd >= 0);
        return new_with_nodes(config, context, flights, fd, ret);
}

int ns_nodes_fd(const Namespace *ns) {
        return node_table_fd(ns->nodes);
}

size_t ns_n_recovered(const Namespace *ns) {
        return ns->n_recovered;
}

void ns_keep_nodes(Namespace *ns) {
        node_table_keep(ns->nodes);
}

void ns_stop(Namespace *ns) {
        MUTEX_GUARD(&ns->lock);
        ns->stopping = true;
        while (ns->n_operations > 0)
                mutex_wait(&ns->lock, &ns->idle);
}

Namespace *ns_free(Namespace *ns) {
        if (!ns)
                return NULL;
        for (size_t i = 0; i < ns->n_orgs; i++)
                org_close(ns->orgs[i]);
        untold_moves_free(ns->nodes, ns->untold);
        node_table_free(ns->nodes);
        for (size_t i = 0; i < ns->n_orgs; i++)
                org_unref(ns->orgs[i]);
        free(ns->orgs);
        listing_cache_free(ns->listings);
        timers_free(ns->timers);
        (void) pthread_cond_destroy(&ns->idle); /* nobody waits */
        mutex_destroy(&ns->lock);
        free(ns);
        return NULL;
}

void ns_set_config(Namespace *ns, const NsConfig *config) {
        mutex_lock(&ns->lock);
        ns->config = *config;
        mutex_unlock(&ns->lock);
        listing_cache_set_limit(ns->listings, config->listing_limit);
}

uint64_t ns_poll_interval(Namespace *ns, const Org *org) {
        if (org->config->poll_interval_usec != ORG_POLL_DEFAULT)
                return org->config->poll_interval_usec;
        MUTEX_GUARD(&ns->lock);
        return ns->config.poll_interval_usec;
}

void ns_set_observer(Namespace *ns, const NsObserver *observer) {
        MUTEX_GUARD(&ns->lock);
        ns->observer = observer ? *observer : (NsObserver){0};
}

void ns_set_org_observer(Namespace *ns, const NsOrgObserver *observer) {
        MUTEX_GUARD(&ns->lock);
        ns->org_observer = observer ? *observer : (NsOrgObserver){0};
}

/* --- orgs --- */

/* The index of the org, or where it would stand: then *ret_found is false. */
static size_t org_position(const Namespace *ns, const char *name, bool *ret_found) {
        size_t i = 0;

        while (i < ns->n_orgs && strcmp(ns->orgs[i]->config->name, name) < 0)
                i++;
        *ret_found = i < ns->n_orgs && strcmp(ns->orgs[i]->config->name, name) == 0;
        return i;
}

Org *ns_find_org(Namespace *ns, const char *name) {
        bool found;

        MUTEX_GUARD(&ns->lock);
        size_t i = org_position(ns, name, &found);
        return found ? org_ref(ns->orgs[i]) : NULL;
}

Org *ns_get_org(Namespace *ns, const char *name) {
        return ns_find_org(ns, name);
}

static int insert_org(Namespace *ns, Org *org) {
        bool found;

        MUTEX_GUARD(&ns->lock);
        size_t i = org_position(ns, org->config->name, &found);
        if (found)
                return -EEXIST;
        Org **orgs = realloc(ns->orgs, (ns->n_orgs + 1) * sizeof(Org *));
        if (!orgs)
                return -ENOMEM;
        ns->orgs = orgs;
        memmove(orgs + i + 1, orgs + i, (ns->n_orgs - i) * sizeof(Org *));
        orgs[i] = org_ref(org);
        ns->n_orgs++;
        return 0;
}

static void root_changed(Namespace *ns, const char *name) {
        ns_entry_changed(ns, NS_ROOT_ID, name);
        ns_inode_changed(ns, NS_ROOT_ID);
}

/* Nodes of a predecessor are taken over by the same org, and that is one with the same
 * configuration: another server's repositories of those names are others. */
static uint64_t unused_generation(Namespace *ns, const OrgConfig *config) {
        _cleanup_buf_ Buf text = {0};
        NodeSpec spec = {
                .kind = NODE_ORG,
                .parent = node_table_root(ns->nodes),
                .name = config->name,
                .name_len = strlen(config->name),
        };

        if (org_config_format(config, &text) >= 0) /* else another one: what is recovered stays */
                spec.generation = hash_bytes_stable(text.data, text.len, 0);
        for (;; spec.generation++) {
                Node *node = node_table_find(ns->nodes, &spec);
                bool recovered = node && !node_is_attached(node);
                node_table_put(ns->nodes, node);
                if (!node || recovered)
                        return spec.generation;
        }
}

int ns_show_org(Namespace *ns, Org *org) {
        org->generation = unused_generation(ns, org->config);
        int r = insert_org(ns, org);
        if (r < 0)
                return r;
        root_changed(ns, org->config->name);
        return 0;
}

static bool is_full(Namespace *ns) {
        MUTEX_GUARD(&ns->lock);
        return ns->n_orgs >= NS_MAX_ORGS;
}

int ns_add_org(Namespace *ns, const OrgConfig *config, Failure *ret_failure) {
        _cleanup_(org_unrefp) Org *org = NULL;

        if (is_full(ns)) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "there are %u orgs already, which is as many as there may be",
                                   NS_MAX_ORGS);
                return -E2BIG;
        }
        int r = org_new(config, ns->context, &org, ret_failure);
        if (r < 0)
                return r;
        return ns_show_org(ns, org);
}

int ns_remove_org(Namespace *ns, const char *name) {
        _cleanup_(org_unrefp) Org *org = NULL;
        bool found;

        mutex_lock(&ns->lock);
        size_t i = org_position(ns, name, &found);
        if (found) {
                org = ns->orgs[i];
                memmove(ns->orgs + i, ns->orgs + i + 1, (ns->n_orgs - i - 1) * sizeof(Org *));
                ns->n_orgs--;
        }
        mutex_unlock(&ns->lock);
        if (!org)
                return -ENOENT;
        org_close(org);
        root_changed(ns, name);
        return 0;
}

int ns_each_org(Namespace *ns, int (*fn)(Org *org, void *userdata), void *userdata) {
        int r = 0;

        mutex_lock(&ns->lock);
        size_t n = ns->n_orgs;
        Org **orgs = calloc(n + 1, sizeof(Org *));
        for (size_t i = 0; orgs && i < n; i++)
                orgs[i] = org_ref(ns->orgs[i]);
        mutex_unlock(&ns->lock);
        if (!orgs)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                if (r >= 0)
                        r = fn(orgs[i], userdata);
                org_unref(orgs[i]);
        }
        free(orgs);
        return r;
}

/* --- refresh --- */

typedef struct RefreshCall {
        FlightWaiter waiter;
        Namespace *ns;
        Checkout *again; /* to be refreshed once more: a reference */
        void (*done)(int result, const Failure *failure, void *userdata);
        void *userdata;
} RefreshCall;

static void refresh_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        RefreshCall *call = container_of(waiter, RefreshCall, waiter);
        _cleanup_(checkout_unrefp) Checkout *again = TAKE_PTR(call->again);
        Namespace *ns = call->ns;

        if (again) {
                const NsCall next = {.flags = NS_MAY_BLOCK, .waiter = waiter};
                result = demand_refresh(ns, &next, again);
                failure = NULL;
        }
        if (result == NS_PARKED)
                return;
        if (call->done)
                call->done(result, failure, call->userdata);
        free(call);
        ns_operation_end(ns);
}

typedef void (*RefreshDone)(int result, const Failure *failure, void *userdata);

static int refresh_call_new(Namespace *ns, RefreshDone done, void *userdata, RefreshCall **ret) {
        RefreshCall *rc = calloc(1, sizeof(*rc));
        if (!rc)
                return -ENOMEM;
        int r = ns_operation_begin(ns);
        if (r < 0) {
                free(rc);
                return r;
        }
        rc->waiter.landed = refresh_landed;
        rc->ns = ns;
        rc->done = done;
        rc->userdata = userdata;
        *ret = rc;
        return 0;
}

/* What the demand returned: anything but NS_PARKED means that the waiter will not run. */
static int refresh_call_started(RefreshCall *rc, int r) {
        if (r == NS_PARKED)
                return 0;
        ns_operation_end(rc->ns);
        checkout_unref(rc->again);
        free(rc);
        return r;
}

/* Anew: one that is under way may have heard of the branch before the caller came. */
static int refresh(Namespace *ns, Checkout *c, bool anew, RefreshDone done, void *userdata) {
        const FlightKey key = demand_key_name(c->repo, DEMAND_REFRESH, c->refspec);
        RefreshCall *rc;

        int r = refresh_call_new(ns, done, userdata, &rc);
        if (r < 0)
                return r;
        if (anew && flight_exists(ns->flights, &key))
                rc->again = checkout_ref(c);
        const NsCall call = {.flags = NS_MAY_BLOCK, .waiter = &rc->waiter};
        return refresh_call_started(rc, demand_refresh(ns, &call, c));
}

int ns_refresh(Namespace *ns, Checkout *c, RefreshDone done, void *userdata) {
        return refresh(ns, c, /* anew= */ true, done, userdata);
}

int ns_relist(Namespace *ns, Owner *owner, RefreshDone done, void *userdata) {
        RefreshCall *rc;

        if (!owner_has_list(owner)) {
                if (done)
                        done(0, NULL, userdata);
                return 0;
        }
        int r = refresh_call_new(ns, done, userdata, &rc);
        if (r < 0)
                return r;
        const NsCall call = {.flags = NS_MAY_BLOCK, .waiter = &rc->waiter};
        return refresh_call_started(rc, demand_list(ns, &call, owner));
}

static void forget_negatives(Owner *owner, void *userdata) {
        ns_drop_negatives(userdata, owner, /* only_listed= */ false);
}

void ns_forget_negatives(Namespace *ns, Org *org) {
        owner_each(&org->root, forget_negatives, ns);
}

typedef struct Poll {
        Namespace *ns;
        uint64_t now;
        uint64_t interval;
} Poll;

static void poll_checkout(Checkout *c, void *userdata) {
        const Poll *poll = userdata;

        /* One reference is the table's, one this call's: nobody looks at it, the next look-up will
         * check. */
        bool in_use = atomic_load_explicit(&c->ref.n, memory_order_relaxed) > 2;
        if (c->moves && in_use && checkout_checked(c) + poll->interval <= poll->now)
                /* Tried again at the next poll. */
                (void) refresh(poll->ns, c, /* anew= */ false, NULL, NULL);
}

static void poll_repo(Repo *repo, void *userdata) {
        repo_each_checkout(repo, poll_checkout, userdata);
}

/* The kernel keeps a listing that was made once. Where it costs little it is made anew here, and
 * the kernel told. Else the kernel is only told that it is old: whoever looks at it next is shown
 * the same, and has it asked for again. */
static void poll_owner(Owner *owner, void *userdata) {
        const Poll *poll = userdata;
        uint64_t since = poll->now > poll->interval ? poll->now - poll->interval : 1;

        if (owner->org->forge->ops->revalidates) {
                if (owner_expire(owner, since))
                        ns_owner_changed(poll->ns, owner);
        } else if (owner_relist_due(owner, since, poll->now))
                (void) ns_relist(poll->ns, owner, NULL, NULL); /* tried again at the next poll */
        owner_each_repo(owner, poll_repo, userdata);
}

static int poll_org(Org *org, void *userdata) {
        Poll *poll = userdata;

        poll->interval = ns_poll_interval(poll->ns, org);
        if (poll->interval == 0)
                return 0;
        owner_each(&org->root, poll_owner, poll);
        return 0;
}

static int list_ahead(Org *org, void *userdata) {
        if (org->forge->ops->revalidates && org->config->owner)
                demand_list_ahead(userdata, &org->root, FETCH_PREFETCH);
        return 0;
}

void ns_list_all(Namespace *ns) {
        /* Out of memory: lists are asked for when somebody looks. */
        (void) ns_each_org(ns, list_ahead, ns);
}

void ns_poll(Namespace *ns) {
        Poll poll = {.ns = ns, .now = now_usec()};

        ns_attach_all(ns);
        (void) ns_each_org(ns, poll_org, &poll); /* out of memory: the next poll is a second away */
}

/* --- what is resident, and dropping it --- */

bool ns_is_resident(Namespace *ns, const NsTarget *target) {
        if (!target->checkout)
                return true;
        if (oid_is_none(&target->oid))
                return true;
        return store_has(ns->context->store, STORE_OBJECT, &target->oid);
}

static int flush_org(Org *org, void *userdata) {
        ns_forget_negatives(userdata, org);
        owner_flush(&org->root);
        return 0;
}

void ns_flush_memory(Namespace *ns) {
        (void) ns_each_org(
                ns, flush_org, ns); /* fails only when memory is so short that nothing helps */
        listing_cache_clear(ns->listings);
}

void ns_flush_objects(Namespace *ns, const NsTarget *target) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        const WalkLimits limits = {.max_items = SIZE_MAX};
        _cleanup_(listing_unrefp) Listing *l = NULL;
        Walk walk = {0};
        Store *store = ns->context->store;

        if (oid_is_none(&target->oid))
                return;
        if (node_is_dir(target->node) && ns_listing(ns, &call, NULL, &target->oid, &l) > 0 &&
            walk_below(ns, l, &limits, &walk) >= 0) {
                for (size_t i = 0; i < walk.n_items; i++)
                        store_forget(store, STORE_OBJECT, &walk.items[i].entry->oid);
                for (size_t i = 0; i < walk.n_listings; i++) {
                        store_forget(store, STORE_SIZES, &walk.listings[i]->oid);
                        store_forget(store, STORE_OBJECT, &walk.listings[i]->oid);
                        listing_cache_remove(ns->listings, &walk.listings[i]->oid);
                }
        }
        walk_done(&walk);
        store_forget(store, STORE_OBJECT, &target->oid);
}

typedef struct Known {
        const NsTarget *below;
        void (*fn)(uint64_t id, uint64_t parent, const char *name, void *userdata);
        void *userdata;
} Known;

static void visit_known(Node *node, void *userdata) {
        const Known *known = userdata;
        const Node *up = node;

        while (known->below && up && up != known->below->node)
                up = node_parent(up);
        if (up)
                known->fn(
                        node->id,
                        node_parent(node) ? node_parent(node)->id : 0,
                        node_name(node),
                        known->userdata);
}

int ns_each_known(
        Namespace *ns,
        const NsTarget *below,
        void (*fn)(uint64_t id, uint64_t parent, const char *name, void *userdata),
        void *userdata) {
        Known known = {.below = below, .fn = fn, .userdata = userdata};

        return node_table_each(ns->nodes, visit_known, &known);
}
