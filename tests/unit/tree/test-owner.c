#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "tree/checkout.h"
#include "tree/org.h"
#include "tree/repo.h"
#include "util/clock.h"

/* What is known of an owner, and that all of it goes when it goes. Repositories have a source that
 * does nothing but count. */

static unsigned n_sources;

static void source_free(Source *source) {
        free(source);
        n_sources--;
}

static const SourceOps counting_ops = {.free = source_free};

static Source *new_source(void) {
        Source *source = calloc(1, sizeof(*source));

        ck_assert_ptr_nonnull(source);
        source->ops = &counting_ops;
        source->ref = REF_INIT;
        n_sources++;
        return source;
}

static Org *new_org(TempDir *dir) {
        static const ForgeContext context;
        _cleanup_(org_config_freep) OrgConfig *config = NULL;
        Failure failure;
        Org *org;

        n_sources = 0;
        temp_dir_init(dir);
        ck_assert_int_eq(org_config_new("o", ORG_LOCAL, dir->path, &config), 0);
        ck_assert_int_eq(org_new(config, &context, &org, &failure), 0);
        return org;
}

static Repo *add_repo(Org *org, const char *name) {
        Source *source = new_source();
        Repo *repo;

        ck_assert_int_ge(owner_add_repo(&org->root, name, source, &repo), 0);
        source_unref(source);
        return repo;
}

static Checkout *add_checkout(Repo *repo, const char *refspec) {
        const CheckoutState state = {0};
        Checkout *c;

        ck_assert_int_eq(checkout_new(repo, refspec, "refs/heads/main", true, &state, &c), 0);
        Checkout *kept = repo_add_checkout(repo, c);
        checkout_unref(c);
        return kept;
}

static void set_names(Org *org, const char *const *names, size_t n, bool changed) {
        char **copy = calloc(n + 1, sizeof(*copy));

        ck_assert_ptr_nonnull(copy);
        for (size_t i = 0; i < n; i++)
                copy[i] = strdup(names[i]);
        ck_assert_int_eq(owner_set_names(&org->root, copy, n, now_usec()), changed);
}

static void check_names(Org *org, const char *expected) {
        _cleanup_buf_ Buf text = {0};
        char **names;
        size_t n;

        ck_assert_int_eq(owner_get_names(&org->root, &names, &n), 0);
        for (size_t i = 0; i < n; i++)
                ck_assert_int_eq(buf_appendf(&text, "%s ", names[i]), 0);
        owner_names_free(names, n);
        ck_assert_str_eq(buf_str(&text), expected);
}

START_TEST(names_that_do_not_exist_are_remembered_for_a_while) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        uint64_t later = now_usec() + 3600 * USEC_PER_SEC;
        char name[32];

        owner_add_negative(&org->root, "gone", later);
        owner_add_negative(&org->root, "past", now_usec() - 1);
        ck_assert(owner_is_negative(&org->root, "gone"));
        ck_assert(!owner_is_negative(&org->root, "past"));
        ck_assert(!owner_is_negative(&org->root, "other"));
        ck_assert_uint_eq(org->root.n_negatives, 1);

        /* Whoever asks for ever more names does not get more memory. */
        for (unsigned i = 0; i < 10000; i++) {
                (void) snprintf(name, sizeof(name), "name-%u", i);
                owner_add_negative(&org->root, name, later);
                ck_assert(owner_is_negative(&org->root, name));
                ck_assert_uint_le(org->root.n_negatives, 4096);
        }
        owner_flush(&org->root);
        ck_assert_uint_eq(org->root.n_negatives, 0);
        ck_assert(!owner_is_negative(&org->root, name));
}
END_TEST

static void count_dropped(const char *name, void *userdata) {
        unsigned *n = userdata;

        ck_assert_str_eq(name, "new");
        (*n)++;
}

START_TEST(a_listing_says_what_exists) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        uint64_t later = now_usec() + 3600 * USEC_PER_SEC;
        unsigned n_dropped = 0;

        ck_assert(owner_lists(&org->root, "b")); /* not known yet */
        ck_assert(!owner_was_listed(&org->root, 1));
        set_names(org, (const char *const[]){"c", "a", "b", "a"}, 4, false);
        ck_assert(owner_was_listed(&org->root, 1));
        ck_assert(!owner_was_listed(&org->root, now_usec() + 1));
        check_names(org, "a b c ");
        ck_assert(owner_lists(&org->root, "b"));
        ck_assert(!owner_lists(&org->root, "d"));

        /* What was found by its name is shown, too. */
        repo_unref(add_repo(org, "hidden"));
        repo_unref(add_repo(org, "b"));
        check_names(org, "a b c hidden ");
        set_names(org, (const char *const[]){"a", "b", "c"}, 3, false);

        owner_add_negative(&org->root, "new", later);
        owner_add_negative(&org->root, "new@ref", later);
        set_names(org, (const char *const[]){"new"}, 1, true);
        owner_drop_negatives(&org->root, true, count_dropped, &n_dropped);
        ck_assert_uint_eq(n_dropped, 1);
        ck_assert(!owner_is_negative(&org->root, "new"));
        ck_assert(owner_is_negative(&org->root, "new@ref"));
        org_close(org);
}
END_TEST

