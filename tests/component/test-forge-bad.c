/* The git forge against servers that misbehave: a clear failure within the deadline, never bytes
 * that do not match their id, and another try where that is worth it. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "component/forge-fixture.h"
#include "forge/host-gate.h"
#include "lib/check-main.h"
#include "util/clock.h"
#include "util/stats.h"

#define _cleanup_source_ _cleanup_(source_unrefp)

static char *serve(ForgeFixture *f) {
        _cleanup_free_ char *real =
                forge_fixture_serve(f, "--config", "uploadpack.allowFilter=true", NULL);
        return forge_fixture_misbehave(f, real);
}

/* Looks the repository up where the script decides what goes wrong. */
static int
look_up(ForgeFixture *f, const char *url, const char *script, Source **ret, Failure *failure) {
        char base[256];

        (void) snprintf(base, sizeof(base), "%s/%s", url, script);
        return forge_fixture_lookup(f, base, "work", ret, failure);
}

static Source *source_at(ForgeFixture *f, const char *url, const char *script) {
        Source *source = NULL;
        Failure failure;
        int r = look_up(f, url, script, &source, &failure);

        ck_assert_msg(r == 0, "%s: %s", script, failure.text);
        return source;
}

START_TEST(statuses_have_classes) {
        static const struct {
                const char *script;
                int result;
                FailureClass class;
        } cases[] = {
                {"any.99.status-401", -EACCES, FAILURE_TOKEN_MISSING},
                {"any.99.status-403", -EACCES, FAILURE_AUTH},
                {"any.99.status-451", -EACCES, FAILURE_BLOCKED},
                {"any.99.status-404", -ENOENT, FAILURE_NOT_FOUND},
                {"any.99.status-413", -EFBIG, FAILURE_TOO_LARGE},
                {"any.99.status-429-1000", -EAGAIN, FAILURE_RATE_LIMITED},
                {"any.99.status-503-1000", -EAGAIN, FAILURE_RATE_LIMITED},
                {"any.99.status-400", -EIO, FAILURE_SERVER},
                {"any.99.status-500", -EIO, FAILURE_SERVER},
                {"any.99.html", -EIO, FAILURE_SERVER},
                {"any.99.drop", -EIO, FAILURE_SERVER},
                {"any.99.loop", -EIO, FAILURE_SERVER},
                {"any.99.headers", -EIO, FAILURE_SERVER},
                {"any.99.trailers", -EIO, FAILURE_SERVER},
                {"info.99.truncate-20", -EIO, FAILURE_SERVER},
        };
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        f.config.retries = 1;
        _cleanup_free_ char *url = serve(&f);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Failure failure;
                int r = look_up(&f, url, cases[i].script, NULL, &failure);
                ck_assert_msg(
                        r == cases[i].result && failure.class == cases[i].class,
                        "%s: %d, %s",
                        cases[i].script,
                        r,
                        failure.text);
                forge_fixture_forget(&f); /* a gate obeys what it was told for longer than a test */
        }
}
END_TEST

START_TEST(nobody_is_there) {
        _cleanup_forge_fixture_ ForgeFixture f;
        Failure failure;

        forge_fixture_init(&f);
        /* Port 1 of the loopback is nobody's. */
        ck_assert_int_eq(
                forge_fixture_lookup(&f, "http://127.0.0.1:1", "x", NULL, &failure), -EHOSTDOWN);
        ck_assert_int_eq(failure.class, FAILURE_OFFLINE);
        ck_assert_ptr_nonnull(strstr(failure.text, "127.0.0.1:1"));
}
END_TEST

