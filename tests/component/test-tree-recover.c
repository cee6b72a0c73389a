#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "component/tree-fixture.h"
#include "lib/check-main.h"
#include "tree/namespace-private.h"
#include "util/path.h"
#include "util/stats.h"

/* A process ends at any moment, and the next one serves what the kernel knows as if it had been
 * there all the time. */

static uint64_t must_walk(TreeFixture *f, const char *path) {
        int64_t id = fs_walk(f, path);

        ck_assert_msg(id > 0, "%s: %lld", path, (long long) id);
        return (uint64_t) id;
}

static void must_read(TreeFixture *f, uint64_t id, const char *content) {
        int error;
        _cleanup_free_ char *text = fs_read(f, id, &error);

        ck_assert_msg(text, "%d", error);
        ck_assert_str_eq(text, content);
}

static void must_list(TreeFixture *f, uint64_t id, const char *names) {
        _cleanup_free_ char *plain = fs_list_all(f, id, false);
        _cleanup_free_ char *plus = fs_list_all(f, id, true);

        ck_assert_str_eq(plain, names);
        ck_assert_str_eq(plus, names);
}

static void must_be(TreeFixture *f, uint64_t id, const NsAttr *was) {
        NsAttr is;

        ck_assert_int_eq(ns_getattr(f->ns, id, &is), 0);
        ck_assert_uint_eq(is.id, was->id);
        ck_assert_uint_eq(is.mode, was->mode);
        ck_assert_uint_eq(is.size, was->size);
        ck_assert_int_eq(is.mtime, was->mtime);
}

static void make_repo(TreeFixture *f) {
        tree_fixture_init(f);
        git_fixture_write(&f->repo, "dir/sub/file", "deep", 4);
        git_fixture_write(&f->repo, "dir/other", "other", 5);
        tree_fixture_commit(f, "file", "one");
}

START_TEST(everything_known_is_as_it_was) {
        static const char *const paths[] = {
                "o",
                "o/work",
                "o/work/dir",
                "o/work/dir/sub",
                "o/work/dir/sub/file",
                "o/work/file"};
        _cleanup_tree_fixture_ TreeFixture f;
        uint64_t ids[ELEMENTSOF(paths)];
        NsAttr attrs[ELEMENTSOF(paths)];

        make_repo(&f);
        for (unsigned i = 0; i < ELEMENTSOF(paths); i++) {
                ids[i] = must_walk(&f, paths[i]);
                ck_assert_int_eq(ns_getattr(f.ns, ids[i], &attrs[i]), 0);
        }
        must_read(&f, ids[5], "one");
        for (unsigned round = 0; round < 3; round++) {
                tree_fixture_succeed(&f);
                ck_assert_uint_eq(ns_n_recovered(f.ns), 1 + ELEMENTSOF(paths));
                tree_fixture_add_org(&f);
                for (unsigned i = 0; i < ELEMENTSOF(paths); i++)
                        must_be(&f, ids[i], &attrs[i]);
                must_read(&f, ids[5], "one");
                must_read(&f, ids[4], "deep");
                /* From the middle first: nobody need come by from above. */
                must_list(&f, ids[3], "file\n");
                must_list(&f, ids[1], "dir\nfile\n");
                for (unsigned i = 0; i < ELEMENTSOF(paths); i++)
                        ck_assert_uint_eq(must_walk(&f, paths[i]), ids[i]);
                ck_assert(f.told.len == 0 || !fs_told(&f, ids[1], "file"));
        }
        /* R21: what was given before counts. */
        ns_forget(f.ns, ids[4], 3);
        NsAttr attr;
        ck_assert_int_eq(ns_getattr(f.ns, ids[4], &attr), 0);
        ns_forget(f.ns, ids[4], 64);
        ck_assert_int_eq(ns_getattr(f.ns, ids[4], &attr), -ESTALE);
}
END_TEST

