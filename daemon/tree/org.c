#include "tree/org.h"

#include <errno.h>
#include <string.h>

int org_new(const OrgConfig *config, const ForgeContext *context, Org **ret, Failure *ret_failure) {
        Org *alloc = calloc(1, sizeof(*alloc));
        if (!alloc)
                return -ENOMEM;
        alloc->ref = REF_INIT;
        mutex_init(&alloc->lock, LOCK_RANK_ORG);
        int r = owner_init(&alloc->root, alloc);
        _cleanup_(org_unrefp) Org *org = alloc;

        if (r >= 0)
                r = org_config_copy(config, &org->config);
        if (r >= 0)
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

Org *org_unref(Org *org) {
        if (!org || !ref_put(&org->ref))
                return NULL;
        owner_done(&org->root);
        forge_unref(org->forge);
        org_config_free(org->config);
        mutex_destroy(&org->lock);
        free(org);
        return NULL;
}

void org_close(Org *org) {
        owner_close(&org->root);
}

bool org_set_health(Org *org, int result, const Failure *failure) {
        bool no_trouble = result >= 0 || result == -ENOENT || result == -ECANCELED ||
                          (failure &&
                           (failure->class == FAILURE_CANCELLED || failure->class == FAILURE_BUSY));
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

typedef struct EachRepo {
        void (*fn)(Repo *repo, void *userdata);
        void *userdata;
} EachRepo;

static void visit_repos(Owner *owner, void *userdata) {
        const EachRepo *each = userdata;

        owner_each_repo(owner, each->fn, each->userdata);
}

void org_each_repo(Org *org, void (*fn)(Repo *repo, void *userdata), void *userdata) {
        EachRepo each = {.fn = fn, .userdata = userdata};

        owner_each(&org->root, visit_repos, &each);
}

static void count_names(Owner *owner, void *userdata) {
        size_t *n = userdata, n_names;
        char **names;

        if (owner_get_names(owner, &names, &n_names) < 0)
                return;
        *n += n_names;
        owner_names_free(names, n_names);
}

size_t org_n_repos(Org *org) {
        size_t n = 0;

        owner_each(&org->root, count_names, &n);
        return n;
}
