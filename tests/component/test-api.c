/* One question to an API, and all that a server can answer. */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "component/api-fixture.h"
#include "component/question-fixture.h"
#include "lib/check-main.h"
#include "util/clock.h"

/* --- questions --- */

START_TEST(a_question_and_its_answer) {
        SERVE("200 OK" JSON "\nETag: W/\"abc\"\nX-GitHub-SSO: partial-results; organizations=1"
              "\nLink: <@SELF@/repos?page=2>; rel=\"next\"\n\n{\"id\": \"x\"}");
        char next[100];

        ck_assert_int_eq(api_run(&run, "/repos/acme/app?x=1", NULL), 0);
        ck_assert_int_eq(run.code, 200);
        ck_assert_str_eq(run.id, "x");
        ck_assert_str_eq(run.etag, "W/\"abc\"");
        ck_assert_str_eq(run.sso, "partial-results; organizations=1");
        (void) snprintf(next, sizeof(next), "%s/repos?page=2", f.server.url);
        ck_assert_str_eq(run.next, next);
        ck_assert(!run.moved);
        ck_assert(sent("GET /repos/acme/app?x=1 HTTP/1.1\n"));
        ck_assert(sent("\nX-Api-Version: 7\n"));
        ck_assert(sent("\nAccept: application/vnd.test+json\n"));
        ck_assert(sent("\nUser-Agent: git/test\n"));
        ck_assert(!sent("Authorization"));
        ck_assert(!sent("If-"));
        /* What an answer named is asked for as it stands. */
        again();
        ck_assert_int_eq(api_run(&run, next, NULL), 0);
        ck_assert(sent("GET /repos?page=2 HTTP/1.1\n"));
        teardown();
}
END_TEST

/* No anonymous question comes before the one with the token. */
START_TEST(a_token_is_sent_at_once) {
        SERVE(GOOD);

        api_fixture_set_token(&f, TOKEN);
        ck_assert_int_eq(api_run(&run, "/user", NULL), 0);
        ck_assert_uint_eq(n_requests(), 1);
        ck_assert(sent("\nAuthorization: Bearer " TOKEN "\n"));
        teardown();
}
END_TEST

START_TEST(a_question_can_be_posted) {
        SERVE("200 OK" JSON
              "\n\n{\"data\": {\"a\": null}, \"errors\": [{\"type\": \"NOT_FOUND\"}]}");

        run.call.accept = "application/json";
        ck_assert_int_eq(api_run(&run, "/graphql", "{\"query\": \"{viewer}\"}"), 0);
        ck_assert(sent("POST /graphql HTTP/1.1\n"));
        ck_assert(sent("\nContent-Type: application/json\n"));
        ck_assert(sent("\nAccept: application/json\n"));
        ck_assert(!sent("vnd.test"));
        ck_assert(sent("\n\n{\"query\": \"{viewer}\"}"));
        ck_assert_int_eq(run.graphql_result, 0); /* some of it */
        teardown();
}
END_TEST

START_TEST(what_did_not_change_is_not_sent_again) {
        SERVE("304 Not Modified\nETag: \"abc\"");

        run.call.if_none_match = "\"abc\"";
        run.call.if_modified_since = "Tue, 14 Nov 2023 22:13:20 GMT";
        ck_assert_int_eq(api_run(&run, "/", NULL), 0);
        ck_assert_int_eq(run.code, 304);
        ck_assert(!run.has_json);
        ck_assert(sent("\nIf-None-Match: \"abc\"\n"));
        ck_assert(sent("\nIf-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\n"));
        /* Unasked for it makes no sense. */
        again();
        run.call.if_none_match = run.call.if_modified_since = "";
        ck_assert_int_eq(api_run(&run, "/", NULL), -EIO);
        /* A tag comes from a server, or a file: it does not break the request. */
        again();
        run.call.if_none_match = "a\nX-Injected: b";
        ck_assert_int_eq(api_run(&run, "/", NULL), 0);
        ck_assert(!sent("X-Injected"));
        teardown();
}
END_TEST

START_TEST(other_servers_are_not_asked) {
        static const char *const urls[] = {
                "http://127.0.0.1:1/x",
                "https://127.0.0.1/x",
                "ftp://127.0.0.1/x",
                "relative",
                "",
                "/with blank",
                "/with\nbreak",
        };
        char url[100];
        SERVE(GOOD);

        for (size_t i = 0; i < ELEMENTSOF(urls); i++)
                ck_assert_int_eq(api_call_start(&run.call, urls[i], NULL), -EINVAL);
        (void) snprintf(url, sizeof(url), "http://user@%s/", f.server.url + strlen("http://"));
        ck_assert_int_eq(api_call_start(&run.call, url, NULL), -EINVAL);
        ck_assert_uint_eq(n_requests(), 0);
        teardown();
}
END_TEST