START_TEST(the_poll_asks_for_a_listing_once_in_an_interval) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);

        ck_assert(!owner_relist_due(&org->root, 500, 1000)); /* nobody ever listed it */
        (void) owner_set_names(&org->root, NULL, 0, 400);
        ck_assert(!owner_relist_due(&org->root, 400, 1000));
        ck_assert(owner_relist_due(&org->root, 500, 1000));
        ck_assert(!owner_relist_due(&org->root, 600, 1100)); /* it failed: not before its time */
        ck_assert(owner_relist_due(&org->root, 1001, 1600));
        (void) owner_set_names(&org->root, NULL, 0, 1700);
        ck_assert(!owner_relist_due(&org->root, 1700, 2200));
}
END_TEST

START_TEST(of_two_that_find_a_repository_one_wins) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Repo *a = add_repo(org, "r"), *b = add_repo(org, "r");

        ck_assert_ptr_eq(a, b);
        ck_assert_uint_eq(n_sources, 1);
        Checkout *x = add_checkout(a, "main"), *y = add_checkout(a, "main");
        ck_assert_ptr_eq(x, y);
        ck_assert_uint_eq(repo_n_checkouts(a), 1);
        Checkout *found = repo_find_checkout(a, "main");
        ck_assert_ptr_eq(found, x);
        ck_assert_ptr_null(repo_find_checkout(a, ""));

        /* Removing one that is not in the table is nothing. */
        repo_remove_checkout(a, x);
        repo_remove_checkout(a, x);
        ck_assert_uint_eq(repo_n_checkouts(a), 0);
        checkout_unref(x);
        checkout_unref(y);
        checkout_unref(found);
        repo_unref(a);
        repo_unref(b);
        ck_assert_uint_eq(n_sources, 1);
        org_close(org);
        ck_assert_uint_eq(n_sources, 0);
}
END_TEST

START_TEST(checkouts_that_nobody_uses_are_bounded) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Repo *repo = add_repo(org, "r");
        Checkout *used = add_checkout(repo, "used");
        char name[32];

        for (unsigned i = 0; i < 2000; i++) {
                (void) snprintf(name, sizeof(name), "ref-%u", i);
                checkout_unref(add_checkout(repo, name));
                ck_assert_uint_le(repo_n_checkouts(repo), REPO_MAX_UNUSED);
        }
        Checkout *found = repo_find_checkout(repo, "used");
        ck_assert_ptr_eq(found, used);
        checkout_unref(found);
        checkout_unref(used);
        found = repo_find_checkout(repo, name); /* the last one */
        ck_assert_ptr_nonnull(found);
        checkout_unref(found);
        repo_unref(repo);
        org_close(org);
        ck_assert_uint_eq(n_sources, 0);
}
END_TEST

START_TEST(a_closed_org_lets_go_of_what_nobody_uses) { /* F4 */
        _cleanup_temp_dir_ TempDir dir;
        Org *org = new_org(&dir);
        Source *late = new_source();
        Repo *repo;

        Repo *used = add_repo(org, "used"), *unused = add_repo(org, "unused");
        Checkout *open_one = add_checkout(used, "");
        checkout_unref(add_checkout(used, "other"));
        checkout_unref(add_checkout(unused, ""));
        repo_unref(used);
        repo_unref(unused);
        ck_assert_uint_eq(n_sources, 3);

        org_close(org);
        ck_assert_uint_eq(n_sources, 2); /* the one in use, and the late one */
        ck_assert_int_eq(owner_add_repo(&org->root, "late", late, &repo), -ENOENT);
        source_unref(late);
        ck_assert_uint_eq(n_sources, 1);
        ck_assert_ptr_null(owner_find_repo(&org->root, "used"));

        /* Who was on the way to another checkout gets it, but nothing keeps it. */
        repo = repo_ref(open_one->repo);
        checkout_unref(add_checkout(repo, "late"));
        ck_assert_uint_eq(repo_n_checkouts(repo), 0);
        repo_unref(repo);
        org_unref(org);
        ck_assert_uint_eq(n_sources, 1);
        checkout_unref(open_one); /* the last reference to all of it */
        ck_assert_uint_eq(n_sources, 0);
}
END_TEST

START_TEST(a_flush_drops_what_nobody_uses) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Repo *used = add_repo(org, "used"), *unused = add_repo(org, "unused");
        Checkout *c = add_checkout(used, "");

        checkout_unref(add_checkout(unused, ""));
        repo_unref(unused);
        owner_flush(&org->root);
        ck_assert_uint_eq(n_sources, 1);
        ck_assert_ptr_null(owner_find_repo(&org->root, "unused"));
        Repo *found = owner_find_repo(&org->root, "used");
        ck_assert_ptr_eq(found, used);
        ck_assert_uint_eq(repo_n_checkouts(used), 1);
        repo_unref(found);

        checkout_unref(c);
        owner_flush(&org->root);
        ck_assert_ptr_null(owner_find_repo(&org->root, "used"));
        repo_unref(used);
        ck_assert_uint_eq(n_sources, 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, names_that_do_not_exist_are_remembered_for_a_while);
        tcase_add_test(tc, a_listing_says_what_exists);
        tcase_add_test(tc, the_poll_asks_for_a_listing_once_in_an_interval);
        tcase_add_test(tc, of_two_that_find_a_repository_one_wins);
        tcase_add_test(tc, checkouts_that_nobody_uses_are_bounded);
        tcase_add_test(tc, a_closed_org_lets_go_of_what_nobody_uses);
        tcase_add_test(tc, a_flush_drops_what_nobody_uses);
}

CHECK_MAIN("tree/owner", add_tests)
