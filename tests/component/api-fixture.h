#pragma once

#include <semaphore.h>

#include "forge/api.h"
#include "lib/script-server.h"
#include "lib/temp-dir.h"

/* An API behind a server that answers by a script, asked through the real HTTP client, gates and
 * token file. */
typedef struct ApiFixture {
        TempDir dir; /* the home of the configuration */
        Config config;
        ForgeContext context;
        OrgConfig *org;
        Secrets *secrets;
        ApiServer api;
        ScriptServer server;
} ApiFixture;

void api_fixture_init(ApiFixture *f, const ApiDialect *dialect, const char *const *script);
void api_fixture_done(ApiFixture *f);
void api_fixture_set_token(ApiFixture *f, const char *token);

/* A call that is waited for, and a copy of its answer. */
typedef struct ApiRun {
        ApiCall call;
        void (*on_start)(struct ApiRun *run); /* NULL: nothing */
        int data_result;                      /* what data() returns */
        unsigned n_starts;
        Buf streamed;

        int result, code;
        Failure failure;
        Buf data;
        char *id; /* the member "id" of the JSON; NULL: none */
        char next[300], etag[100], sso[100];
        bool has_json, moved;
        int graphql_result; /* of api_graphql_error() */
        /* private */
        sem_t ended;
        ApiFixture *f;
} ApiRun;

void api_run_init(ApiRun *run, ApiFixture *f);
void api_run_done(ApiRun *run);
/* Starts it and waits; the result. */
int api_run(ApiRun *run, const char *path, const char *json_body);
/* The same for those that are started already. */
int api_run_wait(ApiRun *run);
