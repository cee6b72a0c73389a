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

/* Without the lock where nobody else has the owner. */
static void drop_lists(Owner *owner) {
        owner->list = name_list_unref(owner->list);
        for (size_t i = 0; i < OWNER_N_PAST_LISTS; i++)
                owner->past[i] = name_list_unref(owner->past[i]);
}

void owner_done(Owner *owner) {
        htable_each(&owner->negatives, drop_negative, owner);
        htable_done(&owner->negatives);
        /* Empty: each of what they held had a reference to this. */
        htable_done(&owner->repos);
        htable_done(&owner->owners);
        drop_lists(owner);
        free(owner->walk_last);
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

static bool is_listed_locked(const Owner *owner, const char *name) {
        return owner->list && name_list_find(owner->list, name);
}

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

/* A server may say of any name that it is a repository, and any name may be asked for. What is used
 * stays, so that looking through all of them pays only once there are twice as many. */
static bool is_crowded(Owner *owner) {
        MUTEX_GUARD(&owner->lock);
        return owner->repos.n_entries >= MAX(OWNER_MAX_UNUSED_REPOS, 2 * owner->n_swept);
}

static void drop_unused_repos(Owner *owner);

int owner_add_repo(Owner *owner, const char *name, Source *source, Repo **ret) {
        _cleanup_(repo_unrefp) Repo *repo = NULL;
        uint64_t hash = hash_string(name);

        int r = repo_new(owner, name, source, &repo);
        if (r < 0)
                return r;
        if (is_crowded(owner))
                drop_unused_repos(owner);

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
        source->scope = repo;
        atomic_store(&repo->listed, is_listed_locked(owner, name));
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
        mutex_lock(&owner->lock);
        size_t n = owner->owners.n_entries;
        mutex_unlock(&owner->lock);
        if (n >= OWNER_MAX_UNUSED)
                owner_drop_unused_owners(owner, /* only_doubted= */ false);

        MUTEX_GUARD(&owner->lock);
        Owner *other = find_owner_locked(owner, name, hash);
        if (other) {
                *ret = owner_ref(other);
                return 0;
        }
        r = atomic_load(&owner->closed) ? -ENOENT : htable_add(&owner->owners, &child->link, hash);
        if (r < 0)
                return r;
        atomic_store(&child->listed, is_listed_locked(owner, name));
        *ret = owner_ref(child); /* one for the table, one for the caller */
        TAKE_PTR(child);
        return 1;
}

bool owner_is_believed(const Owner *owner) {
        uint64_t until = atomic_load(&owner->doubted_until_usec);

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

void owner_each_child(Owner *owner, void (*fn)(Owner *owner, void *userdata), void *userdata) {
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
        owner_each_child(owner, visit, userdata);
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

/* Used by nobody, and taken out in the same step: who looks it up in between would keep one that is
 * not in the table, with checkouts that nobody polls. */
void owner_drop_unused_repo(Owner *owner, Repo *repo) {
        mutex_lock(&owner->lock);
        bool unused = find_repo_locked(owner, repo->name, repo->link.hash) == repo &&
                      repo_is_unused(repo, /* n_refs= */ 1);
        if (unused)
                htable_remove(&owner->repos, &repo->link);
        mutex_unlock(&owner->lock);
        if (!unused)
                return;
        repo_close(repo);
        repo_unref(repo);
}

typedef struct DropRepos {
        Owner *owner;
        HTableLink *list;
} DropRepos;

static void take_unused_repo(HTableLink *link, void *userdata) {
        DropRepos *drop = userdata;

        if (!repo_is_unused(container_of(link, Repo, link), /* n_refs= */ 0))
                return;
        htable_remove(&drop->owner->repos, link);
        link->next = drop->list;
        drop->list = link;
}

static void drop_unused_repos(Owner *owner) {
        DropRepos drop = {.owner = owner};

        mutex_lock(&owner->lock);
        htable_each(&owner->repos, take_unused_repo, &drop);
        owner->n_swept = owner->repos.n_entries;
        mutex_unlock(&owner->lock);
        while (drop.list) {
                Repo *repo = container_of(drop.list, Repo, link);
                drop.list = repo->link.next;
                repo_close(repo);
                repo_unref(repo);
        }
}

typedef struct DropOwners {
        Owner *owner;
        bool only_doubted;
        HTableLink *list;
} DropOwners;

/* One whose only reference is the table's has no repositories, no owners and no node. */
static void take_unused_owner(HTableLink *link, void *userdata) {
        DropOwners *drop = userdata;
        const Owner *child = container_of(link, Owner, link);

        if (atomic_load_explicit(&child->ref.n, memory_order_relaxed) > 1 ||
            (drop->only_doubted && owner_is_believed(child)))
                return;
        htable_remove(&drop->owner->owners, link);
        link->next = drop->list;
        drop->list = link;
}

void owner_drop_unused_owners(Owner *owner, bool only_doubted) {
        DropOwners drop = {.owner = owner, .only_doubted = only_doubted};

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
        NameList *lists[OWNER_N_PAST_LISTS + 1];

        owner_drop_negatives(owner, false, NULL, NULL);
        mutex_lock(&owner->lock);
        memcpy(lists, owner->past, sizeof(owner->past));
        lists[OWNER_N_PAST_LISTS] = owner->list;
        memset(owner->past, 0, sizeof(owner->past));
        owner->list = NULL;
        owner->listed_usec = 0;
        mutex_unlock(&owner->lock);
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                name_list_unref(lists[i]);
        drop_unused_repos(owner);
        owner_each_child(owner, flush_child, NULL);
        owner_drop_unused_owners(owner, /* only_doubted= */ false);
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
        owner_each_child(owner, close_child, owner);
}

void owner_forget_repo(Owner *owner, const char *name) {
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(owner, name);

        if (repo && atomic_load(&repo->doubtful))
                drop_repo(repo, owner);
}

void owner_forget_owner(Owner *owner, const char *name) {
        _cleanup_(owner_unrefp) Owner *child = owner_find_owner(owner, name);

        if (child && !owner_is_believed(child))
                close_child(child, owner);
}
