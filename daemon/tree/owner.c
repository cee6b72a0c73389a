#include "tree/owner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tree/org.h"
#include "tree/repo.h"
#include "util/clock.h"

#define MAX_NEGATIVES 4096

typedef struct Negative {
        HTableLink link;
        uint64_t until_usec;
        char name[];
} Negative;

static int owner_set_up(Owner *owner, Org *org, const char *path) {
        owner->ref = REF_INIT;
        owner->org = org;
        mutex_init(&owner->lock, LOCK_RANK_ORG);
        owner->path = strdup(path);
        if (!owner->path)
                return -ENOMEM;
        const char *slash = strrchr(owner->path, '/');
        owner->name = slash ? slash + 1 : owner->path;
        return 0;
}

int owner_init(Owner *owner, Org *org) {
        return owner_set_up(owner, org, "");
}

static void drop_negative(HTableLink *link, void *userdata) {
        Owner *owner = userdata;

        htable_remove(&owner->negatives, link);
        owner->n_negatives--;
        free(container_of(link, Negative, link));
}

void owner_done(Owner *owner) {
        htable_each(&owner->negatives, drop_negative, owner);
        htable_done(&owner->negatives);
        /* Empty: each of what they held had a reference to this. */
        htable_done(&owner->repos);
        htable_done(&owner->owners);
        owner_names_free(owner->names, owner->n_names);
        mutex_destroy(&owner->lock);
        free(owner->path);
}

Owner *owner_ref(Owner *owner) {
        if (owner->parent)
                ref_get(&owner->ref);
        else
                org_ref(owner->org);
        return owner;
}

Owner *owner_unref(Owner *owner) {
        /* A loop, not recursion: the last reference to a deep one frees the chain above it. */
        while (owner && owner->parent) {
                Owner *parent = owner->parent;
                if (!ref_put(&owner->ref))
                        return NULL;
                owner_done(owner);
                free(owner);
                owner = parent;
        }
        if (owner)
                org_unref(owner->org);
        return NULL;
}

/* --- repositories and owners --- */

static Repo *find_repo_locked(Owner *owner, const char *name, uint64_t hash) {
        HTABLE_FOREACH (l, &owner->repos, hash) {
                Repo *repo = container_of(l, Repo, link);
                if (strcmp(repo->name, name) == 0)
                        return repo;
        }
        return NULL;
}

Repo *owner_find_repo(Owner *owner, const char *name) {
        uint64_t hash = hash_string(name);

        MUTEX_GUARD(&owner->lock);
        Repo *repo = find_repo_locked(owner, name, hash);
        return repo ? repo_ref(repo) : NULL;
}

int owner_add_repo(Owner *owner, const char *name, Source *source, Repo **ret) {
        _cleanup_(repo_unrefp) Repo *repo = NULL;
        uint64_t hash = hash_string(name);

        int r = repo_new(owner, name, source, &repo);
        if (r < 0)
                return r;

        MUTEX_GUARD(&owner->lock);
        Repo *other = find_repo_locked(owner, name, hash);
        if (other) {
                *ret = repo_ref(other);
                return 0;
        }
        /* A closed owner's table would keep the repository, and be kept by it, for ever. */
        r = atomic_load(&owner->closed) ? -ENOENT : htable_add(&owner->repos, &repo->link, hash);
        if (r < 0)
                return r;
        *ret = repo_ref(repo); /* one for the table, one for the caller */
        TAKE_PTR(repo);
        return 1;
}

static Owner *find_owner_locked(Owner *owner, const char *name, uint64_t hash) {
        HTABLE_FOREACH (l, &owner->owners, hash) {
                Owner *child = container_of(l, Owner, link);
                if (strcmp(child->name, name) == 0)
                        return child;
        }
        return NULL;
}

Owner *owner_find_owner(Owner *owner, const char *name) {
        uint64_t hash = hash_string(name);

        MUTEX_GUARD(&owner->lock);
        Owner *child = find_owner_locked(owner, name, hash);
        return child ? owner_ref(child) : NULL;
}

