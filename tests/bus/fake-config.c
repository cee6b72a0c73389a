/* The part of config.h that the bus needs, until the layer is there. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int org_config_new(const char *name, OrgKind kind, const char *url, OrgConfig **ret) {
        OrgConfig *c = calloc(1, sizeof(*c));

        *c = (OrgConfig){
                .name = strdup(name),
                .kind = kind,
                .url = strdup(url),
                .poll_interval_usec = 60000000,
        };
        *ret = c;
        return 0;
}

OrgConfig *org_config_free(OrgConfig *c) {
        if (!c)
                return NULL;
        for (char **r = c->repos; r && *r; r++)
                free(*r);
        free(c->repos);
        free(c->name);
        free(c->url);
        free(c);
        return NULL;
}

int org_config_add_repo(OrgConfig *c, const char *name) {
        size_t n = 0;

        while (c->repos && c->repos[n])
                n++;
        c->repos = reallocarray(c->repos, n + 2, sizeof(*c->repos));
        c->repos[n] = strdup(name);
        c->repos[n + 1] = NULL;
        return 0;
}

int org_config_copy(const OrgConfig *c, OrgConfig **ret) {
        int r = org_config_new(c->name, c->kind, c->url, ret);

        (*ret)->poll_interval_usec = c->poll_interval_usec;
        for (char **repo = c->repos; repo && *repo && r >= 0; repo++)
                r = org_config_add_repo(*ret, *repo);
        return r;
}

const char *org_kind_name(OrgKind kind) {
        return kind == ORG_LOCAL ? "local" : "git";
}

OrgKind org_kind_from_string(const char *s) {
        return strcmp(s, "local") == 0 ? ORG_LOCAL
               : strcmp(s, "git") == 0 ? ORG_GIT
                                       : _ORG_KIND_INVALID;
}