/* A first answer that is lost, late or damaged is asked for again. */
START_TEST(what_goes_wrong_once_goes_well_then) {
        static const char *const scripts[] = {
                "fetch.1.drop",
                "fetch.1.status-500",
                "fetch.1.status-502",
                "fetch.1.status-429-1",
                "fetch.2.truncate-0",
                "fetch.1.truncate-40",
                "fetch.1.truncate-120",
                "fetch.1.corrupt",
        };
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        Oid blobs[] = {
                forge_fixture_oid(&f, "HEAD:README"), forge_fixture_oid(&f, "HEAD:doc/text")};
        for (size_t i = 0; i < ELEMENTSOF(scripts); i++) {
                _cleanup_source_ Source *source = source_at(&f, url, scripts[i]);
                FetchRun run;
                int r = fetch_objects(&f, source, FETCH_BLOBS, blobs, 2, &run);
                ck_assert_msg(r == 0, "%s: %s", scripts[i], run.failure.text);
                ck_assert(forge_fixture_has(&f, &blobs[0]) && forge_fixture_has(&f, &blobs[1]));
                store_flush_memory(f.context.store);
        }
}
END_TEST

/* A commit whose answer was cut off is not complete, however much of it came. */
START_TEST(a_commit_cut_off_is_asked_for_as_a_whole) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "fetch.1.truncate-400");
        Oid commit = forge_fixture_oid(&f, "HEAD");
        Oid tree = forge_fixture_oid(&f, "HEAD:src/deep/er");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &commit, 1, &run), 0);
        ck_assert(forge_fixture_has(&f, &tree));
        ck_assert_uint_eq(forge_fixture_count(&f, true, "\nfetch "), 2);
}
END_TEST

START_TEST(a_damaged_pack_is_never_stored) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "fetch.99.corrupt");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        int64_t corrupt = stat_get(STAT_FETCH_CORRUPT);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, &blob, 1, &run), -EIO);
        ck_assert_int_eq(run.failure.class, FAILURE_CORRUPT);
        ck_assert(!forge_fixture_has(&f, &blob));
        ck_assert_int_eq(stat_get(STAT_FETCH_CORRUPT) - corrupt, 1 + f.config.retries);
}
END_TEST

/* Each blob is checked by itself: what comes behind the last one does not matter. Here the first
 * two requests of the old protocol must not lead to a third that asks for nothing, either. */
START_TEST(blobs_that_came_are_enough) {
        static const char *const scripts[] = {
                "fetch.99.tail", "fetch.99.unflushed", "v0.99.tail", "v0.99.unflushed"};
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        Oid blobs[] = {
                forge_fixture_oid(&f, "HEAD:README"), forge_fixture_oid(&f, "HEAD:doc/text")};
        for (size_t i = 0; i < ELEMENTSOF(scripts); i++) {
                bool v0 = scripts[i][0] == 'v';
                _cleanup_free_ char *real = forge_fixture_serve(&f, v0 ? "--no-v2" : NULL, NULL);
                _cleanup_free_ char *url = forge_fixture_misbehave(&f, real);
                _cleanup_source_ Source *source = source_at(&f, url, scripts[i]);
                FetchRun run;
                int r = fetch_objects(&f, source, FETCH_BLOBS, blobs, 2, &run);
                ck_assert_msg(r == 0, "%s: %s", scripts[i], run.failure.text);
                ck_assert(forge_fixture_has(&f, &blobs[0]) && forge_fixture_has(&f, &blobs[1]));
                ck_assert_uint_eq(forge_fixture_count(&f, true, v0 ? "v0 " : "fetch "), 1);
                forge_fixture_forget(&f);
                forge_fixture_stop_servers(&f);
        }
}
END_TEST

/* Trees that came may lack others below them, so their answer counts as a whole. */
START_TEST(trees_want_a_good_answer) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "fetch.99.tail");
        Oid commit = forge_fixture_oid(&f, "HEAD");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &commit, 1, &run), -EIO);
        ck_assert_int_eq(run.failure.class, FAILURE_CORRUPT);
}
END_TEST

/* A few hundred kilobytes stand for 160 GB, which no deadline on the network ends. */
START_TEST(what_came_is_worked_on_until_the_deadline_only) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "fetch.99.bomb-5000");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        fetch_run_init(&run, FETCH_BLOBS, &blob, 1);
        run.fetch.deadline_usec = now_usec() + 2 * USEC_PER_SEC;
        ck_assert_int_eq(fetch_run(&f, source, &run, &failure), -ETIMEDOUT);
        ck_assert_int_eq(failure.class, FAILURE_TIMEOUT);
        ck_assert_uint_gt(run.n_objects, 0);
}
END_TEST

