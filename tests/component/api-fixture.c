#include "component/api-fixture.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "forge/api-private.h"
#include "util/clock.h"

void api_fixture_init(ApiFixture *f, const ApiDialect *dialect, const char *const *script) {
        const GateLimits limits = {.max_per_host = 4, .max_total = 8};
        const HttpConfig http = {
                .connect_timeout_usec = 5 * USEC_PER_SEC,
                .stall_timeout_usec = 20 * USEC_PER_SEC,
                .user_agent = "git/test",
        };

        *f = (ApiFixture){0};
        temp_dir_init(&f->dir);
        script_server_start(&f->server, script);
        f->config.retries = 2;
        f->context.config = &f->config;
        f->context.config_home = f->dir.path;
        ck_assert_int_eq(pool_new(2, &f->context.pool), 0);
        ck_assert_int_eq(http_client_new(&http, f->context.pool, &f->context.http), 0);
        ck_assert_int_eq(host_gates_new(f->context.pool, &limits, &f->context.gates), 0);
        ck_assert_int_eq(org_config_new("acme", ORG_GITEA, f->server.url, &f->org), 0);
        ck_assert_int_eq(secrets_new(f->org, f->server.url, &f->context, false, &f->secrets), 0);
        ck_assert_int_eq(
                api_server_init(&f->api, &f->context, dialect, f->server.url, f->secrets), 0);
}

void api_fixture_done(ApiFixture *f) {
        host_gates_shut(f->context.gates);
        http_client_stop(f->context.http);
        f->context.pool = pool_free(f->context.pool);
        f->context.http = http_client_free(f->context.http);
        f->context.gates = host_gates_free(f->context.gates);
        api_server_done(&f->api);
        f->secrets = secrets_unref(f->secrets);
        f->org = org_config_free(f->org);
        script_server_stop(&f->server);
        temp_dir_done(&f->dir);
}

void api_fixture_set_token(ApiFixture *f, const char *token) {
        ck_assert_int_eq(secret_file_write(f->dir.path, "acme", token), 0);
        secrets_flush(f->secrets);
}

static void on_start(ApiCall *call) {
        ApiRun *run = container_of(call, ApiRun, call);

        run->n_starts++;
        run->streamed.len = 0;
        if (run->on_start)
                run->on_start(run);
}

static int on_data(ApiCall *call, const uint8_t *data, size_t len) {
        ApiRun *run = container_of(call, ApiRun, call);

        if (run->data_result < 0)
                return run->data_result;
        return buf_append(&run->streamed, data, len);
}

static void copy_answer(ApiRun *run, const ApiAnswer *answer) {
        const char *id = json_get_string(answer->json, "id");
        Failure failure;

        run->code = answer->code;
        run->has_json = answer->json != NULL;
        run->id = id ? strdup(id) : NULL;
        run->moved = answer->moved;
        (void) snprintf(run->next, sizeof(run->next), "%s", answer->next);
        (void) snprintf(run->etag, sizeof(run->etag), "%s", answer->etag);
        (void) snprintf(run->sso, sizeof(run->sso), "%s", answer->sso);
        if (answer->len > 0)
                (void) buf_append(&run->data, answer->data, answer->len); /* missed by the test */
        run->graphql_result = api_graphql_error(&run->call, answer->json, &failure);
        if (run->graphql_result < 0)
                run->failure = failure;
}

static void on_done(ApiCall *call, int result, const ApiAnswer *answer, const Failure *failure) {
        ApiRun *run = container_of(call, ApiRun, call);

        run->result = result;
        run->failure = *failure;
        if (answer)
                copy_answer(run, answer);
        (void) sem_post(&run->ended);
}

void api_run_init(ApiRun *run, ApiFixture *f) {
        *run = (ApiRun){
                .f = f,
                .call =
                        {
                                .server = &f->api,
                                .deadline_usec = now_usec() + 30 * USEC_PER_SEC,
                                .what = "repository acme/app",
                                .start = on_start,
                                .done = on_done,
                        },
        };
        ck_assert_int_eq(sem_init(&run->ended, 0, 0), 0);
}

void api_run_done(ApiRun *run) {
        buf_done(&run->streamed);
        buf_done(&run->data);
        free(run->id);
        (void) sem_destroy(&run->ended);
}

int api_run_wait(ApiRun *run) {
        for (;;) {
                struct timespec until;

                /* The manager's timer does this in the daemon. */
                host_gates_tick(run->f->context.gates);
                ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &until), 0);
                until.tv_nsec += 20 * 1000 * 1000;
                until.tv_sec += until.tv_nsec / 1000000000;
                until.tv_nsec %= 1000000000;
                if (sem_timedwait(&run->ended, &until) == 0)
                        return run->result;
                ck_assert(errno == ETIMEDOUT || errno == EINTR);
        }
}

int api_run(ApiRun *run, const char *path, const char *json_body) {
        if (run->call.raw && run->data_result != 1)
                run->call.data = on_data;
        ck_assert_int_eq(api_call_start(&run->call, path, json_body), 0);
        return api_run_wait(run);
}
