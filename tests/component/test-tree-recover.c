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

START_TEST(what_the_kernel_may_have_missed_it_is_told_again) {
        _cleanup_tree_fixture_ TreeFixture f;

        make_repo(&f);
        uint64_t top = must_walk(&f, "o/work"), dir = must_walk(&f, "o/work/dir");
        (void) must_walk(&f, "o/work/file");
        tree_fixture_commit(&f, "file", "two");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        Node *node = node_table_get(f.ns->nodes, top);
        ck_assert_uint_eq(atomic_exchange(&node_dir(node)->told, 0), 1); /* not come to that */
        node_table_put(f.ns->nodes, node);
        tree_fixture_succeed(&f);
        ck_assert(fs_told(&f, top, "file") && fs_told(&f, top, "dir"));
        ck_assert(fs_told(&f, top, NULL) && fs_told(&f, dir, NULL));

        tree_fixture_succeed(&f); /* once is enough */
        ck_assert_uint_eq(f.told.len, 0);
        tree_fixture_add_org(&f);
        must_read(&f, must_walk(&f, "o/work/file"), "two");
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
        tcase_add_test(tc, what_the_kernel_may_have_missed_it_is_told_again);
        tcase_add_test(tc, what_is_here_needs_no_org);
}

CHECK_MAIN("tree/recover", add_tests)
