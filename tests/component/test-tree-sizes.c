#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "component/fake-forge.h"
#include "component/tree-fixture.h"
#include "lib/check-main.h"
#include "tree/checkout.h"
#include "tree/namespace-private.h"
#include "tree/repo.h"

/* Sizes from a source that tells them without content, but not all: a repository of the fake forge
 * whose objects come from the local one. */

typedef struct SizeSource {
        Source source;
        Source *inner; /* of "o/work" */
        size_t n_tell;
        bool refuses;        /* to tell any */
        atomic_uint n_blobs; /* fetches */
        atomic_size_t n_blob_oids;
        atomic_uint n_closures; /* fetches */
        atomic_size_t n_closure_oids;
        pthread_mutex_t mutex; /* guards what follows, up to the trees */
        unsigned n_sizes;      /* fetches */
        size_t n_oids[16];     /* of each of them */
        size_t n_asked;        /* of all together */
        Oid tree, root;        /* of the last */
        bool hold;             /* fetches for sizes wait for answer_held(); */
        bool hold_blobs;       /* those for blobs, too */
        Fetch *held[4];        /* a ring */
        unsigned n_held, n_answered;
        sem_t arrived;
} SizeSource;

static void size_free(Source *source) {
        (void) source; /* the test's */
}

static void tell_sizes(SizeSource *s, Fetch *fetch) {
        ck_assert_int_eq(pthread_mutex_lock(&s->mutex), 0);
        s->n_oids[s->n_sizes++ % ELEMENTSOF(s->n_oids)] = fetch->n_oids;
        s->n_asked += fetch->n_oids;
        s->tree = fetch->tree;
        s->root = fetch->root;
        ck_assert_int_eq(pthread_mutex_unlock(&s->mutex), 0);
        for (size_t i = 0; i < MIN(fetch->n_oids, s->n_tell); i++)
                fetch->size(fetch, &fetch->oids[i], 1); /* all files of these tests have one byte */
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
        } else if (fetch->kind == FETCH_CLOSURE) {
                s->n_closures++;
                s->n_closure_oids += fetch->n_oids;
        }
        source_fetch(s->inner, fetch);
}

static void await_held(SizeSource *s) {
        while (sem_wait(&s->arrived) < 0)
                ck_assert_int_eq(errno, EINTR);
}

/* The first that is not answered yet. When this returns its operation has ended. */
static void answer(SizeSource *s) {
        Fetch *fetch = s->held[s->n_answered++ % ELEMENTSOF(s->held)];

        if (fetch->kind == FETCH_SIZES)
                tell_sizes(s, fetch);
        else
                source_fetch(s->inner, fetch);
}