static int owner_new(Owner *parent, const char *name, Owner **ret) {
        char path[OWNER_PATH_MAX];

        int n = snprintf(
                path, sizeof(path), "%s%s%s", parent->path, parent->path[0] ? "/" : "", name);
        if (n < 0 || (size_t) n >= sizeof(path))
                return -ENAMETOOLONG;
        Owner *owner = calloc(1, sizeof(*owner));
        if (!owner)
                return -ENOMEM;
        owner->parent = owner_ref(parent);
        int r = owner_set_up(owner, parent->org, path);
        if (r < 0) {
                owner_unref(owner);
                return r;
        }
        *ret = owner;
        return 0;
}

int owner_add_owner(Owner *owner, const char *name, Owner **ret) {
        _cleanup_(owner_unrefp) Owner *child = NULL;
        uint64_t hash = hash_string(name);

        int r = owner_new(owner, name, &child);
        if (r < 0)
                return r;

        MUTEX_GUARD(&owner->lock);
        Owner *other = find_owner_locked(owner, name, hash);
        if (other) {
                *ret = owner_ref(other);
                return 0;
        }
        r = atomic_load(&owner->closed) ? -ENOENT : htable_add(&owner->owners, &child->link, hash);
        if (r < 0)
                return r;
        *ret = owner_ref(child); /* one for the table, one for the caller */
        TAKE_PTR(child);
        return 1;
}

bool owner_is_believed(const Owner *owner) {
        uint64_t until = atomic_load(&owner->unproven_until_usec);

        return until == 0 || until > now_usec();
}

/* --- names that do not exist --- */

void owner_add_negative(Owner *owner, const char *name, uint64_t until_usec) {
        size_t len = strlen(name) + 1;

        Negative *n = calloc(1, sizeof(*n) + len);
        if (!n)
                return; /* not remembered: the next look-up asks again */
        n->until_usec = until_usec;
        memcpy(n->name, name, len);

        MUTEX_GUARD(&owner->lock);
        if (owner->n_negatives >= MAX_NEGATIVES)
                htable_each(&owner->negatives, drop_negative, owner);
        if (htable_add(&owner->negatives, &n->link, hash_string(name)) < 0)
                free(n);
        else
                owner->n_negatives++;
}

