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

/* A complete list of these names; "x/" is an owner. */
static NameList *new_list(const char *names) {
        _cleanup_free_ char *copy = strdup(names);
        NameList *list;
        char *save;

        ck_assert_int_eq(name_list_new(&list), 0);
        for (char *n = strtok_r(copy, " ", &save); n; n = strtok_r(NULL, " ", &save)) {
                char *slash = strchr(n, '/');
                if (slash)
                        *slash = '\0';
                ck_assert_int_eq(name_list_add(list, n, slash ? FORGE_OWNER : FORGE_REPO), 1);
        }
        name_list_end(list, 0);
        return list;
}

static void set_list(Org *org, const char *names, uint64_t now, bool changed) {
        _cleanup_(name_list_unrefp) NameList *list = new_list(names);

        ck_assert_int_eq(owner_set_list(&org->root, list, now), changed);
}

static void check_found(Org *org, const char *expected) {
        _cleanup_(name_list_unrefp) NameList *list = owner_list(&org->root);
        _cleanup_buf_ Buf text = {0};
        FoundName *found;
        size_t n;

        ck_assert_int_eq(owner_get_found(&org->root, list, &found, &n), 0);
        for (size_t i = 0; i < n; i++)
                ck_assert_int_eq(buf_appendf(&text, "%s ", found[i].name), 0);
        owner_found_free(found, n);
        ck_assert_str_eq(text.len > 0 ? buf_str(&text) : "", expected);
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
        Owner *owner = &org->root;
        uint64_t now = now_usec(), later = now + 3600 * USEC_PER_SEC;
        unsigned n_dropped = 0;
        ForgeEntryKind kind;

        ck_assert(!owner_has_list(owner));
        ck_assert(!owner_lists(owner, "b", &kind));
        ck_assert(!owner_lacks(owner, "b")); /* who knows */
        set_list(org, "c a sub/ b", now, false);
        ck_assert(owner_has_list(owner));
        ck_assert(owner_was_listed(owner, now));
        ck_assert(!owner_was_listed(owner, now + 1));
        ck_assert(owner_lists(owner, "b", &kind));
        ck_assert_int_eq(kind, FORGE_REPO);
        ck_assert(owner_lists(owner, "sub", &kind));
        ck_assert_int_eq(kind, FORGE_OWNER);
        ck_assert(!owner_lists(owner, "d", &kind));
        ck_assert(owner_lacks(owner, "d") && !owner_lacks(owner, "b"));

        /* What was found by its name is shown, too. */
        repo_unref(add_repo(org, "hidden"));
        repo_unref(add_repo(org, "b"));
        check_found(org, "hidden ");
        ck_assert_uint_eq(owner_n_repos(owner), 4);
        set_list(org, "a b c sub/", now, false); /* the order is no news */
        set_list(org, "a b c sub", now, true);

        owner_add_negative(owner, "new", later);
        owner_add_negative(owner, "new@ref", later);
        set_list(org, "new", now, true);
        owner_drop_negatives(owner, true, count_dropped, &n_dropped);
        ck_assert_uint_eq(n_dropped, 1);
        ck_assert(!owner_is_negative(owner, "new"));
        ck_assert(owner_is_negative(owner, "new@ref"));
        org_close(org);
}
END_TEST

START_TEST(a_listing_is_asked_for_once_in_an_interval) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Owner *owner = &org->root;
        ForgeList listing = {0};

        ck_assert(!owner_relist_due(owner, 500, 1000)); /* nobody ever listed it */
        set_list(org, "", 400, false);
        ck_assert(!owner_relist_due(owner, 400, 1000));
        ck_assert(owner_expire(owner, 500));
        ck_assert(!owner_expire(owner, 500));
        ck_assert(owner_relist_due(owner, 500, 1000));
        ck_assert(!owner_relist_due(owner, 600, 1100)); /* it failed: not before its time */
        ck_assert(owner_relist_due(owner, 1001, 1600));
        owner_begin_listing(owner, &listing, 1650);
        ck_assert(!owner_relist_due(owner, 3000, 3000)); /* it is under way */
        owner_end_listing(owner);
        set_list(org, "", 1700, false);
        ck_assert(!owner_relist_due(owner, 1700, 2200));
        ck_assert(owner_expire(owner, 2000));
}
END_TEST

