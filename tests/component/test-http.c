/* The HTTP client by itself: what a forge cannot show. */

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "component/forge-fixture.h"
#include "forge/http.h"
#include "forge/inbox.h"
#include "lib/check-main.h"
#include "util/clock.h"
#include "util/stats.h"

typedef struct Exchange {
        sem_t ended, got_data, go_on;
        bool hold;  /* the handler waits for go_on in its first data */
        int refuse; /* what on_data returns */
        unsigned n_responses, n_done;
        int code;
        char effective_url[256];
        size_t n_bytes;
        size_t largest; /* piece */
        int result;
        Failure failure;
} Exchange;

static int on_response(const HttpResponse *response, void *userdata) {
        Exchange *e = userdata;

        e->n_responses++;
        e->code = response->code;
        (void) snprintf(e->effective_url, sizeof(e->effective_url), "%s", response->effective_url);
        return 0;
}

static void wait_for(sem_t *sem) {
        while (sem_wait(sem) < 0 && errno == EINTR)
                ;
}

static int on_data(const uint8_t *data, size_t len, void *userdata) {
        Exchange *e = userdata;

        e->n_bytes += len;
        e->largest = MAX(e->largest, len);
        (void) sem_post(&e->got_data);
        if (e->hold) {
                e->hold = false;
                wait_for(&e->go_on);
        }
        return e->refuse;
}

static void on_done(int result, const Failure *failure, void *userdata) {
        Exchange *e = userdata;

        e->n_done++;
        e->result = result;
        e->failure = *failure;
        (void) sem_post(&e->ended);
}

static const HttpHandler handler = {
        .on_response = on_response, .on_data = on_data, .on_done = on_done};

static void exchange_init(Exchange *e) {
        *e = (Exchange){0};
        ck_assert_int_eq(sem_init(&e->ended, 0, 0), 0);
        ck_assert_int_eq(sem_init(&e->got_data, 0, 0), 0);
        ck_assert_int_eq(sem_init(&e->go_on, 0, 0), 0);
}

typedef struct HttpFixture {
        ForgeFixture f;
        Pool *pool;
        HttpClient *client;
        char *url;
} HttpFixture;

static void setup(HttpFixture *h) {
        const HttpConfig config = {
                .connect_timeout_usec = 5 * USEC_PER_SEC,
                .stall_timeout_usec = 20 * USEC_PER_SEC,
                .user_agent = "git/test",
        };

        *h = (HttpFixture){0};
        forge_fixture_init(&h->f);
        ck_assert_int_eq(pool_new(2, &h->pool), 0);
        ck_assert_int_eq(http_client_new(&config, h->pool, &h->client), 0);
        _cleanup_free_ char *real = forge_fixture_serve(&h->f, NULL);
        h->url = forge_fixture_misbehave(&h->f, real);
}

static void teardown(HttpFixture *h) {
        http_client_stop(h->client);
        pool_free(h->pool);
        http_client_free(h->client);
        forge_fixture_done(&h->f);
        free(h->url);
}

static void start_as(
        HttpFixture *h,
        const char *path,
        HttpUrgency urgency,
        const atomic_bool *waited,
        Exchange *e) {
        char url[300];

        (void) snprintf(url, sizeof(url), "%s/%s", h->url, path);
        const HttpRequest request = {
                .url = url,
                .deadline_usec = now_usec() + 60 * USEC_PER_SEC,
                .urgency = urgency,
                .waited = waited,
        };
        ck_assert_int_eq(http_start(h->client, &request, TASK_NORMAL, &handler, e), 0);
}

static void start(HttpFixture *h, const char *path, const char *user, Exchange *e) {
        char url[300];

        (void) snprintf(url, sizeof(url), "%s/%s", h->url, path);
        const HttpRequest request = {
                .url = url,
                .username = user,
                .password = user ? "hunter2" : NULL,
                .deadline_usec = now_usec() + 60 * USEC_PER_SEC,
        };
        ck_assert_int_eq(http_start(h->client, &request, TASK_NORMAL, &handler, e), 0);
}

#define INFO "work/info/refs?service=git-upload-pack"

START_TEST(a_compressed_answer_is_decoded) {
        HttpFixture h;
        Exchange e;

        setup(&h);
        exchange_init(&e);
        start(&h, "any.1.gzip/work", NULL, &e);
        wait_for(&e.ended);
        ck_assert_int_eq(e.result, 0);
        ck_assert_int_eq(e.code, 200);
        ck_assert_uint_eq(e.n_bytes, 6000);
        teardown(&h);
}
END_TEST

