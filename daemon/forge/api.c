#include "forge/api.h"

#include <errno.h>
#include <string.h>

#include "forge/api-private.h"

int api_server_init(
        ApiServer *server,
        const ForgeContext *context,
        const ApiDialect *dialect,
        const char *base,
        Secrets *secrets) {
        _cleanup_free_ char *copy = strdup(base), *origin = NULL;

        if (!copy)
                return -ENOMEM;
        int r = http_url_origin(copy, &origin);
        if (r < 0)
                return r;
        *server = (ApiServer){
                .context = context,
                .dialect = dialect,
                .base = TAKE_PTR(copy),
                .origin = TAKE_PTR(origin),
                .secrets = secrets ? secrets_ref(secrets) : NULL,
        };
        return 0;
}

void api_server_done(ApiServer *server) {
        free(server->base);
        free(server->origin);
        (void) secrets_unref(server->secrets);
        *server = (ApiServer){0};
}

/* In the part between the scheme and the path, which curl lets nothing but these end. */
static bool names_user(const char *url) {
        const char *authority = strstr(url, "://");

        if (!authority)
                return true;
        authority += strlen("://");
        return memchr(authority, '@', strcspn(authority, "/?#")) != NULL;
}

bool api_url_same_server(const char *server, const char *url) {
        _cleanup_free_ char *a = NULL, *b = NULL;

        return !names_user(url) && http_url_origin(server, &a) >= 0 &&
               http_url_origin(url, &b) >= 0 && strcmp(a, b) == 0;
}