/* --- raw answers --- */

START_TEST(raw_answers_are_collected) {
        SERVE("200 OK\nContent-Type: text/plain\n\nnot {json");

        run.call.raw = true;
        run.data_result = 1; /* no data() */
        ck_assert_int_eq(api_run(&run, "/blob", NULL), 0);
        ck_assert_uint_eq(run.data.len, 9);
        ck_assert_mem_eq(run.data.data, "not {json", 9);
        ck_assert(!run.has_json);
        teardown();
}
END_TEST

START_TEST(raw_answers_are_streamed) {
        SERVE("500 Oops\n\nnot of the blob", "200 OK\nContent-Type: text/plain\n\nbytes");

        run.call.raw = true;
        ck_assert_int_eq(api_run(&run, "/blob", NULL), 0);
        ck_assert_uint_eq(run.n_starts, 2);
        ck_assert_uint_eq(run.streamed.len, 5);
        ck_assert_mem_eq(run.streamed.data, "bytes", 5);
        ck_assert_uint_eq(run.data.len, 0);
        teardown();
}
END_TEST

START_TEST(a_stream_ends_when_its_reader_gives_up) {
        SERVE("200 OK\nContent-Type: text/plain\n\nbytes");

        run.call.raw = true;
        run.data_result = -EPROTO;
        ck_assert_int_eq(api_run(&run, "/blob", NULL), -EPROTO);
        ck_assert_uint_eq(n_requests(), 1);
        teardown();
}
END_TEST

START_TEST(an_answer_is_bounded) {
        SERVE(GOOD);

        run.call.max_size = strlen("{\"id\": \"good\"}") - 1;
        ck_assert_int_eq(api_run(&run, "/", NULL), -EFBIG);
        ck_assert_int_eq(run.failure.class, FAILURE_TOO_LARGE);
        again();
        run.call.max_size = strlen("{\"id\": \"good\"}");
        ck_assert_int_eq(api_run(&run, "/", NULL), 0);
        teardown();
}
END_TEST

/* --- errors --- */

