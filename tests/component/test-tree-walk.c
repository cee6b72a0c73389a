#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "component/fake-forge.h"
#include "component/tree-fixture.h"
#include "lib/check-main.h"
#include "tree/checkout.h"
#include "tree/repo.h"
#include "tree/walk-cursor.h"

/* What is fetched ahead of reads, from a source that counts: a repository of the fake forge whose
 * objects come from the local one. Three directories with 20 files of 1,000 bytes each. */

#define N_DIRS 3
#define N_FILES 20
#define N_ALL (N_DIRS * N_FILES)
#define FILE_SIZE 1000

typedef struct CountingSource {
        Source source;
        Source *inner; /* of "o/work" */
        atomic_uint n_blobs, n_blob_oids;
} CountingSource;

static void counting_free(Source *source) {
        (void) source; /* the test's */
}

static void counting_fetch(Source *source, Fetch *fetch) {
        CountingSource *s = container_of(source, CountingSource, source);

        if (fetch->kind == FETCH_SIZES) {
                for (size_t i = 0; i < fetch->n_oids; i++)
                        fetch->size(fetch, &fetch->oids[i], FILE_SIZE);
                fetch->done(fetch, 0, NULL);
                return;
        }
        if (fetch->kind == FETCH_BLOBS || fetch->kind == FETCH_CLOSURE) {
                atomic_fetch_add(&s->n_blobs, 1);
                atomic_fetch_add(&s->n_blob_oids, (unsigned) fetch->n_oids);
        }
        source_fetch(s->inner, fetch);
}

static const SourceOps counting_ops = {.free = counting_free, .fetch = counting_fetch};

typedef struct WalkFixture {
        TreeFixture f;
        FakeForge fake;
        CountingSource source;
        Org *org;
        uint64_t ids[N_ALL]; /* of the files, in order */
} WalkFixture;

static const FakeName names[] = {{"", "r", FORGE_REPO, false, 0}, {0}};

static void file_name(unsigned i, char ret[16]) {
        (void) snprintf(ret, 16, "d%u/f%02u", i / N_FILES, i % N_FILES);
}

static void write_files(GitFixture *repo) {
        for (unsigned i = 0; i < N_ALL; i++) {
                char name[16], content[FILE_SIZE];
                file_name(i, name);
                memset(content, 'a' + (int) (i % 26), sizeof(content));
                (void) snprintf(content, sizeof(content), "%s", name); /* fits */
                git_fixture_write(repo, name, content, sizeof(content));
        }
        git_fixture_commit(repo, "one");
}

static void init(WalkFixture *w, uint64_t sibling_limit, uint64_t walk_limit) {
        NsConfig config = tree_fixture_config();

        tree_fixture_init(&w->f);
        write_files(&w->f.repo);
        config.ahead.sibling_limit = sibling_limit;
        config.ahead.walk_limit = walk_limit;
        ns_set_config(w->f.ns, &config);
        w->org = fake_forge_init(&w->fake, &w->f, NULL);
        ck_assert_int_gt(fs_walk(&w->f, "o/work"), 0);
        _cleanup_(checkout_unrefp) Checkout *c = tree_fixture_checkout(&w->f, "");
        w->source = (CountingSource){.inner = source_ref(c->repo->source)};
        w->source.source.ops = &counting_ops;
        w->source.source.ref = REF_INIT;
        w->source.source.algo = w->source.inner->algo;
        w->source.source.url = w->source.inner->url;
        w->fake.names = names;
        w->fake.source = &w->source.source;
}

static void done(WalkFixture *w) {
        org_unref(w->org);
        tree_fixture_done(&w->f);
        source_unref(w->source.inner);
        fake_forge_done(&w->fake);
}

static void list(WalkFixture *w, const char *path) {
        int64_t id = fs_walk(&w->f, path);

        ck_assert_int_gt(id, 0);
        free(fs_list_all(&w->f, (uint64_t) id, true));
}

static void look_up_all(WalkFixture *w) {
        list(w, "f/r");
        list(w, "f/r/d0");
        list(w, "f/r/d1");
        list(w, "f/r/d2");
        for (unsigned i = 0; i < N_ALL; i++) {
                char path[32] = "f/r/";
                file_name(i, path + strlen(path));
                int64_t id = fs_walk(&w->f, path);
                ck_assert_int_gt(id, 0);
                w->ids[i] = (uint64_t) id;
        }
        ck_assert_uint_eq(atomic_load(&w->source.n_blobs), 0);
}

static void read_file(WalkFixture *w, unsigned i) {
        char name[16];
        int error;

        file_name(i, name);
        _cleanup_free_ char *content = fs_read(&w->f, w->ids[i], &error);
        ck_assert_int_eq(error, 0);
        ck_assert_int_eq(strncmp(content, name, strlen(name)), 0);
}

START_TEST(a_file_of_an_unlisted_directory_comes_alone) {
        WalkFixture w;

        init(&w, 256 << 10, 64 << 20);
        int64_t id = fs_walk(&w.f, "f/r/d1/f07");
        ck_assert_int_gt(id, 0);
        w.ids[N_FILES + 7] = (uint64_t) id;
        read_file(&w, N_FILES + 7);
        ck_assert_uint_eq(atomic_load(&w.source.n_blobs), 1);
        ck_assert_uint_eq(atomic_load(&w.source.n_blob_oids), 1);
        done(&w);
}
END_TEST

