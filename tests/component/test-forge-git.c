/* The git forge against nginx and git http-backend. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "component/forge-fixture.h"
#include "lib/check-main.h"
#include "store/store.h"
#include "util/htable.h"
#include "util/path.h"
#include "util/stats.h"

#define FILTER "--config", "uploadpack.allowFilter=true"
#define _cleanup_source_ _cleanup_(source_unrefp)

static void look_up(ForgeFixture *f, const char *url, const char *name, Source **ret) {
        Failure failure;
        int r = forge_fixture_lookup(f, url, name, ret, &failure);

        ck_assert_msg(r == 0, "%s", failure.text);
}

static void assert_content(ForgeFixture *f, const Oid *oid, const char *content) {
        _cleanup_object_ref_ ObjectRef ref = {0};

        ck_assert_int_eq(store_get(f->context.store, STORE_OBJECT, oid, &ref), 1);
        ck_assert_uint_eq(ref.size, strlen(content));
        if (ref.size > 0)
                ck_assert_mem_eq(ref.data, content, ref.size);
}

/* The budget of a cold `cat` of a deep file is 4 requests, of `ls -lR` one more. */
START_TEST(a_cold_file_costs_four_requests) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "work", &source);
        ck_assert(source->cheap_sizes);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        Oid commit = forge_fixture_oid(&f, "HEAD");
        ck_assert(oid_equal(&run.fetch.commit, &commit));
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert(run.fetch.moves);

        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &commit, 1, &run), 0);
        ck_assert_uint_eq(run.n_objects, 6); /* the commit and 5 trees */
        Oid tree = forge_fixture_oid(&f, "HEAD:src/deep/er");
        ck_assert(forge_fixture_has(&f, &tree));
        Oid blob = forge_fixture_oid(&f, "HEAD:src/deep/er/file");
        ck_assert(!forge_fixture_has(&f, &blob));
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, &blob, 1, &run), 0);
        assert_content(&f, &blob, "deep\n");
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 4);

        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, &blob, 1, &run), 0);
        ck_assert_uint_eq(run.last_size, 5);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 5);
}
END_TEST

START_TEST(names_are_resolved) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "work", &source);
        Oid first = forge_fixture_oid(&f, "v1^{commit}");
        Oid head = forge_fixture_oid(&f, "HEAD");

        ck_assert_int_eq(fetch_ref(&f, source, "feature/x", &run), 0);
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/feature/x");
        ck_assert(oid_equal(&run.fetch.commit, &first) && run.fetch.moves);
        ck_assert_int_eq(fetch_ref(&f, source, "v1", &run), 0);
        ck_assert_str_eq(run.fetch.resolved, "refs/tags/v1");
        ck_assert(oid_equal(&run.fetch.commit, &first) && !run.fetch.moves);
        ck_assert_int_eq(fetch_ref(&f, source, "refs/heads/main", &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_int_eq(fetch_ref(&f, source, "no-such", &run), -ENOENT);
        ck_assert_int_eq(run.failure.class, FAILURE_NOT_FOUND);
        ck_assert_int_eq(fetch_ref(&f, source, "feature", &run), -ENOENT);

        unsigned before = forge_fixture_count(&f, false, "\n");
        char hex[OID_HEX_MAX + 1];
        ck_assert_int_eq(fetch_ref(&f, source, oid_to_hex(&first, hex), &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &first) && !run.fetch.moves);
        ck_assert_int_eq(fetch_ref(&f, source, "a..b\n", &run), -ENOENT);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), before);
}
END_TEST

START_TEST(an_empty_repository_has_no_commit) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "empty", &source);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        ck_assert(oid_is_none(&run.fetch.commit));
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
}
END_TEST

START_TEST(no_such_repository) {
        _cleanup_forge_fixture_ ForgeFixture f;
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, NULL);
        ck_assert_int_eq(forge_fixture_lookup(&f, url, "nowhere", NULL, &failure), -ENOENT);
        ck_assert_int_eq(failure.class, FAILURE_NOT_FOUND);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "/nowhere.git/info/refs"), 1);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "/info/refs"), 2);
}
END_TEST

START_TEST(sha256_is_refused_with_the_reason) {
        _cleanup_forge_fixture_ ForgeFixture f;
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, NULL);
        ck_assert_int_eq(forge_fixture_lookup(&f, url, "sha256", NULL, &failure), -EOPNOTSUPP);
        ck_assert_int_eq(failure.class, FAILURE_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(failure.text, "SHA-256"));
}
END_TEST

