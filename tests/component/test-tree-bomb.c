/* Trees that are much larger than what they are made of. */

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

/* The one line that git printed. */
static char *line_of(Buf *output) {
        ck_assert_ptr_nonnull(buf_str(output));
        char *line = (char *) output->data;
        line[strcspn(line, "\n")] = '\0';
        return line;
}

/* The tree of a directory that is ten directories that are ten directories, and so on: 10^12
 * files, or empty directories where there is no content. */
static char *make_bomb(TreeFixture *f, const char *content) {
        _cleanup_buf_ Buf blob = {0};
        Buf output = {0};
        char mode[] = "100644 blob";

        if (content) {
                ck_assert_int_eq(buf_append_str(&blob, content), 0);
                git_fixture_run(&f->repo, &blob, &output, "hash-object", "-w", "--stdin", NULL);
        } else
                git_fixture_run(&f->repo, &blob, &output, "mktree", NULL);
        for (unsigned level = 0; level < 12; level++) {
                _cleanup_buf_ Buf tree = {0};
                char line[128];
                char *id = line_of(&output);
                for (unsigned i = 0; i < 10; i++) {
                        (void) snprintf(
                                line,
                                sizeof(line),
                                "%s %s\tf%u\n",
                                level == 0 && content ? mode : "040000 tree",
                                id,
                                i);
                        ck_assert_int_eq(buf_append_str(&tree, line), 0);
                }
                buf_done(&output);
                git_fixture_run(&f->repo, &tree, &output, "mktree", NULL);
        }
        char *id = strdup(line_of(&output));
        buf_done(&output);
        return id;
}

static void commit_tree(TreeFixture *f, const char *tree) {
        _cleanup_free_ char *commit =
                git_fixture_line(&f->repo, "commit-tree", "-m", "bomb", tree, NULL);

        git_fixture_run(&f->repo, NULL, NULL, "update-ref", "refs/heads/main", commit, NULL);
}

START_TEST(a_bomb_of_trees_moves) {
        _cleanup_tree_fixture_ TreeFixture f;

        tree_fixture_init(&f);
        _cleanup_free_ char *one = make_bomb(&f, "one"), *two = make_bomb(&f, "two");
        commit_tree(&f, one);
        fs_must_read(&f, "o/work/f1/f2/f3/f4/f5/f6/f7/f8/f9/f0/f1/f2", "one");
        uint64_t deep = fs_must_walk(&f, "o/work/f1/f2/f3/f4/f5/f6/f7/f8/f9/f0/f1");

        commit_tree(&f, two);
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        ck_assert(fs_told(&f, deep, NULL) && fs_told(&f, deep, "f2"));
        fs_must_read(&f, "o/work/f1/f2/f3/f4/f5/f6/f7/f8/f9/f0/f1/f2", "two");
        ck_assert_uint_eq(fs_must_walk(&f, "o/work/f1/f2/f3/f4/f5/f6/f7/f8/f9/f0/f1"), deep);
}
END_TEST

/* Whoever looks for files to read ahead finds none, and must not look for ever. */
START_TEST(a_bomb_of_directories_is_looked_at_for_a_while) {
        _cleanup_tree_fixture_ TreeFixture f;
        _cleanup_walk_gather_ WalkGather g = {.max_looked = 1000};
        const WalkPlace place = {.depth = 1};
        WalkCursor cursor;

        tree_fixture_init(&f);
        _cleanup_free_ char *bomb = make_bomb(&f, NULL);
        commit_tree(&f, bomb);
        (void) fs_must_walk(&f, "o/work/f1/f2/f3/f4/f5/f6/f7/f8/f9/f0/f1/f2");
        _cleanup_(checkout_unrefp) Checkout *checkout = tree_fixture_checkout(&f, "");
        ck_assert_int_eq(
                walk_cursor_init(
                        &cursor,
                        f.ns,
                        checkout,
                        &place,
                        /* scope= */ 1,
                        /* backward= */ false,
                        /* inclusive= */ true),
                1);
        ck_assert_int_eq(walk_gather(&g, &cursor, NULL), 0);
        ck_assert_uint_eq(g.n_looked, 1000);
        ck_assert_uint_eq(g.n, 0);
        walk_cursor_done(&cursor);
}
END_TEST

