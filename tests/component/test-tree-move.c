/* What becomes of nodes, names and listings when a branch moves or an org goes. */

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "component/tree-fixture.h"
#include "lib/check-main.h"
#include "tree/namespace-private.h"
#include "tree/prefetch.h"
#include "tree/walk-cursor.h"
#include "util/path.h"
#include "util/stats.h"

START_TEST(a_move_is_as_git_checkout_would) {
        _cleanup_tree_fixture_ TreeFixture f;
        int error;

        tree_fixture_init(&f);
        git_fixture_write(&f.repo, "same", "same", 4);
        git_fixture_write(&f.repo, "changed", "one", 3);
        git_fixture_write(&f.repo, "gone", "gone", 4);
        git_fixture_write(&f.repo, "kind", "a file", 6);
        git_fixture_write(&f.repo, "dir/same", "dir", 3);
        git_fixture_write(&f.repo, "dir/changed", "one", 3);
        git_fixture_write(&f.repo, "quiet/file", "quiet", 5);
        git_fixture_write(&f.repo, "gone-dir/file", "x", 1);
        git_fixture_commit(&f.repo, "one");

        uint64_t root = fs_must_walk(&f, "o/work"), dir = fs_must_walk(&f, "o/work/dir");
        uint64_t quiet = fs_must_walk(&f, "o/work/quiet");
        uint64_t same = fs_must_walk(&f, "o/work/same"), old = fs_must_walk(&f, "o/work/changed");
        uint64_t gone = fs_must_walk(&f, "o/work/gone"), kind = fs_must_walk(&f, "o/work/kind");
        uint64_t inner = fs_must_walk(&f, "o/work/dir/same");
        ck_assert_int_eq(fs_walk(&f, "o/work/new"), 0);

        git_fixture_run(&f.repo, NULL, NULL, "rm", "-rq", "gone", "kind", "gone-dir", NULL);
        git_fixture_write(&f.repo, "changed", "two", 3);
        git_fixture_write(&f.repo, "dir/changed", "two", 3);
        git_fixture_write(&f.repo, "kind/file", "a directory", 11);
        git_fixture_write(&f.repo, "new", "new", 3);
        git_fixture_commit(&f.repo, "two");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);

        /* Directories keep their node, and so does what did not change. */
        ck_assert_uint_eq(fs_must_walk(&f, "o/work"), root);
        ck_assert_uint_eq(fs_must_walk(&f, "o/work/dir"), dir);
        ck_assert_uint_eq(fs_must_walk(&f, "o/work/same"), same);
        ck_assert_uint_eq(fs_must_walk(&f, "o/work/dir/same"), inner);
        fs_must_list(&f, root, "changed\ndir\nkind\nnew\nquiet\nsame\n");
        fs_must_read(&f, "o/work/changed", "two");
        fs_must_read(&f, "o/work/dir/changed", "two");
        fs_must_read(&f, "o/work/kind/file", "a directory");
        fs_must_read(&f, "o/work/new", "new");
        ck_assert_int_eq(fs_walk(&f, "o/work/gone"), 0);
        ck_assert_int_eq(fs_walk(&f, "o/work/gone-dir"), 0);

        /* What was open keeps its bytes. */
        _cleanup_free_ char *open_file = fs_read(&f, old, &error);
        ck_assert_str_eq(open_file, "one");
        _cleanup_free_ char *removed = fs_read(&f, gone, &error);
        ck_assert_str_eq(removed, "gone");

        /* The kernel is told of every name that changed and of no other. */
        ck_assert(fs_told(&f, root, "changed") && fs_told(&f, root, "gone"));
        ck_assert(fs_told(&f, root, "kind") && fs_told(&f, root, "new"));
        ck_assert(fs_told(&f, root, "gone-dir") && fs_told(&f, dir, "changed"));
        ck_assert(fs_told(&f, root, NULL) && fs_told(&f, dir, NULL));
        ck_assert(!fs_told(&f, root, "same") && !fs_told(&f, root, "dir"));
        ck_assert(!fs_told(&f, dir, "same") && !fs_told(&f, quiet, NULL));
        ck_assert_uint_ne(fs_must_walk(&f, "o/work/kind"), kind);
}
END_TEST

