#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "component/fake-forge.h"
#include "component/tree-fixture.h"
#include "lib/check-main.h"
#include "tree/checkout.h"
#include "tree/repo.h"

/* Sizes from a source that tells them without content, but not all: a repository of the fake forge
 * whose objects come from the local one. */

typedef struct SizeSource {
        Source source;
        Source *inner; /* of "o/work" */
        unsigned n_tell;
        unsigned n_sizes, n_blobs; /* fetches */
        size_t n_oids[16];         /* of each fetch for sizes */
        size_t n_blob_oids;
        Oid tree, root; /* of the last */
} SizeSource;

static void size_free(Source *source) {
        (void) source; /* the test's */
}

static void tell_sizes(SizeSource *s, Fetch *fetch) {
        s->n_oids[s->n_sizes++ % ELEMENTSOF(s->n_oids)] = fetch->n_oids;
        s->tree = fetch->tree;
        s->root = fetch->root;
        for (size_t i = 0; i < fetch->n_oids && s->n_tell > 0; i++, s->n_tell--)
                fetch->size(fetch, &fetch->oids[i], 1); /* all files of these tests have one byte */
        fetch->done(fetch, 0, NULL);
}

static void size_fetch(Source *source, Fetch *fetch) {
        SizeSource *s = container_of(source, SizeSource, source);

        if (fetch->kind == FETCH_SIZES) {
                tell_sizes(s, fetch);
                return;
        }
        if (fetch->kind == FETCH_BLOBS) {
                s->n_blobs++;
                s->n_blob_oids += fetch->n_oids;
        }
        source_fetch(s->inner, fetch);
}

static const SourceOps size_ops = {.free = size_free, .fetch = size_fetch};

static void size_source_init(SizeSource *s, TreeFixture *f, FakeForge *fake) {
        static const FakeName names[] = {{"", "r", FORGE_REPO, false, 0}, {0}};

        ck_assert_int_gt(fs_walk(f, "o/work"), 0);
        _cleanup_(checkout_unrefp) Checkout *c = tree_fixture_checkout(f, "");
        *s = (SizeSource){.inner = source_ref(c->repo->source)};
        s->source.ops = &size_ops;
        s->source.ref = REF_INIT;
        s->source.algo = s->inner->algo;
        s->source.url = s->inner->url;
        fake->names = names;
        fake->source = &s->source;
}

static void write_files(TreeFixture *f) {
        static const char *const files[] = {"a", "b", "c", "d", "sub/e", "sub/f", "sub/g"};

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                git_fixture_write(&f->repo, files[i], &files[i][strlen(files[i]) - 1], 1);
        git_fixture_commit(&f->repo, "one");
}

static void check_list(TreeFixture *f, const char *path, const char *names) {
        int64_t id = fs_walk(f, path);

        ck_assert_int_gt(id, 0);
        _cleanup_free_ char *shown = fs_list_all(f, (uint64_t) id, true);
        ck_assert_str_eq(shown, names);
}

START_TEST(what_a_server_does_not_tell_is_fetched) {
        TreeFixture f;
        FakeForge fake;
        SizeSource source;

        tree_fixture_init(&f);
        write_files(&f);
        Org *org = fake_forge_init(&fake, &f, NULL);
        size_source_init(&source, &f, &fake);
        source.n_tell = 2;
        check_list(&f, "f/r", "a\nb\nc\nd\nsub\n");
        ck_assert_uint_eq(source.n_sizes, 1);
        ck_assert_uint_eq(source.n_blobs, 1);
        /* Those of the directory, not of the whole repository. */
        ck_assert_uint_le(source.n_blob_oids, 4);
        ck_assert_uint_ge(source.n_blob_oids, 2);

        /* It was told where to look. */
        _cleanup_(checkout_unrefp) Checkout *c = tree_fixture_checkout(&f, "");
        CheckoutState state;
        checkout_get_state(c, &state);
        ck_assert(oid_equal(&source.tree, &state.root));
        ck_assert(oid_equal(&source.root, &state.root));
        check_list(&f, "f/r/sub", "e\nf\ng\n");
        ck_assert(!oid_equal(&source.tree, &state.root));
        ck_assert(oid_equal(&source.root, &state.root));
        unsigned n = source.n_sizes + source.n_blobs;
        check_list(&f, "f/r", "a\nb\nc\nd\nsub\n");
        check_list(&f, "f/r/sub", "e\nf\ng\n");
        ck_assert_uint_eq(source.n_sizes + source.n_blobs, n);

        org_unref(org);
        tree_fixture_done(&f);
        source_unref(source.inner);
        fake_forge_done(&fake);
}
END_TEST

START_TEST(a_source_is_asked_for_as_many_as_it_likes) {
        TreeFixture f;
        FakeForge fake;
        SizeSource source;

        tree_fixture_init(&f);
        write_files(&f);
        Org *org = fake_forge_init(&fake, &f, NULL);
        size_source_init(&source, &f, &fake);
        source.source.sizes_per_fetch = 3;
        source.n_tell = 100;
        check_list(&f, "f/r", "a\nb\nc\nd\nsub\n");
        ck_assert_uint_eq(source.n_sizes, 2);
        ck_assert_uint_eq(source.n_oids[0], 3);
        ck_assert_uint_eq(source.n_oids[1], 1);
        ck_assert_uint_eq(source.n_blobs, 0);

        org_unref(org);
        tree_fixture_done(&f);
        source_unref(source.inner);
        fake_forge_done(&fake);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_a_server_does_not_tell_is_fetched);
        tcase_add_test(tc, a_source_is_asked_for_as_many_as_it_likes);
}

CHECK_MAIN("tree/sizes", add_tests)