/* In the request of the file. */
START_TEST(small_neighbours_come_along) {
        WalkFixture w;

        /* Room for ten, which cost 1,512 each: those behind it first. */
        init(&w, 10 * 1512, 0);
        look_up_all(&w);
        read_file(&w, 7);
        ck_assert_uint_eq(atomic_load(&w.source.n_blobs), 1);
        ck_assert_uint_eq(atomic_load(&w.source.n_blob_oids), 11);
        for (unsigned i = 8; i < 18; i++)
                read_file(&w, i);
        ck_assert_uint_eq(atomic_load(&w.source.n_blobs), 1);
        done(&w);
}
END_TEST

START_TEST(nothing_comes_along_where_that_is_off) {
        WalkFixture w;

        init(&w, 0, 0);
        look_up_all(&w);
        for (unsigned i = 0; i < N_ALL; i++)
                read_file(&w, i);
        ck_assert_uint_eq(atomic_load(&w.source.n_blobs), N_ALL);
        ck_assert_uint_eq(atomic_load(&w.source.n_blob_oids), N_ALL);
        done(&w);
}
END_TEST

/* Sizes are known, and nobody but a walk begins there. */
START_TEST(a_walk_over_little_takes_one_request) {
        WalkFixture w;

        /* A third is just enough, or not. */
        init(&w, 4 * 1512, UINT64_C(3) * (N_ALL * 1512 + (_i == 0)));
        look_up_all(&w);
        read_file(&w, 0);
        ck_assert_uint_eq(atomic_load(&w.source.n_blobs), 1);
        ck_assert_uint_eq(atomic_load(&w.source.n_blob_oids) < N_ALL, _i > 0);
        for (unsigned i = 0; i < N_ALL; i++)
                read_file(&w, i);
        ck_assert_int_eq(atomic_load(&w.source.n_blobs) == 1, _i == 0);
        done(&w);
}
END_TEST

/* Of a directory, not of all that was listed. */
START_TEST(the_first_file_of_a_directory_begins_no_walk) {
        WalkFixture w;

        init(&w, 4 * 1512, 64 << 20);
        look_up_all(&w);
        read_file(&w, N_FILES);
        ck_assert_uint_eq(atomic_load(&w.source.n_blobs), 1);
        ck_assert_uint_lt(atomic_load(&w.source.n_blob_oids), N_FILES);
        done(&w);
}
END_TEST

static unsigned forward(unsigned i) {
        return i;
}

static unsigned backward(unsigned i) {
        return N_ALL - 1 - i;
}

static unsigned in_no_order(unsigned i) {
        return i * 37 % N_ALL;
}

/* Two that are far apart. */
static unsigned in_two_places(unsigned i) {
        return i % 2 ? N_ALL / 2 + i / 2 : i / 2;
}

START_TEST(any_walk_takes_few_requests) {
        static unsigned (*const orders[])(unsigned) = {
                forward, backward, in_no_order, in_two_places};
        WalkFixture w;

        init(&w, 4 * 1512, 64 << 20);
        look_up_all(&w);
        for (unsigned i = 0; i < N_ALL; i++)
                read_file(&w, orders[_i](i));
        ck_assert_uint_le(atomic_load(&w.source.n_blobs), 12);
        done(&w);
}
END_TEST

/* From the file on, in all of the repository. */
static void
check_gathered(WalkFixture *w, Checkout *c, unsigned dir, unsigned file, size_t n, size_t n_names) {
        const WalkPlace place = {.depth = 2, .at = {dir, file}};
        _cleanup_walk_gather_ WalkGather g = {.max_looked = 1000};
        WalkCursor cursor;

        int r = walk_cursor_init(
                &cursor,
                w->f.ns,
                c,
                &place,
                /* scope= */ 1,
                /* backward= */ false,
                /* inclusive= */ true);
        ck_assert_int_eq(r, 1);
        ck_assert_int_eq(walk_gather(&g, &cursor, NULL), 1);
        ck_assert_uint_eq(g.n, n);
        ck_assert_uint_eq(g.n_names, n_names);
        walk_cursor_done(&cursor);
}

/* Directories of which all is wanted are asked for by their trees, beside files of others. */
START_TEST(whole_directories_are_wanted_by_their_trees) {
        WalkFixture w;
        int error;

        init(&w, 0, 0);
        list(&w, "o/work");
        list(&w, "o/work/d0");
        list(&w, "o/work/d1");
        list(&w, "o/work/d2");
        _cleanup_(checkout_unrefp) Checkout *c = tree_fixture_checkout(&w.f, "");
        check_gathered(&w, c, 0, 5, N_ALL - 5, N_FILES - 5 + 2);
        check_gathered(&w, c, 1, N_FILES - 1, N_FILES + 1, 1 + 1);

        int64_t id = fs_walk(&w.f, "o/work/d1/f07");
        ck_assert_int_gt(id, 0);
        free(fs_read(&w.f, (uint64_t) id, &error));
        ck_assert_int_eq(error, 0);
        check_gathered(&w, c, 0, 5, N_ALL - 6, N_FILES - 5 + N_FILES - 1 + 1);
        done(&w);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_file_of_an_unlisted_directory_comes_alone);
        tcase_add_test(tc, small_neighbours_come_along);
        tcase_add_test(tc, nothing_comes_along_where_that_is_off);
        tcase_add_loop_test(tc, a_walk_over_little_takes_one_request, 0, 2);
        tcase_add_test(tc, the_first_file_of_a_directory_begins_no_walk);
        tcase_add_loop_test(tc, any_walk_takes_few_requests, 0, 4);
        tcase_add_test(tc, whole_directories_are_wanted_by_their_trees);
}

CHECK_MAIN("tree/walk", add_tests)