START_TEST(a_directory_that_comes_back_shows_what_it_is_now) {
        _cleanup_tree_fixture_ TreeFixture f;

        tree_fixture_init(&f);
        git_fixture_write(&f.repo, "dir/sub/file", "one", 3);
        tree_fixture_commit(&f, "other", "x");
        /* Somebody is in them all the time. */
        uint64_t dir = fs_must_walk(&f, "o/work/dir"), sub = fs_must_walk(&f, "o/work/dir/sub");

        git_fixture_run(&f.repo, NULL, NULL, "rm", "-rq", "dir", NULL);
        git_fixture_commit(&f.repo, "two");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        ck_assert_int_eq(fs_walk(&f, "o/work/dir"), 0);

        git_fixture_write(&f.repo, "dir/sub/file", "three", 5);
        tree_fixture_commit(&f, "dir/fresh", "x");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        fs_must_read(&f, "o/work/dir/sub/file", "three");
        fs_must_list(&f, dir, "fresh\nsub\n");
        ck_assert(fs_told(&f, dir, NULL) && fs_told(&f, dir, "sub") && fs_told(&f, sub, NULL));

        /* The same by way of a listing. */
        git_fixture_run(&f.repo, NULL, NULL, "rm", "-rq", "dir", NULL);
        git_fixture_commit(&f.repo, "four");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        tree_fixture_commit(&f, "dir/five", "x");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        _cleanup_free_ char *names = fs_list_all(&f, fs_must_walk(&f, "o/work"), true);
        ck_assert_str_eq(names, "dir\nother\n");
        fs_must_list(&f, dir, "five\n");
}
END_TEST

START_TEST(a_listing_ends_on_the_commit_it_began_with) {
        _cleanup_tree_fixture_ TreeFixture f;
        Buf names = {0};
        uint64_t offset = 0;

        tree_fixture_init(&f);
        git_fixture_write(&f.repo, "a", "1", 1);
        git_fixture_write(&f.repo, "b", "1", 1);
        tree_fixture_commit(&f, "c", "1");
        uint64_t root = fs_must_walk(&f, "o/work");

        ck_assert_int_eq(fs_list(&f, root, true, 1, &offset, &names), 0);
        git_fixture_run(&f.repo, NULL, NULL, "rm", "-q", "c", NULL);
        tree_fixture_commit(&f, "d", "1");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        ck_assert_int_eq(fs_list(&f, root, true, 1, &offset, &names), 0);
        ck_assert_int_eq(fs_list(&f, root, false, 9, &offset, &names), 0);
        ck_assert_str_eq(buf_str(&names), "a\nb\nc\n");
        buf_done(&names);
        fs_must_list(&f, root, "a\nb\nd\n");

        /* After so many moves nobody remembers it. */
        offset = 0;
        ck_assert_int_eq(fs_list(&f, root, true, 1, &offset, &names), 0);
        for (unsigned i = 1; i <= 5; i++) {
                const char text[] = {(char) ('0' + i), '\0'};
                tree_fixture_commit(&f, "e", text);
                ck_assert_int_eq(fs_refresh(&f, ""), 0);
        }
        ck_assert_int_eq(fs_list(&f, root, true, 1, &offset, &names), -ESTALE);
        buf_done(&names);
}
END_TEST

START_TEST(a_listing_of_nothing_ends_when_the_first_commit_comes) {
        _cleanup_tree_fixture_ TreeFixture f;
        Buf names = {0};
        uint64_t offset = 0;

        tree_fixture_init(&f);
        uint64_t root = fs_must_walk(&f, "o/work");
        ck_assert_int_eq(fs_list(&f, root, false, 9, &offset, &names), 0);
        ck_assert_uint_gt(offset, 0);

        tree_fixture_commit(&f, "first", "1");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        ck_assert_int_eq(fs_list(&f, root, false, 9, &offset, &names), 0);
        ck_assert_uint_eq(names.len, 0);
        fs_must_list(&f, root, "first\n");
        buf_done(&names);
}
END_TEST

