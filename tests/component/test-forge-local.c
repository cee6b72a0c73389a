/* The local forge over a directory with a bare repository, one with a work tree, and what is none.
 */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "component/forge-fixture.h"
#include "lib/check-main.h"
#include "store/store.h"
#include "util/path.h"

#define _cleanup_source_ _cleanup_(source_unrefp)

static char *root_of(ForgeFixture *f) {
        char *root = path_join(f->dir.path, "root", NULL);
        ck_assert_ptr_nonnull(root);
        return root;
}

static void look_up(ForgeFixture *f, const char *name, Source **ret) {
        _cleanup_free_ char *root = root_of(f);
        Failure failure;
        int r = forge_fixture_lookup(f, root, name, ret, &failure);

        ck_assert_msg(r == 0, "%s", failure.text);
}

START_TEST(repositories_are_listed_and_nothing_else) {
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        _cleanup_free_ char *root = root_of(&f);
        _cleanup_free_ char *directory = path_join(root, "plain", NULL);
        _cleanup_free_ char *dangling = path_join(root, "dangling", NULL);
        ck_assert_int_eq(mkdir(directory, 0755), 0);
        ck_assert_int_eq(symlink("/nonexistent", dangling), 0);
        temp_dir_write(&f.dir, "root/file.git", "x", 1);
        _cleanup_free_ char *names = forge_fixture_list(&f, root, NULL, 100);
        ck_assert_str_eq(names, "empty\nsha256\nwork\n");
        _cleanup_free_ char *first = forge_fixture_list(&f, root, NULL, 1);
        ck_assert_str_eq(first, "empty\n");
}
END_TEST

START_TEST(a_name_with_and_without_suffix_are_two) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *plain = NULL, *suffix = NULL;

        forge_fixture_init(&f);
        _cleanup_free_ char *root = root_of(&f);
        _cleanup_free_ char *other = path_join(root, "empty", NULL);
        ck_assert_int_eq(symlink(f.repo.dir.path, other), 0);
        _cleanup_free_ char *names = forge_fixture_list(&f, root, NULL, 100);
        ck_assert_str_eq(names, "empty\nempty.git\nsha256\nwork\n");
        look_up(&f, "empty", &plain);
        look_up(&f, "empty.git", &suffix);
        ck_assert_str_ne(plain->url, suffix->url);
}
END_TEST

START_TEST(a_directory_that_is_a_repository_stands_for_itself) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *root = root_of(&f);
        _cleanup_free_ char *bare = path_join(root, "empty.git", NULL);
        _cleanup_free_ char *names = forge_fixture_list(&f, bare, NULL, 100);
        ck_assert_str_eq(names, "empty\n");
        ck_assert_int_eq(forge_fixture_lookup(&f, bare, "empty", &source, &failure), 0);
        ck_assert_int_eq(forge_fixture_lookup(&f, bare, "refs", NULL, &failure), -ENOENT);
}
END_TEST

START_TEST(what_cannot_be_opened_has_a_reason) {
        _cleanup_forge_fixture_ ForgeFixture f;
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *root = root_of(&f);
        ck_assert_int_eq(forge_fixture_lookup(&f, root, "nowhere", NULL, &failure), -ENOENT);
        ck_assert_int_eq(failure.class, FAILURE_NOT_FOUND);
        ck_assert_int_eq(forge_fixture_lookup(&f, root, "..", NULL, &failure), -ENOENT);
        ck_assert_int_eq(forge_fixture_lookup(&f, root, "a/b", NULL, &failure), -ENOENT);
        ck_assert_int_eq(forge_fixture_lookup(&f, root, "sha256", NULL, &failure), -EOPNOTSUPP);
        ck_assert_int_eq(failure.class, FAILURE_UNSUPPORTED);
}
END_TEST

START_TEST(a_directory_that_is_not_there_is_refused) {
        _cleanup_forge_fixture_ ForgeFixture f;
        Forge *forge = NULL;
        OrgConfig *org;
        Failure failure;

        forge_fixture_init(&f);
        ck_assert_int_eq(org_config_new("org", ORG_LOCAL, "/nonexistent/dir", &org), 0);
        ck_assert_int_eq(forge_open(org, &f.context, &forge, &failure), -ENOENT);
        ck_assert_ptr_nonnull(strstr(failure.text, "/nonexistent/dir"));
        org_config_free(org);
}
END_TEST

