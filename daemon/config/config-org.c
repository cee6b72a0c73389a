#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/conf-dir.h"
#include "config/config.h"
#include "config/ini-text.h"
#include "config/org-url.h"
#include "config/value.h"
#include "util/clock.h"
#include "util/path.h"

/* Names and paths go into a file of one line each, of which blanks at the ends are cut. */
#define LOCAL_PATH_MAX 4095

static const char *const kind_names[_ORG_KIND_MAX] = {
        [ORG_LOCAL] = "local",
        [ORG_GIT] = "git",
        [ORG_GITHUB] = "github",
        [ORG_GITLAB] = "gitlab",
        [ORG_GITEA] = "gitea",
        [ORG_MESA] = "mesa",
};

const char *org_kind_name(OrgKind kind) {
        assert(kind >= 0 && kind < _ORG_KIND_MAX);
        return kind_names[kind];
}

OrgKind org_kind_from_string(const char *s) {
        for (int k = 0; k < _ORG_KIND_MAX; k++)
                if (strcmp(s, kind_names[k]) == 0)
                        return (OrgKind) k;
        return _ORG_KIND_INVALID;
}

static size_t count_repos(const OrgConfig *c) {
        size_t n = 0;

        while (c->repos && c->repos[n])
                n++;
        return n;
}

static void free_repos(OrgConfig *c) {
        for (char **p = c->repos; p && *p; p++)
                free(*p);
        free(c->repos);
        c->repos = NULL;
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
        free_repos(c);
        free(c->name);
        free(c->url);
        free(c);
        return NULL;
}

int org_config_copy(const OrgConfig *c, OrgConfig **ret) {
        _cleanup_(org_config_freep) OrgConfig *copy = NULL;

        int r = org_config_new(c->name, c->kind, c->url, &copy);
        for (size_t i = 0; r >= 0 && c->repos && c->repos[i]; i++)
                r = org_config_add_repo(copy, c->repos[i]);
        if (r < 0)
                return r;
        copy->poll_interval_usec = c->poll_interval_usec;
        *ret = TAKE_PTR(copy);
        return 0;
}

int org_config_add_repo(OrgConfig *c, const char *name) {
        size_t n = count_repos(c);

        for (size_t i = 0; i < n; i++)
                if (strcmp(c->repos[i], name) == 0)
                        return 0;
        if (n >= ORG_REPOS_MAX)
                return -E2BIG;
        _cleanup_free_ char *copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        char **repos = reallocarray(c->repos, n + 2, sizeof(*repos));
        if (!repos)
                return -ENOMEM;
        repos[n] = TAKE_PTR(copy);
        repos[n + 1] = NULL;
        c->repos = repos;
        return 0;
}

static int set_forge(OrgConfig *c, const char *value, ConfigError *e) {
        OrgKind kind = org_kind_from_string(value);

        if (kind == _ORG_KIND_INVALID)
                return config_error_set(e, "Forge=: \"%s\" is not local or git", value);
        c->kind = kind;
        return 0;
}

static int set_url(OrgConfig *c, const char *value, ConfigError *e) {
        char *url = strdup(value);

        if (!url)
                return -ENOMEM;
        free(c->url);
        c->url = url;
        return 0;
}

static int add_repo(OrgConfig *c, const char *value, ConfigError *e) {
        if (value[0] == '\0') {
                free_repos(c);
                return 0;
        }
        int r = org_config_add_repo(c, value);
        return r == -E2BIG ? config_error_set(e, "more than %d repositories", ORG_REPOS_MAX) : r;
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
          "What the org is: git for any git server, local for a directory of repositories.")       \
        X("Url", "", set_url,                                                                      \
          "The URL under which the repositories are found, or the directory that holds them.")     \
        X("Repo", "", add_repo,                                                                    \
          "A repository to show; may be repeated, for servers that cannot list theirs.")           \
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