START_TEST(a_growing_list_is_shown_where_there_is_no_complete_one) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Owner *owner = &org->root;
        NameList *broken, *next, *list;

        ck_assert_int_eq(name_list_new(&broken), 0);
        ck_assert_int_eq(name_list_add(broken, "a", FORGE_REPO), 1);
        ck_assert(name_list_show(broken));
        ck_assert(owner_show_list(owner, broken));
        ck_assert(!owner_has_list(owner));
        name_list_end(broken, -EIO);
        ck_assert(!owner_has_list(owner));

        ck_assert_int_eq(name_list_new(&next), 0);
        ck_assert_int_eq(name_list_add(next, "a", FORGE_REPO), 1);
        ck_assert(owner_show_list(owner, next));
        name_list_end(next, 0);
        ck_assert(!owner_set_list(owner, next, 100));
        ck_assert(owner_has_list(owner));
        ck_assert(!owner_show_list(owner, broken));
        /* Both begin alike, and are told apart. */
        ck_assert_uint_ne(broken->tag, next->tag);
        list = owner_list_of(owner, broken->tag);
        ck_assert_ptr_eq(list, broken);
        name_list_unref(list);
        list = owner_list_of(owner, next->tag);
        ck_assert_ptr_eq(list, next);
        name_list_unref(list);

        /* More than a few are not remembered. */
        for (unsigned i = 0; i <= OWNER_N_PAST_LISTS; i++)
                set_list(org, i % 2 ? "x y" : "x", 200, true);
        ck_assert_ptr_null(owner_list_of(owner, broken->tag));
        owner_flush(owner);
        ck_assert_ptr_null(owner_list(owner));
        ck_assert_ptr_null(owner_list_of(owner, next->tag));
        name_list_unref(broken);
        name_list_unref(next);
}
END_TEST

static void note_gone(const char *name, void *userdata) {
        (void) strcat(strcat(userdata, name), " ");
}

START_TEST(what_vanished_and_nobody_uses_is_dropped) { /* R6 */
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Owner *owner = &org->root, *sub, *used;
        char gone[64] = "";

        Repo *open_repo = add_repo(org, "open");
        Checkout *c = add_checkout(open_repo, "v1");
        repo_unref(add_repo(org, "unused"));
        repo_unref(add_repo(org, "private"));
        ck_assert_int_eq(owner_add_owner(owner, "sub", &sub), 1);
        owner_unref(sub);
        ck_assert_int_eq(owner_add_owner(owner, "used", &used), 1);

        _cleanup_(name_list_unrefp) NameList *all = new_list("open unused sub/ used/");
        _cleanup_(name_list_unrefp) NameList *none = new_list("");
        owner_follow_list(owner, all, note_gone, gone);
        ck_assert_str_eq(gone, ""); /* what was never listed may be private */
        owner_follow_list(owner, none, note_gone, gone);
        ck_assert_ptr_nonnull(strstr(gone, "open open@v1 "));
        ck_assert_ptr_nonnull(strstr(gone, "unused "));
        ck_assert_ptr_nonnull(strstr(gone, "sub "));
        ck_assert_ptr_null(strstr(gone, "private"));
        ck_assert_uint_eq(n_sources, 2);
        ck_assert_uint_eq(owner->owners.n_entries, 1);
        ck_assert(!owner_is_believed(used));
        ck_assert(atomic_load(&open_repo->doubtful));
        (void) owner_set_list(owner, none, 1);
        check_found(org, "private "); /* nothing that is in doubt */

        /* It came back. */
        owner_follow_list(owner, all, note_gone, gone);
        ck_assert(owner_is_believed(used));
        ck_assert(!atomic_load(&open_repo->doubtful));
        owner_forget_repo(owner, "open");
        owner_forget_owner(owner, "used");
        ck_assert_uint_eq(owner->repos.n_entries + owner->owners.n_entries, 3);

        checkout_unref(c);
        repo_unref(open_repo);
        owner_unref(used);
        org_close(org);
        ck_assert_uint_eq(n_sources, 0);
}
END_TEST