START_TEST(all_spellings_of_a_ref_move) {
        _cleanup_tree_fixture_ TreeFixture f;
        uint64_t roots[40];

        tree_fixture_init(&f);
        git_fixture_write(&f.repo, "file", "1", 1);
        git_fixture_commit(&f.repo, "one");
        git_fixture_run(&f.repo, NULL, NULL, "branch", "-m", "aaaaaaaa", NULL);
        for (unsigned i = 0; i < ELEMENTSOF(roots); i++) {
                _cleanup_buf_ Buf path = {0};
                ck_assert_int_eq(buf_append_str(&path, "o/work@"), 0);
                for (unsigned k = 0; k < 8; k++)
                        ck_assert_int_eq(buf_append_str(&path, i & (1u << k) ? "%61" : "a"), 0);
                roots[i] = fs_must_walk(&f, buf_str(&path));
                for (unsigned k = 0; k < i; k++)
                        ck_assert_uint_ne(roots[k], roots[i]);
        }
        tree_fixture_commit(&f, "second", "2");
        ck_assert_int_eq(fs_refresh(&f, "aaaaaaaa"), 0);
        for (unsigned i = 0; i < ELEMENTSOF(roots); i++)
                fs_must_list(&f, roots[i], "file\nsecond\n");
}
END_TEST

START_TEST(an_org_of_the_same_name_is_another_one) { /* F4 */
        _cleanup_tree_fixture_ TreeFixture f;
        int64_t nodes = stat_get(STAT_NODES_NOW);

        tree_fixture_init(&f);
        tree_fixture_commit(&f, "file", "1");
        NsAttr org;
        ck_assert_int_eq(fs_lookup(&f, NS_ROOT_ID, "o", &org), 1);
        uint64_t file = fs_must_walk(&f, "o/work/file");

        /* Somebody is in the old one: it is empty for him, and his files stay. */
        ck_assert_int_eq(ns_remove_org(f.ns, "o"), 0);
        ck_assert_int_eq(fs_walk(&f, "o"), 0);
        tree_fixture_add_org(&f);
        NsAttr attr;
        ck_assert_int_eq(fs_lookup(&f, org.id, "work", &attr), 0);
        int error;
        _cleanup_free_ char *text = fs_read(&f, file, &error);
        ck_assert_str_eq(text, "1");

        fs_must_read(&f, "o/work/file", "1");
        ck_assert_uint_ne(fs_must_walk(&f, "o"), org.id);
        _cleanup_free_ char *names = fs_list_all(&f, fs_must_walk(&f, "o"), false);
        ck_assert_str_eq(names, "work\n");

        /* When all are gone nothing is left, and a third one has the number of the first. */
        ck_assert_int_eq(ns_remove_org(f.ns, "o"), 0);
        int64_t left = stat_get(STAT_NODES_NOW);
        ck_assert_int_gt(left, nodes + 1);
        for (unsigned i = 0; i < 2; i++) {
                ns_forget(f.ns, file, UINT32_MAX);
                ns_forget(f.ns, org.id, UINT32_MAX);
        }
}
END_TEST

/* The first to ask hears it as the error of the flight. */
static bool no_such(int64_t id) {
        return id == 0 || id == -ENOENT;
}

START_TEST(a_ref_to_no_commit_does_not_exist) {
        _cleanup_tree_fixture_ TreeFixture f;

        tree_fixture_init(&f);
        tree_fixture_commit(&f, "file", "1");
        git_fixture_run(&f.repo, NULL, NULL, "tag", "a-tree", "HEAD^{tree}", NULL);
        git_fixture_run(&f.repo, NULL, NULL, "tag", "a-blob", "HEAD:file", NULL);
        ck_assert(no_such(fs_walk(&f, "o/work@a-tree")));
        ck_assert(no_such(fs_walk(&f, "o/work@a-blob")));
        /* And when the object is here already. */
        fs_must_read(&f, "o/work/file", "1");
        git_fixture_run(&f.repo, NULL, NULL, "tag", "b-tree", "HEAD^{tree}", NULL);
        git_fixture_run(&f.repo, NULL, NULL, "tag", "b-blob", "HEAD:file", NULL);
        ck_assert(no_such(fs_walk(&f, "o/work@b-tree")));
        ck_assert(no_such(fs_walk(&f, "o/work@b-blob")));
}
END_TEST