bool owner_is_negative(Owner *owner, const char *name) {
        uint64_t now = now_usec();

        MUTEX_GUARD(&owner->lock);
        HTABLE_FOREACH (l, &owner->negatives, hash_string(name)) {
                Negative *n = container_of(l, Negative, link);
                if (strcmp(n->name, name) != 0)
                        continue;
                if (n->until_usec > now)
                        return true;
                drop_negative(l, owner);
                return false;
        }
        return false;
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static bool is_listed_locked(const Owner *owner, const char *name) {
        return owner->n_names > 0 &&
               bsearch(&name, owner->names, owner->n_names, sizeof(*owner->names), compare_strings);
}

typedef struct DropNegatives {
        Owner *owner;
        bool only_listed;
        HTable dropped;
} DropNegatives;

static void take_negative(HTableLink *link, void *userdata) {
        DropNegatives *d = userdata;
        Owner *owner = d->owner;

        if (d->only_listed && !is_listed_locked(owner, container_of(link, Negative, link)->name))
                return;
        uint64_t hash = link->hash;
        htable_remove(&owner->negatives, link);
        owner->n_negatives--;
        if (htable_add(&d->dropped, link, hash) < 0)
                free(container_of(link, Negative, link)); /* the kernel finds out by its timeout */
}

typedef struct TellDropped {
        HTable *table;
        void (*fn)(const char *name, void *userdata);
        void *userdata;
} TellDropped;

static void tell_dropped(HTableLink *link, void *userdata) {
        const TellDropped *tell = userdata;
        Negative *n = container_of(link, Negative, link);

        htable_remove(tell->table, link);
        if (tell->fn)
                tell->fn(n->name, tell->userdata);
        free(n);
}

void owner_drop_negatives(
        Owner *owner,
        bool only_listed,
        void (*fn)(const char *name, void *userdata),
        void *userdata) {
        DropNegatives d = {.owner = owner, .only_listed = only_listed};
        TellDropped tell = {.table = &d.dropped, .fn = fn, .userdata = userdata};

        mutex_lock(&owner->lock);
        htable_each(&owner->negatives, take_negative, &d);
        mutex_unlock(&owner->lock);
        htable_each(&d.dropped, tell_dropped, &tell);
        htable_done(&d.dropped);
}

/* --- the listing --- */

/* Sorts and drops what comes twice; returns how many are left. */
static size_t sort_names(char **names, size_t n) {
        size_t out = 0;

        if (n == 0)
                return 0;
        qsort(names, n, sizeof(*names), compare_strings);
        for (size_t i = 0; i < n; i++)
                if (out > 0 && strcmp(names[out - 1], names[i]) == 0)
                        free(names[i]);
                else
                        names[out++] = names[i];
        return out;
}

void owner_names_free(char **names, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(names[i]);
        free(names);
}

static bool same_names(char **a, size_t n_a, char **b, size_t n_b) {
        if (n_a != n_b)
                return false;
        for (size_t i = 0; i < n_a; i++)
                if (strcmp(a[i], b[i]) != 0)
                        return false;
        return true;
}

bool owner_set_names(Owner *owner, char **names, size_t n, uint64_t now) {
        n = sort_names(names, n);

        mutex_lock(&owner->lock);
        char **old = owner->names;
        size_t n_old = owner->n_names;
        bool changed = owner->listed_usec != 0 && !same_names(old, n_old, names, n);
        owner->names = names;
        owner->n_names = n;
        owner->listed_usec = now;
        mutex_unlock(&owner->lock);

        owner_names_free(old, n_old);
        return changed;
}

bool owner_was_listed(Owner *owner, uint64_t since) {
        MUTEX_GUARD(&owner->lock);
        return owner->listed_usec != 0 && owner->listed_usec >= since;
}

bool owner_relist_due(Owner *owner, uint64_t since, uint64_t now) {
        MUTEX_GUARD(&owner->lock);
        if (owner->listed_usec == 0 || owner->listed_usec >= since || owner->relisted_usec >= since)
                return false;
        owner->relisted_usec = now;
        return true;
}

bool owner_lists(Owner *owner, const char *name) {
        MUTEX_GUARD(&owner->lock);
        return owner->listed_usec == 0 || is_listed_locked(owner, name);
}

typedef struct NameList {
        char **names;
        size_t n, cap;
        int error;
} NameList;

static void add_name(NameList *list, const char *name) {
        if (list->error < 0 || list->n >= list->cap)
                return;
        list->names[list->n] = strdup(name);
        if (list->names[list->n])
                list->n++;
        else
                list->error = -ENOMEM;
}

static void add_repo_name(HTableLink *link, void *userdata) {
        add_name(userdata, container_of(link, Repo, link)->name);
}

int owner_get_names(Owner *owner, char ***ret, size_t *ret_n) {
        NameList list = {0};

        mutex_lock(&owner->lock);
        list.cap = owner->n_names + owner->repos.n_entries;
        list.names = calloc(list.cap + 1, sizeof(*list.names));
        if (!list.names)
                list.error = -ENOMEM;
        for (size_t i = 0; i < owner->n_names; i++)
                add_name(&list, owner->names[i]);
        htable_each(&owner->repos, add_repo_name, &list);
        mutex_unlock(&owner->lock);

        if (list.error < 0) {
                owner_names_free(list.names, list.n);
                return list.error;
        }
        *ret = list.names;
        *ret_n = sort_names(list.names, list.n);
        return 0;
}

/* --- all of them --- */

typedef struct RepoList {
        Repo **repos;
        size_t n, cap;
} RepoList;

static void collect_repo(HTableLink *link, void *userdata) {
        RepoList *list = userdata;

        if (list->n < list->cap)
                list->repos[list->n++] = repo_ref(container_of(link, Repo, link));
}

void owner_each_repo(Owner *owner, void (*fn)(Repo *repo, void *userdata), void *userdata) {
        RepoList list = {0};

        mutex_lock(&owner->lock);
        list.cap = owner->repos.n_entries;
        list.repos = calloc(list.cap + 1, sizeof(Repo *));
        if (list.repos)
                htable_each(&owner->repos, collect_repo, &list);
        mutex_unlock(&owner->lock);

        for (size_t i = 0; i < list.n; i++) {
                fn(list.repos[i], userdata);
                repo_unref(list.repos[i]);
        }
        free(list.repos);
}

typedef struct OwnerList {
        Owner **owners;
        size_t n, cap;
} OwnerList;

static void collect_owner(HTableLink *link, void *userdata) {
        OwnerList *list = userdata;

        if (list->n < list->cap)
                list->owners[list->n++] = owner_ref(container_of(link, Owner, link));
}

static void each_child(Owner *owner, void (*fn)(Owner *owner, void *userdata), void *userdata) {
        OwnerList list = {0};

        mutex_lock(&owner->lock);
        list.cap = owner->owners.n_entries;
        list.owners = calloc(list.cap + 1, sizeof(Owner *));
        if (list.owners)
                htable_each(&owner->owners, collect_owner, &list);
        mutex_unlock(&owner->lock);

        for (size_t i = 0; i < list.n; i++) {
                fn(list.owners[i], userdata);
                owner_unref(list.owners[i]);
        }
        free(list.owners);
}

typedef struct Each {
        void (*fn)(Owner *owner, void *userdata);
        void *userdata;
} Each;

/* Recursion is bounded by OWNER_PATH_MAX. */
static void visit(Owner *owner, void *userdata) {
        const Each *each = userdata;

        each->fn(owner, each->userdata);
        each_child(owner, visit, userdata);
}

void owner_each(Owner *owner, void (*fn)(Owner *owner, void *userdata), void *userdata) {
        Each each = {.fn = fn, .userdata = userdata};

        visit(owner, &each);
}

/* --- dropping --- */

/* Without the lock of the owner: the repository may go, and with it a reference to the owner. */
static void drop_repo(Repo *repo, void *userdata) {
        Owner *owner = userdata;

        mutex_lock(&owner->lock);
        bool there = find_repo_locked(owner, repo->name, repo->link.hash) == repo;
        if (there)
                htable_remove(&owner->repos, &repo->link);
        mutex_unlock(&owner->lock);
        repo_close(repo);
        if (there)
                repo_unref(repo);
}

static void drop_unused(Repo *repo, void *userdata) {
        if (repo_close_unused(repo))
                drop_repo(repo, userdata);
}

typedef struct DropOwners {
        Owner *owner;
        HTableLink *list;
} DropOwners;

/* One whose only reference is the table's has no repositories, no owners and no node. */
static void take_unused_owner(HTableLink *link, void *userdata) {
        DropOwners *drop = userdata;
        const Owner *child = container_of(link, Owner, link);

        if (atomic_load_explicit(&child->ref.n, memory_order_relaxed) > 1)
                return;
        htable_remove(&drop->owner->owners, link);
        link->next = drop->list;
        drop->list = link;
}

static void drop_unused_owners(Owner *owner) {
        DropOwners drop = {.owner = owner};

        mutex_lock(&owner->lock);
        htable_each(&owner->owners, take_unused_owner, &drop);
        mutex_unlock(&owner->lock);
        while (drop.list) {
                Owner *child = container_of(drop.list, Owner, link);
                drop.list = child->link.next;
                owner_unref(child);
        }
}

static void flush_child(Owner *child, void *userdata) {
        owner_flush(child);
}

void owner_flush(Owner *owner) {
        char **names;
        size_t n;

        owner_drop_negatives(owner, false, NULL, NULL);
        mutex_lock(&owner->lock);
        names = owner->names;
        n = owner->n_names;
        owner->names = NULL;
        owner->n_names = 0;
        owner->listed_usec = 0;
        mutex_unlock(&owner->lock);
        owner_names_free(names, n);
        owner_each_repo(owner, drop_unused, owner);
        each_child(owner, flush_child, NULL);
        drop_unused_owners(owner);
}

static void close_child(Owner *child, void *userdata) {
        Owner *owner = userdata;

        owner_close(child);
        mutex_lock(&owner->lock);
        bool there = find_owner_locked(owner, child->name, child->link.hash) == child;
        if (there)
                htable_remove(&owner->owners, &child->link);
        mutex_unlock(&owner->lock);
        if (there)
                owner_unref(child);
}

void owner_close(Owner *owner) {
        mutex_lock(&owner->lock);
        atomic_store(&owner->closed, true);
        mutex_unlock(&owner->lock);
        owner_each_repo(owner, drop_repo, owner);
        each_child(owner, close_child, owner);
}
