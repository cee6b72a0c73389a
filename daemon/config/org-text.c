#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "config/config.h"
#include "config/ini-text.h"
#include "config/string-list.h"
#include "config/value.h"

static int set_forge(OrgConfig *c, const char *value, ConfigError *e) {
        OrgKind kind = org_kind_from_string(value);

        if (kind == _ORG_KIND_INVALID)
                return config_error_set(
                        e,
                        "Forge=: \"%s\" is not local, git, github, gitlab, gitea or mesa",
                        value);
        c->kind = kind;
        return 0;
}

static int set_string(char **field, const char *value) {
        char *copy = strdup(value);

        if (!copy)
                return -ENOMEM;
        free(*field);
        *field = copy;
        return 0;
}

/* An empty one is none. */
static int set_optional(char **field, const char *value) {
        if (value[0])
                return set_string(field, value);
        free(*field);
        *field = NULL;
        return 0;
}

static int set_url(OrgConfig *c, const char *value, ConfigError *e) {
        return set_string(&c->url, value);
}

static int set_api_url(OrgConfig *c, const char *value, ConfigError *e) {
        return set_optional(&c->api_url, value);
}

static int set_owner(OrgConfig *c, const char *value, ConfigError *e) {
        return set_optional(&c->owner, value);
}

static int set_client_id(OrgConfig *c, const char *value, ConfigError *e) {
        return set_optional(&c->client_id, value);
}

static int add_repo(OrgConfig *c, const char *value, ConfigError *e) {
        if (value[0] == '\0') {
                c->repos = string_list_free(c->repos);
                return 0;
        }
        int r = org_config_add_repo(c, value);
        return r == -E2BIG ? config_error_set(e, "more than %d repositories", ORG_REPOS_MAX) : r;
}

static int refuse_pattern(ConfigError *e, const char *option) {
        return config_error_set(e, "%s=: more than %d patterns", option, ORG_PATTERNS_MAX);
}

static int add_include(OrgConfig *c, const char *value, ConfigError *e) {
        if (value[0] == '\0') {
                c->include = string_list_free(c->include);
                return 0;
        }
        int r = org_config_add_include(c, value);
        return r == -E2BIG ? refuse_pattern(e, "Include") : r;
}

static int add_exclude(OrgConfig *c, const char *value, ConfigError *e) {
        if (value[0] == '\0') {
                c->exclude = string_list_free(c->exclude);
                return 0;
        }
        int r = org_config_add_exclude(c, value);
        return r == -E2BIG ? refuse_pattern(e, "Exclude") : r;
}

static int set_unless(bool *field, const char *value, const char *option, ConfigError *e) {
        bool yes;

        if (value_parse_bool(value, &yes) < 0)
                return config_error_set(e, "%s=: \"%s\" is not yes or no", option, value);
        *field = !yes;
        return 0;
}

static int set_archived(OrgConfig *c, const char *value, ConfigError *e) {
        return set_unless(&c->no_archived, value, "Archived", e);
}

static int set_forks(OrgConfig *c, const char *value, ConfigError *e) {
        return set_unless(&c->no_forks, value, "Forks", e);
}

static int set_poll_interval(OrgConfig *c, const char *value, ConfigError *e) {
        uint64_t usec = ORG_POLL_DEFAULT;

        if (value[0] && (value_parse_usec(value, &usec) < 0 || usec > CONFIG_POLL_MAX))
                return config_error_set(
                        e, "PollIntervalSec=: \"%s\" is not a time span of up to a year", value);
        c->poll_interval_usec = usec;
        return 0;
}

