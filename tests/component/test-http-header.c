/* What the HTTP client tells of headers, and where it sends a secret. */

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "forge/http.h"
#include "lib/check-main.h"
#include "lib/script-server.h"
#include "util/clock.h"

#define TOKEN "s3cret-token"

typedef struct Exchange {
        sem_t ended;
        unsigned n_responses;
        int code, result;
        char headers[4][300];
} Exchange;

static const char *const wanted[] = {"x-name", "LINK", "Location", "X-None"};
static Pool *pool;
static HttpClient *client;

static void setup(void) {
        const HttpConfig config = {
                .connect_timeout_usec = 5 * USEC_PER_SEC,
                .stall_timeout_usec = 20 * USEC_PER_SEC,
        };

        ck_assert_int_eq(pool_new(2, &pool), 0);
        ck_assert_int_eq(http_client_new(&config, pool, &client), 0);
}

static void teardown(void) {
        http_client_stop(client);
        pool = pool_free(pool);
        client = http_client_free(client);
}

static int on_response(const HttpResponse *response, void *userdata) {
        Exchange *e = userdata;

        e->n_responses++;
        e->code = response->code;
        for (size_t i = 0; i < ELEMENTSOF(wanted); i++)
                (void) snprintf(
                        e->headers[i],
                        sizeof(e->headers[i]),
                        "%s",
                        http_response_header(response, wanted[i]));
        return 0;
}

static void on_done(int result, const Failure *failure, void *userdata) {
        Exchange *e = userdata;

        e->result = result;
        (void) sem_post(&e->ended);
}

static const HttpHandler handler = {.on_response = on_response, .on_done = on_done};

static void ask(const char *url, const char *authorization, bool no_redirects, Exchange *e) {
        const HttpRequest request = {
                .url = url,
                .authorization = authorization,
                .no_redirects = no_redirects,
                .deadline_usec = now_usec() + 60 * USEC_PER_SEC,
        };

        *e = (Exchange){0};
        ck_assert_int_eq(sem_init(&e->ended, 0, 0), 0);
        ck_assert_int_eq(http_start(client, &request, TASK_NORMAL, &handler, e), 0);
        while (sem_wait(&e->ended) < 0)
                ck_assert_int_eq(errno, EINTR);
        ck_assert_int_eq(e->result, 0);
}

START_TEST(headers_are_told_by_name) {
        static const char *const script[] = {
                "200 OK\nX-Name: first\nx-name:   the last \nLink: <a>; rel=\"next\"\n\nbody",
                "204 No Content\nX-Name:",
                NULL,
        };
        ScriptServer s;
        Exchange e;

        script_server_start(&s, script);
        ask(s.url, NULL, false, &e);
        ck_assert_str_eq(e.headers[0], "the last");
        ck_assert_str_eq(e.headers[1], "<a>; rel=\"next\"");
        ck_assert_str_eq(e.headers[2], "");
        ck_assert_str_eq(e.headers[3], "");
        ask(s.url, NULL, false, &e);
        ck_assert_int_eq(e.code, 204);
        ck_assert_str_eq(e.headers[0], "");
        script_server_stop(&s);
}
END_TEST

START_TEST(headers_are_those_of_the_last_answer) {
        static const char *const script[] = {
                "302 Found\nX-Name: of the redirect\nLocation: /there",
                "200 OK\nLink: of the answer",
                NULL,
        };
        ScriptServer s;
        Exchange e;

        script_server_start(&s, script);
        ask(s.url, NULL, false, &e);
        ck_assert_int_eq(e.code, 200);
        ck_assert_uint_eq(e.n_responses, 1);
        ck_assert_str_eq(e.headers[0], "");
        ck_assert_str_eq(e.headers[1], "of the answer");
        script_server_stop(&s);
}
END_TEST