START_TEST(without_filter_a_commit_brings_its_blobs) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, NULL);
        look_up(&f, url, "work", &source);
        Oid commit = forge_fixture_oid(&f, "HEAD");
        Oid tree = forge_fixture_oid(&f, "HEAD^{tree}");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        Oid old = forge_fixture_oid(&f, "HEAD~:doc/text");

        unsigned before = forge_fixture_count(&f, false, "\n");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_TREES, &tree, 1, &run), -EOPNOTSUPP);
        ck_assert_int_eq(run.failure.class, FAILURE_UNSUPPORTED);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), before);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &commit, 1, &run), 0);
        assert_content(&f, &blob, "hello\n");
        ck_assert(!forge_fixture_has(&f, &old)); /* no history */
}
END_TEST

START_TEST(an_update_brings_the_changed_trees) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "work", &source);
        Oid commit = forge_fixture_oid(&f, "HEAD");
        fetch_run_init(&run, FETCH_COMMIT, &commit, 1);
        run.fetch.have_tree = forge_fixture_oid(&f, "HEAD~^{tree}");
        ck_assert_int_eq(fetch_run(&f, source, &run, NULL), 0);
        ck_assert_uint_eq(run.n_objects, 3); /* the commit, its root and doc */
}
END_TEST

START_TEST(trees_and_closures) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "work", &source);
        /* A tree and one below it in one request: neither may hide the other. */
        const Oid trees[] = {
                forge_fixture_oid(&f, "HEAD:src"),
                forge_fixture_oid(&f, "HEAD:src/deep"),
                forge_fixture_oid(&f, "HEAD:doc"),
        };
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_TREES, trees, 3, &run), 0);
        ck_assert_uint_eq(run.n_objects, 4);
        Oid blob = forge_fixture_oid(&f, "HEAD:src/main.c");
        ck_assert(!forge_fixture_has(&f, &blob));
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_CLOSURE, trees, 1, &run), 0);
        assert_content(&f, &blob, "int main;\n");
}
END_TEST

/* The trees are not sent again; a tree that lies below another one does no harm. */
START_TEST(a_closure_is_its_blobs) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "work", &source);
        const Oid trees[] = {
                forge_fixture_oid(&f, "HEAD^{tree}"),
                forge_fixture_oid(&f, "HEAD:src"),
                forge_fixture_oid(&f, "HEAD:src/deep"),
        };
        unsigned before = forge_fixture_count(&f, false, "\n");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_CLOSURE, trees, 3, &run), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), before + 1);
        Oid deep = forge_fixture_oid(&f, "HEAD:src/deep/er/file");
        assert_content(&f, &deep, "deep\n");
        Oid tree = forge_fixture_oid(&f, "HEAD:src/deep/er");
        ck_assert(!forge_fixture_has(&f, &tree));
}
END_TEST

/* A server that does not filter by type is found out once, for all its repositories. */
START_TEST(a_closure_with_its_trees) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL, *other = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(
                &f, FILTER, "--config", "uploadpackfilter.object:type.allow=false", NULL);
        look_up(&f, url, "work", &source);
        const Oid root = forge_fixture_oid(&f, "HEAD^{tree}");
        unsigned before = forge_fixture_count(&f, false, "\n");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_CLOSURE, &root, 1, &run), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), before + 2);
        Oid deep = forge_fixture_oid(&f, "HEAD:src/deep/er/file");
        assert_content(&f, &deep, "deep\n");
        look_up(&f, url, "work", &other);
        before = forge_fixture_count(&f, false, "\n");
        ck_assert_int_eq(fetch_objects(&f, other, FETCH_CLOSURE, &root, 1, &run), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), before + 1);
}
END_TEST

static void cancel_at_first(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        FetchRun *run = container_of(fetch, FetchRun, fetch);

        run->n_objects++;
        atomic_store((atomic_bool *) fetch->cancelled, true);
}