START_TEST(a_refresh_finds_what_is_new) {
        _cleanup_tree_fixture_ TreeFixture f;

        tree_fixture_init(&f);
        tree_fixture_commit(&f, "file", "1");
        uint64_t org_id = fs_must_walk(&f, "o");
        ck_assert(no_such(fs_walk(&f, "o/work@feature%2Fx")));
        ck_assert(no_such(fs_walk(&f, "o/other")));
        git_fixture_run(&f.repo, NULL, NULL, "branch", "feature/x", NULL);
        _cleanup_free_ char *other = path_join(f.root.path, "other", NULL);
        ck_assert_int_eq(symlink(f.repo.dir.path, other), 0);
        ck_assert_int_eq(fs_walk(&f, "o/work@feature%2Fx"), 0);

        Org *org = ns_get_org(f.ns, "o");
        ns_forget_negatives(f.ns, org);
        ck_assert(fs_told(&f, org_id, "work@feature%2Fx") && fs_told(&f, org_id, "other"));
        fs_must_read(&f, "o/work@feature%2Fx/file", "1");
        fs_must_read(&f, "o/other/file", "1");
        org_unref(org);
}
END_TEST

typedef struct Interrupted {
        TreeFixture *f;
        Checkout *checkout;
        unsigned n_given;
} Interrupted;

/* Between two entries the branch moves, to a commit whose trees nobody has. */
static bool give_and_move(const char *name, const NsAttr *attr, uint64_t next, void *userdata) {
        Interrupted *in = userdata;
        const Oid nowhere = {.algo = OID_SHA1, .id = {1, 2, 3}};
        const CheckoutState to = {.commit = nowhere, .root = nowhere};
        size_t n_missing = 0;
        Oid *missing;

        if (name[0] != '.' && in->n_given++ == 0)
                ck_assert_int_eq(
                        checkout_move(in->f->ns, in->checkout, &to, true, &missing, &n_missing), 0);
        return true;
}

/* Files are made into nodes with no lock of the checkout; the kernel must not keep the old one
 * under a name for good. */
START_TEST(a_listing_that_a_blind_move_overtakes_is_taken_back) {
        _cleanup_tree_fixture_ TreeFixture f;
        const NsCall call = {.flags = NS_MAY_BLOCK};

        tree_fixture_init(&f);
        git_fixture_write(&f.repo, "a", "1", 1);
        git_fixture_write(&f.repo, "b", "1", 1);
        tree_fixture_commit(&f, "c", "1");
        uint64_t root = fs_must_walk(&f, "o/work");
        (void) fs_must_walk(&f, "o/work/a"); /* and all sizes are known */
        Interrupted in = {.f = &f, .checkout = tree_fixture_checkout(&f, "")};

        ck_assert_int_eq(ns_readdir(f.ns, &call, root, 0, true, give_and_move, &in), 0);
        ck_assert_uint_eq(in.n_given, 3);
        ck_assert(fs_told(&f, root, "a") && fs_told(&f, root, "b") && fs_told(&f, root, "c"));
        checkout_unref(in.checkout);
}
END_TEST

typedef struct Reader {
        TreeFixture *f;
        atomic_bool *stop;
        const char *trouble; /* NULL: none */
        unsigned n_listings;
} Reader;

static int64_t reader_walk(Reader *r, const char *path) {
        int64_t id = fs_walk(r->f, path);

        return id < 0 && id != -ENOENT && id != -ESTALE ? id : MAX(id, 0);
}

/* Each commit has only names that begin with its own letter. */
static void *read_on(void *userdata) {
        Reader *r = userdata;

        while (!r->trouble && !atomic_load(r->stop)) {
                int64_t dir = reader_walk(r, r->n_listings % 2 ? "o/work@main/dir" : "o/work/dir");
                _cleanup_buf_ Buf names = {0};
                uint64_t offset = 0, before;
                int k;

                if (dir < 0)
                        r->trouble = "walk";
                if (dir <= 0)
                        continue;
                do {
                        before = offset;
                        k = fs_list(r->f, (uint64_t) dir, true, 3, &offset, &names);
                } while (k == 0 && offset != before);
                const char *text = names.len > 0 ? buf_str(&names) : "";
                for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
                        if (*p != *text)
                                r->trouble = "a listing of two commits";
                /* A listing may be older than what is remembered. */
                if (k < 0 && k != -ESTALE)
                        r->trouble = "list";
                ns_forget(r->f->ns, (uint64_t) dir, 1);
                r->n_listings++;
        }
        return NULL;
}