START_TEST(a_deep_tree_moves) {
        _cleanup_tree_fixture_ TreeFixture f;
        static const char prefix[] = "o/work/";
        _cleanup_buf_ Buf b = {0};

        tree_fixture_init(&f);
        ck_assert_int_eq(buf_append_str(&b, prefix), 0);
        for (unsigned i = 0; i < 400; i++)
                ck_assert_int_eq(buf_append_str(&b, "d/"), 0);
        ck_assert_int_eq(buf_append_str(&b, "file"), 0);
        const char *mount_path = buf_str(&b), *path = mount_path + strlen(prefix);
        tree_fixture_commit(&f, path, "one");
        fs_must_read(&f, mount_path, "one");
        /* Every level has to be fetched before the next is known to differ. */
        tree_fixture_commit(&f, path, "two");
        ck_assert_int_eq(fs_refresh(&f, ""), 0);
        fs_must_read(&f, mount_path, "two");
}
END_TEST

typedef struct Prefetched {
        sem_t done;
        int result;
        uint64_t total;
} Prefetched;

static void prefetch_progress(const PrefetchProgress *progress, void *userdata) {
        Prefetched *p = userdata;

        p->total = progress->total;
}

static void prefetch_done(int result, const Failure *failure, void *userdata) {
        Prefetched *p = userdata;

        p->result = result;
        (void) sem_post(&p->done); /* cannot overflow */
}

typedef struct Resolved {
        TreeFixture *f;
        PrefetchObserver observer;
        Prefetched *prefetched;
        Prefetch *prefetch;
} Resolved;

static void resolved(int result, const NsTarget *target, const Failure *failure, void *userdata) {
        Resolved *r = userdata;

        if (result >= 0)
                result = prefetch_start(r->f->ns, target, true, &r->observer, &r->prefetch);
        if (result < 0)
                prefetch_done(result, NULL, r->prefetched);
}

static int prefetch(TreeFixture *f, const char *path) {
        Prefetched prefetched = {0};
        Resolved r = {
                .f = f,
                .observer =
                        {.progress = prefetch_progress,
                         .done = prefetch_done,
                         .userdata = &prefetched},
                .prefetched = &prefetched,
        };

        ck_assert_int_eq(sem_init(&prefetched.done, 0, 0), 0);
        ck_assert_int_eq(ns_resolve(f->ns, path, resolved, &r), 0);
        while (sem_wait(&prefetched.done) < 0)
                ck_assert_int_eq(errno, EINTR);
        /* Whoever called back still uses what is here. */
        ns_stop(f->ns);
        (void) sem_destroy(&prefetched.done);
        prefetch_unref(r.prefetch);
        return prefetched.result;
}

START_TEST(a_bomb_of_trees_is_prefetched) {
        _cleanup_tree_fixture_ TreeFixture f;

        tree_fixture_init(&f);
        _cleanup_free_ char *bomb = make_bomb(&f, "one");
        commit_tree(&f, bomb);
        ck_assert_int_eq(prefetch(&f, "o/work"), 0);
}
END_TEST

START_TEST(a_submodule_is_prefetched) {
        _cleanup_tree_fixture_ TreeFixture f;
        _cleanup_buf_ Buf tree = {0}, output = {0};

        tree_fixture_init(&f);
        ck_assert_int_eq(
                buf_append_str(
                        &tree, "160000 commit 1234567890123456789012345678901234567890\ts\n"),
                0);
        git_fixture_run(&f.repo, &tree, &output, "mktree", "--missing", NULL);
        char *id = line_of(&output);
        commit_tree(&f, id);
        fs_must_list(&f, fs_must_walk(&f, "o/work"), "s\n");
        fs_must_list(&f, fs_must_walk(&f, "o/work/s"), "");
        ck_assert_int_eq(prefetch(&f, "o/work/s"), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_deep_tree_moves);
        tcase_add_test(tc, a_bomb_of_trees_moves);
        tcase_add_test(tc, a_bomb_of_directories_is_looked_at_for_a_while);
        tcase_add_test(tc, a_bomb_of_trees_is_prefetched);
        tcase_add_test(tc, a_submodule_is_prefetched);
}

CHECK_MAIN("tree/bomb", add_tests)
