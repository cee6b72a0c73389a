#include "tree/name-list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"

int name_list_new(NameList **ret) {
        NameList *l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;
        l->ref = REF_INIT;
        mutex_init(&l->lock, LOCK_RANK_LEAF);
        *ret = l;
        return 0;
}

NameList *name_list_ref(NameList *l) {
        ref_get(&l->ref);
        return l;
}

NameList *name_list_unref(NameList *l) {
        if (!l || !ref_put(&l->ref))
                return NULL;
        for (size_t i = 0; i < l->n; i++) {
                htable_remove(&l->by_name, &l->entries[i]->link);
                free(l->entries[i]);
        }
        free(l->entries);
        htable_done(&l->by_name);
        mutex_destroy(&l->lock);
        free(l);
        return NULL;
}

static NameEntry *find_locked(const NameList *l, const char *name, uint64_t hash) {
        HTABLE_FOREACH (link, &l->by_name, hash) {
                NameEntry *e = container_of(link, NameEntry, link);
                if (strcmp(e->name, name) == 0)
                        return e;
        }
        return NULL;
}

static int append_locked(NameList *l, NameEntry *e, uint64_t hash) {
        int r = ARRAY_RESERVE(l->entries, l->cap, l->n + 1);
        if (r >= 0)
                r = htable_add(&l->by_name, &e->link, hash);
        if (r < 0)
                return r;
        e->index = l->n;
        l->entries[l->n++] = e;
        l->n_repos += e->kind == FORGE_REPO;
        return 1;
}

int name_list_add(NameList *l, const char *name, ForgeEntryKind kind) {
        uint64_t hash = hash_string(name);
        size_t len = strlen(name) + 1;

        NameEntry *e = calloc(1, sizeof(*e) + len);
        if (!e)
                return -ENOMEM;
        e->kind = kind;
        memcpy(e->name, name, len);

        mutex_lock(&l->lock);
        assert(!l->ended);
        int r = find_locked(l, name, hash) ? 0 : append_locked(l, e, hash);
        mutex_unlock(&l->lock);
        if (r <= 0)
                free(e);
        return r;
}

static int compare_entries(const void *a, const void *b) {
        return strcmp((*(NameEntry *const *) a)->name, (*(NameEntry *const *) b)->name);
}

void name_list_sort(NameList *l) {
        MUTEX_GUARD(&l->lock);
        assert(l->n_shown == 0);
        if (l->n > 0)
                qsort(l->entries, l->n, sizeof(NameEntry *), compare_entries);
        for (size_t i = 0; i < l->n; i++)
                l->entries[i]->index = i;
}

bool name_list_show(NameList *l) {
        MUTEX_GUARD(&l->lock);
        bool more = l->n_shown < l->n;
        l->n_shown = l->n;
        return more;
}

void name_list_end(NameList *l, int error) {
        MUTEX_GUARD(&l->lock);
        l->n_shown = l->n;
        l->ended = true;
        l->error = error;
}

size_t name_list_count(NameList *l) {
        MUTEX_GUARD(&l->lock);
        return l->n;
}

NameListState name_list_state(NameList *l) {
        MUTEX_GUARD(&l->lock);
        return (NameListState){.n_shown = l->n_shown, .ended = l->ended, .error = l->error};
}

const NameEntry *name_list_at(NameList *l, size_t index) {
        MUTEX_GUARD(&l->lock);
        return index < l->n_shown ? l->entries[index] : NULL;
}

const NameEntry *name_list_find(NameList *l, const char *name) {
        MUTEX_GUARD(&l->lock);
        return find_locked(l, name, hash_string(name));
}

/* Without both locks at once: each list has ended. */
bool name_list_equal(NameList *a, NameList *b) {
        const NameEntry *e;

        if (name_list_state(a).n_shown != name_list_state(b).n_shown)
                return false;
        for (size_t i = 0; (e = name_list_at(a, i)); i++) {
                const NameEntry *other = name_list_find(b, e->name);
                if (!other || other->kind != e->kind)
                        return false;
        }
        return true;
}

size_t name_list_n_repos(NameList *l) {
        MUTEX_GUARD(&l->lock);
        return l->n_repos;
}

/* Of the first name only: it is there when the first reader comes, however the server cuts its
 * pages. */
uint32_t name_list_hash(NameList *l) {
        MUTEX_GUARD(&l->lock);
        if (l->n == 0)
                return 0;
        const char *first = l->entries[0]->name;
        return (uint32_t) hash_bytes_stable(first, strlen(first), 0);
}