START_TEST(a_transfer_is_cancelled_on_its_way) {
        enum { N = 40, SIZE = 100000 };
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        _cleanup_free_ uint8_t *content = malloc(SIZE);
        atomic_bool cancelled = false;
        FetchRun run;

        forge_fixture_init(&f);
        for (unsigned i = 0; i < N; i++) {
                char name[32];
                (void) snprintf(name, sizeof(name), "large/%u", i);
                for (size_t k = 0; k < SIZE; k++) /* does not compress */
                        content[k] = (uint8_t) (hash_bytes(&k, sizeof(k), i) >> 32);
                git_fixture_write(&f.repo, name, content, SIZE);
        }
        git_fixture_commit(&f.repo, "large");
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "work", &source);
        const Oid tree = forge_fixture_oid(&f, "HEAD:large");
        fetch_run_init(&run, FETCH_CLOSURE, &tree, 1);
        run.fetch.object = cancel_at_first;
        run.fetch.cancelled = &cancelled;
        ck_assert_int_eq(fetch_run(&f, source, &run, NULL), -ECANCELED);
        ck_assert_int_eq(run.failure.class, FAILURE_CANCELLED);
        ck_assert_uint_lt(run.n_objects, N);

        /* And before it is sent. */
        unsigned before = forge_fixture_count(&f, false, "\n");
        fetch_run_init(&run, FETCH_CLOSURE, &tree, 1);
        run.fetch.cancelled = &cancelled;
        ck_assert_int_eq(fetch_run(&f, source, &run, NULL), -ECANCELED);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), before);
}
END_TEST

START_TEST(a_tag_by_its_id_leads_to_the_commit) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "work", &source);
        Oid tag = forge_fixture_oid(&f, "v1");
        Oid commit = forge_fixture_oid(&f, "v1^{commit}");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &tag, 1, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &commit));
        ck_assert(forge_fixture_has(&f, &commit));
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &blob, 1, &run), -ENOENT);
}
END_TEST

/* One id that the server lacks must not keep the others from coming. */
START_TEST(a_missing_blob_does_not_spoil_the_batch) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "work", &source);
        Oid blobs[] = {
                forge_fixture_oid(&f, "HEAD:README"),
                {.algo = OID_SHA1, .id = {1, 2, 3}},
                forge_fixture_oid(&f, "HEAD:empty"),
                {.algo = OID_SHA1, .id = {4, 5, 6}},
        };
        int64_t missing = stat_get(STAT_FETCH_MISSING);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, blobs, 4, &run), -ENOENT);
        ck_assert_int_eq(run.failure.class, FAILURE_NOT_FOUND);
        assert_content(&f, &blobs[0], "hello\n");
        assert_content(&f, &blobs[2], "");
        ck_assert_int_eq(stat_get(STAT_FETCH_MISSING) - missing, 2);

        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &blobs[1], 1, &run), -ENOENT);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, blobs, 4, &run), -ENOENT);
        ck_assert_uint_eq(run.n_sizes, 2);
}
END_TEST

START_TEST(protocol_v0_works) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, "--no-v2", NULL);
        look_up(&f, url, "work", &source);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert_uint_eq(forge_fixture_count(&f, false, "/info/refs"), 1); /* told on lookup */
        Oid commit = run.fetch.commit;
        ck_assert_int_eq(fetch_ref(&f, source, "v1", &run), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "/info/refs"), 2); /* asked again */
        /* The bet that it speaks v2. */
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 3);

        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &commit, 1, &run), 0);
        ck_assert_uint_eq(run.n_objects, 6);
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, &blob, 1, &run), 0);
        assert_content(&f, &blob, "hello\n");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, &blob, 1, &run), -EOPNOTSUPP);
}
END_TEST

START_TEST(credentials_come_from_git_and_are_sent_at_once_then) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        forge_fixture_use_helper();
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, "--auth", "alice:s3cret", NULL);
        look_up(&f, url, "work", &source);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, false, " 401 "), 2); /* the bet is lost, too */
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 4);
}
END_TEST

START_TEST(wrong_or_no_credentials_are_an_auth_failure) {
        _cleanup_forge_fixture_ ForgeFixture f;
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, "--auth", "bob:0ther", NULL);
        ck_assert_int_eq(forge_fixture_lookup(&f, url, "work", NULL, &failure), -EACCES);
        ck_assert_int_eq(failure.class, FAILURE_TOKEN_MISSING);
        ck_assert_uint_eq(forge_fixture_count(&f, false, " 401 "), 2); /* one is the bet's */
        forge_fixture_done(&f);

        forge_fixture_init(&f);
        forge_fixture_use_helper();
        _cleanup_free_ char *again = forge_fixture_serve(&f, "--auth", "bob:0ther", NULL);
        ck_assert_int_eq(forge_fixture_lookup(&f, again, "work", NULL, &failure), -EACCES);
        ck_assert_int_eq(failure.class, FAILURE_TOKEN_REFUSED);
        ck_assert_ptr_null(strstr(failure.text, "s3cret"));
        ck_assert_uint_eq(forge_fixture_count(&f, false, " 401 "), 3);
}
END_TEST