START_TEST(names_are_resolved) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL, *empty = NULL;
        FetchRun run;
        char hex[OID_HEX_MAX + 1];

        forge_fixture_init(&f);
        look_up(&f, "work", &source);
        look_up(&f, "empty", &empty);
        Oid head = forge_fixture_oid(&f, "HEAD"), first = forge_fixture_oid(&f, "HEAD~");

        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head) && run.fetch.moves);
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert_int_eq(fetch_ref(&f, source, "v1", &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &first) && !run.fetch.moves);
        ck_assert_int_eq(fetch_ref(&f, source, "feature/x", &run), 0);
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/feature/x");
        (void) oid_to_hex(&first, hex);
        hex[8] = '\0';
        ck_assert_int_eq(fetch_ref(&f, source, hex, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &first) && !run.fetch.moves);
        ck_assert_uint_eq(strlen(run.fetch.resolved), OID_SHA1_HEX);
        ck_assert_int_eq(fetch_ref(&f, source, "nothing", &run), -ENOENT);
        ck_assert_int_eq(fetch_ref(&f, source, "../../HEAD", &run), -ENOENT);
        ck_assert_int_eq(fetch_ref(&f, empty, NULL, &run), 0);
        ck_assert(oid_is_none(&run.fetch.commit));
}
END_TEST

/* A commit that is made while we look is seen: branches move under our hands here. */
START_TEST(new_objects_are_found) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        look_up(&f, "work", &source);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        git_fixture_write(&f.repo, "new", "new\n", 4);
        git_fixture_commit(&f.repo, "third");
        git_fixture_run(&f.repo, NULL, NULL, "repack", "-adq", NULL);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        Oid head = forge_fixture_oid(&f, "HEAD"), blob = forge_fixture_oid(&f, "HEAD:new");
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &head, 1, &run), 0);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, &blob, 1, &run), 0);
}
END_TEST

START_TEST(objects_come_as_they_are_asked_for) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        look_up(&f, "work", &source);
        ck_assert(source->objects_in_memory && source->cheap_sizes);
        Oid tag = forge_fixture_oid(&f, "v1"), commit = forge_fixture_oid(&f, "v1^{commit}");
        Oid root = forge_fixture_oid(&f, "v1^{tree}"), src = forge_fixture_oid(&f, "HEAD:src");
        Oid blob = forge_fixture_oid(&f, "HEAD:README"), none = {.algo = OID_SHA1, .id = {9}};

        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &tag, 1, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &commit));
        ck_assert(forge_fixture_has(&f, &commit) && forge_fixture_has(&f, &root));
        ck_assert(!forge_fixture_has(&f, &src)); /* reading it later is cheap */
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, &blob, 1, &run), 0);
        ck_assert_uint_eq(run.last_size, 6);
        ck_assert(!forge_fixture_has(&f, &blob));

        const Oid two[] = {none, src};
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_TREES, two, 2, &run), -ENOENT);
        ck_assert(forge_fixture_has(&f, &src));
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_CLOSURE, &root, 1, &run), 0);
        ck_assert_uint_eq(run.n_objects, 10); /* 5 trees, 5 blobs */
        ck_assert(forge_fixture_has(&f, &blob));
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &blob, 1, &run), -ENOENT);
}
END_TEST

START_TEST(an_object_over_the_limit_is_refused) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        f.config.max_object_size = 4;
        look_up(&f, "work", &source);
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, &blob, 1, &run), -EFBIG);
        ck_assert_int_eq(run.failure.class, FAILURE_TOO_LARGE);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, repositories_are_listed_and_nothing_else);
        tcase_add_test(tc, a_name_with_and_without_suffix_are_two);
        tcase_add_test(tc, a_directory_that_is_a_repository_stands_for_itself);
        tcase_add_test(tc, what_cannot_be_opened_has_a_reason);
        tcase_add_test(tc, a_directory_that_is_not_there_is_refused);
        tcase_add_test(tc, names_are_resolved);
        tcase_add_test(tc, new_objects_are_found);
        tcase_add_test(tc, objects_come_as_they_are_asked_for);
        tcase_add_test(tc, an_object_over_the_limit_is_refused);
}

CHECK_MAIN("forge-local", add_tests)