START_TEST(a_branch_that_moved_meanwhile_is_followed) {
        _cleanup_tree_fixture_ TreeFixture f;

        make_repo(&f);
        uint64_t top = must_walk(&f, "o/work"), dir = must_walk(&f, "o/work/dir");
        uint64_t file = must_walk(&f, "o/work/file"), other = must_walk(&f, "o/work/dir/other");
        must_read(&f, file, "one");
        tree_fixture_succeed(&f);
        git_fixture_write(&f.repo, "dir/other", "two", 3);
        tree_fixture_commit(&f, "file", "two");
        tree_fixture_add_org(&f);

        must_list(&f, top, "dir\nfile\n"); /* as the kernel knows it */
        ck_assert_uint_eq(must_walk(&f, "o/work/file"), file);
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        ck_assert(fs_told(&f, top, "file") && fs_told(&f, dir, "other"));
        ck_assert(!fs_told(&f, top, "dir"));
        ck_assert_uint_ne(must_walk(&f, "o/work/file"), file);
        ck_assert_uint_ne(must_walk(&f, "o/work/dir/other"), other);
        must_read(&f, must_walk(&f, "o/work/file"), "two");
        must_read(&f, file, "one"); /* which is open still */
}
END_TEST

/* As the kernel does that was told to look again at every name. */
START_TEST(who_comes_from_above_is_shown_the_same_and_moves_with_it) {
        _cleanup_tree_fixture_ TreeFixture f;

        make_repo(&f);
        uint64_t top = must_walk(&f, "o/work"), file = must_walk(&f, "o/work/file");
        tree_fixture_succeed(&f);
        tree_fixture_commit(&f, "file", "two");
        tree_fixture_add_org(&f);

        ck_assert_uint_eq(must_walk(&f, "o/work"), top);
        ck_assert_uint_eq(must_walk(&f, "o/work/file"), file);
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        ck_assert(fs_told(&f, top, "file"));
        must_read(&f, must_walk(&f, "o/work/file"), "two");
}
END_TEST

static void must(Caller *c, int r) {
        if (caller_waits(c, &r)) {
                r = 0;
                (void) sem_destroy(&c->landed); /* nobody waits */
        }
        ck_assert_int_eq(r, 0);
}

/* By somebody who goes from one repository to the next. */
START_TEST(what_was_fetched_ahead_moves_with_it_as_well) {
        _cleanup_tree_fixture_ TreeFixture f;
        Caller c;

        make_repo(&f);
        uint64_t top = must_walk(&f, "o/work"), file = must_walk(&f, "o/work/file");
        tree_fixture_succeed(&f);
        tree_fixture_commit(&f, "file", "two");
        tree_fixture_add_org(&f);
        Org *org = ns_get_org(f.ns, "o");
        caller_init(&c);
        must(&c, demand_name(f.ns, &c.call, &org->root, "work"));
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(&org->root, "work");
        org_unref(org);
        ck_assert_ptr_nonnull(repo);
        caller_init(&c);
        must(&c, demand_checkout(f.ns, &c.call, repo, ""));

        ck_assert_uint_eq(must_walk(&f, "o/work"), top);
        ck_assert_uint_eq(must_walk(&f, "o/work/file"), file);
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        ck_assert(fs_told(&f, top, "file") && !fs_told(&f, top, "dir"));
        must_read(&f, must_walk(&f, "o/work/file"), "two");
}
END_TEST

/* --- what the kernel is told again --- */

typedef struct Heard {
        Buf text; /* "drop PARENT/NAME\n", "expire PARENT/NAME\n" */
        bool stopped;
} Heard;

static void heard_done(Heard *h) {
        buf_done(&h->text);
}

static void hear(Heard *h, const char *what, uint64_t parent, const char *name) {
        ck_assert_int_eq(
                buf_appendf(&h->text, "%s %llu/%s\n", what, (unsigned long long) parent, name), 0);
}

static void on_expire(uint64_t parent, const char *name, void *userdata) {
        hear(userdata, "expire", parent, name);
}

static void on_drop(uint64_t parent, const char *name, void *userdata) {
        hear(userdata, "drop", parent, name);
}

static bool is_stopped(void *userdata) {
        const Heard *h = userdata;
        return h->stopped;
}

static void retell(TreeFixture *f, Heard *h) {
        const NsTeller teller = {
                .expire = on_expire, .drop = on_drop, .stopped = is_stopped, .userdata = h};

        heard_done(h);
        ns_retell(f->ns, &teller);
}

