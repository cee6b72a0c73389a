/* The list of names that an owner shows, and those it showed before. A list under way is shown from
 * its first page on where there is no complete one; else it takes over when it is complete, and
 * only if it says something new, so that who reads goes on undisturbed. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tree/checkout.h"
#include "tree/owner.h"
#include "tree/repo.h"
#include "util/array.h"

NameList *owner_list(Owner *owner) {
        MUTEX_GUARD(&owner->lock);
        return owner->list ? name_list_ref(owner->list) : NULL;
}

NameList *owner_list_of(Owner *owner, uint32_t tag) {
        MUTEX_GUARD(&owner->lock);
        if (owner->list && owner->list->tag == tag)
                return name_list_ref(owner->list);
        for (size_t i = 0; i < OWNER_N_PAST_LISTS; i++)
                if (owner->past[i] && owner->past[i]->tag == tag)
                        return name_list_ref(owner->past[i]);
        return NULL;
}

void owner_begin_listing(Owner *owner, ForgeList *listing, uint64_t now) {
        MUTEX_GUARD(&owner->lock);
        owner->listing = listing;
        owner->relisted_usec = now;
        owner->expiry_told = false;
}

void owner_end_listing(Owner *owner) {
        MUTEX_GUARD(&owner->lock);
        owner->listing = NULL;
}

void owner_hurry_listing(Owner *owner) {
        MUTEX_GUARD(&owner->lock);
        if (owner->listing)
                atomic_store(&owner->listing->priority, FETCH_WAITING);
}

static bool is_complete(NameList *list) {
        if (!list)
                return false;
        const NameListState state = name_list_state(list);
        return state.ended && state.error == 0;
}

static bool tag_is_taken(const Owner *owner, uint32_t tag) {
        if (tag == 0 || (owner->list && owner->list->tag == tag))
                return true;
        for (size_t i = 0; i < OWNER_N_PAST_LISTS; i++)
                if (owner->past[i] && owner->past[i]->tag == tag)
                        return true;
        return false;
}

/* The tag comes from the content, so that in the next process an offset in a kept list leads to the
 * same place. */
static uint32_t choose_tag(const Owner *owner, NameList *list) {
        uint32_t tag = name_list_hash(list) & NAME_LIST_TAG_MAX;

        while (tag_is_taken(owner, tag))
                tag = (tag + 1) & NAME_LIST_TAG_MAX;
        return tag;
}

/* Returns a reference to drop without the lock: freeing a long list takes a while. */
static NameList *replace_locked(Owner *owner, NameList *list) {
        NameList **past = &owner->past[owner->next_past];
        NameList *drop = NULL;

        if (list->tag == 0) /* else it was shown before a flush */
                list->tag = choose_tag(owner, list);
        if (owner->list) {
                drop = *past;
                *past = owner->list;
                owner->next_past = (owner->next_past + 1) % OWNER_N_PAST_LISTS;
        }
        owner->list = name_list_ref(list);
        return drop;
}

bool owner_show_list(Owner *owner, NameList *list) {
        NameList *drop = NULL;

        mutex_lock(&owner->lock);
        if (owner->list != list && !is_complete(owner->list))
                drop = replace_locked(owner, list);
        bool shown = owner->list == list;
        mutex_unlock(&owner->lock);
        name_list_unref(drop);
        return shown;
}

/* One thread at a time sets lists: the one whose listing is under way. */
bool owner_set_list(Owner *owner, NameList *list, uint64_t now) {
        _cleanup_(name_list_unrefp) NameList *old = owner_list(owner);
        NameList *drop = NULL;

        bool same = old == list || (is_complete(old) && name_list_equal(old, list));
        mutex_lock(&owner->lock);
        /* A flush may have come in between. */
        if (owner->list != list && (!same || !owner->list))
                drop = replace_locked(owner, list);
        owner->listed_usec = now;
        mutex_unlock(&owner->lock);
        name_list_unref(drop);
        return old && !same;
}

bool owner_has_list(Owner *owner) {
        MUTEX_GUARD(&owner->lock);
        return is_complete(owner->list);
}

bool owner_was_listed(Owner *owner, uint64_t since) {
        MUTEX_GUARD(&owner->lock);
        return is_complete(owner->list) && owner->listed_usec != 0 && owner->listed_usec >= since;
}

static bool is_due_locked(const Owner *owner, uint64_t since) {
        return is_complete(owner->list) && !owner->listing && owner->listed_usec < since &&
               owner->relisted_usec < since;
}

bool owner_relist_due(Owner *owner, uint64_t since, uint64_t now) {
        MUTEX_GUARD(&owner->lock);
        if (!is_due_locked(owner, since))
                return false;
        owner->relisted_usec = now;
        return true;
}

bool owner_expire(Owner *owner, uint64_t since) {
        MUTEX_GUARD(&owner->lock);
        if (owner->expiry_told || !is_due_locked(owner, since))
                return false;
        owner->expiry_told = true;
        return true;
}

