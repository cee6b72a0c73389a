#include "component/fake-forge.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tree/namespace-private.h"

/* --- repositories --- */

static void empty_free(Source *source) {
        free(source->url);
        free(source);
}

static void empty_fetch(Source *source, Fetch *fetch) {
        (void) source;
        fetch->commit = (Oid){0};
        (void) strcpy(fetch->resolved, "refs/heads/main");
        fetch->moves = true;
        fetch->done(fetch, fetch->kind == FETCH_REF ? 0 : -EIO, NULL);
}

static const SourceOps empty_ops = {.free = empty_free, .fetch = empty_fetch};

static Source *empty_source(const char *name) {
        Source *source = calloc(1, sizeof(*source));

        if (!source)
                return NULL;
        source->ops = &empty_ops;
        source->ref = REF_INIT;
        source->url = strdup(name);
        return source;
}

/* --- the forge --- */

static FakeForge *fake_of(Forge *forge) {
        return container_of(forge, FakeForge, forge);
}

static bool give(ForgeList *list, const char *name) {
        char copy[300];
        size_t len = strlen(name);
        bool owner = len > 0 && name[len - 1] == '/';

        memcpy(copy, name, len + 1);
        if (owner)
                copy[len - 1] = '\0';
        const ForgeEntry entry = {.name = copy, .kind = owner ? FORGE_OWNER : FORGE_REPO};
        return list->found(list, &entry);
}

static bool give_page(ForgeList *list, const char *const *names) {
        bool more = true;

        for (; more && *names; names++)
                more = give(list, *names);
        if (list->page)
                list->page(list);
        return more;
}

static void fake_list(Forge *forge, ForgeList *list) {
        FakeForge *fake = fake_of(forge);

        if (list->kept) {
                if (fake->kept) {
                        fake->n_kept++;
                        (void) give_page(list, fake->kept);
                }
                list->done(list, fake->kept ? 0 : -ENODATA, NULL);
                return;
        }
        (void) pthread_mutex_lock(&fake->mutex);
        fake->listing = list;
        fake->n_listings++;
        (void) pthread_cond_broadcast(&fake->cond);
        (void) pthread_mutex_unlock(&fake->mutex);
}

static const FakeName *find_name(const FakeForge *fake, const ForgeLookup *lookup) {
        for (const FakeName *n = fake->names; n && n->name; n++)
                if (strcmp(n->owner, lookup->owner) == 0 && strcmp(n->name, lookup->name) == 0)
                        return n;
        return NULL;
}

static void fake_lookup(Forge *forge, ForgeLookup *lookup) {
        FakeForge *fake = fake_of(forge);
        FakeName name = {.error = -ENOENT};
        Failure failure;

        (void) pthread_mutex_lock(&fake->mutex);
        const FakeName *known = find_name(fake, lookup);
        if (known)
                name = *known;
        fake->n_lookups++;
        fake->n_listed += lookup->listed;
        (void) pthread_mutex_unlock(&fake->mutex);

        if (lookup->listed && name.error == -ENOENT)
                name = (FakeName){.kind = FORGE_REPO};
        if (name.error < 0) {
                (void) failure_set(&failure, FAILURE_NOT_FOUND, "%s is not there", lookup->name);
                lookup->done(lookup, name.error, NULL, &failure);
                return;
        }
        ForgeFound found = {.kind = name.kind, .unproven = name.unproven};
        if (name.kind == FORGE_REPO)
                found.source = fake->source ? source_ref(fake->source) : empty_source(lookup->name);
        lookup->done(lookup, 0, &found, NULL);
}

static void fake_close(Forge *forge) {
        (void) forge; /* the test's */
}

const ForgeOps fake_forge_ops = {
        .revalidates = true,
        .close = fake_close,
        .list = fake_list,
        .lookup = fake_lookup,
};

/* --- for tests --- */

Org *fake_forge_init(FakeForge *fake, TreeFixture *f, const char *owner) {
        _cleanup_(org_config_freep) OrgConfig *config = NULL;
        Failure failure;
        Org *org;

        *fake = (FakeForge){.forge = {.ops = &fake_forge_ops, .ref = REF_INIT}};
        (void) pthread_mutex_init(&fake->mutex, NULL); /* cannot fail on Linux */
        (void) pthread_cond_init(&fake->cond, NULL);
        ck_assert_int_eq(org_config_new("f", ORG_LOCAL, "/", &config), 0);
        config->owner = owner ? strdup(owner) : NULL;
        ck_assert_int_eq(org_new(config, &f->context, &org, &failure), 0);
        forge_unref(org->forge);
        org->forge = forge_ref(&fake->forge);
        ck_assert_int_eq(ns_show_org(f->ns, org), 0);
        return org;
}

void fake_forge_done(FakeForge *fake) {
        source_unref(fake->source);
        (void) pthread_cond_destroy(&fake->cond); /* nobody waits */
        (void) pthread_mutex_destroy(&fake->mutex);
}

void fake_forge_expect(FakeForge *fake, const char *owner) {
        (void) pthread_mutex_lock(&fake->mutex);
        while (!fake->listing)
                (void) pthread_cond_wait(&fake->cond, &fake->mutex);
        ForgeList *list = fake->listing;
        (void) pthread_mutex_unlock(&fake->mutex);
        ck_assert_str_eq(list->owner, owner);
}

bool fake_forge_page(FakeForge *fake, const char *const *names) {
        ck_assert_ptr_nonnull(fake->listing);
        return give_page(fake->listing, names);
}

void fake_forge_end(FakeForge *fake, int result, const Failure *failure) {
        (void) pthread_mutex_lock(&fake->mutex);
        ForgeList *list = fake->listing;
        fake->listing = NULL;
        (void) pthread_mutex_unlock(&fake->mutex);
        ck_assert_ptr_nonnull(list);
        list->done(list, result, failure);
}

unsigned fake_forge_n_listings(FakeForge *fake) {
        (void) pthread_mutex_lock(&fake->mutex);
        unsigned n = fake->n_listings;
        (void) pthread_mutex_unlock(&fake->mutex);
        return n;
}

unsigned fake_forge_n_lookups(FakeForge *fake) {
        (void) pthread_mutex_lock(&fake->mutex);
        unsigned n = fake->n_lookups;
        (void) pthread_mutex_unlock(&fake->mutex);
        return n;
}
