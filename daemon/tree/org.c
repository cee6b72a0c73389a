#include "tree/org.h"

#include <errno.h>
#include <string.h>

#include "tree/repo.h"
#include "util/clock.h"

#define MAX_NEGATIVES 4096

typedef struct Negative {
        HTableLink link;
        uint64_t until_usec;
        char name[];
} Negative;

int org_new(const OrgConfig *config, const ForgeContext *context, Org **ret, Failure *ret_failure) {
        Org *alloc = calloc(1, sizeof(*alloc));
        if (!alloc)
                return -ENOMEM;
        alloc->ref = REF_INIT;
        mutex_init(&alloc->lock, LOCK_RANK_ORG);
        _cleanup_(org_unrefp) Org *org = alloc;

        int r = org_config_copy(config, &org->config);
        if (r < 0)
                return r;
        r = forge_open(org->config, context, &org->forge, ret_failure);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(org);
        return 0;
}

Org *org_ref(Org *org) {
        ref_get(&org->ref);
        return org;
}

static void drop_negative(HTableLink *link, void *userdata) {
        Org *org = userdata;

        htable_remove(&org->negatives, link);
        org->n_negatives--;
        free(container_of(link, Negative, link));
}

Org *org_unref(Org *org) {
        if (!org || !ref_put(&org->ref))
                return NULL;
        htable_each(&org->negatives, drop_negative, org);
        htable_done(&org->negatives);
        htable_done(&org->repos); /* empty: each of them holds a reference to this org */
        org_names_free(org->names, org->n_names);
        forge_unref(org->forge);
        org_config_free(org->config);
        mutex_destroy(&org->lock);
        free(org);
        return NULL;
}

static Repo *find_repo_locked(Org *org, const char *name, uint64_t hash) {
        HTABLE_FOREACH (l, &org->repos, hash) {
                Repo *repo = container_of(l, Repo, link);
                if (strcmp(repo->name, name) == 0)
                        return repo;
        }
        return NULL;
}

Repo *org_find_repo(Org *org, const char *name) {
        uint64_t hash = hash_string(name);

        MUTEX_GUARD(&org->lock);
        Repo *repo = find_repo_locked(org, name, hash);
        return repo ? repo_ref(repo) : NULL;
}

int org_add_repo(Org *org, const char *name, Source *source, Repo **ret) {
        _cleanup_(repo_unrefp) Repo *repo = NULL;
        uint64_t hash = hash_string(name);

        int r = repo_new(org, name, source, &repo);
        if (r < 0)
                return r;

        MUTEX_GUARD(&org->lock);
        Repo *other = find_repo_locked(org, name, hash);
        if (other) {
                *ret = repo_ref(other);
                return 0;
        }
        /* A closed org's table would keep the repository, and be kept by it, for ever. */
        r = atomic_load(&org->removed) ? -ENOENT : htable_add(&org->repos, &repo->link, hash);
        if (r < 0)
                return r;
        *ret = repo_ref(repo); /* one for the table, one for the caller */
        TAKE_PTR(repo);
        return 1;
}

void org_add_negative(Org *org, const char *name, uint64_t until_usec) {
        size_t len = strlen(name) + 1;

        Negative *n = calloc(1, sizeof(*n) + len);
        if (!n)
                return; /* not remembered: the next look-up asks again */
        n->until_usec = until_usec;
        memcpy(n->name, name, len);

        MUTEX_GUARD(&org->lock);
        if (org->n_negatives >= MAX_NEGATIVES)
                htable_each(&org->negatives, drop_negative, org);
        if (htable_add(&org->negatives, &n->link, hash_string(name)) < 0)
                free(n);
        else
                org->n_negatives++;
}

