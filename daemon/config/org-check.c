/* Whether an org can be. Everything that is let through survives being written to its file and read
 * again, and nothing that is set is silently without effect. */

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "config/ini-text.h"
#include "config/org-url.h"
#include "config/value.h"
#include "util/path.h"

/* Names and paths go into a file of one line each, of which blanks at the ends are cut. */
#define LOCAL_PATH_MAX 4095
#define CLIENT_ID_MAX 128

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

static int check_url(const OrgConfig *c, ConfigError *e) {
        const char *url = org_config_url(c);

        if (url[0] == '\0')
                return config_error_set(e, "Url= is not set");
        if (c->kind == ORG_LOCAL)
                return check_directory(url, e);
        int r = org_kind_has_api(c->kind) ? org_url_check_http(url, e) : org_url_check(url, e);
        if (r < 0 || !c->api_url)
                return r;
        ConfigError reason;
        r = org_url_check_http(c->api_url, &reason);
        if (r < 0)
                return config_error_set(e, "ApiUrl=: %s", reason.text);
        /* The token would be sent in the clear, to a place that the other URL does not vouch for.
         */
        if (strncasecmp(url, "https:", 6) == 0 && strncasecmp(c->api_url, "https:", 6) != 0)
                return config_error_set(e, "ApiUrl=: must be https://, as Url= is");
        return 0;
}

/* "torvalds", "group/subgroup". */
static bool owner_is_valid(const char *owner) {
        unsigned depth = 0;

        if (strlen(owner) > ORG_OWNER_MAX || !survives_a_file(owner))
                return false;
        for (const char *p = owner;; p++) {
                const char *end = strchrnul(p, '/');
                char name[ORG_OWNER_MAX + 1];
                size_t len = (size_t) (end - p);
                memcpy(name, p, len);
                name[len] = '\0';
                if (++depth > ORG_OWNER_DEPTH_MAX || !name_is_valid(name) || strchr(name, '@'))
                        return false;
                if (!*end)
                        return true;
                p = end;
        }
}

static int check_owner(const OrgConfig *c, ConfigError *e) {
        if (!c->owner || strcmp(c->owner, ORG_OWNER_ME) == 0)
                return 0;
        if (!owner_is_valid(c->owner))
                return config_error_set(
                        e, "Owner=: \"%s\" is not a valid name for an owner", c->owner);
        if (c->kind != ORG_GITLAB && strchr(c->owner, '/'))
                return config_error_set(
                        e, "Owner=: \"%s\": only groups of gitlab hold others", c->owner);
        return 0;
}

static int check_patterns(char *const *patterns, const char *option, ConfigError *e) {
        for (; patterns && *patterns; patterns++)
                if (!**patterns || strlen(*patterns) > ORG_PATTERN_MAX ||
                    !survives_a_file(*patterns))
                        return config_error_set(
                                e,
                                "%s=: \"%s\" is not a pattern of up to %d bytes",
                                option,
                                *patterns,
                                ORG_PATTERN_MAX);
        return 0;
}

static int check_client_id(const char *id, ConfigError *e) {
        size_t len = strlen(id);

        for (const char *p = id; *p; p++)
                if (!isalnum((unsigned char) *p) && !strchr("-._~", *p))
                        len = SIZE_MAX;
        return len > 0 && len <= CLIENT_ID_MAX
                       ? 0
                       : config_error_set(e, "ClientId=: this is not the id of an application");
}

/* What would have no effect is a mistake. */
static int check_applicable(const OrgConfig *c, ConfigError *e) {
        const struct {
                const char *option;
                bool set;
        } of_apis[] = {
                {"ApiUrl", c->api_url},
                {"Owner", c->owner},
                {"Include", c->include},
                {"Exclude", c->exclude},
                {"Archived", c->no_archived},
                {"Forks", c->no_forks},
        };

        for (size_t i = 0; i < ELEMENTSOF(of_apis); i++)
                if (of_apis[i].set && !org_kind_has_api(c->kind))
                        return config_error_set(
                                e,
                                "%s= is for github, gitlab, gitea and mesa; Forge= is %s",
                                of_apis[i].option,
                                org_kind_name(c->kind));
        if (c->client_id && c->kind != ORG_GITHUB)
                return config_error_set(
                        e, "ClientId= is for github; Forge= is %s", org_kind_name(c->kind));
        if (c->repos && org_kind_has_api(c->kind))
                return config_error_set(
                        e,
                        "Repo= is for servers that cannot list their repositories; for %s, use "
                        "Include=",
                        org_kind_name(c->kind));
        return 0;
}

int org_config_check(const OrgConfig *c, ConfigError *ret_error) {
        if (!name_is_valid(c->name) || c->name[0] == '.' || strchr(c->name, '@') ||
            !survives_a_file(c->name))
                return config_error_set(
                        ret_error, "\"%s\" is not a valid name for an org", c->name);
        int r = check_url(c, ret_error);
        if (r >= 0)
                r = check_applicable(c, ret_error);
        if (r >= 0)
                r = check_owner(c, ret_error);
        if (r >= 0)
                r = check_patterns(c->include, "Include", ret_error);
        if (r >= 0)
                r = check_patterns(c->exclude, "Exclude", ret_error);
        if (r >= 0 && c->client_id)
                r = check_client_id(c->client_id, ret_error);
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
