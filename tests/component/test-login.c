/* The steps of signing in, against a server that answers by a script. */

#include <errno.h>
#include <semaphore.h>
#include <string.h>

#include "component/api-fixture.h"
#include "forge/login.h"
#include "lib/check-main.h"
#include "util/clock.h"

#define JSON "200 OK\nContent-Type: application/json\n\n"
#define CODE                                                                                       \
        "{\"device_code\": \"d3v1ce.c0de\", \"user_code\": \"WDJB-MJHT\", "                        \
        "\"verification_uri\": \"https://github.test/login/device\", \"expires_in\": 900, "        \
        "\"interval\": 7}"
#define TOKEN "gho_0123456789abcdefghij"

static const ApiDialect dialect = {.name = "Test", .authorization = "Authorization: Bearer "};

typedef struct Run {
        LoginStep step;
        LoginAnswer answer;
        Failure failure;
        int result;
        sem_t ended;
} Run;

static ApiFixture f;
static Run run;

static void on_done(LoginStep *step, int result, LoginAnswer *answer, const Failure *failure) {
        Run *r = container_of(step, Run, step);

        r->result = result;
        r->answer = *answer;
        *answer = (LoginAnswer){0};
        r->failure = *failure;
        (void) sem_post(&r->ended); /* a valid semaphore */
}

/* One step against a server that says this; its result. */
static int ask(const char *device_code, const char *answer) {
        /* The server reads it until the end of the test. */
        static const char *script[2];

        script[0] = answer;
        api_fixture_init(&f, &dialect, script);
        run = (Run){0};
        run.step = (LoginStep){
                .context = &f.context,
                .base = f.server.url,
                .client_id = "my app&",
                .device_code = device_code,
                .deadline_usec = now_usec() + 30 * USEC_PER_SEC,
                .done = on_done,
        };
        ck_assert_int_eq(sem_init(&run.ended, 0, 0), 0);
        ck_assert_int_eq(login_step_start(&run.step), 0);
        while (sem_wait(&run.ended) < 0)
                ck_assert_int_eq(errno, EINTR);
        return run.result;
}

static void teardown(void) {
        login_answer_done(&run.answer);
        api_fixture_done(&f);
}

static bool sent(const char *what) {
        _cleanup_free_ char *requests = script_server_requests(&f.server);

        return strstr(requests, what) != NULL;
}

START_TEST(a_code_is_asked_for) { /* issue 3, 5: the device flow */
        ck_assert_int_eq(ask(NULL, JSON CODE), 0);
        ck_assert_str_eq(run.answer.device_code, "d3v1ce.c0de");
        ck_assert_str_eq(run.answer.user_code, "WDJB-MJHT");
        ck_assert_str_eq(run.answer.verification_uri, "https://github.test/login/device");
        ck_assert_uint_eq(run.answer.expires_in_usec, 900 * USEC_PER_SEC);
        ck_assert_uint_eq(run.answer.interval_usec, 7 * USEC_PER_SEC);
        ck_assert(sent("POST /login/device/code HTTP/1.1\n"));
        ck_assert(sent("\nAccept: application/json\n"));
        ck_assert(sent("\nContent-Type: application/x-www-form-urlencoded\n"));
        ck_assert(sent("\nclient_id=my%20app%26&scope=repo%20read%3Aorg"));
        teardown();
}
END_TEST

START_TEST(a_token_is_asked_for) {
        ck_assert_int_eq(
                ask("d3v1ce.c0de",
                    JSON "{\"access_token\" : \"" TOKEN "\", \"token_type\": \"bearer\"}"),
                0);
        ck_assert_str_eq(run.answer.token, TOKEN);
        ck_assert(sent("POST /login/oauth/access_token HTTP/1.1\n"));
        ck_assert(sent("\nclient_id=my%20app%26&"
                       "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&"
                       "device_code=d3v1ce.c0de"));
        teardown();
}
END_TEST

START_TEST(what_comes_meanwhile) {
        ck_assert_int_eq(ask("d", JSON "{\"error\": \"authorization_pending\"}"), 0);
        ck_assert_ptr_null(run.answer.token);
        ck_assert(!run.answer.slow_down);
        teardown();
        /* As the RFC has it. */
        ck_assert_int_eq(
                ask("d",
                    "400 Bad Request\nContent-Type: application/json\n\n"
                    "{\"error\": \"slow_down\"}"),
                0);
        ck_assert_ptr_null(run.answer.token);
        ck_assert(run.answer.slow_down);
        teardown();
}
END_TEST