bool org_is_negative(Org *org, const char *name) {
        uint64_t now = now_usec();

        MUTEX_GUARD(&org->lock);
        HTABLE_FOREACH (l, &org->negatives, hash_string(name)) {
                Negative *n = container_of(l, Negative, link);
                if (strcmp(n->name, name) != 0)
                        continue;
                if (n->until_usec > now)
                        return true;
                drop_negative(l, org);
                return false;
        }
        return false;
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

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

void org_names_free(char **names, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(names[i]);
        free(names);
}

typedef struct DropNegatives {
        Org *org;
        bool only_listed;
        HTable dropped;
} DropNegatives;

static bool is_listed_locked(const Org *org, const char *name) {
        return org->n_names > 0 &&
               bsearch(&name, org->names, org->n_names, sizeof(*org->names), compare_strings);
}

static void take_negative(HTableLink *link, void *userdata) {
        DropNegatives *d = userdata;
        Org *org = d->org;

        if (d->only_listed && !is_listed_locked(org, container_of(link, Negative, link)->name))
                return;
        uint64_t hash = link->hash;
        htable_remove(&org->negatives, link);
        org->n_negatives--;
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

void org_drop_negatives(
        Org *org, bool only_listed, void (*fn)(const char *name, void *userdata), void *userdata) {
        DropNegatives d = {.org = org, .only_listed = only_listed};
        TellDropped tell = {.table = &d.dropped, .fn = fn, .userdata = userdata};

        mutex_lock(&org->lock);
        htable_each(&org->negatives, take_negative, &d);
        mutex_unlock(&org->lock);
        htable_each(&d.dropped, tell_dropped, &tell);
        htable_done(&d.dropped);
}

static bool same_names(char **a, size_t n_a, char **b, size_t n_b) {
        if (n_a != n_b)
                return false;
        for (size_t i = 0; i < n_a; i++)
                if (strcmp(a[i], b[i]) != 0)
                        return false;
        return true;
}

bool org_set_names(Org *org, char **names, size_t n, uint64_t now) {
        n = sort_names(names, n);

        mutex_lock(&org->lock);
        char **old = org->names;
        size_t n_old = org->n_names;
        bool changed = org->listed_usec != 0 && !same_names(old, n_old, names, n);
        org->names = names;
        org->n_names = n;
        org->listed_usec = now;
        mutex_unlock(&org->lock);

        org_names_free(old, n_old);
        return changed;
}

bool org_was_listed(Org *org, uint64_t since) {
        MUTEX_GUARD(&org->lock);
        return org->listed_usec != 0 && org->listed_usec >= since;
}

bool org_relist_due(Org *org, uint64_t since, uint64_t now) {
        MUTEX_GUARD(&org->lock);
        if (org->listed_usec == 0 || org->listed_usec >= since || org->relisted_usec >= since)
                return false;
        org->relisted_usec = now;
        return true;
}

bool org_lists(Org *org, const char *name) {
        MUTEX_GUARD(&org->lock);
        return org->listed_usec == 0 || is_listed_locked(org, name);
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

int org_get_names(Org *org, char ***ret, size_t *ret_n) {
        NameList list = {0};

        mutex_lock(&org->lock);
        list.cap = org->n_names + org->repos.n_entries;
        list.names = calloc(list.cap + 1, sizeof(*list.names));
        if (!list.names)
                list.error = -ENOMEM;
        for (size_t i = 0; i < org->n_names; i++)
                add_name(&list, org->names[i]);
        htable_each(&org->repos, add_repo_name, &list);
        mutex_unlock(&org->lock);

        if (list.error < 0) {
                org_names_free(list.names, list.n);
                return list.error;
        }
        *ret = list.names;
        *ret_n = sort_names(list.names, list.n);
        return 0;
}

bool org_set_health(Org *org, int result, const Failure *failure) {
        bool no_trouble = result >= 0 || result == -ENOENT || result == -ECANCELED ||
                          (failure && failure->class == FAILURE_CANCELLED);
        OrgHealth health = no_trouble ? ORG_HEALTH_OK : ORG_HEALTH_FAILING;

        if (!no_trouble && !failure)
                return false; /* our own trouble, such as memory: says nothing of the org */
        MUTEX_GUARD(&org->lock);
        bool changed = org->health != health;
        org->health = health;
        if (health == ORG_HEALTH_FAILING && failure) {
                changed = changed || strcmp(org->failure.text, failure->text) != 0;
                org->failure = *failure;
        } else
                org->failure = (Failure){0};
        return changed;
}

typedef struct RepoList {
        Repo **repos;
        size_t n, cap;
} RepoList;

static void collect_repo(HTableLink *link, void *userdata) {
        RepoList *list = userdata;

        if (list->n < list->cap)
                list->repos[list->n++] = repo_ref(container_of(link, Repo, link));
}

void org_each_repo(Org *org, void (*fn)(Repo *repo, void *userdata), void *userdata) {
        RepoList list = {0};

        mutex_lock(&org->lock);
        list.cap = org->repos.n_entries;
        list.repos = calloc(list.cap + 1, sizeof(Repo *));
        if (list.repos)
                htable_each(&org->repos, collect_repo, &list);
        mutex_unlock(&org->lock);

        for (size_t i = 0; i < list.n; i++) {
                fn(list.repos[i], userdata);
                repo_unref(list.repos[i]);
        }
        free(list.repos);
}

/* Without the lock of the org: the repository may go, and with it a reference to the org. */
static void drop_repo(Repo *repo, void *userdata) {
        Org *org = userdata;

        mutex_lock(&org->lock);
        bool there = find_repo_locked(org, repo->name, repo->link.hash) == repo;
        if (there)
                htable_remove(&org->repos, &repo->link);
        mutex_unlock(&org->lock);
        repo_close(repo);
        if (there)
                repo_unref(repo);
}

static void drop_unused(Repo *repo, void *userdata) {
        if (repo_close_unused(repo))
                drop_repo(repo, userdata);
}

void org_flush(Org *org) {
        char **names;
        size_t n;

        org_drop_negatives(org, false, NULL, NULL);
        mutex_lock(&org->lock);
        names = org->names;
        n = org->n_names;
        org->names = NULL;
        org->n_names = 0;
        org->listed_usec = 0;
        mutex_unlock(&org->lock);
        org_names_free(names, n);
        org_each_repo(org, drop_unused, org);
}

void org_close(Org *org) {
        mutex_lock(&org->lock);
        atomic_store(&org->removed, true);
        mutex_unlock(&org->lock);
        org_each_repo(org, drop_repo, org);
}
