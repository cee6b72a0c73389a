#include <errno.h>
#include <string.h>

#include "config/config.h"
#include "config/string-list.h"

static const struct {
        const char *name, *instance;
        bool has_api;
} kinds[_ORG_KIND_MAX] = {
        [ORG_LOCAL] = {"local", NULL, false},
        [ORG_GIT] = {"git", NULL, false},
        [ORG_GITHUB] = {"github", "https://github.com", true},
        [ORG_GITLAB] = {"gitlab", "https://gitlab.com", true},
        [ORG_GITEA] = {"gitea", NULL, true},
        [ORG_MESA] = {"mesa", "https://api.mesa.dev/v1", true},
};

const char *org_kind_name(OrgKind kind) {
        assert(kind >= 0 && kind < _ORG_KIND_MAX);
        return kinds[kind].name;
}

/* The URL of the public instance; NULL where there is none and Url= must be set. */
static const char *kind_instance(OrgKind kind) {
        assert(kind >= 0 && kind < _ORG_KIND_MAX);
        return kinds[kind].instance;
}

bool org_kind_has_api(OrgKind kind) {
        assert(kind >= 0 && kind < _ORG_KIND_MAX);
        return kinds[kind].has_api;
}

OrgKind org_kind_from_string(const char *s) {
        for (int k = 0; k < _ORG_KIND_MAX; k++)
                if (strcmp(s, kinds[k].name) == 0)
                        return (OrgKind) k;
        return _ORG_KIND_INVALID;
}

const char *org_config_url(const OrgConfig *c) {
        const char *instance = kind_instance(c->kind);

        return c->url[0] == '\0' && instance ? instance : c->url;
}

int org_config_new(const char *name, OrgKind kind, const char *url, OrgConfig **ret) {
        _cleanup_(org_config_freep) OrgConfig *c = calloc(1, sizeof(*c));

        if (!c)
                return -ENOMEM;
        c->name = strdup(name);
        c->url = strdup(url);
        if (!c->name || !c->url)
                return -ENOMEM;
        c->kind = kind;
        c->poll_interval_usec = ORG_POLL_DEFAULT;
        *ret = TAKE_PTR(c);
        return 0;
}

OrgConfig *org_config_free(OrgConfig *c) {
        if (!c)
                return NULL;
        string_list_free(c->repos);
        string_list_free(c->include);
        string_list_free(c->exclude);
        free(c->name);
        free(c->url);
        free(c->api_url);
        free(c->owner);
        free(c->client_id);
        free(c);
        return NULL;
}

static int copy_string(const char *from, char **to) {
        if (!from)
                return 0;
        *to = strdup(from);
        return *to ? 0 : -ENOMEM;
}

int org_config_copy(const OrgConfig *c, OrgConfig **ret) {
        _cleanup_(org_config_freep) OrgConfig *copy = NULL;

        int r = org_config_new(c->name, c->kind, c->url, &copy);
        if (r >= 0)
                r = string_list_copy(c->repos, &copy->repos);
        if (r >= 0)
                r = string_list_copy(c->include, &copy->include);
        if (r >= 0)
                r = string_list_copy(c->exclude, &copy->exclude);
        if (r >= 0)
                r = copy_string(c->api_url, &copy->api_url);
        if (r >= 0)
                r = copy_string(c->owner, &copy->owner);
        if (r >= 0)
                r = copy_string(c->client_id, &copy->client_id);
        if (r < 0)
                return r;
        copy->no_archived = c->no_archived;
        copy->no_forks = c->no_forks;
        copy->poll_interval_usec = c->poll_interval_usec;
        *ret = TAKE_PTR(copy);
        return 0;
}

static int add_once(char ***list, const char *s, size_t max) {
        size_t n = string_list_length(*list);

        for (size_t i = 0; i < n; i++)
                if (strcmp((*list)[i], s) == 0)
                        return 0;
        return n < max ? string_list_add(list, s) : -E2BIG;
}

int org_config_add_repo(OrgConfig *c, const char *name) {
        return add_once(&c->repos, name, ORG_REPOS_MAX);
}

int org_config_add_include(OrgConfig *c, const char *pattern) {
        return add_once(&c->include, pattern, ORG_PATTERNS_MAX);
}

int org_config_add_exclude(OrgConfig *c, const char *pattern) {
        return add_once(&c->exclude, pattern, ORG_PATTERNS_MAX);
}
