#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "component/tree-fixture.h"
#include "lib/check-main.h"
#include "tree/checkout.h"
#include "tree/namespace-private.h"
#include "tree/walk.h"

/* Walking: to a path as gitfsctl does, and over a tree as read-ahead does. */

typedef struct Resolved {
        TreeFixture *f;
        sem_t done;
        int result;
        NsTarget target; /* a reference, after 0 */
} Resolved;

static void resolved(int result, const NsTarget *target, const Failure *failure, void *userdata) {
        Resolved *r = userdata;

        r->result = result;
        if (target) {
                r->target = *target;
                ns_target_ref(target);
        }
        (void) sem_post(&r->done); /* cannot overflow */
}

static int resolve(TreeFixture *f, const char *path, NsTarget *ret) {
        Resolved r = {.f = f};

        ck_assert_int_eq(sem_init(&r.done, 0, 0), 0);
        ck_assert_int_eq(ns_resolve(f->ns, path, resolved, &r), 0);
        while (sem_wait(&r.done) < 0)
                ck_assert_int_eq(errno, EINTR);
        (void) sem_destroy(&r.done); /* nobody waits */
        *ret = r.target;
        return r.result;
}

static void check_path(TreeFixture *f, const char *path, const char *expected, uint32_t type) {
        NsTarget target;
        Buf shown = {0};

        int r = resolve(f, path, &target);
        ck_assert_msg(r == 0, "%s: %d", path, r);
        ck_assert_uint_eq(target.mode & S_IFMT, type);
        ck_assert_int_eq(ns_path(f->ns, target.id, &shown), 0);
        ck_assert_str_eq(shown.len > 0 ? buf_str(&shown) : "", expected);
        /* The kernel would find the same. */
        ck_assert_int_eq(fs_walk(f, expected), (int64_t) target.id);
        buf_done(&shown);
        ns_target_unref(f->ns, &target);
}

static void check_error(TreeFixture *f, const char *path, int error) {
        NsTarget target;

        int r = resolve(f, path, &target);
        ck_assert_msg(r == error, "%s: %d", path, r);
}

START_TEST(a_path_leads_where_the_kernel_would_go) {
        _cleanup_tree_fixture_ TreeFixture f;
        char long_name[NAME_MAX + 20] = "o/work/";
        Buf path = {0};
        NsTarget target;

        tree_fixture_init(&f);
        tree_fixture_commit(&f, "dir/sub/file", "text");
        check_path(&f, "", "", S_IFDIR);
        check_path(&f, "/", "", S_IFDIR);
        check_path(&f, "o", "o", S_IFDIR);
        check_path(&f, "o/work", "o/work", S_IFDIR);
        check_path(&f, "o//work/./dir/", "o/work/dir", S_IFDIR);
        check_path(&f, "o/work/dir/sub/file", "o/work/dir/sub/file", S_IFREG);
        check_path(&f, "o/work@main/dir", "o/work@main/dir", S_IFDIR);

        check_error(&f, "x", -ENOENT);
        check_error(&f, "o/x", -ENOENT);
        check_error(&f, "o/work@x", -ENOENT);
        check_error(&f, "o/work/x/y", -ENOENT);
        check_error(&f, "o/work/dir/sub/file/x", -ENOTDIR);
        check_error(&f, "o/.git", -ENOENT);
        (void) memset(long_name + strlen(long_name), 'x', NAME_MAX + 1);
        check_error(&f, long_name, -ENAMETOOLONG);

        ck_assert_int_eq(resolve(&f, "o/work/dir", &target), 0);
        ck_assert_str_eq(target.org->config->name, "o");
        ck_assert_str_eq(target.checkout->resolved, "refs/heads/main");
        ck_assert(ns_is_resident(f.ns, &target));
        ns_target_unref(f.ns, &target);
        ck_assert_int_eq(ns_path(f.ns, 12345, &path), -ESTALE);
}
END_TEST

/* The names of the items, each with a space behind it. */
static void check_walk(TreeFixture *f, const WalkLimits *limits, const char *names) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        _cleanup_(listing_unrefp) Listing *l = NULL;
        char text[256] = "";
        NsTarget target;
        Walk walk = {0};

        ck_assert_int_eq(resolve(f, "o/work", &target), 0);
        ck_assert_int_eq(ns_listing(f->ns, &call, NULL, &target.oid, &l), 1);
        ck_assert_int_eq(walk_below(f->ns, l, limits, &walk), 0);
        for (size_t i = 0; i < walk.n_items; i++) {
                const WalkItem *item = &walk.items[i];
                (void) strcat(strcat(text, listing_name(item->listing, item->entry)), " ");
        }
        ck_assert_str_eq(text, names);
        walk_done(&walk);
        ns_target_unref(f->ns, &target);
}

START_TEST(a_walk_takes_what_comes_next) {
        _cleanup_tree_fixture_ TreeFixture f;
        const WalkLimits all = {.max_items = SIZE_MAX};
        const WalkLimits two = {.max_items = 2};
        const WalkLimits whole = {.max_items = 1, .whole_first_listing = true};
        const WalkLimits sizes = {.max_items = SIZE_MAX, .missing_sizes_only = true};

        tree_fixture_init(&f);
        git_fixture_write(&f.repo, "b", "bb", 2);
        git_fixture_write(&f.repo, "a/x", "a/x", 3);
        git_fixture_write(&f.repo, "a/deep/y", "a/deep/y", 8);
        git_fixture_write(&f.repo, "c/z", "c/z", 3);
        git_fixture_write(&f.repo, "d", "dd", 2);
        git_fixture_commit(&f.repo, "one");

        /* Only what is here: no tree below the root is yet. */
        check_walk(&f, &all, "b d ");
        free(fs_list_all(&f, (uint64_t) fs_walk(&f, "o/work/a/deep"), true));
        free(fs_list_all(&f, (uint64_t) fs_walk(&f, "o/work/a"), true));
        check_walk(&f, &all, "b d x y ");
        free(fs_list_all(&f, (uint64_t) fs_walk(&f, "o/work/c"), true));
        check_walk(&f, &all, "b d x y z ");

        check_walk(&f, &two, "b d ");
        check_walk(&f, &whole, "b d ");
        check_walk(&f, &sizes, "b d "); /* those below were listed, with their sizes */
        free(fs_list_all(&f, (uint64_t) fs_walk(&f, "o/work"), true));
        check_walk(&f, &sizes, "");
}
END_TEST

START_TEST(a_tree_in_several_places_is_entered_once) {
        _cleanup_tree_fixture_ TreeFixture f;
        const WalkLimits all = {.max_items = SIZE_MAX};

        tree_fixture_init(&f);
        git_fixture_write(&f.repo, "a/same", "1", 1);
        git_fixture_write(&f.repo, "b/same", "1", 1);
        git_fixture_write(&f.repo, "c/a/same", "1", 1);
        git_fixture_commit(&f.repo, "one");
        ck_assert_int_gt(fs_walk(&f, "o/work/a/same"), 0);
        ck_assert_int_gt(fs_walk(&f, "o/work/c/a/same"), 0);
        check_walk(&f, &all, "same ");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_path_leads_where_the_kernel_would_go);
        tcase_add_test(tc, a_walk_takes_what_comes_next);
        tcase_add_test(tc, a_tree_in_several_places_is_entered_once);
}

CHECK_MAIN("tree/path", add_tests)
