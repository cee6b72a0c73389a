/* The headers of a forge's answer, and what is made of one that refuses: the first byte picks the
 * forge and the status, then come lines of headers, an empty line, and the body. Nobody waits for
 * longer than an hour, and no failure is without a reason that can be shown. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#include "forge/api-forges.h"
#include "forge/api-link.h"
#include "forge/api-private.h"
#include "fuzz.h"
#include "util/clock.h"

#define NOW (UINT64_C(1000) * USEC_PER_SEC)
#define WAIT_MAX ((UINT64_C(3600) + 60) * USEC_PER_SEC)
#define URL "https://api.example.org/orgs/acme/repos?page=1"

static const int codes[] = {401, 403, 404, 409, 410, 413, 422, 429, 451, 500, 502, 503};

static const ApiForgeOps *const forges[] = {
        &github_api_ops,
        &gitlab_api_ops,
        &gitea_api_ops,
        &mesa_api_ops,
};

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

/* As the HTTP layer keeps them: no line ends and no NULs. Returns what follows the empty line. */
static const char *read_headers(const char *text, Buf *ret) {
        while (*text && *text != '\n') {
                size_t len = strcspn(text, "\n"), colon = strcspn(text, ":\n");
                const char *value = text + MIN(colon + 1, len);
                value += strspn(value, " \t");
                const char *end = text + len;
                size_t value_len = value < end ? (size_t) (end - value) : 0;
                FUZZ_CHECK(buf_append(ret, text, colon) == 0 && buf_append(ret, "", 1) == 0);
                FUZZ_CHECK(buf_append(ret, value, value_len) == 0 && buf_append(ret, "", 1) == 0);
                text = *end ? end + 1 : end;
        }
        return *text ? text + 1 : text;
}

static void check_text(const Failure *f) {
        FUZZ_CHECK(f->class != FAILURE_NONE && f->text[0]);
        FUZZ_CHECK(memchr(f->text, '\0', sizeof(f->text)));
        for (const char *p = f->text; *p; p++)
                FUZZ_CHECK((unsigned char) *p >= ' ');
}

static void check_limits(const HttpResponse *response, const Json *json) {
        static const char *const resources[] = {NULL, "core", "graphql"};

        for (size_t i = 0; i < ELEMENTSOF(resources); i++) {
                GateBudget b = {0};
                if (api_budget(response, resources[i], NOW, &b)) {
                        FUZZ_CHECK(b.limit > 0 && b.remaining <= b.limit);
                        FUZZ_CHECK(b.reset_usec > NOW && b.reset_usec <= NOW + WAIT_MAX);
                }
                uint64_t until = api_limited_until(response, json, resources[i], NOW);
                FUZZ_CHECK(until == 0 || (until > NOW && until <= NOW + WAIT_MAX));
        }
}

static void
check_errors(const HttpResponse *response, const Json *json, const ApiDialect *dialect) {
        const ApiServer server = {.dialect = dialect, .base = (char *) "https://api.example.org"};
        const ApiCall call = {.server = &server, .what = "repository acme/app"};
        const Secret secrets[] = {{0}, {.token = (char *) "token", .origin = SECRET_FILE}};

        for (size_t i = 0; i < ELEMENTSOF(secrets); i++) {
                Failure f = {0};
                FUZZ_CHECK(api_error(&call, response, json, &secrets[i], &f) < 0);
                FUZZ_CHECK(f.http_code == response->code);
                check_text(&f);
        }
        Failure f = {0};
        if (api_graphql_error(&call, json, &f) < 0)
                check_text(&f);
}

static void check_link(const HttpResponse *response) {
        _cleanup_free_ char *next = NULL;

        FUZZ_CHECK(api_link_next(http_response_header(response, "Link"), URL, &next) == 0);
        FUZZ_CHECK(!next[0] || api_url_same_server(URL, next));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(json_freep) Json *json = NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_buf_ Buf headers = {0};

        if (size < 2)
                return 0;
        text = strndup((const char *) data + 2, size - 2);
        FUZZ_CHECK(text);
        const char *body = read_headers(text, &headers);
        if (json_parse(body, strlen(body), &json) < 0)
                json = NULL;
        const HttpResponse response = {
                .code = codes[(data[0] >> 2) % ELEMENTSOF(codes)],
                .content_type = "application/json",
                .www_authenticate = "",
                .retry_after_usec = (uint64_t) data[1] * data[1] * USEC_PER_SEC,
                .effective_url = URL,
                .headers = &headers,
        };
        check_limits(&response, json);
        check_errors(&response, json, forges[data[0] & 3]->dialect);
        check_link(&response);
        return 0;
}