START_TEST(owners_that_nobody_uses_are_bounded) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Owner *owner = &org->root, *child;
        char name[300];

        ck_assert_int_eq(owner_add_owner(owner, "used", &child), 1);
        for (unsigned i = 0; i < OWNER_MAX_UNUSED + 100; i++) {
                Owner *other;
                (void) snprintf(name, sizeof(name), "owner-%u", i);
                ck_assert_int_eq(owner_add_owner(owner, name, &other), 1);
                owner_unref(other);
                ck_assert_uint_le(owner->owners.n_entries, OWNER_MAX_UNUSED);
        }
        Owner *found = owner_find_owner(owner, "used");
        ck_assert_ptr_eq(found, child);
        owner_unref(found);

        /* So is how deep they nest. */
        (void) memset(name, 'x', 200);
        name[200] = '\0';
        int r = 1;
        for (unsigned i = 0; r > 0; i++) {
                Owner *below;
                ck_assert_uint_lt(i, 10);
                r = owner_add_owner(child, name, &below);
                if (r > 0) {
                        owner_unref(child);
                        child = below;
                }
        }
        ck_assert_int_eq(r, -ENAMETOOLONG);
        owner_unref(child);
        org_close(org);
        ck_assert_uint_eq(owner->owners.n_entries, 0);
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
        repo_unref(used);
        owner_flush(&org->root);
        ck_assert_ptr_null(owner_find_repo(&org->root, "used"));
        ck_assert_uint_eq(n_sources, 0);
}
END_TEST

START_TEST(repositories_that_nobody_uses_make_room_R3) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        char name[32];

        _cleanup_(repo_unrefp) Repo *used = add_repo(org, "used");
        _cleanup_(checkout_unrefp) Checkout *c = add_checkout(used, "main");
        ck_assert_ptr_nonnull(c);
        for (unsigned i = 0; i < 3 * OWNER_MAX_UNUSED_REPOS; i++) {
                (void) snprintf(name, sizeof(name), "name-%u", i);
                repo_unref(add_repo(org, name));
                _cleanup_(repo_unrefp) Repo *found = owner_find_repo(&org->root, name);
                ck_assert_ptr_nonnull(found);
                ck_assert_uint_le(n_sources, OWNER_MAX_UNUSED_REPOS + 1);
        }
        _cleanup_(repo_unrefp) Repo *found = owner_find_repo(&org->root, "used");
        ck_assert_ptr_eq(found, used);
        org_close(org);
}
END_TEST

/* Between the look-up of a name and its first checkout nothing but a reference says that it is
 * used.
 */
START_TEST(a_repository_that_is_being_looked_up_stays_R27) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        char name[32];

        _cleanup_(repo_unrefp) Repo *first = add_repo(org, "first");
        for (unsigned i = 0; i < 2 * OWNER_MAX_UNUSED_REPOS; i++) {
                (void) snprintf(name, sizeof(name), "name-%u", i);
                repo_unref(add_repo(org, name));
        }
        ck_assert_uint_le(n_sources, OWNER_MAX_UNUSED_REPOS + 1); /* others have made room */
        _cleanup_(repo_unrefp) Repo *found = owner_find_repo(&org->root, "first");
        ck_assert_ptr_eq(found, first);
        checkout_unref(add_checkout(first, "main"));
        ck_assert_uint_eq(repo_n_checkouts(first), 1);
        org_close(org);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, repositories_that_nobody_uses_make_room_R3);
        tcase_add_test(tc, a_repository_that_is_being_looked_up_stays_R27);
        tcase_add_test(tc, names_that_do_not_exist_are_remembered_for_a_while);
        tcase_add_test(tc, a_listing_says_what_exists);
        tcase_add_test(tc, a_listing_is_asked_for_once_in_an_interval);
        tcase_add_test(tc, a_growing_list_is_shown_where_there_is_no_complete_one);
        tcase_add_test(tc, what_vanished_and_nobody_uses_is_dropped);
        tcase_add_test(tc, owners_that_nobody_uses_are_bounded);
        tcase_add_test(tc, of_two_that_find_a_repository_one_wins);
        tcase_add_test(tc, checkouts_that_nobody_uses_are_bounded);
        tcase_add_test(tc, a_closed_org_lets_go_of_what_nobody_uses);
        tcase_add_test(tc, a_flush_drops_what_nobody_uses);
}

CHECK_MAIN("tree/owner", add_tests)
