#include "component/question-fixture.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"

static const char *const dialect_headers[] = {"X-Api-Version: 7", NULL};

const ApiDialect dialect = {
        .name = "Test",
        .headers = dialect_headers,
        .accept = "application/vnd.test+json",
        .authorization = "Authorization: Bearer ",
};

ApiFixture f;
ApiRun run;

void serve(const ApiDialect *d, const char *const *script) {
        api_fixture_init(&f, d, script);
        api_run_init(&run, &f);
}

void again(void) {
        api_run_done(&run);
        api_run_init(&run, &f);
}

void teardown(void) {
        api_run_done(&run);
        api_fixture_done(&f);
}

unsigned n_requests(void) {
        return script_server_count(&f.server);
}

bool was_sent(ScriptServer *server, const char *what) {
        _cleanup_free_ char *requests = script_server_requests(server);

        return strstr(requests, what) != NULL;
}

bool sent(const char *what) {
        return was_sent(&f.server, what);
}

bool says(const char *what) {
        return strstr(run.failure.text, what) != NULL;
}