START_TEST(a_flood_of_headers_is_cut) {
        _cleanup_buf_ Buf text = {0};
        const char *script[] = {NULL, NULL};
        ScriptServer s;
        Exchange e;

        ck_assert_int_eq(buf_append_str(&text, "200 OK\nX-Name: early"), 0);
        for (int i = 0; i < 100; i++)
                ck_assert_int_eq(buf_appendf(&text, "\nX-Pad-%d: %01000d", i, 0), 0);
        ck_assert_int_eq(buf_append_str(&text, "\nX-None: late\n\nbody"), 0);
        script[0] = buf_str(&text);
        script_server_start(&s, script);
        ask(s.url, NULL, false, &e);
        ck_assert_int_eq(e.code, 200);
        ck_assert_str_eq(e.headers[0], "early");
        ck_assert_str_eq(e.headers[3], "late"); /* there is always a little room */
        script_server_stop(&s);
}
END_TEST

START_TEST(a_redirect_may_be_left_to_the_caller) {
        static const char *const script[] = {"301 Moved\nLocation: @OTHER@/x\nX-Name: y", NULL};
        ScriptServer s;
        Exchange e;

        script_server_start(&s, script);
        s.other = "http://127.0.0.1:1";
        ask(s.url, NULL, true, &e);
        ck_assert_int_eq(e.code, 301);
        ck_assert_str_eq(e.headers[0], "y");
        ck_assert_str_eq(e.headers[2], "http://127.0.0.1:1/x");
        ck_assert_uint_eq(script_server_count(&s), 1);
        script_server_stop(&s);
}
END_TEST

static void assert_sent(ScriptServer *s, const char *line, bool expected) {
        _cleanup_free_ char *requests = script_server_requests(s);

        ck_assert_msg((strstr(requests, line) != NULL) == expected, "%s", requests);
}

START_TEST(an_authorization_is_sent) {
        static const char *const script[] = {"200 OK", NULL};
        ScriptServer s;
        Exchange e;

        script_server_start(&s, script);
        ask(s.url, "Bearer " TOKEN ":x", false, &e);
        assert_sent(&s, "\nAuthorization: Bearer " TOKEN ":x\n", true);
        ask(s.url, "PRIVATE-TOKEN: " TOKEN, true, &e);
        assert_sent(&s, "\nPRIVATE-TOKEN: " TOKEN "\n", true);
        ask(s.url, "Authorization: token " TOKEN, false, &e);
        assert_sent(&s, "\nAuthorization: token " TOKEN "\n", true);
        script_server_stop(&s);
}
END_TEST

/* F11: a secret goes to the host that it is for, and to no other. */
START_TEST(an_authorization_stays_on_its_host) {
        static const char *const there[] = {"302 Found\nLocation: @OTHER@/elsewhere", NULL};
        static const char *const elsewhere[] = {"200 OK", NULL};
        ScriptServer a, b;
        Exchange e;

        script_server_start(&a, there);
        script_server_start(&b, elsewhere);
        a.other = b.url;
        ask(a.url, "Bearer " TOKEN, false, &e);
        ck_assert_int_eq(e.code, 200);
        assert_sent(&a, TOKEN, true);
        assert_sent(&b, "GET /elsewhere", true);
        assert_sent(&b, TOKEN, false);
        script_server_stop(&a);
        script_server_stop(&b);
}
END_TEST

START_TEST(an_authorization_that_would_leak_is_refused) {
        static const char *const cases[] = {
                "PRIVATE-TOKEN: s3cret-token", /* curl would send it to wherever a redirect leads */
                "Bearer a\r\nX-Injected: b",
                "Bearer a\nb",
                "Bearer a\x7f",
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const HttpRequest request = {
                        .url = "http://127.0.0.1:1/",
                        .authorization = cases[i],
                        .deadline_usec = USEC_INFINITY,
                };
                int r = http_start(client, &request, TASK_NORMAL, &handler, NULL);
                ck_assert_int_eq(r, -EINVAL);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, headers_are_told_by_name);
        tcase_add_test(tc, headers_are_those_of_the_last_answer);
        tcase_add_test(tc, a_flood_of_headers_is_cut);
        tcase_add_test(tc, a_redirect_may_be_left_to_the_caller);
        tcase_add_test(tc, an_authorization_is_sent);
        tcase_add_test(tc, an_authorization_stays_on_its_host);
        tcase_add_test(tc, an_authorization_that_would_leak_is_refused);
}

CHECK_MAIN("http-header", add_tests)