START_TEST(listings_show_one_commit_while_branches_move_and_orgs_go) {
        _cleanup_tree_fixture_ TreeFixture f;
        Reader readers[4];
        pthread_t threads[ELEMENTSOF(readers)];
        atomic_bool stop = false;
        char name[32];

        tree_fixture_init(&f);
        tree_fixture_commit(&f, "dir/a0", "a");
        for (size_t i = 0; i < ELEMENTSOF(readers); i++) {
                readers[i] = (Reader){.f = &f, .stop = &stop};
                ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
        }
        for (char c = 'b'; c <= 'm'; c++) {
                git_fixture_run(&f.repo, NULL, NULL, "rm", "-rq", "dir", NULL);
                for (unsigned i = 0; i < 20; i++) {
                        (void) snprintf(name, sizeof(name), "dir/%c%u", c, i);
                        git_fixture_write(&f.repo, name, name, strlen(name));
                }
                git_fixture_commit(&f.repo, name);
                ck_assert_int_gt(fs_walk(&f, "o/work"), 0);
                ck_assert_int_gt(fs_walk(&f, "o/work@main"), 0);
                ck_assert_int_eq(fs_refresh(&f, ""), 0);
                ck_assert_int_eq(fs_refresh(&f, "main"), 0);
                if (c % 4 == 0) {
                        ck_assert_int_eq(ns_remove_org(f.ns, "o"), 0);
                        tree_fixture_add_org(&f);
                } else if (c % 4 == 2)
                        ns_flush_memory(f.ns);
        }
        atomic_store(&stop, true);
        for (size_t i = 0; i < ELEMENTSOF(readers); i++) {
                ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
                ck_assert_msg(!readers[i].trouble, "%s", readers[i].trouble);
                ck_assert_uint_gt(readers[i].n_listings, 0);
        }
        (void) snprintf(name, sizeof(name), "o/work/dir/m19");
        fs_must_read(&f, name, "dir/m19");
}
END_TEST

enum { N_COMMITS = 8 };

typedef struct Mover {
        TreeFixture *f;
        Checkout *checkout;
        const CheckoutState *states;
        unsigned step;
        const char *trouble; /* NULL: none */
} Mover;

static void *move_on(void *userdata) {
        Mover *m = userdata;

        for (unsigned i = m->step; i < m->step + 10 && !m->trouble; i++) {
                const CheckoutState *to = &m->states[(i * m->step) % N_COMMITS];
                Oid *missing;
                size_t n;
                if (checkout_move(m->f->ns, m->checkout, to, false, &missing, &n) != 0)
                        m->trouble = "a tree is missing";
        }
        return NULL;
}

/* From the directory, as a kernel that has it cached does. */
static void must_read_in(TreeFixture *f, uint64_t dir, const char *content) {
        NsAttr attr;
        int error;

        ck_assert_int_eq(fs_lookup(f, dir, "file", &attr), 1);
        _cleanup_free_ char *text = fs_read(f, attr.id, &error);
        ck_assert_str_eq(text, content);
}

static void move_from_all_sides(TreeFixture *f, Checkout *c, const CheckoutState *states) {
        Mover movers[3];
        pthread_t threads[ELEMENTSOF(movers)];

        for (unsigned i = 0; i < ELEMENTSOF(movers); i++) {
                movers[i] = (Mover){.f = f, .checkout = c, .states = states, .step = 2 * i + 1};
                ck_assert_int_eq(pthread_create(&threads[i], NULL, move_on, &movers[i]), 0);
        }
        for (unsigned i = 0; i < ELEMENTSOF(movers); i++) {
                ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
                ck_assert_ptr_null(movers[i].trouble);
        }
}