static void answer_held(SizeSource *s) {
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

#define N_FILES 7

static void write_files(TreeFixture *f) {
        static const char *const files[N_FILES] = {"a", "b", "c", "d", "sub/e", "sub/f", "sub/g"};

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

static uint64_t size_of(TreeFixture *f, const char *path) {
        NsAttr attr;
        int64_t id = fs_walk(f, path);

        ck_assert_int_gt(id, 0);
        ck_assert_int_eq(ns_getattr(f->ns, (uint64_t) id, &attr), 0);
        return attr.size;
}

/* However busy this machine is: an answer is soon, and who goes on is still walking. */
static void be_far_away(SizeSource *s) {
        s->source.rtt_usec = 3600 * USEC_PER_SEC;
}

typedef struct SizesFixture {
        TreeFixture f;
        FakeForge fake;
        SizeSource source;
        Org *org;
} SizesFixture;

static void sizes_fixture_init(SizesFixture *s) {
        tree_fixture_init(&s->f);
        write_files(&s->f);
        s->org = fake_forge_init(&s->fake, &s->f, NULL);
        size_source_init(&s->source, &s->f, &s->fake);
        s->source.n_tell = 100;
}

static void sizes_fixture_done(SizesFixture *s) {
        org_unref(s->org);
        tree_fixture_done(&s->f);
        source_unref(s->source.inner);
        fake_forge_done(&s->fake);
        (void) sem_destroy(&s->source.arrived); /* nobody waits */
        (void) pthread_mutex_destroy(&s->source.mutex);
}

static Checkout *sizes_fixture_checkout(SizesFixture *s) {
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(&s->org->root, "r");
        Checkout *c = repo ? repo_find_checkout(repo, "") : NULL;

        ck_assert_ptr_nonnull(c);
        return c;
}

START_TEST(what_a_server_does_not_tell_is_fetched) {
        SizesFixture s;

        sizes_fixture_init(&s);
        s.source.n_tell = 2;
        ck_assert_uint_eq(size_of(&s.f, "f/r/a"), 1); /* brings its blob */
        ck_assert_uint_eq(s.source.n_blobs, 1);
        for (const char *const *path = (const char *const[]){"f/r/b", "f/r/c", "f/r/d", NULL};
             *path;
             path++)
                ck_assert_uint_eq(size_of(&s.f, *path), 1);
        ck_assert_uint_eq(s.source.n_sizes, 1);
        ck_assert_uint_eq(s.source.n_blobs, 2);
        /* Those of the directory, not of the whole repository. */
        ck_assert_uint_le(s.source.n_blob_oids, 4);

        /* It was told where to look. */
        _cleanup_(checkout_unrefp) Checkout *c = tree_fixture_checkout(&s.f, "");
        CheckoutState state;
        checkout_get_state(c, &state);
        ck_assert(oid_equal(&s.source.tree, &state.root));
        ck_assert(oid_equal(&s.source.root, &state.root));
        sizes_fixture_done(&s);
}
END_TEST

START_TEST(a_source_is_asked_for_as_many_as_it_likes) {
        SizesFixture s;

        sizes_fixture_init(&s);
        s.source.source.sizes_per_fetch = 3;
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        ck_assert_uint_eq(size_of(&s.f, "f/r/d"), 1);
        ck_assert_uint_eq(s.source.n_sizes, 2);
        ck_assert_uint_eq(s.source.n_oids[0], 3);
        ck_assert_uint_eq(s.source.n_oids[1], 1);
        ck_assert_uint_eq(s.source.n_blobs, 0);
        sizes_fixture_done(&s);
}
END_TEST

static void set_children(TreeFixture *f, bool children) {
        NsConfig config = tree_fixture_config();

        config.prefetch.children = children;
        ns_set_config(f->ns, &config);
}

/* As a server sends them: a source on this machine brings the root tree only. */
static void fetch_trees(TreeFixture *f) {
        set_children(f, false);
        check_list(f, "f/r/sub", "e\nf\ng\n");
        set_children(f, true);
}

/* R12, R13: names come at once, and one request brings the sizes of everything, for who walks and
 * for who waits. */
START_TEST(names_do_not_wait_for_sizes) {
        SizesFixture s;
        Caller caller;
        NsAttr attr;

        sizes_fixture_init(&s);
        fetch_trees(&s.f);
        s.source.hold = true;
        int64_t root = fs_walk(&s.f, "f/r");
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        check_list(&s.f, "f/r/sub", "e\nf\ng\n");
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        await_held(&s.source);
        ck_assert_uint_eq(flight_count(s.f.flights), 1);

        caller_init(&caller);
        int r = ns_lookup(s.f.ns, &caller.call, (uint64_t) root, "c", &attr);
        ck_assert_int_eq(r, NS_PARKED);
        ck_assert_uint_eq(flight_count(s.f.flights), 1);
        answer(&s.source);
        ck_assert_uint_eq(flight_count(s.f.flights), 0);
        ck_assert(caller_waits(&caller, &r));
        r = ns_lookup(s.f.ns, &caller.call, (uint64_t) root, "c", &attr);
        ck_assert(!caller_waits(&caller, &r));
        ck_assert_int_eq(r, 1);
        ck_assert_uint_eq(attr.size, 1);

        for (const char *const *path =
                     (const char *const[]){"f/r/a", "f/r/sub/e", "f/r/sub/g", NULL};
             *path;
             path++)
                ck_assert_uint_eq(size_of(&s.f, *path), 1);
        ck_assert_uint_eq(s.source.n_sizes, 1);
        ck_assert_uint_eq(s.source.n_oids[0], 7);
        ck_assert_uint_eq(s.source.n_blobs, 0);
        sizes_fixture_done(&s);
}
END_TEST

/* R13: a listing never has content fetched, nor the same asked again and again. */
START_TEST(a_listing_takes_no_for_an_answer) {
        SizesFixture s;

        sizes_fixture_init(&s);
        s.source.hold = true;
        s.source.n_tell = 2;
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        answer_held(&s.source);
        ck_assert_uint_eq(flight_count(s.f.flights), 0);
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        check_list(&s.f, "f/r/sub", "e\nf\ng\n");
        ck_assert_uint_eq(flight_count(s.f.flights), 0);
        ck_assert_uint_eq(s.source.n_sizes, 1);
        ck_assert_uint_eq(s.source.n_blobs, 0);

        s.source.hold = false;
        ck_assert_uint_eq(size_of(&s.f, "f/r/sub/g"), 1);
        ck_assert_uint_eq(s.source.n_blobs, 1);
        sizes_fixture_done(&s);
}
END_TEST

START_TEST(sizes_are_not_asked_ahead_where_that_is_off) {
        SizesFixture s;

        sizes_fixture_init(&s);
        set_children(&s.f, false);
        s.source.hold = true;
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        ck_assert_uint_eq(flight_count(s.f.flights), 0);
        s.source.hold = false;
        ck_assert_uint_eq(size_of(&s.f, "f/r/d"), 1);
        ck_assert_uint_eq(s.source.n_sizes, 1);
        ck_assert_uint_eq(s.source.n_blobs, 0);
        sizes_fixture_done(&s);
}
END_TEST

/* R12: whoever lists while the server is asked for something else is not forgotten. */
START_TEST(what_is_listed_meanwhile_is_asked_for_after) {
        SizesFixture s;

        sizes_fixture_init(&s);
        fetch_trees(&s.f);
        s.source.hold = true;
        s.source.source.sizes_per_fetch = 4;
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        await_held(&s.source);
        check_list(&s.f, "f/r/sub", "e\nf\ng\n");
        ck_assert_uint_eq(flight_count(s.f.flights), 1);
        answer(&s.source);
        answer_held(&s.source);
        ck_assert_uint_eq(flight_count(s.f.flights), 0);
        ck_assert_uint_eq(s.source.n_sizes, 2);
        ck_assert_uint_eq(s.source.n_oids[0], 4);
        ck_assert_uint_eq(s.source.n_oids[1], 3);
        ck_assert_uint_eq(size_of(&s.f, "f/r/sub/g"), 1);
        ck_assert_uint_eq(s.source.n_sizes, 2);
        sizes_fixture_done(&s);
}
END_TEST

/* Who wants what an operation turns out not to bring does not wait for its answer. */
START_TEST(a_waiter_that_is_not_covered_goes_on) {
        SizesFixture s;
        Caller first, caller;
        NsAttr attr;

        sizes_fixture_init(&s);
        fetch_trees(&s.f);
        set_children(&s.f, false);
        int64_t root = fs_walk(&s.f, "f/r"), sub = fs_walk(&s.f, "f/r/sub");
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        _cleanup_(checkout_unrefp) Checkout *c = sizes_fixture_checkout(&s);
        checkout_trees_begin(c);
        s.source.hold = true;
        s.source.source.sizes_per_fetch = 4;
        caller_init(&first);
        int of_first = ns_lookup(s.f.ns, &first.call, (uint64_t) root, "a", &attr);
        ck_assert_int_eq(of_first, NS_PARKED);
        caller_init(&caller);
        int r = ns_lookup(s.f.ns, &caller.call, (uint64_t) sub, "e", &attr);
        ck_assert_int_eq(r, NS_PARKED);
        demand_trees_came(s.f.ns, c);
        await_held(&s.source);
        ck_assert(caller_waits(&caller, &r));
        r = ns_lookup(s.f.ns, &caller.call, (uint64_t) sub, "e", &attr);
        ck_assert_int_eq(r, NS_PARKED);
        answer(&s.source);
        answer_held(&s.source);
        ck_assert(caller_waits(&first, &of_first));
        ck_assert(caller_waits(&caller, &r));
        ck_assert_int_eq(ns_lookup(s.f.ns, &caller.call, (uint64_t) sub, "e", &attr), 1);
        ck_assert_uint_eq(s.source.n_oids[0], 4);
        ck_assert_uint_eq(s.source.n_oids[1], 3);
        sizes_fixture_done(&s);
}
END_TEST

static void read_ahead(SizesFixture *s, Checkout *c, const char *name) {
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
        fetch_queue_ahead(s->f.ns, c->repo, NULL, 0, wants, ELEMENTSOF(wants), LANE_READAHEAD);
}

/* R8: the files of a walk are on their way, and bring what a listing would have asked for. */
START_TEST(what_is_being_read_brings_its_sizes) {
        SizesFixture s;
        Caller caller;
        NsAttr attr;

        sizes_fixture_init(&s);
        fetch_trees(&s.f);
        set_children(&s.f, false);
        int64_t sub = fs_walk(&s.f, "f/r/sub");
        _cleanup_(checkout_unrefp) Checkout *c = sizes_fixture_checkout(&s);
        s.source.hold = s.source.hold_blobs = true;
        read_ahead(&s, c, "sub");
        await_held(&s.source);
        check_list(&s.f, "f/r/sub", "e\nf\ng\n");
        caller_init(&caller);
        int r = ns_lookup(s.f.ns, &caller.call, (uint64_t) sub, "f", &attr);
        ck_assert_int_eq(r, NS_PARKED);
        answer(&s.source);
        ck_assert(caller_waits(&caller, &r));
        for (const char *const *path = (const char *const[]){"f/r/sub/e", "f/r/sub/g", NULL}; *path;
             path++)
                ck_assert_uint_eq(size_of(&s.f, *path), 1);
        ck_assert_uint_eq(s.source.n_sizes, 0);
        sizes_fixture_done(&s);
}
END_TEST

#define N_DIRS 60

static void write_directories(SizesFixture *s, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                char name[16], content = (char) ('!' + i);
                (void) snprintf(name, sizeof(name), "d%02u/f", i);
                git_fixture_write(&s->f.repo, name, &content, 1);
        }
        git_fixture_commit(&s->f.repo, "two");
}

/* R12, R13: of a server that tells none, the files of the directory that is looked at come, all at
 * once, and stay known when they have made room for others. */
START_TEST(sizes_come_with_content) {
        SizesFixture s;

        sizes_fixture_init(&s);
        s.source.refuses = true;
        fetch_trees(&s.f);
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        ck_assert_uint_eq(s.source.n_blobs, 0);
        for (const char *const *path =
                     (const char *const[]){"f/r/c", "f/r/d", "f/r/a", "f/r/b", NULL};
             *path;
             path++)
                ck_assert_uint_eq(size_of(&s.f, *path), 1);
        ck_assert_uint_eq(s.source.n_blobs, 1);
        ck_assert_uint_eq(s.source.n_blob_oids, 4);
        ck_assert_uint_eq(size_of(&s.f, "f/r/sub/f"), 1);
        ck_assert_uint_eq(size_of(&s.f, "f/r/sub/e"), 1);
        ck_assert_uint_eq(size_of(&s.f, "f/r/sub/g"), 1);
        ck_assert_uint_eq(s.source.n_blobs, 2);
        ck_assert_uint_eq(s.source.n_blob_oids, N_FILES);

        ns_stop(s.f.ns); /* waits for all that is under way */
        _cleanup_(checkout_unrefp) Checkout *c = sizes_fixture_checkout(&s);
        CheckoutState state;
        checkout_get_state(c, &state);
        ck_assert(store_has(s.f.context.store, STORE_SIZES, &state.root));
        sizes_fixture_done(&s);
}
END_TEST

/* Whoever goes from one directory to the next has the others fetched with it, and who is told not
 * to walk ahead has not. */
START_TEST(a_walk_over_sizes_is_fetched_ahead) {
        for (unsigned limit = 0; limit <= 64; limit += 64) {
                NsConfig config = tree_fixture_config();
                SizesFixture s;

                sizes_fixture_init(&s);
                s.source.refuses = true;
                be_far_away(&s.source);
                write_directories(&s, N_DIRS);
                config.prefetch.walk_limit = (uint64_t) limit << 20;
                ns_set_config(s.f.ns, &config);
                for (unsigned i = 0; i < N_DIRS; i++) {
                        char path[16];
                        (void) snprintf(path, sizeof(path), "f/r/d%02u", i);
                        check_list(&s.f, path, "f\n");
                }
                free(fs_list_all(&s.f, (uint64_t) fs_walk(&s.f, "f/r"), true));
                ck_assert_uint_eq(size_of(&s.f, "f/r/a"), 1);
                ck_assert_uint_eq(s.source.n_blob_oids, 4);
                for (unsigned i = 0; i < N_DIRS; i++) {
                        char path[16];
                        (void) snprintf(path, sizeof(path), "f/r/d%02u/f", i);
                        ck_assert_uint_eq(size_of(&s.f, path), 1);
                }
                ns_stop(s.f.ns);
                /* The top, the first directory, all others and the little that may come alone. */
                if (limit > 0)
                        ck_assert_uint_le(s.source.n_blobs, 6);
                else
                        ck_assert_uint_eq(s.source.n_blobs, 1 + N_DIRS);
                ck_assert_uint_eq(s.source.n_blob_oids, 4 + N_DIRS);
                sizes_fixture_done(&s);
        }
}
END_TEST

#define N_WIDE 40

/* The rest of a walk is wanted by the directories that it has not come to. */
START_TEST(the_rest_is_wanted_by_its_trees) {
        static const char *const dirs[] = {"x", "y", "z"};
        SizesFixture s;
        char path[16];

        sizes_fixture_init(&s);
        s.source.refuses = true;
        be_far_away(&s.source);
        for (unsigned i = 0; i < ELEMENTSOF(dirs) * N_WIDE; i++) {
                (void) snprintf(path, sizeof(path), "%s/%02u", dirs[i / N_WIDE], i % N_WIDE);
                git_fixture_write(&s.f.repo, path, path, strlen(path));
        }
        git_fixture_commit(&s.f.repo, "two");
        for (size_t i = 0; i < ELEMENTSOF(dirs); i++) {
                (void) snprintf(path, sizeof(path), "f/r/%s", dirs[i]);
                free(fs_list_all(&s.f, (uint64_t) fs_walk(&s.f, path), true));
        }
        check_list(&s.f, "f/r/sub", "e\nf\ng\n");
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\nx\ny\nz\n");
        ck_assert_uint_eq(size_of(&s.f, "f/r/a"), 1);
        for (unsigned i = 0; i < ELEMENTSOF(dirs) * N_WIDE; i++) {
                (void) snprintf(path, sizeof(path), "f/r/%s/%02u", dirs[i / N_WIDE], i % N_WIDE);
                ck_assert_uint_eq(size_of(&s.f, path), strlen("x/00"));
        }
        ns_stop(s.f.ns);
        ck_assert_uint_eq(s.source.n_blobs, 2);
        ck_assert_uint_eq(s.source.n_blob_oids, 4 + N_WIDE);
        ck_assert_uint_eq(s.source.n_closures, 1);
        ck_assert_uint_eq(s.source.n_closure_oids, 3); /* sub, y, z */
        sizes_fixture_done(&s);
}
END_TEST

/* What READDIRPLUS says of a directory. */
typedef struct Shown {
        unsigned n_names, n_nodes; /* of them, those that come with a node, and so with a size */
} Shown;

static bool count_shown(const char *name, const NsAttr *attr, uint64_t next, void *userdata) {
        Shown *shown = userdata;
        bool dot = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;

        shown->n_names += !dot;
        shown->n_nodes += !dot && attr->id != 0;
        return true;
}

static int list_plus(SizesFixture *s, Caller *caller, int64_t id, Shown *ret) {
        *ret = (Shown){0};
        return ns_readdir(s->f.ns, &caller->call, (uint64_t) id, 0, true, count_shown, ret);
}

static void list_three(SizesFixture *s) {
        check_list(&s->f, "f/r/d00", "f\n");
        check_list(&s->f, "f/r/sub", "e\nf\ng\n");
        check_list(&s->f, "f/r", "a\nb\nc\nd\nd00\nsub\n");
}

/* Of the first two the one for a single file: what is gathered with others may come second. */
static void answer_alone(SizeSource *s) {
        Fetch *first = s->held[0];

        if (first->n_oids > 1) {
                s->held[0] = s->held[1];
                s->held[1] = first;
        }
        answer(s);
}

/* A walk over sizes that has come to its second directory: all of the rest is on its way, held, and
 * with it the files of "sub". */
static void begin_walk(SizesFixture *s) {
        Caller caller;
        NsAttr attr;

        sizes_fixture_init(s);
        s->source.refuses = true;
        be_far_away(&s->source);
        write_directories(s, 1);
        list_three(s);
        int64_t second = fs_walk(&s->f, "f/r/d00");
        ck_assert_uint_eq(size_of(&s->f, "f/r/a"), 1);
        s->source.hold_blobs = true;
        caller_init(&caller);
        int r = ns_lookup(s->f.ns, &caller.call, (uint64_t) second, "f", &attr);
        ck_assert_int_eq(r, NS_PARKED);
        await_held(&s->source);
        await_held(&s->source);
        answer_alone(&s->source);
        ck_assert(caller_waits(&caller, &r));
        r = ns_lookup(s->f.ns, &caller.call, (uint64_t) second, "f", &attr);
        ck_assert(!caller_waits(&caller, &r));
        ck_assert_int_eq(r, 1);
}

/* Who walks over sizes lists directories whose files are about to come: names alone would have a
 * look-up follow for each of them. */
START_TEST(a_listing_in_a_walk_waits_for_its_files) {
        Caller first, other;
        SizesFixture s;
        Shown shown;

        begin_walk(&s);
        int64_t sub = fs_walk(&s.f, "f/r/sub");
        caller_init(&first);
        caller_init(&other);
        int of_first = list_plus(&s, &first, sub, &shown);
        int of_other = list_plus(&s, &other, sub, &shown);
        ck_assert_int_eq(of_first, NS_PARKED);
        ck_assert_int_eq(of_other, NS_PARKED);
        ck_assert_uint_eq(shown.n_names, 0);
        answer(&s.source);
        ck_assert(caller_waits(&first, &of_first));
        ck_assert(caller_waits(&other, &of_other));
        of_first = list_plus(&s, &first, sub, &shown);
        ck_assert_int_eq(of_first, 0);
        ck_assert_uint_eq(shown.n_nodes, 3);
        of_other = list_plus(&s, &other, sub, &shown);
        ck_assert_int_eq(of_other, 0);
        ck_assert_uint_eq(shown.n_nodes, 3);
        ck_assert(!caller_waits(&first, &of_first));
        ck_assert(!caller_waits(&other, &of_other));
        sizes_fixture_done(&s);
}
END_TEST

/* Files that do not come keep no names back, and are not waited for twice. */
START_TEST(a_listing_in_a_walk_waits_once) {
        SizesFixture s;
        Caller caller;
        Shown shown;

        begin_walk(&s);
        int64_t sub = fs_walk(&s.f, "f/r/sub");
        caller_init(&caller);
        int r = list_plus(&s, &caller, sub, &shown);
        ck_assert_int_eq(r, NS_PARKED);
        Fetch *fetch = s.source.held[s.source.n_answered++];
        fetch->done(fetch, -EIO, NULL);
        ck_assert(caller_waits(&caller, &r));
        r = list_plus(&s, &caller, sub, &shown);
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(shown.n_names, 3);
        ck_assert_uint_eq(shown.n_nodes, 0);

        _cleanup_(checkout_unrefp) Checkout *c = sizes_fixture_checkout(&s);
        read_ahead(&s, c, "sub");
        await_held(&s.source);
        r = list_plus(&s, &caller, sub, &shown);
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(shown.n_names, 3);
        ck_assert(!caller_waits(&caller, &r));
        answer(&s.source);
        sizes_fixture_done(&s);
}
END_TEST

/* A server that has stopped in the middle keeps no names back for long. */
START_TEST(a_listing_in_a_walk_is_not_patient) {
        SizesFixture s;
        Caller caller;
        Shown shown;

        begin_walk(&s);
        int64_t sub = fs_walk(&s.f, "f/r/sub");
        caller_init(&caller);
        int r = list_plus(&s, &caller, sub, &shown);
        ck_assert_int_eq(r, NS_PARKED);
        ck_assert(caller_waits(&caller, &r));
        r = list_plus(&s, &caller, sub, &shown);
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(shown.n_names, 3);
        ck_assert(!caller_waits(&caller, &r));
        answer(&s.source);
        sizes_fixture_done(&s);
}
END_TEST

/* Of a server that is known to tell no sizes they are not asked for, so nobody waits for trees
 * before he gets the files of a directory; the walk does, as it is fetched whole. */
START_TEST(a_walk_over_sizes_waits_for_trees) {
        SizesFixture s;
        Caller caller;
        NsAttr attr;

        sizes_fixture_init(&s);
        s.source.source.no_sizes = true;
        be_far_away(&s.source);
        write_directories(&s, 1);
        list_three(&s);
        int64_t root = fs_walk(&s.f, "f/r"), second = fs_walk(&s.f, "f/r/d00");
        _cleanup_(checkout_unrefp) Checkout *c = sizes_fixture_checkout(&s);
        checkout_trees_begin(c);
        s.source.hold_blobs = true;
        caller_init(&caller);
        int r = ns_lookup(s.f.ns, &caller.call, (uint64_t) root, "a", &attr);
        ck_assert_int_eq(r, NS_PARKED);
        answer_held(&s.source);
        ck_assert(caller_waits(&caller, &r));
        r = ns_lookup(s.f.ns, &caller.call, (uint64_t) root, "a", &attr);
        ck_assert(!caller_waits(&caller, &r));
        ck_assert_int_eq(r, 1);

        caller_init(&caller);
        r = ns_lookup(s.f.ns, &caller.call, (uint64_t) second, "f", &attr);
        ck_assert_int_eq(r, NS_PARKED);
        ck_assert_uint_eq(s.source.n_held, 1);
        demand_trees_came(s.f.ns, c);
        ck_assert(caller_waits(&caller, &r));
        r = ns_lookup(s.f.ns, &caller.call, (uint64_t) second, "f", &attr);
        ck_assert_int_eq(r, NS_PARKED);
        answer_held(&s.source);
        answer_held(&s.source);
        ck_assert(caller_waits(&caller, &r));
        ns_stop(s.f.ns);
        ck_assert_uint_eq(s.source.n_sizes, 0);
        sizes_fixture_done(&s);
}
END_TEST

#define MAX_ROUNDS 32 /* of the mount's requests */

typedef struct Reader {
        SizesFixture *s;
        Caller caller;
        uint64_t dir;
        int result;
        unsigned n_rounds;
        pthread_t thread;
} Reader;

static int reader_look_up(Reader *reader) {
        NsAttr attr;

        reader->n_rounds++;
        return ns_lookup(reader->s->f.ns, &reader->caller.call, reader->dir, "f", &attr);
}

static void *reader_run(void *userdata) {
        Reader *reader = userdata;

        while (caller_waits(&reader->caller, &reader->result))
                reader->result = reader_look_up(reader);
        return NULL;
}

/* All at once, in a repository of far more files than one answer tells the sizes of: nobody is
 * woken again and again, and no size is asked for twice. */
START_TEST(readers_of_a_large_repository_do_not_starve) {
        Reader readers[N_DIRS];
        SizesFixture s;

        sizes_fixture_init(&s);
        write_directories(&s, N_DIRS);
        fetch_trees(&s.f);
        set_children(&s.f, false);
        for (unsigned i = 0; i < N_DIRS; i++) {
                char path[16];
                (void) snprintf(path, sizeof(path), "f/r/d%02u", i);
                check_list(&s.f, path, "f\n");
                readers[i] = (Reader){.s = &s, .dir = (uint64_t) fs_walk(&s.f, path)};
                caller_init(&readers[i].caller);
        }
        s.source.source.sizes_per_fetch = 10;
        _cleanup_(checkout_unrefp) Checkout *c = sizes_fixture_checkout(&s);
        checkout_trees_begin(c);
        for (unsigned i = 0; i < N_DIRS; i++) {
                readers[i].result = reader_look_up(&readers[i]);
                ck_assert_int_eq(readers[i].result, NS_PARKED);
        }
        for (unsigned i = 0; i < N_DIRS; i++)
                ck_assert_int_eq(
                        pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
        demand_trees_came(s.f.ns, c);
        for (unsigned i = 0; i < N_DIRS; i++) {
                ck_assert_int_eq(pthread_join(readers[i].thread, NULL), 0);
                ck_assert_int_eq(readers[i].result, 1);
                ck_assert_uint_lt(readers[i].n_rounds, MAX_ROUNDS);
        }
        ck_assert_uint_eq(s.source.n_asked, N_FILES + N_DIRS);
        sizes_fixture_done(&s);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_a_server_does_not_tell_is_fetched);
        tcase_add_test(tc, a_source_is_asked_for_as_many_as_it_likes);
        tcase_add_test(tc, names_do_not_wait_for_sizes);
        tcase_add_test(tc, a_listing_takes_no_for_an_answer);
        tcase_add_test(tc, sizes_are_not_asked_ahead_where_that_is_off);
        tcase_add_test(tc, what_is_listed_meanwhile_is_asked_for_after);
        tcase_add_test(tc, a_waiter_that_is_not_covered_goes_on);
        tcase_add_test(tc, what_is_being_read_brings_its_sizes);
        tcase_add_test(tc, sizes_come_with_content);
        tcase_add_test(tc, a_walk_over_sizes_is_fetched_ahead);
        tcase_add_test(tc, the_rest_is_wanted_by_its_trees);
        tcase_add_test(tc, a_listing_in_a_walk_waits_for_its_files);
        tcase_add_test(tc, a_listing_in_a_walk_waits_once);
        tcase_add_test(tc, a_listing_in_a_walk_is_not_patient);
        tcase_add_test(tc, a_walk_over_sizes_waits_for_trees);
        tcase_add_test(tc, readers_of_a_large_repository_do_not_starve);
}

CHECK_MAIN("tree/sizes", add_tests)
