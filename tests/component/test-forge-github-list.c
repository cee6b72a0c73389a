/* GitHub as the test forge speaks it: what is listed and kept. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "component/forge-fixture.h"
#include "component/github-fixture.h"
#include "lib/check-main.h"

/* The daemon is started again: nothing in memory survives. */
static void restart(Github *g) {
        (void) forge_unref(g->forge);
        g->forge = NULL;
        forge_fixture_forget(&g->f);
        github_open(g);
}

static void check_no_list(Github *g, int expected, const char *names, FailureClass class) {
        Failure failure;
        int result;

        _cleanup_free_ char *got = forge_fixture_names(&g->f, g->forge, "", &result, &failure);
        ck_assert_msg(result == expected, "%d %s", result, failure.text);
        ck_assert_msg(failure.class == class, "%s", failure.text);
        ck_assert_str_eq(got, names);
}

/* --- listings --- */

START_TEST(an_org_is_listed) {
        _cleanup_github_ Github g;

        github_start(&g, "\"page_max\":3");
        github_open(&g);
        github_check_list(&g, "", PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(github_count(&g, REQUEST), 3);

        g.token = "t0ken";
        github_open(&g);
        github_check_list(&g, "", ALL, FAILURE_NONE);
}
END_TEST

START_TEST(a_user_and_oneself_are_listed) {
        _cleanup_github_ Github g;

        github_start(&g, "");
        g.owner = "ann";
        github_open(&g);
        github_check_list(&g, "", "dots\n", FAILURE_NONE);

        g.owner = "@me";
        g.token = "t0ken";
        github_open(&g);
        github_check_list(&g, "", "dots\n", FAILURE_NONE);
        _cleanup_(source_unrefp) Source *source = github_find(&g, "", "dots", true);
        ck_assert(strstr(source->url, "/ann/dots.git"));
        _cleanup_(source_unrefp) Source *again = github_find(&g, "", "dots", true);
        ck_assert_str_eq(again->url, source->url);
        ck_assert_uint_eq(github_count(&g, "/api/v3/user\""), 1); /* asked once */

        g.token = NULL;
        github_open(&g);
        check_no_list(&g, -EACCES, "", FAILURE_TOKEN_MISSING);
        g.owner = "nobody";
        github_open(&g);
        check_no_list(&g, -ENOENT, "", FAILURE_NOT_FOUND);
}
END_TEST

START_TEST(what_is_configured_is_left_out) {
        _cleanup_github_ Github g;

        github_start(&g, "");
        github_open(&g);
        github_check_list(&g, "", PUBLIC, FAILURE_NONE);
        g.no_archived = g.no_forks = true;
        g.exclude = "*o*";
        restart(&g);
        int result;
        /* Another configuration takes no question. */
        _cleanup_free_ char *names = forge_fixture_kept_names(&g.f, g.forge, "", &result, NULL);
        ck_assert_int_eq(result, 0);
        ck_assert_str_eq(names, "app\n");
        github_check_list(&g, "", "app\n", FAILURE_NONE);
}
END_TEST

/* A listing is there at once after a restart, and costs nothing to be asked for again. */
START_TEST(a_listing_is_kept_and_asked_for_on_condition) {
        _cleanup_github_ Github g;
        Failure failure;
        int result;

        github_start(&g, "\"page_max\":3");
        github_open(&g);
        _cleanup_free_ char *none = forge_fixture_kept_names(&g.f, g.forge, "", &result, &failure);
        ck_assert_int_eq(result, -ENODATA);
        ck_assert_str_eq(none, "");
        github_check_list(&g, "", PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(github_count(&g, REQUEST), 3);

        restart(&g);
        _cleanup_free_ char *names = forge_fixture_kept_names(&g.f, g.forge, "", &result, &failure);
        ck_assert_int_eq(result, 0);
        ck_assert_str_eq(names, PUBLIC);
        ck_assert_uint_eq(github_count(&g, REQUEST), 3);

        github_check_list(&g, "", PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(github_count(&g, REQUEST), 6);
        ck_assert_uint_eq(github_count(&g, "\"status\": 304"), 3);

        /* What has changed is taken, and kept. */
        github_turn(&g, "{\"page_max\":null}");
        github_check_list(&g, "", PUBLIC, FAILURE_NONE);
        github_check_list(&g, "", PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(github_count(&g, REQUEST), 8);
        ck_assert_uint_eq(github_count(&g, "\"status\": 304"), 4);
}
END_TEST

START_TEST(a_listing_without_end_ends) {
        _cleanup_github_ Github g;

        github_start(&g, "\"page_max\":3,\"lies\":{\"loop\":true}");
        github_open(&g);
        check_no_list(&g, -EIO, PUBLIC, FAILURE_SERVER);
        github_turn(&g, "{\"lies\":{\"same\":true}}");
        check_no_list(&g, -EIO, "app\nold\nfork\n", FAILURE_SERVER);
        github_turn(&g, "{\"lies\":{\"next\":\"http://elsewhere.invalid/x\"}}");
        github_check_list(&g, "", "app\nold\nfork\n", FAILURE_NONE);
        github_turn(&g, "{\"lies\":{\"repeat\":true}}");
        github_check_list(&g, "", PUBLIC, FAILURE_NONE);
}
END_TEST

/* A page that is full does not change when another comes behind it. */
START_TEST(a_page_behind_a_full_one_is_seen) {
        _cleanup_github_ Github g;

        github_start(&g, "\"lies\":{\"names\":[\"a\",\"b\",\"c\"]}");
        github_open(&g);
        github_check_list(&g, "", "a\nb\nc\n" PUBLIC, FAILURE_NONE); /* ten */
        github_check_list(&g, "", "a\nb\nc\n" PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(github_count(&g, "\"status\": 304"), 0);
        ck_assert_uint_eq(github_count(&g, REQUEST), 2);
}
END_TEST

START_TEST(names_that_lead_elsewhere_are_left_out) {
        _cleanup_github_ Github g;

        github_start(&g, "\"lies\":{\"names\":[\"..\",\"a/b\",\"\",\"good\"]}");
        github_open(&g);
        github_check_list(&g, "", "good\n" PUBLIC, FAILURE_NONE);
        github_turn(&g, "{\"lies\":{\"null\":[\"archived\",\"fork\",\"owner\",\"full_name\"]}}");
        github_check_list(&g, "", PUBLIC, FAILURE_NONE);
        github_turn(&g, "{\"lies\":{\"drop\":[\"name\"]}}");
        github_check_list(&g, "", "", FAILURE_NONE);
        github_turn(&g, "{\"lies\":{},\"faults\":[{\"on\":\"repos\",\"raw\":\"[1,\"}]}");
        check_no_list(&g, -EIO, "", FAILURE_SERVER);
}
END_TEST

START_TEST(what_is_missing_in_a_list_is_said) {
        _cleanup_github_ Github g;

        github_start(&g, "");
        g.token = "part";
        github_open(&g);
        github_check_list(&g, "", PUBLIC, FAILURE_SSO);
        g.token = "sso";
        github_open(&g);
        check_no_list(&g, -EACCES, "", FAILURE_SSO);
        g.token = "stale";
        github_open(&g);
        check_no_list(&g, -EACCES, "", FAILURE_TOKEN_REFUSED);
        g.token = NULL;
        g.owner = "acme-old";
        github_open(&g);
        github_check_list(&g, "", PUBLIC, FAILURE_RENAMED);
        restart(&g);
        int result;
        Failure failure;
        _cleanup_free_ char *names = forge_fixture_kept_names(&g.f, g.forge, "", &result, &failure);
        ck_assert_str_eq(names, PUBLIC);
        ck_assert_int_eq(failure.class, FAILURE_RENAMED);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, an_org_is_listed);
        tcase_add_test(tc, a_user_and_oneself_are_listed);
        tcase_add_test(tc, what_is_configured_is_left_out);
        tcase_add_test(tc, a_listing_is_kept_and_asked_for_on_condition);
        tcase_add_test(tc, a_listing_without_end_ends);
        tcase_add_test(tc, a_page_behind_a_full_one_is_seen);
        tcase_add_test(tc, names_that_lead_elsewhere_are_left_out);
        tcase_add_test(tc, what_is_missing_in_a_list_is_said);
}

CHECK_MAIN("forge-github-list", add_tests)