/* One option, two lines: X(key, default, setter, documentation) */
/* clang-format off */
#define ORG_OPTIONS(X)                                                                             \
        X("Forge", "git", set_forge,                                                               \
          "What the org is: local, git, github, gitlab, gitea or mesa.")                           \
        X("Url", "", set_url,                                                                      \
          "The server, or what stands before names of repositories, or the directory of them.")    \
        X("ApiUrl", "", set_api_url,                                                               \
          "The server's API, where it is not where Url= lets expect it.")                          \
        X("Owner", "", set_owner,                                                                  \
          "The user, organisation or group to show; @me: one's own; unset, the whole server.")     \
        X("Repo", "", add_repo,                                                                    \
          "A repository to show; may be repeated, for servers that cannot list theirs.")           \
        X("Include", "", add_include,                                                              \
          "A pattern of the names to show; may be repeated; unset, all.")                          \
        X("Exclude", "", add_exclude,                                                              \
          "A pattern of the names not to show; may be repeated.")                                  \
        X("Archived", "yes", set_archived,                                                         \
          "Whether archived repositories are shown.")                                              \
        X("Forks", "yes", set_forks,                                                               \
          "Whether forks are shown.")                                                              \
        X("ClientId", "", set_client_id,                                                           \
          "The OAuth application that gitfsctl login signs in to.")                                \
        X("PollIntervalSec", "", set_poll_interval,                                                \
          "How often the server is asked for news; 0 is never; unset, as the daemon's option.")
/* clang-format on */

const ConfigOption org_options[] = {
#define X(key, text, setter, doc) {"Org", key, text, doc},
        ORG_OPTIONS(X)
#undef X
                {NULL, NULL, NULL, NULL},
};

static int (*const setters[])(OrgConfig *c, const char *value, ConfigError *e) = {
#define X(key, text, setter, doc) setter,
        ORG_OPTIONS(X)
#undef X
};

static int apply(size_t option, const char *value, void *userdata, ConfigError *ret_error) {
        if (value[0] == '\0')
                value = org_options[option].default_text;
        return setters[option](userdata, value, ret_error);
}

int org_config_parse(
        const char *name,
        const char *text,
        size_t len,
        const char *origin,
        OrgConfig **ret,
        ConfigError *ret_error) {
        _cleanup_(org_config_freep) OrgConfig *c = NULL;
        ConfigError reason;

        int r = org_config_new(name, ORG_GIT, "", &c);
        if (r < 0) {
                (void) config_error_set(ret_error, "%s: out of memory", origin);
                return r;
        }
        r = ini_text_parse(text, len, origin, org_options, apply, c, ret_error);
        if (r < 0)
                return r;
        r = org_config_check(c, &reason);
        if (r < 0) {
                (void) config_error_set(ret_error, "%s: %s", origin, reason.text);
                return r;
        }
        *ret = TAKE_PTR(c);
        return 0;
}

static int format_optional(Buf *b, const char *key, const char *value) {
        return value && value[0] ? buf_appendf(b, "%s=%s\n", key, value) : 0;
}

static int format_list(Buf *b, const char *key, char *const *values) {
        int r = 0;

        for (; r >= 0 && values && *values; values++)
                r = buf_appendf(b, "%s=%s\n", key, *values);
        return r;
}

int org_config_format(const OrgConfig *c, Buf *ret) {
        size_t before = ret->len;

        int r = buf_appendf(ret, "[Org]\nForge=%s\n", org_kind_name(c->kind));
        if (r >= 0)
                r = format_optional(ret, "Url", c->url);
        if (r >= 0)
                r = format_optional(ret, "ApiUrl", c->api_url);
        if (r >= 0)
                r = format_optional(ret, "Owner", c->owner);
        if (r >= 0)
                r = format_list(ret, "Include", c->include);
        if (r >= 0)
                r = format_list(ret, "Exclude", c->exclude);
        if (r >= 0 && c->no_archived)
                r = buf_appendf(ret, "Archived=no\n");
        if (r >= 0 && c->no_forks)
                r = buf_appendf(ret, "Forks=no\n");
        if (r >= 0)
                r = format_optional(ret, "ClientId", c->client_id);
        if (r >= 0 && c->poll_interval_usec != ORG_POLL_DEFAULT)
                r = buf_appendf(ret, "PollIntervalSec=%" PRIu64 "us\n", c->poll_interval_usec);
        if (r >= 0)
                r = format_list(ret, "Repo", c->repos);
        if (r < 0)
                ret->len = before;
        return r;
}
