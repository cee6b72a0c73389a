#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "component/sizes-fixture.h"
#include "lib/check-main.h"
#include "tree/namespace-private.h"
#include "tree/walk-cursor.h"

/* Who walks over the sizes of a repository whose server tells none without content. */

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
                config.ahead.walk_limit = (uint64_t) limit << 20;
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

/* Such a walk lists "sub", and waits for its files. Returns its id. */
static int64_t begin_listing(SizesFixture *s, Caller *caller) {
        Shown shown;

        begin_walk(s);
        int64_t sub = fs_walk(&s->f, "f/r/sub");
        caller_init(caller);
        int r = list_plus(s, caller, sub, &shown);
        ck_assert_int_eq(r, NS_PARKED);
        return sub;
}

/* It waits no more, and is shown what there is: no sizes. */
static int list_names(SizesFixture *s, Caller *caller, int64_t sub) {
        Shown shown;

        int r = list_plus(s, caller, sub, &shown);
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(shown.n_names, 3);
        ck_assert_uint_eq(shown.n_nodes, 0);
        return r;
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
        int r = NS_PARKED;

        int64_t sub = begin_listing(&s, &caller);
        Fetch *fetch = s.source.held[s.source.n_answered++];
        fetch->done(fetch, -EIO, NULL);
        ck_assert(caller_waits(&caller, &r));
        (void) list_names(&s, &caller, sub);

        _cleanup_(checkout_unrefp) Checkout *c = sizes_fixture_checkout(&s);
        read_ahead(&s, c, "sub");
        await_held(&s.source);
        r = list_names(&s, &caller, sub);
        ck_assert(!caller_waits(&caller, &r));
        answer(&s.source);
        sizes_fixture_done(&s);
}
END_TEST

/* A server that has stopped in the middle keeps no names back for long. */
START_TEST(a_listing_in_a_walk_is_not_patient) {
        SizesFixture s;
        Caller caller;
        int r = NS_PARKED;

        int64_t sub = begin_listing(&s, &caller);
        ck_assert(caller_waits(&caller, &r));
        r = list_names(&s, &caller, sub);
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

#define N_TINY_DIRS 30
#define N_TINY 40 /* in each */

/* Windows are for average files. Once enough have come that are not, the rest is one window. */
START_TEST(windows_grow_where_files_are_tiny) {
        NsConfig config = tree_fixture_config();
        SizesFixture s;
        char path[16];

        sizes_fixture_init(&s);
        s.source.refuses = true;
        be_far_away(&s.source);
        for (unsigned i = 0; i < N_TINY_DIRS * N_TINY; i++) {
                (void) snprintf(path, sizeof(path), "d%02u/f%02u", i / N_TINY, i % N_TINY);
                git_fixture_write(&s.f.repo, path, path, strlen(path));
        }
        git_fixture_commit(&s.f.repo, "two");
        config.ahead.walk_limit = 64 * walk_cost(SIZE_UNKNOWN);
        ns_set_config(s.f.ns, &config);
        for (unsigned i = 0; i < N_TINY_DIRS; i++) {
                (void) snprintf(path, sizeof(path), "f/r/d%02u", i);
                free(fs_list_all(&s.f, fs_must_walk(&s.f, path), true));
        }
        free(fs_list_all(&s.f, fs_must_walk(&s.f, "f/r"), true));
        for (unsigned i = 0; i < N_TINY_DIRS * N_TINY; i++) {
                (void) snprintf(path, sizeof(path), "f/r/d%02u/f%02u", i / N_TINY, i % N_TINY);
                ck_assert_uint_eq(size_of(&s.f, path), strlen("d00/f00"));
        }
        ns_stop(s.f.ns);
        ck_assert_uint_eq(s.source.n_closures, 1);
        /* So many have come before, and what is asked for side by side. */
        ck_assert_uint_ge(s.source.n_blob_oids, 512);
        ck_assert_uint_le(s.source.n_blob_oids, 512 + 6 * 64);
        sizes_fixture_done(&s);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, windows_grow_where_files_are_tiny);
        tcase_add_test(tc, a_walk_over_sizes_is_fetched_ahead);
        tcase_add_test(tc, the_rest_is_wanted_by_its_trees);
        tcase_add_test(tc, a_listing_in_a_walk_waits_for_its_files);
        tcase_add_test(tc, a_listing_in_a_walk_waits_once);
        tcase_add_test(tc, a_listing_in_a_walk_is_not_patient);
        tcase_add_test(tc, a_walk_over_sizes_waits_for_trees);
}

CHECK_MAIN("tree/size-walk", add_tests)