bool owner_lists(Owner *owner, const char *name, ForgeEntryKind *ret_kind) {
        MUTEX_GUARD(&owner->lock);
        const NameEntry *e = owner->list ? name_list_find(owner->list, name) : NULL;
        if (e)
                *ret_kind = e->kind;
        return e != NULL;
}

bool owner_lacks(Owner *owner, const char *name) {
        MUTEX_GUARD(&owner->lock);
        return owner->list && !name_list_find(owner->list, name);
}

/* --- what look-ups found --- */

typedef struct Found {
        NameList *list;
        FoundName *names;
        size_t n, cap;
        int error;
} Found;

static void add_found(Found *found, const char *name, ForgeEntryKind kind) {
        if (found->error < 0 || name_list_find(found->list, name))
                return;
        found->error = ARRAY_RESERVE(found->names, found->cap, found->n + 1);
        if (found->error < 0)
                return;
        char *copy = strdup(name);
        if (copy)
                found->names[found->n++] = (FoundName){.kind = kind, .name = copy};
        else
                found->error = -ENOMEM;
}

static void add_found_repo(HTableLink *link, void *userdata) {
        const Repo *repo = container_of(link, Repo, link);

        if (!atomic_load(&repo->doubtful))
                add_found(userdata, repo->name, FORGE_REPO);
}

static void add_found_owner(HTableLink *link, void *userdata) {
        const Owner *child = container_of(link, Owner, link);

        if (atomic_load(&child->doubted_until_usec) == 0)
                add_found(userdata, child->name, FORGE_OWNER);
}

void owner_found_free(FoundName *found, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(found[i].name);
        free(found);
}

int owner_get_found(Owner *owner, NameList *list, FoundName **ret, size_t *ret_n) {
        Found found = {.list = list};

        mutex_lock(&owner->lock);
        htable_each(&owner->repos, add_found_repo, &found);
        htable_each(&owner->owners, add_found_owner, &found);
        mutex_unlock(&owner->lock);
        if (found.error < 0) {
                owner_found_free(found.names, found.n);
                return found.error;
        }
        *ret = found.names;
        *ret_n = found.n;
        return 0;
}

typedef struct CountRepos {
        NameList *list;
        size_t n;
} CountRepos;

static void count_unlisted(HTableLink *link, void *userdata) {
        CountRepos *count = userdata;
        const Repo *repo = container_of(link, Repo, link);

        count->n += !count->list || !name_list_find(count->list, repo->name);
}

size_t owner_n_repos(Owner *owner) {
        MUTEX_GUARD(&owner->lock);
        CountRepos count = {.list = owner->list};
        htable_each(&owner->repos, count_unlisted, &count);
        return count.n + (owner->list ? name_list_n_repos(owner->list) : 0);
}

/* --- a new list --- */

typedef struct Follow {
        Owner *owner;
        NameList *list;
        void (*fn)(const char *name, void *userdata);
        void *userdata;
} Follow;

static bool still_there(NameList *list, const char *name, ForgeEntryKind kind) {
        const NameEntry *e = name_list_find(list, name);

        return e && e->kind == kind;
}

static void tell_checkout(Checkout *c, void *userdata) {
        const Follow *follow = userdata;
        _cleanup_free_ char *name = NULL;

        if (asprintf(&name, "%s@%s", c->repo->name, c->refspec) < 0)
                name = NULL; /* found out at the next look-up of it by another name */
        else
                follow->fn(name, follow->userdata);
}

static void follow_repo(Repo *repo, void *userdata) {
        const Follow *follow = userdata;
        bool listed = still_there(follow->list, repo->name, FORGE_REPO);

        bool gone = atomic_exchange(&repo->listed, listed) && !listed;
        if (listed)
                atomic_store(&repo->doubtful, false);
        if (!gone)
                return;
        atomic_store(&repo->doubtful, true);
        follow->fn(repo->name, follow->userdata);
        repo_each_checkout(repo, tell_checkout, userdata);
        owner_drop_unused_repo(follow->owner, repo);
}

static void follow_owner(Owner *child, void *userdata) {
        const Follow *follow = userdata;
        bool listed = still_there(follow->list, child->name, FORGE_OWNER);

        bool gone = atomic_exchange(&child->listed, listed) && !listed;
        if (listed)
                atomic_store(&child->doubted_until_usec, 0);
        if (!gone)
                return;
        atomic_store(&child->doubted_until_usec, OWNER_DOUBTED);
        follow->fn(child->name, follow->userdata);
}

void owner_follow_list(
        Owner *owner,
        NameList *list,
        void (*fn)(const char *name, void *userdata),
        void *userdata) {
        Follow follow = {.owner = owner, .list = list, .fn = fn, .userdata = userdata};

        owner_each_repo(owner, follow_repo, &follow);
        owner_each_child(owner, follow_owner, &follow);
        owner_drop_unused_owners(owner, /* only_doubted= */ true);
}