START_TEST(more_objects_than_were_asked_for_are_refused) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "fetch.99.bomb-10000");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, &blob, 1, &run), -EFBIG);
        ck_assert_int_eq(run.failure.class, FAILURE_TOO_LARGE);
        ck_assert_uint_eq(run.n_objects, 0);
}
END_TEST

START_TEST(the_wrong_object_is_not_taken_for_the_right_one) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;
        char script[80], hex[OID_HEX_MAX + 1];

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        Oid wanted = forge_fixture_oid(&f, "HEAD:README");
        Oid other = forge_fixture_oid(&f, "HEAD:doc/text");
        (void) snprintf(script, sizeof(script), "fetch.99.wrong-%s", oid_to_hex(&other, hex));
        _cleanup_source_ Source *source = source_at(&f, url, script);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, &wanted, 1, &run), -EIO);
        ck_assert_int_eq(run.failure.class, FAILURE_CORRUPT);
        ck_assert(!forge_fixture_has(&f, &wanted));
        ck_assert(forge_fixture_has(&f, &other)); /* a good object under its own name */
}
END_TEST

START_TEST(a_limit_halves_the_batches) {
        enum { N = 40 };
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;
        Oid oids[N];

        forge_fixture_init(&f);
        for (int i = 0; i < N; i++) {
                char name[32];
                (void) snprintf(name, sizeof(name), "n%d", i);
                git_fixture_write(&f.repo, name, name, strlen(name));
                ck_assert_int_eq(
                        object_hash(OID_SHA1, OBJECT_BLOB, name, strlen(name), &oids[i]), 0);
        }
        git_fixture_commit(&f.repo, "more");
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "fetch.99.limit-10");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, oids, N, &run), 0);
        ck_assert_uint_eq(run.n_objects, N);
        /* 40 and 20 are refused, then four of 10 */
        ck_assert_uint_eq(forge_fixture_count(&f, true, "\nfetch "), 6);
}
END_TEST

START_TEST(lesser_servers_are_told_by_what_they_advertise) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "info.1.strip-object-info");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert(!source->cheap_sizes);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, &blob, 1, &run), -EOPNOTSUPP);
        ck_assert_uint_eq(forge_fixture_count(&f, true, "object-info "), 0);
}
END_TEST

START_TEST(sizes_that_do_not_work_are_not_asked_for_again) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        f.config.retries = 0;
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "object-info.99.html");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, &blob, 1, &run), -EOPNOTSUPP);
        ck_assert(!source->cheap_sizes);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, &blob, 1, &run), -EOPNOTSUPP);
        ck_assert_uint_eq(forge_fixture_count(&f, true, "\nobject-info "), 1);
}
END_TEST

/* git before 2.32 says nothing at all to a filter that it does not know. */
START_TEST(a_filter_that_is_not_understood_is_left_out) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "fetch.99.mute-object:type");
        Oid root = forge_fixture_oid(&f, "HEAD^{tree}");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_CLOSURE, &root, 1, &run), 0);
        ck_assert(forge_fixture_has(&f, &blob));
        ck_assert_uint_eq(forge_fixture_count(&f, true, "\nfetch "), 2);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_CLOSURE, &root, 1, &run), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, true, "\nfetch "), 3);
}
END_TEST

START_TEST(a_redirect_is_followed_and_remembered) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "info.1.redirect");
        ck_assert_ptr_null(strstr(source->url, url));
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, true, "other-ls-refs "), 1);
}
END_TEST

/* What is told is why it did not go on, not where it stopped. */
START_TEST(a_redirect_astray_is_not_followed) {
        _cleanup_forge_fixture_ ForgeFixture f;
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        ck_assert_int_eq(look_up(&f, url, "any.99.astray", NULL, &failure), -EIO);
        ck_assert_int_eq(failure.class, FAILURE_SERVER);
        ck_assert_msg(strstr(failure.text, "file"), "%s", failure.text);
        ck_assert_int_eq(look_up(&f, url, "any.99.loop", NULL, &failure), -EIO);
        ck_assert_msg(strstr(failure.text, "redirects"), "%s", failure.text);
}
END_TEST