static bool heard(Heard *h, const char *what, uint64_t parent, const char *name) {
        _cleanup_(heard_done) Heard line = {0};

        hear(&line, what, parent, name);
        return h->text.len > 0 && strstr(buf_str(&h->text), buf_str(&line.text));
}

/* The process has died before it told the kernel of any move. */
static void succeed_untold(TreeFixture *f, uint64_t checkout, uint32_t n_moves) {
        Node *node = node_table_get(f->ns->nodes, checkout);

        ck_assert_uint_eq(atomic_exchange(&node_dir(node)->told, 0), n_moves);
        node_table_put(f->ns->nodes, node);
        tree_fixture_succeed(f);
        tree_fixture_add_org(f);
}

/* Who stands in a directory that is there before and after stays where he is. */
START_TEST(what_the_kernel_may_have_missed_it_is_told_again) {
        _cleanup_tree_fixture_ TreeFixture f;
        _cleanup_(heard_done) Heard h = {0};

        tree_fixture_init(&f);
        git_fixture_write(&f.repo, "gone", "gone", 4);
        git_fixture_write(&f.repo, "same", "same", 4);
        git_fixture_write(&f.repo, "kind", "a file", 6);
        git_fixture_write(&f.repo, "dir/sub/file", "deep", 4);
        git_fixture_write(&f.repo, "quiet/file", "quiet", 5);
        tree_fixture_commit(&f, "file", "one");
        static const char *const names[] = {"gone", "same", "kind", "dir", "quiet", "file"};
        uint64_t top = must_walk(&f, "o/work"), dir = must_walk(&f, "o/work/dir");
        uint64_t sub = must_walk(&f, "o/work/dir/sub"), quiet = must_walk(&f, "o/work/quiet");
        for (unsigned i = 0; i < ELEMENTSOF(names); i++) {
                NsAttr attr;
                ck_assert_int_eq(fs_lookup(&f, top, names[i], &attr), 1);
        }
        (void) must_walk(&f, "o/work/dir/sub/file");
        (void) must_walk(&f, "o/work/quiet/file");

        git_fixture_run(&f.repo, NULL, NULL, "rm", "-q", "gone", "kind", NULL);
        git_fixture_write(&f.repo, "kind/file", "a directory", 11);
        git_fixture_write(&f.repo, "dir/sub/came", "came", 4);
        tree_fixture_commit(&f, "file", "two");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        succeed_untold(&f, top, 1);
        retell(&f, &h);

        /* What is another node by now, or none. */
        ck_assert(heard(&h, "drop", top, "file") && heard(&h, "drop", top, "gone"));
        ck_assert(heard(&h, "drop", top, "kind"));
        /* What it may believe not to exist. */
        ck_assert(heard(&h, "expire", top, "kind") && heard(&h, "expire", sub, "came"));
        /* What is as it was. */
        ck_assert(!heard(&h, "drop", top, "dir") && !heard(&h, "drop", dir, "sub"));
        ck_assert(!heard(&h, "drop", top, "same") && !heard(&h, "drop", sub, "file"));
        ck_assert(!heard(&h, "drop", top, "quiet") && !heard(&h, "expire", quiet, "file"));

        tree_fixture_succeed(&f); /* once is enough */
        tree_fixture_add_org(&f);
        retell(&f, &h);
        ck_assert_uint_eq(h.text.len, 0);
        must_read(&f, must_walk(&f, "o/work/file"), "two");
}
END_TEST

START_TEST(moves_that_nobody_told_add_up) {
        _cleanup_tree_fixture_ TreeFixture f;
        _cleanup_(heard_done) Heard h = {0};

        make_repo(&f);
        uint64_t top = must_walk(&f, "o/work"), dir = must_walk(&f, "o/work/dir");
        (void) must_walk(&f, "o/work/file");
        (void) must_walk(&f, "o/work/dir/other");
        tree_fixture_commit(&f, "dir/came", "came");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        succeed_untold(&f, top, 1); /* who dies before he gets to it, too */
        tree_fixture_commit(&f, "file", "two");
        (void) must_walk(&f, "o/work");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        tree_fixture_commit(&f, "dir/other", "another");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        succeed_untold(&f, top, 3);
        retell(&f, &h);
        ck_assert(heard(&h, "drop", top, "file") && heard(&h, "drop", dir, "other"));
        ck_assert(heard(&h, "expire", dir, "came") && !heard(&h, "drop", top, "dir"));
}
END_TEST