/* A look-up and the poll may find the branch at different commits. */
START_TEST(two_moves_at_once_do_not_mix) {
        _cleanup_tree_fixture_ TreeFixture f;
        CheckoutState states[N_COMMITS];
        Checkout *checkout = NULL;
        uint64_t dirs[3];
        char path[32];

        tree_fixture_init(&f);
        for (unsigned i = 0; i < N_COMMITS; i++) {
                /* Each differs from any other in other directories. */
                for (unsigned bit = 0; bit < 3; bit++) {
                        (void) snprintf(path, sizeof(path), "d%u/file", bit);
                        git_fixture_write(&f.repo, path, i & (1u << bit) ? "1" : "0", 1);
                }
                (void) snprintf(path, sizeof(path), "%u", i);
                tree_fixture_commit(&f, "number", path);
                if (!checkout) {
                        (void) fs_must_walk(&f, "o/work");
                        checkout = tree_fixture_checkout(&f, "");
                        ck_assert_ptr_nonnull(checkout);
                }
                ck_assert_int_eq(fs_refresh(&f, ""), 0);
                checkout_get_state(checkout, &states[i]);
                for (unsigned bit = 0; bit < 3; bit++) {
                        (void) snprintf(path, sizeof(path), "o/work/d%u/file", bit);
                        fs_must_read(&f, path, i & (1u << bit) ? "1" : "0");
                }
        }

        for (unsigned bit = 0; bit < 3; bit++) {
                (void) snprintf(path, sizeof(path), "o/work/d%u", bit);
                dirs[bit] = fs_must_walk(&f, path);
        }
        for (unsigned round = 0; round < 300; round++) {
                move_from_all_sides(&f, checkout, states);
                CheckoutState now;
                checkout_get_state(checkout, &now);
                unsigned at = 0;
                while (!oid_equal(&states[at].commit, &now.commit))
                        ck_assert_uint_lt(++at, N_COMMITS);
                for (unsigned bit = 0; bit < 3; bit++)
                        must_read_in(&f, dirs[bit], at & (1u << bit) ? "1" : "0");
        }
        checkout_unref(checkout);
}
END_TEST

typedef struct Refreshing {
        sem_t done;
        int result;
} Refreshing;

static void refreshed(int result, const Failure *failure, void *userdata) {
        Refreshing *r = userdata;

        r->result = result;
        (void) sem_post(&r->done); /* cannot overflow */
}

START_TEST(a_refresh_asks_after_it_was_asked_for) {
        _cleanup_tree_fixture_ TreeFixture f;
        Refreshing r;

        tree_fixture_init(&f);
        tree_fixture_commit(&f, "file", "one");
        fs_must_read(&f, "o/work/file", "one");
        _cleanup_(checkout_unrefp) Checkout *c = tree_fixture_checkout(&f, "");
        const FlightKey poll = demand_key_name(c->repo, DEMAND_REFRESH, "");
        ck_assert_int_eq(sem_init(&r.done, 0, 0), 0);

        /* A poll has heard what the branch was, and takes its time. */
        ck_assert_int_eq(flight_join(f.flights, &poll, NULL), 1);
        tree_fixture_commit(&f, "file", "two");
        ck_assert_int_eq(ns_refresh(f.ns, c, refreshed, &r), 0);
        flight_land(f.flights, &poll, 0, NULL);
        while (sem_wait(&r.done) < 0)
                ck_assert_int_eq(errno, EINTR);
        (void) sem_destroy(&r.done); /* nobody waits */
        ck_assert_int_eq(r.result, 0);
        fs_must_read(&f, "o/work/file", "two");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_refresh_asks_after_it_was_asked_for);
        tcase_add_test(tc, a_refresh_finds_what_is_new);
        tcase_add_test(tc, a_listing_that_a_blind_move_overtakes_is_taken_back);
        tcase_add_test(tc, listings_show_one_commit_while_branches_move_and_orgs_go);
        tcase_add_test(tc, two_moves_at_once_do_not_mix);
        tcase_add_test(tc, a_move_is_as_git_checkout_would);
        tcase_add_test(tc, a_directory_that_comes_back_shows_what_it_is_now);
        tcase_add_test(tc, a_listing_ends_on_the_commit_it_began_with);
        tcase_add_test(tc, a_listing_of_nothing_ends_when_the_first_commit_comes);
        tcase_add_test(tc, all_spellings_of_a_ref_move);
        tcase_add_test(tc, an_org_of_the_same_name_is_another_one);
        tcase_add_test(tc, a_ref_to_no_commit_does_not_exist);
}

CHECK_MAIN("tree/move", add_tests)