/* R2, F11: what a server says becomes an errno, a class, and words without the secret. */
START_TEST(what_answers_mean) {
        static const struct {
                const char *answer;
                int result;
                FailureClass class;
                const char *words;
        } cases[] = {
                {"403 Forbidden" JSON "\nX-GitHub-SSO: required; "
                 "url=https://github.com/orgs/acme/sso?authorization_request=A"
                 "\n\n{\"message\": \"Resource protected by organization SAML enforcement.\"}",
                 -EACCES,
                 FAILURE_SSO,
                 "at https://github.com/orgs/acme/sso?authorization_request=A to see"},
                {"403 Forbidden" JSON "\nX-GitHub-SSO: required; url=javascript:alert(1)\n\n{}",
                 -EACCES,
                 FAILURE_SSO,
                 "single sign-on to see repository acme/app"},
                {"403 Forbidden" JSON "\nX-GitHub-SSO: url=HTTP://127.0.0.1/sso; more\n\n{}",
                 -EACCES,
                 FAILURE_SSO,
                 "at HTTP://127.0.0.1/sso to see"}, /* the server is asked over http itself */
                {"403 Forbidden" JSON "\nX-Accepted-GitHub-Permissions: contents=read\n\n{}",
                 -EACCES,
                 FAILURE_FORBIDDEN,
                 "it needs contents=read"},
                {"403 Forbidden" JSON
                 "\n\n{\"message\": \"Resource not accessible by personal access token\"}",
                 -EACCES,
                 FAILURE_FORBIDDEN,
                 "credentials directory"},
                {"403 Forbidden" JSON "\n\n{\"error\": \"insufficient_scope\"}",
                 -EACCES,
                 FAILURE_FORBIDDEN,
                 "repository acme/app"},
                {"403 Forbidden" JSON "\n\n{\"message\": \"Your address is blocked\"}",
                 -EACCES,
                 FAILURE_AUTH,
                 "Your address is blocked"},
                {"403 Forbidden\nContent-Type: text/html\n\n<html>",
                 -EACCES,
                 FAILURE_AUTH,
                 "(403)"},
                {"404 Not Found" JSON "\n\n{\"message\": \"Not Found\"}",
                 -ENOENT,
                 FAILURE_NOT_FOUND,
                 "repository acme/app (404)"},
                {"409 Conflict" JSON "\n\n{\"message\": \"Git Repository is empty.\"}",
                 -ENODATA,
                 FAILURE_NOT_FOUND,
                 "no content"},
                {"410 Gone\n\n", -EACCES, FAILURE_BLOCKED, "(410)"},
                {"451 Unavailable For Legal Reasons" JSON
                 "\n\n{\"message\": \"Repository access blocked\", \"block\": {\"reason\": "
                 "\"dmca\"}}",
                 -EACCES,
                 FAILURE_BLOCKED,
                 "Repository access blocked"},
                {"413 Too Large\n\n", -EFBIG, FAILURE_TOO_LARGE, "(413)"},
                {"400 Bad Request" JSON "\n\n{\"error\": {\"message\": \"from Mesa\"}}",
                 -EIO,
                 FAILURE_SERVER,
                 "from Mesa"},
                {"422 Unprocessable" JSON "\n\n{\"message\": [\"not a string\"]}",
                 -EIO,
                 FAILURE_SERVER,
                 "status 422"},
                {"400 Bad Request" JSON "\n\n{\"message\": \"a\\nb\\u001b[31m\"}",
                 -EIO,
                 FAILURE_SERVER,
                 "a b [31m"},
                {"200 OK\nContent-Type: text/html\n\n<html>sign in</html>",
                 -EIO,
                 FAILURE_SERVER,
                 "makes no sense: it is \"text/html\""},
                {"200 OK\n\n{}", -EIO, FAILURE_SERVER, "makes no sense"},
                {"200 OK" JSON "\n\n{\"id\": ", -EIO, FAILURE_SERVER, "makes no sense"},
                {"200 OK" JSON "\n\n", -EIO, FAILURE_SERVER, "makes no sense"},
                {"300 Multiple Choices\n\n", -EIO, FAILURE_SERVER, "makes no sense"},
                {"302 Found\n\n", -EIO, FAILURE_SERVER, "redirect to nowhere"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const char *const script[] = {cases[i].answer, NULL};

                serve(&dialect, script);
                api_fixture_set_token(&f, TOKEN);
                ck_assert_msg(
                        api_run(&run, "/repos/acme/app", NULL) == cases[i].result &&
                                run.failure.class == cases[i].class && says(cases[i].words) &&
                                !says(TOKEN) && n_requests() == 1,
                        "%s: %d, %s, %s",
                        cases[i].answer,
                        run.result,
                        failure_class_name(run.failure.class),
                        run.failure.text);
                teardown();
        }
}
END_TEST

static int explain(const HttpResponse *response, const Json *json, const char *what, Failure *f_) {
        if (response->code == 404 && json_get_bool(json, "moved"))
                return failure_set(f_, FAILURE_RENAMED, "%s lives elsewhere", what);
        return 0;
}

START_TEST(the_dialect_knows_better) {
        static const char *const script[] = {
                "404 Not Found" JSON "\n\n{\"moved\": true}",
                "404 Not Found\n\n",
                NULL,
        };
        ApiDialect d = dialect;

        d.explain = explain;
        serve(&d, script);
        ck_assert_int_eq(api_run(&run, "/", NULL), -ENOENT);
        ck_assert_int_eq(run.failure.class, FAILURE_RENAMED);
        ck_assert_int_eq(run.failure.http_code, 404);
        ck_assert_str_eq(run.failure.text, "repository acme/app lives elsewhere");
        again();
        ck_assert_int_eq(api_run(&run, "/", NULL), -ENOENT);
        ck_assert_int_eq(run.failure.class, FAILURE_NOT_FOUND);
        teardown();
}
END_TEST

START_TEST(a_stumbling_server_is_asked_again) {
        SERVE("502 Bad Gateway\n\n", "lost", GOOD);

        ck_assert_int_eq(api_run(&run, "/", NULL), 0);
        ck_assert_uint_eq(n_requests(), 3);
        ck_assert_uint_eq(run.n_starts, 3);
        teardown();
}
END_TEST

START_TEST(a_broken_server_is_given_up) {
        SERVE("500 Internal Server Error" JSON "\n\n{\"message\": \"boom\"}");

        ck_assert_int_eq(api_run(&run, "/", NULL), -EIO);
        ck_assert_int_eq(run.failure.class, FAILURE_SERVER);
        ck_assert_int_eq(run.failure.http_code, 500);
        ck_assert(says("boom"));
        ck_assert_uint_eq(n_requests(), 1 + f.config.retries);
        teardown();
}
END_TEST

START_TEST(a_dead_server_is_told) {
        SERVE(GOOD);

        free(f.api.base);
        f.api.base = strdup("http://127.0.0.1:1");
        ck_assert_int_eq(api_run(&run, "/", NULL), -EHOSTDOWN);
        ck_assert_int_eq(run.failure.class, FAILURE_OFFLINE);
        teardown();
}
END_TEST

/* --- redirects --- */

START_TEST(redirects_within_the_server_are_followed) {
        SERVE("307 Temporary Redirect\nLocation: /b\n\n",
              "302 Found\nLocation: @SELF@/c\n\n",
              GOOD);

        api_fixture_set_token(&f, TOKEN);
        ck_assert_int_eq(api_run(&run, "/a", NULL), 0);
        ck_assert(!run.moved);
        ck_assert(sent("GET /b "));
        ck_assert(sent("GET /c "));
        teardown();
}
END_TEST

START_TEST(a_permanent_redirect_is_told) {
        SERVE("301 Moved Permanently" JSON "\nLocation: @SELF@/repositories/7\n\n"
              "{\"message\": \"Moved Permanently\"}",
              GOOD);

        ck_assert_int_eq(api_run(&run, "/repos/acme/old", NULL), 0);
        ck_assert(run.moved);
        ck_assert_str_eq(run.id, "good");
        ck_assert(sent("GET /repositories/7 "));
        teardown();
}
END_TEST

/* F11 */
START_TEST(redirects_to_other_servers_are_not_followed) {
        static const char *const elsewhere[] = {GOOD, NULL};
        ScriptServer other;
        SERVE("301 Moved Permanently\nLocation: @OTHER@/x\n\n");

        script_server_start(&other, elsewhere);
        f.server.other = other.url;
        api_fixture_set_token(&f, TOKEN);
        ck_assert_int_eq(api_run(&run, "/", NULL), -EIO);
        ck_assert_int_eq(run.failure.class, FAILURE_SERVER);
        ck_assert(says(other.url));
        ck_assert_uint_eq(script_server_count(&other), 0);
        script_server_stop(&other);
        teardown();
}
END_TEST

START_TEST(redirects_without_end_are_given_up) {
        SERVE("302 Found\nLocation: /again\n\n");

        ck_assert_int_eq(api_run(&run, "/", NULL), -EIO);
        ck_assert_int_eq(run.failure.class, FAILURE_SERVER);
        ck_assert_uint_eq(n_requests(), 6);
        teardown();
}
END_TEST

/* --- end --- */

/* R18 */
START_TEST(stopping_ends_what_waits) {
        SERVE("429 Too Many Requests\nRetry-After: 20\n\n");

        ck_assert_int_eq(api_call_start(&run.call, "/", NULL), 0);
        while (n_requests() == 0)
                (void) sched_yield();
        host_gates_shut(f.context.gates);
        ck_assert_int_eq(api_run_wait(&run), -ECANCELED);
        ck_assert_int_eq(run.failure.class, FAILURE_CANCELLED);
        again();
        ck_assert_int_eq(api_run(&run, "/", NULL), -ECANCELED);
        teardown();
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_question_and_its_answer);
        tcase_add_test(tc, a_token_is_sent_at_once);
        tcase_add_test(tc, a_question_can_be_posted);
        tcase_add_test(tc, what_did_not_change_is_not_sent_again);
        tcase_add_test(tc, other_servers_are_not_asked);
        tcase_add_test(tc, raw_answers_are_collected);
        tcase_add_test(tc, raw_answers_are_streamed);
        tcase_add_test(tc, a_stream_ends_when_its_reader_gives_up);
        tcase_add_test(tc, an_answer_is_bounded);
        tcase_add_test(tc, what_answers_mean);
        tcase_add_test(tc, the_dialect_knows_better);
        tcase_add_test(tc, a_stumbling_server_is_asked_again);
        tcase_add_test(tc, a_broken_server_is_given_up);
        tcase_add_test(tc, a_dead_server_is_told);
        tcase_add_test(tc, redirects_within_the_server_are_followed);
        tcase_add_test(tc, a_permanent_redirect_is_told);
        tcase_add_test(tc, redirects_to_other_servers_are_not_followed);
        tcase_add_test(tc, redirects_without_end_are_given_up);
        tcase_add_test(tc, stopping_ends_what_waits);
}

CHECK_MAIN("api", add_tests)
