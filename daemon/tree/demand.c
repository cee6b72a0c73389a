/* Asking for things, part one: flights, and what the demands share. What one demand is for is found
 * in the caches again when its flight has landed; nothing is handed from the operation to the
 * waiter. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "util/path.h"

FlightKey demand_key_name(const void *scope, DemandKind kind, const char *name) {
        FlightKey key = {.scope = scope, .kind = kind};
        /* 128 bits of hash: two names that share a flight would only make one of them ask twice. */
        uint64_t h[2] = {
                hash_bytes(name, strlen(name), 1),
                hash_bytes(name, strlen(name), 2),
        };

        memcpy(key.id, h, sizeof(h));
        return key;
}

FlightKey demand_key_oid(const void *scope, DemandKind kind, const Oid *oid) {
        FlightKey key = {.scope = scope, .kind = kind};

        memcpy(key.id, oid->id, OID_RAW_MAX);
        return key;
}

int demand_join(Namespace *ns, const NsCall *call, const FlightKey *key) {
        if (!call->waiter)
                return NS_PARKED;
        int r = flight_join(ns->flights, key, call->waiter);
        return r == 0 ? NS_PARKED : r;
}

int demand_wait(Namespace *ns, const NsCall *call, const FlightKey *key) {
        if (!flight_exists(ns->flights, key))
                return 0;
        int r = flight_join(ns->flights, key, call->waiter);
        if (r > 0) /* it has landed just now */
                flight_land(ns->flights, key, 0, NULL);
        return r < 0 ? r : 1;
}

int ns_operation_begin(Namespace *ns) {
        MUTEX_GUARD(&ns->lock);
        if (ns->stopping)
                return -ECANCELED;
        ns->n_operations++;
        return 0;
}

void ns_operation_end(Namespace *ns) {
        MUTEX_GUARD(&ns->lock);
        assert(ns->n_operations > 0);
        if (--ns->n_operations == 0)
                (void) pthread_cond_broadcast(&ns->idle); /* cannot fail on an initialised one */
}

int demand_begin(Namespace *ns, size_t size, void **ret) {
        _cleanup_free_ void *op = calloc(1, size);
        if (!op)
                return -ENOMEM;
        int r = ns_operation_begin(ns);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(op);
        return 0;
}

void *demand_start(Namespace *ns, const FlightKey *key, size_t size) {
        void *op = NULL;

        int r = demand_begin(ns, size, &op);
        if (r < 0)
                flight_land(ns->flights, key, r, NULL);
        return op;
}

static void report(Namespace *ns, Org *org, const OrgReport *said) {
        if (!org_set_health(org, said))
                return;
        mutex_lock(&ns->lock);
        NsOrgObserver observer = ns->org_observer;
        mutex_unlock(&ns->lock);
        if (observer.changed)
                observer.changed(org->config->name, observer.userdata);
}

void ns_report(Namespace *ns, Org *org, int result, const Failure *failure) {
        const OrgReport said = {.from = ORG_REPORT_NAME, .result = result, .failure = failure};

        report(ns, org, &said);
}

void ns_report_listing(Namespace *ns, Owner *owner, int result, const Failure *failure) {
        const OrgReport said = {
                .from = owner->parent ? ORG_REPORT_LISTING : ORG_REPORT_ROOT,
                .result = result,
                .failure = failure,
        };

        report(ns, owner->org, &said);
}

NsObserver ns_observer(Namespace *ns) {
        MUTEX_GUARD(&ns->lock);
        return ns->observer;
}

void ns_entry_changed(Namespace *ns, uint64_t parent, const char *name) {
        NsObserver o = ns_observer(ns);

        if (o.entry_changed)
                o.entry_changed(parent, name, o.userdata);
}

void ns_inode_changed(Namespace *ns, uint64_t id) {
        NsObserver o = ns_observer(ns);

        if (o.inode_changed)
                o.inode_changed(id, o.userdata);
}

NsAhead ns_ahead(Namespace *ns) {
        MUTEX_GUARD(&ns->lock);
        return ns->config.ahead;
}

uint64_t ns_deadline(Namespace *ns) {
        MUTEX_GUARD(&ns->lock);
        return now_usec() + ns->config.request_timeout_usec;
}

#define TRANSFER_TIMEOUTS 20