/* Credentials are for the server that they were asked for. */
START_TEST(credentials_are_asked_for_where_a_redirect_leads) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        forge_fixture_use_helper();
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "any.9.redirect-auth");
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), 0);
        _cleanup_free_ char *log = forge_fixture_requests(&f, true);
        for (char *save, *line = strtok_r(log, "\n", &save); line;
             line = strtok_r(NULL, "\n", &save))
                if (strncmp(line, "other-", 6) != 0)
                        ck_assert_msg(!strstr(line, "Basic:"), "%s", line);
        ck_assert_uint_eq(forge_fixture_count(&f, true, "Basic:"), 2);
}
END_TEST

START_TEST(a_silent_server_ends_at_the_deadline) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "fetch.99.stall-60");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        fetch_run_init(&run, FETCH_BLOBS, &blob, 1);
        run.fetch.deadline_usec = now_usec() + USEC_PER_SEC / 2;
        ck_assert_int_eq(fetch_run(&f, source, &run, &failure), -ETIMEDOUT);
        ck_assert_int_eq(failure.class, FAILURE_TIMEOUT);
}
END_TEST

START_TEST(a_stalled_answer_ends_before_the_deadline) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        f.config.stall_timeout_usec = USEC_PER_SEC;
        _cleanup_free_ char *url = serve(&f);
        _cleanup_source_ Source *source = source_at(&f, url, "fetch.99.stall-60");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_BLOBS, &blob, 1, &run), -ETIMEDOUT);
        ck_assert_uint_lt(now_usec(), run.fetch.deadline_usec);
}
END_TEST

/* R18, R25: a fetch that hangs when the daemon stops ends, once. */
START_TEST(stopping_cancels_what_hangs) {
        ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = serve(&f);
        Source *source = source_at(&f, url, "fetch.99.stall-60");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        fetch_run_init(&run, FETCH_BLOBS, &blob, 1);
        source_fetch(source, &run.fetch);
        (void) source_unref(source); /* the operation keeps it */
        forge_fixture_done(&f);
        ck_assert(run.done);
        ck_assert_int_eq(run.result, -ECANCELED);
        ck_assert_int_eq(run.failure.class, FAILURE_CANCELLED);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, statuses_have_classes);
        tcase_add_test(tc, nobody_is_there);
        tcase_add_test(tc, what_goes_wrong_once_goes_well_then);
        tcase_add_test(tc, a_commit_cut_off_is_asked_for_as_a_whole);
        tcase_add_test(tc, a_damaged_pack_is_never_stored);
        tcase_add_test(tc, blobs_that_came_are_enough);
        tcase_add_test(tc, trees_want_a_good_answer);
        tcase_add_test(tc, what_came_is_worked_on_until_the_deadline_only);
        tcase_add_test(tc, more_objects_than_were_asked_for_are_refused);
        tcase_add_test(tc, the_wrong_object_is_not_taken_for_the_right_one);
        tcase_add_test(tc, a_limit_halves_the_batches);
        tcase_add_test(tc, lesser_servers_are_told_by_what_they_advertise);
        tcase_add_test(tc, sizes_that_do_not_work_are_not_asked_for_again);
        tcase_add_test(tc, a_filter_that_is_not_understood_is_left_out);
        tcase_add_test(tc, a_redirect_is_followed_and_remembered);
        tcase_add_test(tc, a_redirect_astray_is_not_followed);
        tcase_add_test(tc, credentials_are_asked_for_where_a_redirect_leads);
        tcase_add_test(tc, a_silent_server_ends_at_the_deadline);
        tcase_add_test(tc, a_stalled_answer_ends_before_the_deadline);
        tcase_add_test(tc, stopping_cancels_what_hangs);
}

CHECK_MAIN("forge-bad", add_tests)
