/* A URL that a server gave in an answer from another one (a redirect, a link): the one that was
 * asked, a newline, the one that was given. Where we say that both are of the same server, curl
 * goes to the same server, too: it gets the token. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/ssh-url.h"
#include "forge/api-private.h"
#include "forge/http.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

/* The origin is an origin, and that of itself. */
static char *origin_of(const char *url) {
        _cleanup_free_ char *again = NULL;
        char *origin = NULL;

        int r = http_url_origin(url, &origin);
        FUZZ_CHECK(r == 0 || r == -EINVAL);
        if (r < 0)
                return NULL;
        FUZZ_CHECK(http_url_origin(origin, &again) == 0 && strcmp(origin, again) == 0);
        return origin;
}

static void check_same_server(const char *asked, const char *given) {
        _cleanup_free_ char *a = origin_of(asked);
        _cleanup_free_ char *b = origin_of(given);

        if (!api_url_same_server(asked, given))
                return;
        FUZZ_CHECK(a && b && strcmp(a, b) == 0);
        /* Nor does it bring a user name of its own. */
        const char *authority = strstr(given, "://");
        FUZZ_CHECK(authority);
        authority += strlen("://");
        FUZZ_CHECK(!memchr(authority, '@', strcspn(authority, "/?#")));
}

static void check_ssh(const char *url) {
        _cleanup_ssh_url_ SshUrl u = {0};

        int r = ssh_url_parse(url, &u);
        FUZZ_CHECK(r == 0 || r == -EINVAL);
        if (r < 0)
                return;
        FUZZ_CHECK(u.host[0] && u.host[0] != '-' && u.path[0] != '-' && u.port <= 65535);
        FUZZ_CHECK(!u.user || (u.user[0] && u.user[0] != '-'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);
        _cleanup_free_ char *resolved = NULL;

        FUZZ_CHECK(text);
        check_ssh(text);
        char *given = strchr(text, '\n');
        if (!given)
                return 0;
        *given++ = '\0';
        check_same_server(text, given);
        int r = http_url_resolve(text, given, &resolved);
        FUZZ_CHECK(r == 0 || r == -EINVAL);
        if (r == 0)
                check_same_server(text, resolved);
        return 0;
}