START_TEST(what_ends_it) {
        static const struct {
                const char *answer, *words;
                FailureClass class;
        } cases[] = {
                {JSON "{\"error\": \"expired_token\"}", "has expired", FAILURE_AUTH},
                {JSON "{\"error\": \"access_denied\"}", "was refused in the browser", FAILURE_AUTH},
                {JSON "{\"error\": \"odd\", \"error_description\": \"Because.\"}",
                 "Because.",
                 FAILURE_AUTH},
                {"404 Not Found\n\nx", "no such application", FAILURE_AUTH},
                {"503 Service Unavailable\n\nx", "status 503", FAILURE_SERVER},
                {"429 Too Many Requests\n\nx", "limits requests", FAILURE_RATE_LIMITED},
                {JSON "{}", "no token", FAILURE_SERVER},
                {JSON "<html>", "no JSON", FAILURE_SERVER},
                {JSON "{\"access_token\": \"a\\nb\"}", "no token", FAILURE_SERVER},
                {JSON "{\"access_token\": \"\"}", "no token", FAILURE_SERVER},
                {JSON "{\"access_token\": 12}", "no token", FAILURE_SERVER},
                /* A secret goes to nobody else. */
                {"302 Found\nLocation: @SELF@/elsewhere\n\nx", "status 302", FAILURE_SERVER},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                ck_assert_int_lt(ask("d", cases[i].answer), 0);
                ck_assert_int_eq(run.failure.class, cases[i].class);
                ck_assert_msg(
                        strstr(run.failure.text, cases[i].words),
                        "\"%s\" is not in: %s",
                        cases[i].words,
                        run.failure.text);
                ck_assert_ptr_null(run.answer.token);
                ck_assert_uint_eq(script_server_count(&f.server), 1);
                teardown();
        }
}
END_TEST

START_TEST(codes_that_must_not_be_shown) {
        static const char *const bad[] = {
                JSON "{\"device_code\": \"d\", \"user_code\": \"A\\u001b[2J\", "
                     "\"verification_uri\": \"https://x\"}",
                JSON "{\"device_code\": \"d\", \"user_code\": \"A\", "
                     "\"verification_uri\": \"javascript:x\"}",
                JSON "{\"device_code\": \"d\", \"user_code\": \"A\", "
                     "\"verification_uri\": \"https://x y\"}",
                JSON "{\"device_code\": \"d&x=y\", \"user_code\": \"A\", "
                     "\"verification_uri\": \"https://x\"}",
                JSON "{\"device_code\": \"d\"}",
                JSON "{\"error\": \"authorization_pending\"}",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ck_assert_int_lt(ask(NULL, bad[i]), 0);
                ck_assert_int_eq(run.failure.class, FAILURE_SERVER);
                teardown();
        }
        /* Times are bounded. */
        ck_assert_int_eq(
                ask(NULL,
                    JSON "{\"device_code\": \"d\", \"user_code\": \"A\", \"verification_uri\": "
                         "\"https://x\", \"expires_in\": 99999999, \"interval\": 0}"),
                0);
        ck_assert_uint_eq(run.answer.expires_in_usec, 3600 * USEC_PER_SEC);
        ck_assert_uint_eq(run.answer.interval_usec, USEC_PER_SEC);
        teardown();
}
END_TEST

/* Before a library that keeps copies sees the text. */
START_TEST(secrets_are_wiped_out_of_the_answer) {
        char text[] = "{\"access_token\":\"" TOKEN "\",\"refresh_token\":\"ghr_abcdef\"}";
        LoginAnswer answer;
        Failure failure;

        ck_assert_int_eq(login_parse_answer(text, strlen(text), false, &answer, &failure), 0);
        ck_assert_str_eq(answer.token, TOKEN);
        ck_assert_ptr_null(strstr(text, TOKEN));
        ck_assert_ptr_null(strstr(text, "ghr_abcdef"));
        login_answer_done(&answer);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_code_is_asked_for);
        tcase_add_test(tc, a_token_is_asked_for);
        tcase_add_test(tc, what_comes_meanwhile);
        tcase_add_test(tc, what_ends_it);
        tcase_add_test(tc, codes_that_must_not_be_shown);
        tcase_add_test(tc, secrets_are_wiped_out_of_the_answer);
}

CHECK_MAIN("login", add_tests)