/* A line of a file holds it as it is. */
static bool survives_a_file(const char *s) {
        size_t len = strlen(s);

        for (const char *p = s; *p; p++)
                if (*p == '\n' || *p == '\r')
                        return false;
        return len == 0 || (!strchr(" \t\v\f", s[0]) && !strchr(" \t\v\f", s[len - 1]));
}

static int check_directory(const char *path, ConfigError *e) {
        _cleanup_free_ char *parsed = NULL;

        int r = value_parse_path(path, &parsed);
        if (r == -ENOMEM)
                return r;
        if (r < 0 || strlen(path) > LOCAL_PATH_MAX || !survives_a_file(path))
                return config_error_set(e, "\"%s\" is not an absolute directory", path);
        return 0;
}

int org_config_check(const OrgConfig *c, ConfigError *ret_error) {
        if (!name_is_valid(c->name) || c->name[0] == '.' || strchr(c->name, '@') ||
            !survives_a_file(c->name))
                return config_error_set(
                        ret_error, "\"%s\" is not a valid name for an org", c->name);
        if (c->url[0] == '\0')
                return config_error_set(ret_error, "Url= is not set");
        int r = c->kind == ORG_LOCAL ? check_directory(c->url, ret_error)
                                     : org_url_check(c->url, ret_error);
        if (r < 0)
                return r;
        for (size_t i = 0; c->repos && c->repos[i]; i++)
                if (!name_is_valid(c->repos[i]) || !survives_a_file(c->repos[i]))
                        return config_error_set(
                                ret_error,
                                "\"%s\" is not a valid name for a repository",
                                c->repos[i]);
        return 0;
}

int org_config_format(const OrgConfig *c, Buf *ret) {
        size_t before = ret->len;

        int r = buf_appendf(ret, "[Org]\nForge=%s\nUrl=%s\n", org_kind_name(c->kind), c->url);
        if (r >= 0 && c->poll_interval_usec != ORG_POLL_DEFAULT)
                r = buf_appendf(ret, "PollIntervalSec=%" PRIu64 "us\n", c->poll_interval_usec);
        for (size_t i = 0; r >= 0 && c->repos && c->repos[i]; i++)
                r = buf_appendf(ret, "Repo=%s\n", c->repos[i]);
        if (r < 0)
                ret->len = before;
        return r;
}

static int load_one(const char *dir, const char *file, OrgConfig **ret, ConfigError *ret_error) {
        _cleanup_free_ char *path = path_join(dir, file, NULL);
        _cleanup_free_ char *name = strndup(file, strlen(file) - strlen(".conf"));
        _cleanup_buf_ Buf text = {0};

        if (!path || !name)
                return -ENOMEM;
        int r = conf_file_read(path, &text, ret_error);
        if (r < 0)
                return r;
        return org_config_parse(name, (const char *) text.data, text.len, path, ret, ret_error);
}

int org_config_load_all(
        const char *config_home,
        void (*on_error)(const ConfigError *error, void *userdata),
        void *userdata,
        OrgConfig ***ret,
        size_t *ret_n) {
        _cleanup_free_ char *dir = path_join(config_home, "orgs.d", NULL);
        _cleanup_(conf_dir_freep) char **names = NULL;
        size_t n = 0, n_names = 0;

        if (!dir)
                return -ENOMEM;
        int r = conf_dir_list(dir, &names);
        if (r < 0)
                return r;
        while (names[n_names])
                n_names++;
        OrgConfig **orgs = calloc(n_names + 1, sizeof(*orgs));
        if (!orgs)
                return -ENOMEM;

        for (char **name = names; *name; name++) {
                ConfigError e;
                r = load_one(dir, *name, &orgs[n], &e);
                if (r == -ENOMEM)
                        break;
                if (r >= 0)
                        n++;
                else if (r != -ENOENT) /* removed meanwhile */
                        on_error(&e, userdata);
        }
        if (r == -ENOMEM) {
                while (n > 0)
                        org_config_free(orgs[--n]);
                free(orgs);
                return r;
        }
        *ret = orgs;
        *ret_n = n;
        return 0;
}
