#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "component/sizes-fixture.h"
#include "lib/check-main.h"
#include "tree/namespace-private.h"

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

/* After a crash: what nobody asked for may be what crashed it. */
START_TEST(what_a_server_does_not_tell_comes_alone_after_a_crash) {
        static const char *const paths[] = {"f/r/a", "f/r/b", "f/r/c", "f/r/d"};
        NsConfig config = tree_fixture_config();
        SizesFixture s;

        sizes_fixture_init(&s);
        config.ahead = (NsAhead){.alone = true};
        ns_set_config(s.f.ns, &config);
        s.source.n_tell = 0;
        for (unsigned i = 0; i < ELEMENTSOF(paths); i++) {
                ck_assert_uint_eq(size_of(&s.f, paths[i]), 1);
                ck_assert_uint_eq(s.source.n_blobs, i + 1);
                ck_assert_uint_eq(s.source.n_blob_oids, i + 1);
        }
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

        config.ahead.children = children;
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

static void list_directories(TreeFixture *f, unsigned first, unsigned end) {
        for (unsigned i = first; i < end; i++) {
                char path[16];
                (void) snprintf(path, sizeof(path), "f/r/d%02u", i);
                check_list(f, path, "f\n");
        }
}

/* R12: where a question does not hold all, who walks comes to the next directories when their sizes
 * are here. When he stops, one question was in vain. */
START_TEST(who_walks_waits_for_the_first_question_only) {
        const unsigned n_first = 27; /* directories; and three files above them */
        SizesFixture s;

        sizes_fixture_init(&s);
        write_directories(&s, N_DIRS);
        set_children(&s.f, false);
        (void) fs_walk(&s.f, "f/r");
        list_directories(&s.f, 0, N_DIRS); /* brings their trees */
        set_children(&s.f, true);
        s.source.source.sizes_per_fetch = 30;
        ck_assert_uint_eq(size_of(&s.f, "f/r/a"), 1); /* its blob, as nobody listed that */
        ck_assert_uint_eq(size_of(&s.f, "f/r/b"), 1);
        ck_assert_uint_eq(s.source.n_sizes, 1);
        ck_assert_uint_eq(s.source.n_oids[0], 3 + n_first);

        list_directories(&s.f, 0, 15);
        ck_assert_uint_eq(flight_count(s.f.flights), 0);
        s.source.hold = true;
        list_directories(&s.f, 15, 16);
        await_held(&s.source);
        list_directories(&s.f, 16, n_first);
        ck_assert_uint_eq(flight_count(s.f.flights), 1);
        answer(&s.source);
        ck_assert_uint_eq(flight_count(s.f.flights), 0);
        ck_assert_uint_eq(s.source.n_sizes, 2);
        ck_assert_uint_eq(s.source.n_oids[1], 30);
        ck_assert_uint_eq(size_of(&s.f, "f/r/d27/f"), 1);
        ck_assert_uint_eq(size_of(&s.f, "f/r/d56/f"), 1);
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

/* One reader for each directory, all at once: each gets his size in few rounds. */
static void look_up_all(SizesFixture *s, unsigned max_rounds) {
        Reader readers[N_DIRS];

        for (unsigned i = 0; i < N_DIRS; i++) {
                char path[16];
                (void) snprintf(path, sizeof(path), "f/r/d%02u", i);
                check_list(&s->f, path, "f\n");
                readers[i] = (Reader){.s = s, .dir = (uint64_t) fs_walk(&s->f, path)};
                caller_init(&readers[i].caller);
        }
        _cleanup_(checkout_unrefp) Checkout *c = sizes_fixture_checkout(s);
        checkout_trees_begin(c);
        for (unsigned i = 0; i < N_DIRS; i++) {
                readers[i].result = reader_look_up(&readers[i]);
                ck_assert_int_eq(readers[i].result, NS_PARKED);
        }
        for (unsigned i = 0; i < N_DIRS; i++)
                ck_assert_int_eq(
                        pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
        demand_trees_came(s->f.ns, c);
        for (unsigned i = 0; i < N_DIRS; i++) {
                ck_assert_int_eq(pthread_join(readers[i].thread, NULL), 0);
                ck_assert_int_eq(readers[i].result, 1);
                ck_assert_uint_lt(readers[i].n_rounds, max_rounds);
        }
}

/* In a repository of far more files than one answer tells the sizes of: nobody is woken again and
 * again, and no size is asked for twice. */
START_TEST(readers_of_a_large_repository_do_not_starve) {
        SizesFixture s;

        sizes_fixture_init(&s);
        write_directories(&s, N_DIRS);
        fetch_trees(&s.f);
        set_children(&s.f, false);
        s.source.source.sizes_per_fetch = 10;
        look_up_all(&s, MAX_ROUNDS);
        ck_assert_uint_eq(s.source.n_asked, N_FILES + N_DIRS);
        sizes_fixture_done(&s);
}
END_TEST

/* A forge whose answer is cut off tells but one directory. Nobody waits for what others ask. */
START_TEST(readers_of_an_answer_that_is_cut_off_do_not_starve) {
        SizesFixture s;

        sizes_fixture_init(&s);
        write_directories(&s, N_DIRS);
        fetch_trees(&s.f);
        set_children(&s.f, false);
        s.source.tells_directory_of = s.f.ns;
        look_up_all(&s, 10);
        ck_assert_uint_le(s.source.n_sizes, N_DIRS + 4);
        ck_assert_uint_eq(s.source.n_blobs, 0);
        sizes_fixture_done(&s);
}
END_TEST

/* An object of which a server does not know the size; all others have theirs, for everybody. */
START_TEST(what_a_server_lacks_comes_with_content) {
        static const char *const paths[] = {"f/r/a", "f/r/b", "f/r/c", "f/r/d", "f/r/sub/e"};
        SizesFixture s;

        sizes_fixture_init(&s);
        fetch_trees(&s.f);
        set_children(&s.f, false);
        check_list(&s.f, "f/r", "a\nb\nc\nd\nsub\n");
        s.source.lacks = oid_of(&s, "c");
        for (size_t i = 0; i < ELEMENTSOF(paths); i++)
                ck_assert_uint_eq(size_of(&s.f, paths[i]), 1);
        ck_assert_uint_eq(s.source.n_sizes, 1);
        ck_assert_uint_eq(s.source.n_blobs, 1);
        ck_assert_uint_eq(s.source.n_blob_oids, 1);
        sizes_fixture_done(&s);
}
END_TEST

/* One that it lacks altogether is an error of who wants it: at once, however much there is to ask
 * for besides. */
START_TEST(what_a_server_lacks_fails_alone) {
        SizesFixture s;
        NsAttr attr;

        sizes_fixture_init(&s);
        write_directories(&s, N_DIRS);
        fetch_trees(&s.f);
        set_children(&s.f, false);
        list_directories(&s.f, 0, N_DIRS);
        int64_t root = fs_walk(&s.f, "f/r");
        free(fs_list_all(&s.f, (uint64_t) root, true));
        s.source.source.sizes_per_fetch = 10;
        s.source.lacks = oid_of(&s, "c");
        s.source.lacks_content = true;
        ck_assert_int_eq(fs_lookup(&s.f, (uint64_t) root, "a", &attr), 1);
        ck_assert_int_eq(fs_lookup(&s.f, (uint64_t) root, "c", &attr), -EIO);
        ck_assert_int_eq(fs_lookup(&s.f, (uint64_t) root, "d", &attr), 1);
        ck_assert_uint_le(s.source.n_sizes, 2);
        ck_assert_uint_le(s.source.n_blobs, 2);
        sizes_fixture_done(&s);
}
END_TEST

#define N_MANY_DIRS 30
#define N_MANY (20 * N_MANY_DIRS + N_FILES)
#define SAMPLE (N_MANY / 16 + 1)

/* A repository of which it is expensive to tell all sizes, each of which is said to be this. */
static void many_init(SizesFixture *s, uint64_t told, uint64_t walk_limit, const char *above) {
        NsConfig config = tree_fixture_config();
        char path[20];

        sizes_fixture_init(s);
        s->source.n_tell = N_MANY;
        s->source.told = told;
        s->source.source.bytes_per_size = 4096;
        be_far_away(&s->source);
        for (unsigned i = 0; i < N_MANY - N_FILES; i++) {
                (void) snprintf(path, sizeof(path), "%sd%02u/f%02u", above, i / 20, i % 20);
                const char *content = path + strlen(above);
                git_fixture_write(&s->f.repo, path, content, strlen(content));
        }
        git_fixture_commit(&s->f.repo, "many");
        config.ahead.children = false;
        config.ahead.walk_limit = walk_limit;
        ns_set_config(s->f.ns, &config);
}

static void list_many(SizesFixture *s, const char *above) {
        char path[20];

        free(fs_list_all(&s->f, fs_must_walk(&s->f, "f/r/sub"), true));
        for (unsigned i = 0; i < N_MANY_DIRS; i++) {
                (void) snprintf(path, sizeof(path), "f/r/%sd%02u", above, i);
                free(fs_list_all(&s->f, fs_must_walk(&s->f, path), true));
        }
        (void) snprintf(path, sizeof(path), "f/r/%s", above);
        free(fs_list_all(&s->f, fs_must_walk(&s->f, path), true));
        free(fs_list_all(&s->f, fs_must_walk(&s->f, "f/r"), true));
}

static void look_at(SizesFixture *s, unsigned first, unsigned end, uint64_t expected) {
        char path[20];

        for (unsigned i = first; i < end; i++) {
                (void) snprintf(path, sizeof(path), "f/r/d%02u/f%02u", i / 20, i % 20);
                ck_assert_uint_eq(size_of(&s->f, path), expected);
        }
}

/* `ls -lR` of these. */
static void look_at_many(SizesFixture *s, uint64_t expected) {
        list_many(s, "");
        look_at(s, 0, N_MANY - N_FILES, expected);
        ns_stop(s->f.ns);
}

/* A window goes out at a time of its own, and who is before it then overtakes it. */
static void await_window(SizesFixture *s) {
        while (atomic_load(&s->source.n_closures) == 0)
                (void) sched_yield();
}

/* R8: to be told the sizes of tiny files costs as much as to have them. That they are is found out
 * from a few; those of two directories come, and then all of the rest at once. */
START_TEST(tiny_files_bring_their_sizes) {
        SizesFixture s;

        many_init(&s, strlen("d00/f00"), UINT64_C(64) << 20, "");
        list_many(&s, "");
        look_at(&s, 0, 2 * 20, strlen("d00/f00"));
        await_window(&s);
        look_at(&s, 2 * 20, N_MANY - N_FILES, strlen("d00/f00"));
        ns_stop(s.f.ns);
        ck_assert_uint_eq(s.source.n_sizes, 1);
        ck_assert_uint_eq(s.source.n_oids[0], SAMPLE);
        ck_assert_uint_le(s.source.n_blobs, 2);
        ck_assert_uint_le(s.source.n_blob_oids, 2 * 20);
        ck_assert_uint_eq(s.source.n_closures, 1);
        sizes_fixture_done(&s);
}
END_TEST

/* Who begins with the first file of all gets what follows at once, and who looks into another
 * directory does not. */
START_TEST(tiny_files_come_ahead_of_a_walk) {
        for (unsigned first = 0; first < 2; first++) {
                SizesFixture s;
                char path[20];

                many_init(&s, strlen("d00/f00"), UINT64_C(64) << 20, "0/");
                list_many(&s, "0/");
                (void) snprintf(path, sizeof(path), "f/r/0/d%02u/f00", first);
                ck_assert_uint_eq(size_of(&s.f, path), strlen("d00/f00"));
                if (first == 0)
                        await_window(&s);
                ns_stop(s.f.ns);
                ck_assert_uint_eq(s.source.n_oids[0], SAMPLE);
                ck_assert_uint_eq(s.source.n_blobs, 1);
                ck_assert_uint_eq(s.source.n_blob_oids, 20);
                ck_assert_uint_eq(s.source.n_closures, first == 0 ? 1 : 0);
                sizes_fixture_done(&s);
        }
}
END_TEST

/* R12: of others they are told. */
START_TEST(files_that_are_not_tiny_do_not_come) {
        SizesFixture s;

        many_init(&s, 15000, UINT64_C(64) << 20, "");
        look_at_many(&s, 15000);
        ck_assert_uint_eq(s.source.n_sizes, 2);
        ck_assert_uint_eq(s.source.n_oids[0], SAMPLE);
        ck_assert_uint_eq(s.source.n_oids[1], N_MANY - SAMPLE); /* each once */
        ck_assert_uint_eq(s.source.n_blobs, 0);
        ck_assert_uint_eq(s.source.n_closures, 0);
        sizes_fixture_done(&s);
}
END_TEST

/* Where nothing may be fetched ahead content would come file by file. */
START_TEST(tiny_files_do_not_come_where_that_is_off) {
        SizesFixture s;

        many_init(&s, 1, 0, "");
        look_at_many(&s, 1);
        ck_assert_uint_eq(s.source.n_sizes, 1);
        ck_assert_uint_eq(s.source.n_oids[0], N_MANY);
        ck_assert_uint_eq(s.source.n_blobs, 0);
        ck_assert_uint_eq(s.source.n_closures, 0);
        sizes_fixture_done(&s);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_a_server_does_not_tell_is_fetched);
        tcase_add_test(tc, what_a_server_does_not_tell_comes_alone_after_a_crash);
        tcase_add_test(tc, a_source_is_asked_for_as_many_as_it_likes);
        tcase_add_test(tc, names_do_not_wait_for_sizes);
        tcase_add_test(tc, a_listing_takes_no_for_an_answer);
        tcase_add_test(tc, sizes_are_not_asked_ahead_where_that_is_off);
        tcase_add_test(tc, what_is_listed_meanwhile_is_asked_for_after);
        tcase_add_test(tc, who_walks_waits_for_the_first_question_only);
        tcase_add_test(tc, a_waiter_that_is_not_covered_goes_on);
        tcase_add_test(tc, what_is_being_read_brings_its_sizes);
        tcase_add_test(tc, sizes_come_with_content);
        tcase_add_test(tc, readers_of_a_large_repository_do_not_starve);
        tcase_add_test(tc, readers_of_an_answer_that_is_cut_off_do_not_starve);
        tcase_add_test(tc, what_a_server_lacks_comes_with_content);
        tcase_add_test(tc, what_a_server_lacks_fails_alone);
        tcase_add_test(tc, tiny_files_bring_their_sizes);
        tcase_add_test(tc, tiny_files_come_ahead_of_a_walk);
        tcase_add_test(tc, files_that_are_not_tiny_do_not_come);
        tcase_add_test(tc, tiny_files_do_not_come_where_that_is_off);
}

CHECK_MAIN("tree/sizes", add_tests)
