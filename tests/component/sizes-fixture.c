#include "component/sizes-fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check-main.h"
#include "tree/namespace-private.h"
#include "tree/repo.h"

static void size_free(Source *source) {
        (void) source; /* the test's */
}

static bool is_in(const Listing *l, const Oid *oid) {
        for (size_t i = 0; i < l->n_entries; i++)
                if (oid_equal(&l->entries[i].oid, oid))
                        return true;
        return false;
}

static void tell_directory(SizeSource *s, Fetch *fetch) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        _cleanup_(listing_unrefp) Listing *l = NULL;

        ck_assert_int_eq(ns_listing(s->tells_directory_of, &call, NULL, &fetch->tree, &l), 1);
        for (size_t i = 0; i < fetch->n_oids; i++)
                if (is_in(l, &fetch->oids[i]))
                        fetch->size(fetch, &fetch->oids[i], s->told);
        fetch->done(fetch, 0, NULL);
}

static bool is_asked_for(const Fetch *fetch, const Oid *oid) {
        for (size_t i = 0; i < fetch->n_oids; i++)
                if (oid_equal(&fetch->oids[i], oid))
                        return true;
        return false;
}

static void end_without_one(Fetch *fetch) {
        const Failure why = {.class = FAILURE_NOT_FOUND};

        fetch->done(fetch, -ENOENT, &why);
}

static void tell_all_but_one(SizeSource *s, Fetch *fetch) {
        for (size_t i = 0; i < fetch->n_oids; i++)
                if (!oid_equal(&fetch->oids[i], &s->lacks))
                        fetch->size(fetch, &fetch->oids[i], s->told);
        end_without_one(fetch);
}

static void tell_sizes(SizeSource *s, Fetch *fetch) {
        ck_assert_int_eq(pthread_mutex_lock(&s->mutex), 0);
        s->n_oids[s->n_sizes++ % ELEMENTSOF(s->n_oids)] = fetch->n_oids;
        s->n_asked += fetch->n_oids;
        s->tree = fetch->tree;
        s->root = fetch->root;
        ck_assert_int_eq(pthread_mutex_unlock(&s->mutex), 0);
        if (s->tells_directory_of) {
                tell_directory(s, fetch);
                return;
        }
        if (is_asked_for(fetch, &s->lacks)) {
                tell_all_but_one(s, fetch);
                return;
        }
        for (size_t i = 0; i < MIN(fetch->n_oids, s->n_tell); i++)
                fetch->size(fetch, &fetch->oids[i], s->told);
        fetch->done(fetch, 0, NULL);
}

static void size_fetch(Source *source, Fetch *fetch) {
        SizeSource *s = container_of(source, SizeSource, source);

        if (fetch->kind == FETCH_SIZES && s->refuses) {
                fetch->done(fetch, -EOPNOTSUPP, NULL);
                return;
        }
        if ((fetch->kind == FETCH_SIZES && s->hold) ||
            (fetch->kind == FETCH_BLOBS && s->hold_blobs)) {
                ck_assert_int_eq(pthread_mutex_lock(&s->mutex), 0);
                s->held[s->n_held++ % ELEMENTSOF(s->held)] = fetch;
                ck_assert_int_eq(pthread_mutex_unlock(&s->mutex), 0);
                ck_assert_int_eq(sem_post(&s->arrived), 0);
                return;
        }
        if (fetch->kind == FETCH_SIZES) {
                tell_sizes(s, fetch);
                return;
        }
        if (fetch->kind == FETCH_BLOBS) {
                s->n_blobs++;
                s->n_blob_oids += fetch->n_oids;
                if (s->lacks_content && is_asked_for(fetch, &s->lacks)) {
                        end_without_one(fetch);
                        return;
                }
        } else if (fetch->kind == FETCH_CLOSURE) {
                s->n_closures++;
                s->n_closure_oids += fetch->n_oids;
        }
        source_fetch(s->inner, fetch);
}

void await_held(SizeSource *s) {
        while (sem_wait(&s->arrived) < 0)
                ck_assert_int_eq(errno, EINTR);
}

void answer(SizeSource *s) {
        Fetch *fetch = s->held[s->n_answered++ % ELEMENTSOF(s->held)];

        if (fetch->kind == FETCH_SIZES)
                tell_sizes(s, fetch);
        else
                source_fetch(s->inner, fetch);
}

void answer_held(SizeSource *s) {
        await_held(s);
        answer(s);
}

static const SourceOps size_ops = {.free = size_free, .fetch = size_fetch};