/* F11: a secret goes to the host that it is for, and to no other. */
START_TEST(credentials_do_not_follow_a_redirect) {
        HttpFixture h;
        Exchange e;

        setup(&h);
        exchange_init(&e);
        start(&h, "any.1.redirect/" INFO, "alice", &e);
        wait_for(&e.ended);
        ck_assert_int_eq(e.result, 0);
        ck_assert_int_eq(e.code, 200);
        ck_assert_uint_eq(e.n_responses, 1); /* the final one */
        ck_assert_ptr_null(strstr(e.effective_url, h.url));
        _cleanup_free_ char *log = forge_fixture_requests(&h.f, true);
        char *other = strstr(log, "other-info");
        ck_assert_ptr_nonnull(other);
        ck_assert_ptr_nonnull(strstr(log, "Basic:"));
        ck_assert_ptr_null(strstr(other, "Basic:"));
        teardown(&h);
}
END_TEST

START_TEST(redirects_end) {
        HttpFixture h;
        Exchange e;

        setup(&h);
        exchange_init(&e);
        start(&h, "any.999.loop/" INFO, NULL, &e);
        wait_for(&e.ended);
        ck_assert_int_eq(e.result, -EIO);
        ck_assert_int_eq(e.failure.class, FAILURE_SERVER);
        ck_assert_uint_eq(forge_fixture_count(&h.f, true, "loop"), 6);
        teardown(&h);
}
END_TEST

START_TEST(a_handler_can_give_up) {
        HttpFixture h;
        Exchange e;

        setup(&h);
        exchange_init(&e);
        e.refuse = -EPROTO;
        start(&h, "any.1.big-20000000/x", NULL, &e);
        wait_for(&e.ended);
        ck_assert_int_eq(e.result, -EPROTO);
        ck_assert_int_eq(e.failure.class, FAILURE_NONE);
        teardown(&h);
        ck_assert_uint_eq(e.n_done, 1);
        ck_assert_uint_lt(e.n_bytes, 20000000);
}
END_TEST

/* R18, R25 */
START_TEST(stopping_ends_all_and_refuses_more) {
        HttpFixture h;
        Exchange e[8], late;

        setup(&h);
        for (size_t i = 0; i < ELEMENTSOF(e); i++) {
                exchange_init(&e[i]);
                start(&h, "any.99.stall-10/" INFO, NULL, &e[i]);
        }
        wait_for(&e[0].got_data);
        http_client_stop(h.client);
        for (size_t i = 0; i < ELEMENTSOF(e); i++) {
                ck_assert_uint_eq(e[i].n_done, 1);
                ck_assert_int_eq(e[i].result, -ECANCELED);
        }
        const HttpRequest request = {.url = h.url, .deadline_usec = USEC_INFINITY};
        exchange_init(&late);
        ck_assert_int_eq(http_start(h.client, &request, TASK_NORMAL, &handler, &late), -ESHUTDOWN);
        teardown(&h);
        ck_assert_uint_eq(late.n_done, 0);
        ck_assert_int_eq(stat_get(STAT_HTTP_ACTIVE_NOW), 0);
}
END_TEST

/* A slow handler pauses its transfer and no other: what waits for it is bounded. */
START_TEST(a_slow_handler_pauses_its_transfer_only) {
        HttpFixture h;
        Exchange slow, other;

        setup(&h);
        exchange_init(&slow);
        slow.hold = true;
        start(&h, "any.1.big-40000000/x", NULL, &slow);
        wait_for(&slow.got_data);
        for (int i = 0; i < 10; i++) {
                exchange_init(&other);
                start(&h, "ok/" INFO, NULL, &other);
                wait_for(&other.ended);
                ck_assert_int_eq(other.result, 0);
        }
        ck_assert_uint_eq(slow.n_done, 0);
        (void) sem_post(&slow.go_on);
        wait_for(&slow.ended);
        ck_assert_int_eq(slow.result, 0);
        ck_assert_uint_eq(slow.n_bytes, 40000000);
        ck_assert_uint_le(slow.largest, INBOX_LIMIT);
        teardown(&h);
}
END_TEST

/* R3: background transfers stand back for one that somebody waits for, but not for ever; unless
 * somebody has begun to wait for them, too. */
START_TEST(background_stands_back_and_does_not_starve) {
        static const HttpUrgency urgencies[] = {HTTP_BACKGROUND, HTTP_READ_AHEAD};
        static const atomic_bool one_waits = true, none_waits = false;
        HttpFixture h;
        Exchange waited, e;

        setup(&h);
        int64_t held = stat_get(STAT_HTTP_HELD);
        exchange_init(&waited);
        start(&h, "any.1.stall-10/" INFO, NULL, &waited);
        wait_for(&waited.got_data);
        for (unsigned i = 0; i < ELEMENTSOF(urgencies); i++) {
                exchange_init(&e);
                start_as(&h, "any.9.big-1000000/x", urgencies[i], &one_waits, &e);
                wait_for(&e.ended);
                ck_assert_uint_eq(e.n_bytes, 1000000);
                ck_assert_int_eq(stat_get(STAT_HTTP_HELD), held + i);

                exchange_init(&e);
                start_as(&h, "any.9.big-1000000/x", urgencies[i], &none_waits, &e);
                wait_for(&e.ended);
                ck_assert_int_eq(e.result, 0);
                ck_assert_uint_eq(e.n_bytes, 1000000);
                ck_assert_int_ge(stat_get(STAT_HTTP_HELD), held + i + 1);
        }
        ck_assert_uint_eq(waited.n_done, 0);
        teardown(&h);
}
END_TEST

