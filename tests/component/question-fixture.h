#pragma once

#include "component/api-fixture.h"

/* One question to a server that answers by a script. */

#define TOKEN "s3cret-token"
#define JSON "\nContent-Type: application/json; charset=utf-8"
#define GOOD "200 OK" JSON "\n\n{\"id\": \"good\"}"

extern const ApiDialect dialect;
extern ApiFixture f;
extern ApiRun run;
void serve(const ApiDialect *d, const char *const *script);
/* In this test's dialect. */
#define SERVE(...)                                                                                 \
        static const char *const script[] = {__VA_ARGS__, NULL};                                   \
        serve(&dialect, script)

/* For the next question to the same server. */
void again(void);
void teardown(void);
/* What came there. */
unsigned n_requests(void);
bool was_sent(ScriptServer *server, const char *what);
bool sent(const char *what);
/* True if the reason of the failure does. */
bool says(const char *what);
