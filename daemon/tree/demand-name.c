/* Asking for things, part two: what a name in an owner is. The forge is asked; where it does not
 * answer in time, what is remembered of the name will do: see patience.h. */

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "tree/patience.h"
#include "tree/remembered.h"
#include "util/stats.h"

typedef struct NameOperation {
        ForgeLookup lookup;
        Patience patience;
        Namespace *ns;
        ForgeLookup kept; /* what is remembered, once that is looked at */
        char *found_at;   /* kept.found_at; owned */
        Owner *owner;
        char name[];
} NameOperation;

static void operation_free(Patience *p) {
        NameOperation *op = container_of(p, NameOperation, patience);

        owner_unref(op->owner);
        free(op->found_at);
        free(op);
}

/* What is below it was found to exist. */
static void owner_proven(Namespace *ns, Owner *owner) {
        for (; owner->parent; owner = owner->parent)
                if (atomic_exchange(&owner->doubted_until_usec, 0) != 0)
                        ns_owner_changed(ns, owner->parent);
}

/* 1: it was not shown before; 0; < 0. */
static int found_repo(NameOperation *op, Source *source) {
        _cleanup_(repo_unrefp) Repo *repo = NULL;

        owner_forget_owner(op->owner, op->name);
        int r = owner_add_repo(op->owner, op->name, source, &repo);
        if (r < 0)
                return r;
        return atomic_exchange(&repo->doubtful, false) || r > 0;
}

static int found_owner(NameOperation *op, bool unproven) {
        _cleanup_(owner_unrefp) Owner *owner = NULL;
        uint64_t until = unproven ? now_usec() + ns_negative_timeout(op->ns, NULL) : 0;

        owner_forget_repo(op->owner, op->name);
        int r = owner_add_owner(op->owner, op->name, &owner);
        if (r < 0)
                return r;
        bool was_shown = r == 0 && atomic_load(&owner->doubted_until_usec) == 0;
        atomic_store(&owner->doubted_until_usec, until);
        return !was_shown && !unproven;
}

/* --- what is remembered --- */

static void doubt_repo(NameOperation *op) {
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(op->owner, op->name);

        if (!repo)
                return;
        atomic_store(&repo->doubtful, true);
        ns_name_changed(op->ns, op->owner, op->name);
}

/* Takes a reference. */
static void show_kept(NameOperation *op, int r) {
        if (r > 0 && owner_lacks(op->owner, op->name))
                ns_owner_changed(op->ns, op->owner);
        if (r >= 0) {
                stat_add(STAT_RECALLED, 1);
                if (patience_show(&op->patience))
                        doubt_repo(op);
        }
        patience_unref(&op->patience);
}

static void
kept_found(ForgeLookup *lookup, int result, const ForgeFound *found, const Failure *failure) {
        NameOperation *op = container_of(lookup, NameOperation, kept);
        _cleanup_(source_unrefp) Source *source = found ? found->source : NULL;

        show_kept(op, source ? found_repo(op, source) : -ENOENT);
}

static void recall(Patience *p) {
        NameOperation *op = container_of(p, NameOperation, patience);
        int r = remembered_name(op->ns, op->owner, op->name, &op->found_at);

        if (r <= 0)
                patience_unref(p);
        else if (!op->found_at)
                show_kept(op, found_owner(op, /* unproven= */ true));
        else {
                op->kept = (ForgeLookup){
                        .owner = op->owner->path,
                        .name = op->name,
                        .found_at = op->found_at,
                        .done = kept_found,
                };
                forge_lookup(op->owner->org->forge, &op->kept);
        }
}

/* --- what the forge says --- */

static void not_found(NameOperation *op) {
        patience_deny(&op->patience);
        if (patience_has_shown(&op->patience))
                doubt_repo(op);
        owner_forget_repo(op->owner, op->name);
        owner_forget_owner(op->owner, op->name);
        owner_add_negative(op->owner, op->name, now_usec() + ns_negative_timeout(op->ns, NULL));
        remember_no_name(op->ns, op->owner, op->name);
}

static int found_something(NameOperation *op, const ForgeFound *found) {
        int r;

        if (found->kind == FORGE_REPO) {
                owner_proven(op->ns, op->owner);
                r = found_repo(op, found->source);
        } else
                r = found_owner(op, found->unproven);
        if (r > 0 && owner_lacks(op->owner, op->name))
                ns_owner_changed(op->ns, op->owner);
        return MIN(r, 0);
}

static void remember(NameOperation *op, const ForgeFound *found) {
        if (found->kind == FORGE_REPO)
                remember_repo(op->ns, op->owner, op->name, found->source);
        else if (!found->unproven)
                remember_owner(op->ns, op->owner, op->name);
}

static void
name_found(ForgeLookup *lookup, int result, const ForgeFound *found, const Failure *failure) {
        NameOperation *op = container_of(lookup, NameOperation, lookup);
        Namespace *ns = op->ns;
        _cleanup_(source_unrefp) Source *source = found ? found->source : NULL;
        (void) source; /* only kept until the end */

        patience_stop(&op->patience);
        if (found)
                result = found_something(op, found);
        else if (result == -ENOENT)
                not_found(op);
        ns_report(ns, op->owner->org, result, failure);
        if (failure && !found && remembered_will_do(result, failure))
                patience_fail(&op->patience, result, failure);
        else
                patience_land(&op->patience, result, failure);
        if (found && result >= 0)
                remember(op, found);
        patience_end(&op->patience);
}

/* Somebody else asked just before, and it came. */
static bool is_known(Owner *owner, const char *name) {
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(owner, name);
        _cleanup_(owner_unrefp) Owner *child = owner_find_owner(owner, name);

        return (repo && !atomic_load(&repo->doubtful)) || (child && owner_is_believed(child));
}

int demand_name(Namespace *ns, const NsCall *call, Owner *owner, const char *name) {
        FlightKey key = demand_key_name(owner, DEMAND_NAME, name);
        size_t len = strlen(name) + 1;
        ForgeEntryKind kind;

        int r = demand_join(ns, call, &key);
        if (r <= 0)
                return r;
        if (is_known(owner, name)) {
                flight_land(ns->flights, &key, 0, NULL);
                return NS_PARKED;
        }
        NameOperation *op = demand_start(ns, &key, sizeof(*op) + len);
        if (!op)
                return NS_PARKED;
        memcpy(op->name, name, len);
        op->lookup.owner = owner->path;
        op->lookup.name = op->name;
        op->lookup.listed = owner_lists(owner, name, &kind) && kind == FORGE_REPO;
        op->lookup.done = name_found;
        op->owner = owner_ref(owner);
        op->ns = ns;
        patience_init(&op->patience, ns, &key);
        op->patience.recall = recall;
        op->patience.free = operation_free;
        patience_begin(&op->patience);
        forge_lookup(owner->org->forge, &op->lookup);
        return NS_PARKED;
}