/* What it did not get to tell, the next one does. */
START_TEST(who_ends_tells_nothing_more) {
        _cleanup_tree_fixture_ TreeFixture f;
        _cleanup_(heard_done) Heard h = {.stopped = true};

        make_repo(&f);
        uint64_t top = must_walk(&f, "o/work");
        (void) must_walk(&f, "o/work/file");
        tree_fixture_commit(&f, "file", "two");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        succeed_untold(&f, top, 1);
        retell(&f, &h);
        ck_assert_uint_eq(h.text.len, 0);

        h.stopped = false;
        tree_fixture_succeed(&f);
        tree_fixture_add_org(&f);
        retell(&f, &h);
        ck_assert(heard(&h, "drop", top, "file"));
}
END_TEST

/* As those of a local repository, which are in memory only. */
START_TEST(trees_that_went_with_the_process_are_asked_for) {
        _cleanup_tree_fixture_ TreeFixture f;
        _cleanup_(heard_done) Heard h = {0};

        make_repo(&f);
        uint64_t org = must_walk(&f, "o"), top = must_walk(&f, "o/work");
        uint64_t dir = must_walk(&f, "o/work/dir");
        (void) must_walk(&f, "o/work/dir/other");
        tree_fixture_commit(&f, "dir/other", "another");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        store_flush_memory(f.context.store);
        succeed_untold(&f, top, 1);
        retell(&f, &h);
        ck_assert(heard(&h, "drop", dir, "other") && !heard(&h, "drop", top, "dir"));
        ck_assert(!heard(&h, "drop", org, "work"));

        /* Where nobody can be asked it is as if all of it had changed. */
        tree_fixture_commit(&f, "dir/other", "a third");
        (void) must_walk(&f, "o/work");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        store_flush_memory(f.context.store);
        succeed_untold(&f, top, 2);
        ck_assert_int_eq(ns_remove_org(f.ns, "o"), 0);
        retell(&f, &h);
        ck_assert(heard(&h, "drop", org, "work") && heard(&h, "drop", top, "dir"));
        ck_assert(heard(&h, "drop", dir, "other"));
}
END_TEST

START_TEST(what_is_here_needs_no_org) {
        _cleanup_tree_fixture_ TreeFixture f;
        NsAttr attr;
        int error;

        make_repo(&f);
        uint64_t dir = must_walk(&f, "o/work/dir"), file = must_walk(&f, "o/work/file");
        uint64_t other = must_walk(&f, "o/work/dir/other");
        must_read(&f, file, "one");
        tree_fixture_succeed(&f);

        ck_assert_int_eq(ns_getattr(f.ns, dir, &attr), 0);
        must_read(&f, file, "one");
        ck_assert_int_eq(fs_lookup(&f, dir, "other", &attr), -ESTALE);
        ck_assert_int_eq(fs_walk(&f, "o"), 0);
        ns_poll(f.ns);
        (void) fs_read(&f, other, &error); /* whether it is here or not */

        /* It comes back, as one that was configured again. */
        tree_fixture_add_org(&f);
        ck_assert_uint_eq(must_walk(&f, "o/work/dir"), dir);
        must_list(&f, dir, "other\nsub\n");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, everything_known_is_as_it_was);
        tcase_add_test(tc, a_branch_that_moved_meanwhile_is_followed);
        tcase_add_test(tc, who_comes_from_above_is_shown_the_same_and_moves_with_it);
        tcase_add_test(tc, what_was_fetched_ahead_moves_with_it_as_well);
        tcase_add_test(tc, what_the_kernel_may_have_missed_it_is_told_again);
        tcase_add_test(tc, moves_that_nobody_told_add_up);
        tcase_add_test(tc, who_ends_tells_nothing_more);
        tcase_add_test(tc, trees_that_went_with_the_process_are_asked_for);
        tcase_add_test(tc, what_is_here_needs_no_org);
}

CHECK_MAIN("tree/recover", add_tests)