START_TEST(tls_is_verified) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, "--tls", NULL);
        f.config.ca_file = path_join(f.dir.path, "git-server/ca.pem", NULL);
        look_up(&f, url, "work", &source);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        forge_fixture_count(&f, false, "\n");
        source = source_unref(source);
        forge_fixture_done(&f);

        forge_fixture_init(&f);
        _cleanup_free_ char *again = forge_fixture_serve(&f, FILTER, "--tls", NULL);
        ck_assert_int_eq(forge_fixture_lookup(&f, again, "work", NULL, &failure), -EIO);
        ck_assert_int_eq(failure.class, FAILURE_SERVER);
        ck_assert_ptr_nonnull(strstr(failure.text, "certificate"));
}
END_TEST

/* The server's own limit, with a body that does not compress below it. */
START_TEST(a_request_too_large_is_sent_in_pieces) {
        enum { N = 600 };
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;
        static Oid oids[N];

        forge_fixture_init(&f);
        for (int i = 0; i < N; i++) {
                char name[32], text[32];
                (void) snprintf(name, sizeof(name), "many/%d", i);
                (void) snprintf(text, sizeof(text), "content %d\n", i);
                git_fixture_write(&f.repo, name, text, strlen(text));
                ck_assert_int_eq(
                        object_hash(OID_SHA1, OBJECT_BLOB, text, strlen(text), &oids[i]), 0);
        }
        git_fixture_commit(&f.repo, "many");
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, "--body-limit", "6000", NULL);
        look_up(&f, url, "work", &source);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, oids, N, &run), 0);
        ck_assert_uint_eq(run.n_objects, N);
        ck_assert_uint_ge(forge_fixture_count(&f, false, " 413 "), 1);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, oids, N, &run), 0);
        ck_assert_uint_eq(run.n_sizes, N);
}
END_TEST

START_TEST(an_object_over_the_limit_is_refused) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_source_ Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        f.config.max_object_size = 4;
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        look_up(&f, url, "work", &source);
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, &blob, 1, &run), -EFBIG);
        ck_assert_int_eq(run.failure.class, FAILURE_TOO_LARGE);
}
END_TEST

START_TEST(the_list_is_what_the_configuration_names) {
        static const char *const repos[] = {"work", "empty", NULL};
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        _cleanup_free_ char *named = forge_fixture_list(&f, "http://127.0.0.1:1", repos, 10);
        ck_assert_str_eq(named, "work\nempty\n");
        _cleanup_free_ char *none = forge_fixture_list(&f, "http://127.0.0.1:1", NULL, 10);
        ck_assert_str_eq(none, "");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, the_list_is_what_the_configuration_names);
        tcase_add_test(tc, a_cold_file_costs_four_requests);
        tcase_add_test(tc, names_are_resolved);
        tcase_add_test(tc, an_empty_repository_has_no_commit);
        tcase_add_test(tc, no_such_repository);
        tcase_add_test(tc, sha256_is_refused_with_the_reason);
        tcase_add_test(tc, without_filter_a_commit_brings_its_blobs);
        tcase_add_test(tc, an_update_brings_the_changed_trees);
        tcase_add_test(tc, trees_and_closures);
        tcase_add_test(tc, a_closure_is_its_blobs);
        tcase_add_test(tc, a_closure_with_its_trees);
        tcase_add_test(tc, a_transfer_is_cancelled_on_its_way);
        tcase_add_test(tc, a_tag_by_its_id_leads_to_the_commit);
        tcase_add_test(tc, a_missing_blob_does_not_spoil_the_batch);
        tcase_add_test(tc, protocol_v0_works);
        tcase_add_test(tc, credentials_come_from_git_and_are_sent_at_once_then);
        tcase_add_test(tc, wrong_or_no_credentials_are_an_auth_failure);
        tcase_add_test(tc, tls_is_verified);
        tcase_add_test(tc, a_request_too_large_is_sent_in_pieces);
        tcase_add_test(tc, an_object_over_the_limit_is_refused);
}

CHECK_MAIN("forge-git", add_tests)