uint64_t ns_transfer_deadline(Namespace *ns) {
        MUTEX_GUARD(&ns->lock);
        return now_usec() + TRANSFER_TIMEOUTS * ns->config.request_timeout_usec;
}

int demand_object_result(int result, const Failure *failure, Failure *ret_failure) {
        *ret_failure = failure ? *failure : (Failure){0};
        if (result != -ENOENT)
                return result;
        return failure_set(
                ret_failure,
                FAILURE_CORRUPT,
                "the server lacks an object of a commit that it serves: %s",
                failure ? failure->text : "not found");
}

/* --- owners --- */

/* A reference to the node of a directory above repositories; NULL where nobody knows it. */
static Node *owner_node(Namespace *ns, Owner *owner) {
        Node *up = owner->parent ? owner_node(ns, owner->parent)
                                 : node_ref(node_table_root(ns->nodes));
        if (!up)
                return NULL;
        const char *name = owner->parent ? owner->name : owner->org->config->name;
        const NodeSpec spec = {
                .kind = owner->parent ? NODE_OWNER : NODE_ORG,
                .parent = up,
                .name = name,
                .name_len = strlen(name),
                .owner = owner,
                .generation = owner->parent ? 0 : owner->org->generation,
        };
        Node *node = node_table_find(ns->nodes, &spec);
        node_table_put(ns->nodes, up);
        return node;
}

void ns_owner_changed(Namespace *ns, Owner *owner) {
        Node *node = owner_node(ns, owner);

        if (!node)
                return; /* nobody was told of it */
        ns_inode_changed(ns, node->id);
        node_table_put(ns->nodes, node);
}

void ns_name_changed(Namespace *ns, Owner *owner, const char *name) {
        Node *node = owner_node(ns, owner);

        if (!node)
                return;
        ns_entry_changed(ns, node->id, name);
        node_table_put(ns->nodes, node);
}

void ns_doubt_owner(Namespace *ns, Owner *owner) {
        if (!owner->parent)
                return;
        atomic_store(&owner->doubted_until_usec, OWNER_DOUBTED);
        ns_name_changed(ns, owner->parent, owner->name);
}

typedef struct TellName {
        Namespace *ns;
        uint64_t id; /* of the directory; 0: the kernel does not know it */
} TellName;

/* The name as the kernel has it: a ref is remembered decoded, and "" is the default branch. */
static void tell_name(const char *name, void *userdata) {
        const TellName *tell = userdata;
        const char *at = strchr(name, '@');
        char shown[NAME_MAX + 1];

        if (tell->id == 0)
                return;
        if (!at) {
                ns_entry_changed(tell->ns, tell->id, name);
                return;
        }
        _cleanup_free_ char *ref = percent_encode(at + 1, " !\"#$&'()*+,:;<=>?@[\\]^`{|}");
        int n = snprintf(
                shown,
                sizeof(shown),
                "%.*s%s%s",
                (int) (at - name),
                name,
                at[1] ? "@" : "",
                ref ? ref : "");
        if (ref && n > 0 && (size_t) n < sizeof(shown))
                ns_entry_changed(tell->ns, tell->id, shown);
}

void ns_ref_changed(Namespace *ns, Repo *repo, const char *refspec) {
        _cleanup_free_ char *name = NULL;
        Node *node = owner_node(ns, repo->owner);
        TellName tell = {.ns = ns, .id = node ? node->id : 0};

        if (asprintf(&name, "%s@%s", repo->name, refspec) < 0)
                name = NULL; /* the kernel is not told: it asks again when it has forgotten */
        else
                tell_name(name, &tell);
        node_table_put(ns->nodes, node);
}

void ns_drop_negatives(Namespace *ns, Owner *owner, bool only_listed) {
        Node *node = owner_node(ns, owner);
        TellName tell = {.ns = ns, .id = node ? node->id : 0};

        owner_drop_negatives(owner, only_listed, tell_name, &tell);
        node_table_put(ns->nodes, node);
}

void ns_follow_list(Namespace *ns, Owner *owner, NameList *list) {
        Node *node = owner_node(ns, owner);
        TellName tell = {.ns = ns, .id = node ? node->id : 0};

        owner_follow_list(owner, list, tell_name, &tell);
        node_table_put(ns->nodes, node);
}