/* The first two requests find connections, and what is spoken to needs no more. */
START_TEST(connections_are_made_ahead) {
        int64_t made = stat_get(STAT_HTTP_AHEAD), used = stat_get(STAT_HTTP_AHEAD_USED);
        int64_t requests = stat_get(STAT_HTTP_REQUESTS);
        HttpFixture h;
        Exchange e[2], third;

        setup(&h);
        http_expect(h.client, h.url);
        http_expect(h.client, h.url); /* these are on their way */
        while (stat_get(STAT_HTTP_AHEAD) < made + 2)
                (void) sched_yield(); /* bounded by the test's timeout */
        ck_assert_int_eq(stat_get(STAT_HTTP_REQUESTS), requests);
        for (unsigned i = 0; i < ELEMENTSOF(e); i++) {
                exchange_init(&e[i]);
                /* Neither is over when the other begins. */
                start(&h, "any.9.stall-10/" INFO, NULL, &e[i]);
        }
        for (unsigned i = 0; i < ELEMENTSOF(e); i++)
                wait_for(&e[i].got_data);
        ck_assert_int_eq(stat_get(STAT_HTTP_AHEAD_USED), used + 2);
        http_expect(h.client, h.url);
        exchange_init(&third);
        start(&h, "ok/" INFO, NULL, &third);
        wait_for(&third.ended);
        ck_assert_int_eq(third.code, 200);
        ck_assert_int_eq(stat_get(STAT_HTTP_AHEAD), made + 2);
        ck_assert_int_eq(stat_get(STAT_HTTP_AHEAD_USED), used + 2);
        teardown(&h);
}
END_TEST

/* Where nobody listens there is none, and nobody hears of it. */
START_TEST(nobody_is_told_of_what_was_tried_ahead) {
        HttpFixture h;
        Exchange e;

        setup(&h);
        int64_t made = stat_get(STAT_HTTP_AHEAD), errors = stat_get(STAT_HTTP_ERRORS);
        http_expect(h.client, "http://127.0.0.1:1");
        http_expect(h.client, "no url");
        exchange_init(&e);
        start(&h, "ok/" INFO, NULL, &e);
        wait_for(&e.ended);
        ck_assert_int_eq(e.code, 200);
        ck_assert_int_eq(stat_get(STAT_HTTP_AHEAD), made);
        ck_assert_int_eq(stat_get(STAT_HTTP_ERRORS), errors);
        teardown(&h);
}
END_TEST

/* What cannot be reached is told by name, without the secret that was to be sent. */
START_TEST(failures_name_the_host_and_keep_secrets) {
        HttpFixture h;
        Exchange e;

        setup(&h);
        free(h.url);
        h.url = strdup("http://127.0.0.1:1");
        exchange_init(&e);
        start(&h, "x", "alice", &e);
        wait_for(&e.ended);
        ck_assert_int_eq(e.result, -EHOSTDOWN);
        ck_assert_uint_eq(e.n_responses, 0);
        ck_assert_ptr_nonnull(strstr(e.failure.text, "127.0.0.1:1"));
        ck_assert_ptr_null(strstr(e.failure.text, "hunter2"));
        teardown(&h);
}
END_TEST

START_TEST(origins) {
        static const struct {
                const char *url, *origin;
        } cases[] = {
                {"https://Example.ORG/a/b", "https://example.org:443"},
                {"http://u:p@h:8080/x?y", "http://h:8080"},
                {"http://[::1]/", "http://[::1]:80"},
        };
        char *origin;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                ck_assert_int_eq(http_url_origin(cases[i].url, &origin), 0);
                ck_assert_str_eq(origin, cases[i].origin);
                free(origin);
        }
        ck_assert_int_eq(http_url_origin("no url", &origin), -EINVAL);
        ck_assert_int_eq(http_url_origin("", &origin), -EINVAL);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_compressed_answer_is_decoded);
        tcase_add_test(tc, credentials_do_not_follow_a_redirect);
        tcase_add_test(tc, redirects_end);
        tcase_add_test(tc, a_handler_can_give_up);
        tcase_add_test(tc, stopping_ends_all_and_refuses_more);
        tcase_add_test(tc, a_slow_handler_pauses_its_transfer_only);
        tcase_add_test(tc, background_stands_back_and_does_not_starve);
        tcase_add_test(tc, connections_are_made_ahead);
        tcase_add_test(tc, nobody_is_told_of_what_was_tried_ahead);
        tcase_add_test(tc, failures_name_the_host_and_keep_secrets);
        tcase_add_test(tc, origins);
}

CHECK_MAIN("http", add_tests)