static void size_source_init(SizeSource *s, TreeFixture *f, FakeForge *fake) {
        static const FakeName names[] = {{"", "r", FORGE_REPO, false, 0}, {0}};

        ck_assert_int_gt(fs_walk(f, "o/work"), 0);
        _cleanup_(checkout_unrefp) Checkout *c = tree_fixture_checkout(f, "");
        *s = (SizeSource){.inner = source_ref(c->repo->source)};
        ck_assert_int_eq(sem_init(&s->arrived, 0, 0), 0);
        ck_assert_int_eq(pthread_mutex_init(&s->mutex, NULL), 0);
        s->source.ops = &size_ops;
        s->source.ref = REF_INIT;
        s->source.algo = s->inner->algo;
        s->source.url = s->inner->url;
        fake->names = names;
        fake->source = &s->source;
}

static void write_files(TreeFixture *f) {
        static const char *const files[N_FILES] = {"a", "b", "c", "d", "sub/e", "sub/f", "sub/g"};

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                git_fixture_write(&f->repo, files[i], &files[i][strlen(files[i]) - 1], 1);
        git_fixture_commit(&f->repo, "one");
}

void check_list(TreeFixture *f, const char *path, const char *names) {
        int64_t id = fs_walk(f, path);

        ck_assert_int_gt(id, 0);
        _cleanup_free_ char *shown = fs_list_all(f, (uint64_t) id, true);
        ck_assert_str_eq(shown, names);
}

uint64_t size_of(TreeFixture *f, const char *path) {
        NsAttr attr;
        int64_t id = fs_walk(f, path);

        ck_assert_int_gt(id, 0);
        ck_assert_int_eq(ns_getattr(f->ns, (uint64_t) id, &attr), 0);
        return attr.size;
}

void be_far_away(SizeSource *s) {
        s->source.rtt_usec = 3600 * USEC_PER_SEC;
}

void sizes_fixture_init(SizesFixture *s) {
        tree_fixture_init(&s->f);
        write_files(&s->f);
        s->org = fake_forge_init(&s->fake, &s->f, NULL);
        size_source_init(&s->source, &s->f, &s->fake);
        s->source.n_tell = 100;
        s->source.told = 1; /* as most files of these tests have */
}

void sizes_fixture_done(SizesFixture *s) {
        org_unref(s->org);
        tree_fixture_done(&s->f);
        source_unref(s->source.inner);
        fake_forge_done(&s->fake);
        (void) sem_destroy(&s->source.arrived); /* nobody waits */
        (void) pthread_mutex_destroy(&s->source.mutex);
}

Checkout *sizes_fixture_checkout(SizesFixture *s) {
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(&s->org->root, "r");
        Checkout *c = repo ? repo_find_checkout(repo, "") : NULL;

        ck_assert_ptr_nonnull(c);
        return c;
}

Oid oid_of(SizesFixture *s, const char *name) {
        _cleanup_(checkout_unrefp) Checkout *c = sizes_fixture_checkout(s);
        const NsCall call = {.flags = NS_MAY_BLOCK};
        _cleanup_(listing_unrefp) Listing *root = NULL;
        CheckoutState state;

        checkout_get_state(c, &state);
        ck_assert_int_eq(ns_listing(s->f.ns, &call, NULL, &state.root, &root), 1);
        const ListingEntry *e = listing_find(root, name, strlen(name));
        ck_assert_ptr_nonnull(e);
        return e->oid;
}

void read_ahead(SizesFixture *s, Checkout *c, const char *name) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        _cleanup_(listing_unrefp) Listing *root = NULL, *l = NULL;
        CheckoutState state;
        BlobWant wants[3];

        checkout_get_state(c, &state);
        ck_assert_int_eq(ns_listing(s->f.ns, &call, NULL, &state.root, &root), 1);
        const ListingEntry *e = listing_find(root, name, strlen(name));
        ck_assert_ptr_nonnull(e);
        ck_assert_int_eq(ns_listing(s->f.ns, &call, NULL, &e->oid, &l), 1);
        ck_assert_uint_eq(l->n_entries, ELEMENTSOF(wants));
        for (size_t i = 0; i < ELEMENTSOF(wants); i++)
                wants[i] = (BlobWant){.oid = l->entries[i].oid, .size = SIZE_UNKNOWN};
        const BlobWants blobs = {.wants = wants, .n = ELEMENTSOF(wants)};
        fetch_queue_ahead(s->f.ns, c->repo, LANE_READAHEAD, &blobs);
}

void write_directories(SizesFixture *s, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                char name[16], content = (char) ('!' + i);
                (void) snprintf(name, sizeof(name), "d%02u/f", i);
                git_fixture_write(&s->f.repo, name, &content, 1);
        }
        git_fixture_commit(&s->f.repo, "two");
}
