#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "config/config.h"
#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "util/clock.h"
#include "util/path.h"

static int parse(const char *text, OrgConfig **ret, ConfigError *e) {
        return org_config_parse("name", text, strlen(text), "origin", ret, e);
}

static void check_same_list(char *const *a, char *const *b) {
        size_t i = 0;

        for (; a && a[i]; i++) {
                ck_assert_ptr_nonnull(b);
                ck_assert_pstr_eq(a[i], b[i]);
        }
        ck_assert(!b || !b[i]);
}

static void check_equal(const OrgConfig *a, const OrgConfig *b) {
        ck_assert_str_eq(a->name, b->name);
        ck_assert_int_eq(a->kind, b->kind);
        ck_assert_str_eq(a->url, b->url);
        ck_assert_pstr_eq(a->api_url, b->api_url);
        ck_assert_pstr_eq(a->owner, b->owner);
        ck_assert_pstr_eq(a->client_id, b->client_id);
        ck_assert(a->no_archived == b->no_archived);
        ck_assert(a->no_forks == b->no_forks);
        ck_assert_uint_eq(a->poll_interval_usec, b->poll_interval_usec);
        check_same_list(a->repos, b->repos);
        check_same_list(a->include, b->include);
        check_same_list(a->exclude, b->exclude);
}

/* R22: two files that set each option, and nothing in the table that they do not set. */
START_TEST(test_each_option) {
        static const char of_git[] = "[Org]\nForge=local\nUrl=/srv/git\nRepo=a\nRepo=b c\n"
                                     "PollIntervalSec=2min\n";
        static const char of_api[] =
                "[Org]\nForge=gitlab\nUrl=https://host\nApiUrl=https://api.host/v4\n"
                "Owner=group/sub\nInclude=a*\nInclude=[bc]?\nExclude=*-old\nArchived=no\n"
                "Forks=no\n";
        static const char of_login[] = "[Org]\nForge=github\nClientId=Iv1.0a\n";
        _cleanup_(org_config_freep) OrgConfig *c = NULL;
        _cleanup_(org_config_freep) OrgConfig *api = NULL;
        _cleanup_(org_config_freep) OrgConfig *login = NULL;
        ConfigError e;

        for (const ConfigOption *o = org_options; o->section; o++) {
                char line[64];
                ck_assert_str_eq(o->section, "Org");
                (void) snprintf(line, sizeof(line), "\n%s=", o->key);
                ck_assert_msg(
                        strstr(of_git, line) || strstr(of_api, line) || strstr(of_login, line),
                        "no test for %s=",
                        o->key);
                ck_assert_msg(strlen(o->doc) > 20 && strlen(o->doc) < 100, "%s", o->key);
        }
        ck_assert_msg(parse(of_git, &c, &e) == 0, "%s", e.text);
        ck_assert_str_eq(c->name, "name");
        ck_assert_int_eq(c->kind, ORG_LOCAL);
        ck_assert_str_eq(c->url, "/srv/git");
        ck_assert_str_eq(c->repos[0], "a");
        ck_assert_str_eq(c->repos[1], "b c");
        ck_assert_ptr_null(c->repos[2]);
        ck_assert_uint_eq(c->poll_interval_usec, 120 * USEC_PER_SEC);

        ck_assert_msg(parse(of_api, &api, &e) == 0, "%s", e.text);
        ck_assert_int_eq(api->kind, ORG_GITLAB);
        ck_assert_str_eq(api->url, "https://host");
        ck_assert_str_eq(api->api_url, "https://api.host/v4");
        ck_assert_str_eq(api->owner, "group/sub");
        ck_assert_str_eq(api->include[0], "a*");
        ck_assert_str_eq(api->include[1], "[bc]?");
        ck_assert_ptr_null(api->include[2]);
        ck_assert_str_eq(api->exclude[0], "*-old");
        ck_assert_ptr_null(api->exclude[1]);
        ck_assert(api->no_archived && api->no_forks);

        ck_assert_msg(parse(of_login, &login, &e) == 0, "%s", e.text);
        ck_assert_str_eq(login->client_id, "Iv1.0a");
}
END_TEST

START_TEST(test_defaults) {
        _cleanup_(org_config_freep) OrgConfig *c = NULL;
        ConfigError e;

        ck_assert_int_eq(parse("[Org]\nUrl=https://host\n", &c, &e), 0);
        ck_assert_int_eq(c->kind, ORG_GIT);
        ck_assert_ptr_null(c->repos);
        ck_assert_ptr_null(c->api_url);
        ck_assert_ptr_null(c->owner);
        ck_assert_ptr_null(c->include);
        ck_assert_ptr_null(c->exclude);
        ck_assert(!c->no_archived && !c->no_forks);
        ck_assert_ptr_null(c->client_id);
        ck_assert_uint_eq(c->poll_interval_usec, ORG_POLL_DEFAULT);

        /* An empty assignment takes back what stood before. */
        _cleanup_(org_config_freep) OrgConfig *again = NULL;
        static const char text[] = "[Org]\nForge=local\nForge=\nRepo=a\nRepo=\nRepo=b\nRepo=b\n"
                                   "PollIntervalSec=0\nPollIntervalSec=\nUrl=https://host\n"
                                   "ApiUrl=x\nApiUrl=\nOwner=x\nOwner=\nInclude=x\nInclude=\n"
                                   "Exclude=x\nExclude=\nArchived=no\nArchived=\nForks=no\n"
                                   "Forks=\nClientId=x\nClientId=\n";
        ck_assert_msg(parse(text, &again, &e) == 0, "%s", e.text);
        ck_assert_int_eq(again->kind, ORG_GIT);
        ck_assert_str_eq(again->repos[0], "b");
        ck_assert_ptr_null(again->repos[1]);
        ck_assert_ptr_null(again->api_url);
        ck_assert_ptr_null(again->owner);
        ck_assert_ptr_null(again->include);
        ck_assert_ptr_null(again->exclude);
        ck_assert(!again->no_archived && !again->no_forks);
        ck_assert_ptr_null(again->client_id);
        ck_assert_uint_eq(again->poll_interval_usec, ORG_POLL_DEFAULT);
}
END_TEST

START_TEST(test_round_trip) {
        static const struct {
                OrgKind kind;
                const char *url;
                uint64_t poll;
                const char *repos[4];
        } orgs[] = {
                {ORG_GIT, "https://host", ORG_POLL_DEFAULT, {NULL}},
                {ORG_GIT, "http://[::1]:8080/a/b.git/", 0, {"a", ";b", "#c", "d=e"}},
                {ORG_LOCAL, "/srv/with blank;#=[x]", 1, {"[x]", "\"quoted\"", "\xc3\xa4", "a b"}},
                {ORG_LOCAL, "/", CONFIG_POLL_MAX, {".github", NULL}},
        };
        for (size_t i = 0; i < ELEMENTSOF(orgs); i++) {
                _cleanup_(org_config_freep) OrgConfig *c = NULL;
                _cleanup_(org_config_freep) OrgConfig *copy = NULL;
                _cleanup_(org_config_freep) OrgConfig *back = NULL;
                _cleanup_buf_ Buf text = {0};
                ConfigError e;

                ck_assert_int_eq(org_config_new("name", orgs[i].kind, orgs[i].url, &c), 0);
                c->poll_interval_usec = orgs[i].poll;
                for (size_t k = 0; k < 4 && orgs[i].repos[k]; k++)
                        ck_assert_int_eq(org_config_add_repo(c, orgs[i].repos[k]), 0);
                ck_assert_msg(org_config_check(c, &e) == 0, "%s", e.text);
                ck_assert_int_eq(org_config_copy(c, &copy), 0);
                check_equal(c, copy);
                ck_assert_int_eq(org_config_format(c, &text), 0);
                ck_assert_msg(parse(buf_str(&text), &back, &e) == 0, "%s", e.text);
                check_equal(c, back);
        }
}
END_TEST

/* The options of the forges with an API. */
START_TEST(test_round_trip_of_api) {
        static const struct {
                OrgKind kind;
                const char *url, *api_url, *owner, *include, *exclude, *client_id;
                bool no_archived, no_forks;
        } orgs[] = {
                {.kind = ORG_GITHUB},
                {.kind = ORG_GITHUB, .owner = "@me", .client_id = "Iv1.abc", .no_forks = true},
                {.kind = ORG_GITLAB, .owner = "a/b/c", .include = "[!x]*;#", .no_archived = true},
                {ORG_GITEA,
                 "http://h:3000",
                 "http://h/api/v1",
                 "o",
                 "\\*",
                 "=x",
                 NULL,
                 false,
                 false},
                {.kind = ORG_MESA, .url = "https://h/v1", .owner = "x y"},
        };
        for (size_t i = 0; i < ELEMENTSOF(orgs); i++) {
                _cleanup_(org_config_freep) OrgConfig *c = NULL;
                _cleanup_(org_config_freep) OrgConfig *copy = NULL;
                _cleanup_(org_config_freep) OrgConfig *back = NULL;
                _cleanup_buf_ Buf text = {0};
                const char *url = orgs[i].url ? orgs[i].url : "";
                ConfigError e;

                ck_assert_int_eq(org_config_new("name", orgs[i].kind, url, &c), 0);
                c->api_url = orgs[i].api_url ? strdup(orgs[i].api_url) : NULL;
                c->owner = orgs[i].owner ? strdup(orgs[i].owner) : NULL;
                c->client_id = orgs[i].client_id ? strdup(orgs[i].client_id) : NULL;
                c->no_archived = orgs[i].no_archived;
                c->no_forks = orgs[i].no_forks;
                if (orgs[i].include)
                        ck_assert_int_eq(org_config_add_include(c, orgs[i].include), 0);
                if (orgs[i].exclude)
                        ck_assert_int_eq(org_config_add_exclude(c, orgs[i].exclude), 0);
                ck_assert_msg(org_config_check(c, &e) == 0, "%zu: %s", i, e.text);
                ck_assert_int_eq(org_config_copy(c, &copy), 0);
                check_equal(c, copy);
                ck_assert_int_eq(org_config_format(c, &text), 0);
                ck_assert_msg(parse(buf_str(&text), &back, &e) == 0, "%s", e.text);
                check_equal(c, back);
        }
}
END_TEST

START_TEST(test_public_instances) {
        static const char *const instances[_ORG_KIND_MAX] = {
                [ORG_GITHUB] = "https://github.com",
                [ORG_GITLAB] = "https://gitlab.com",
                [ORG_MESA] = "https://api.mesa.dev/v1",
        };
        for (int k = 0; k < _ORG_KIND_MAX; k++) {
                _cleanup_(org_config_freep) OrgConfig *c = NULL;
                _cleanup_(org_config_freep) OrgConfig *own = NULL;
                ConfigError e;

                ck_assert_int_eq(org_config_new("name", (OrgKind) k, "", &c), 0);
                ck_assert_int_eq(org_config_check(c, &e), instances[k] ? 0 : -EINVAL);
                ck_assert_str_eq(org_config_url(c), instances[k] ? instances[k] : "");
                ck_assert_int_eq(org_config_new("name", (OrgKind) k, "https://own", &own), 0);
                ck_assert_str_eq(org_config_url(own), "https://own");
        }
}
END_TEST

START_TEST(test_urls) {
        static const char *const good[] = {
                "https://github.com",
                "http://127.0.0.1:8080/",
                "HTTPS://Host.example/path%20x/~user/@scope",
                "https://[2001:db8::1]",
                "http://a_b.local:65535/x;y=z,w",
                "ssh://git@host/",
                "git@host:path",
        };
        static const char *const bad[] = {
                "github.com",
                "ftp://host/",
                "ssh://git:s3cret@host/",
                "git@-host:path",
                "git@host:a b",
                "git@host:\xc3\xa4",
                "file:///srv",
                "https:/host",
                "https://",
                "https:///path",
                "https://:80/",
                "https://host:0/",
                "https://host:65536",
                "https://host:/",
                "https://host:8x",
                "https://-host/",
                "https://h ost/",
                "https://host/a b",
                "https://host/?q",
                "https://host/#f",
                "https://host?q",
                "https://host\\@evil/",
                "https://host/\xc3\xa4",
                "https://[::1",
                "https://[]/",
                "https://[::1]x",
                "https://ho%73t/",
                "//host/",
                "/srv/git",
        };
        for (size_t i = 0; i < ELEMENTSOF(good) + ELEMENTSOF(bad); i++) {
                _cleanup_(org_config_freep) OrgConfig *c = NULL;
                bool is_good = i < ELEMENTSOF(good);
                const char *url = is_good ? good[i] : bad[i - ELEMENTSOF(good)];
                ConfigError e = {0};

                ck_assert_int_eq(org_config_new("name", ORG_GIT, url, &c), 0);
                int r = org_config_check(c, &e);
                ck_assert_msg(r == (is_good ? 0 : -EINVAL), "%s: %d %s", url, r, e.text);
                ck_assert_msg(is_good || strlen(e.text) > 10, "%s", url);
        }
}
END_TEST

START_TEST(test_credentials_refused) {
        static const char *const urls[] = {
                "https://user:s3cret@host/",
                "https://s3cret@host",
                "http://:s3cret@host:80/x",
                "https://a@s3cret@host/",
                "https://user:s3cret@",
                "https://u:s3cret@h?q",
                "https://u: s3cret@h/"};
        for (size_t i = 0; i < ELEMENTSOF(urls); i++) {
                _cleanup_buf_ Buf text = {0};
                OrgConfig *c = NULL;
                ConfigError e;

                ck_assert_int_eq(buf_appendf(&text, "[Org]\nUrl=%s\n", urls[i]), 0);
                ck_assert_int_eq(parse(buf_str(&text), &c, &e), -EINVAL);
                ck_assert_ptr_null(c);
                ck_assert_ptr_nonnull(strstr(e.text, "credentials"));
                ck_assert_ptr_null(strstr(e.text, "s3cret"));
        }
}
END_TEST

START_TEST(test_directories) {
        static const char *const bad[] = {"srv", "", "/srv/../x", "/srv ", "/a\nb", "https://host"};
        ConfigError e;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_(org_config_freep) OrgConfig *c = NULL;
                ck_assert_int_eq(org_config_new("name", ORG_LOCAL, bad[i], &c), 0);
                ck_assert_msg(org_config_check(c, &e) == -EINVAL, "\"%s\"", bad[i]);
        }
}
END_TEST

START_TEST(test_names) {
        static const char *const bad[] = {
                "a/b", "/", "", ".", "..", "a\nb", " a", "a ", "\ta", "../x", "a\x01"};
        ConfigError e;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_(org_config_freep) OrgConfig *org = NULL;
                _cleanup_(org_config_freep) OrgConfig *repo = NULL;

                ck_assert_int_eq(org_config_new(bad[i], ORG_GIT, "https://host", &org), 0);
                ck_assert_msg(org_config_check(org, &e) == -EINVAL, "org \"%s\"", bad[i]);
                ck_assert_int_eq(org_config_new("name", ORG_GIT, "https://host", &repo), 0);
                ck_assert_int_eq(org_config_add_repo(repo, bad[i]), 0);
                ck_assert_msg(org_config_check(repo, &e) == -EINVAL, "repo \"%s\"", bad[i]);
        }
        /* The file of a hidden name would not be read again. */
        _cleanup_(org_config_freep) OrgConfig *hidden = NULL;
        ck_assert_int_eq(org_config_new(".name", ORG_GIT, "https://host", &hidden), 0);
        ck_assert_int_eq(org_config_check(hidden, &e), -EINVAL);
}
END_TEST

START_TEST(test_mistakes_are_found) {
        static const struct {
                const char *text, *error;
        } mistakes[] = {
                {"", "origin: Url= is not set"},
                {"[Org]\nForge=git\n", "origin: Url= is not set"},
                {"[Org]\nForge=gitea\n", "origin: Url= is not set"},
                {"[Org]\nForge=hub\n",
                 "origin:2: Forge=: \"hub\" is not local, git, github, gitlab, gitea or mesa"},
                {"[Org]\nURL=https://host\n", "origin:2: unknown option \"URL\" in [Org]"},
                {"[Mount]\n", "origin:1: unknown section [Mount]"},
                {"[Org]\nPollIntervalSec=x\n",
                 "origin:2: PollIntervalSec=: \"x\" is not a time span of up to a year"},
                {"[Org]\nUrl=https://h\nRepo=a/b\n",
                 "origin: \"a/b\" is not a valid name for a repository"},
                {"[Org]\nForge=github\nUrl=ssh://git@h\n",
                 "origin: the URL is not http:// or https://"},
                {"[Org]\nForge=github\nApiUrl=api.h\n",
                 "origin: ApiUrl=: the URL is not http:// or https://"},
                {"[Org]\nForge=github\nApiUrl=http://api.h\n",
                 "origin: ApiUrl=: must be https://, as Url= is"},
                {"[Org]\nForge=github\nOwner=a/b\n",
                 "origin: Owner=: \"a/b\": only groups of gitlab hold others"},
                {"[Org]\nForge=gitlab\nOwner=a//b\n",
                 "origin: Owner=: \"a//b\" is not a valid name for an owner"},
                {"[Org]\nForge=gitlab\nOwner=a/\n",
                 "origin: Owner=: \"a/\" is not a valid name for an owner"},
                {"[Org]\nForge=gitlab\nOwner=../x\n",
                 "origin: Owner=: \"../x\" is not a valid name for an owner"},
                {"[Org]\nForge=github\nOwner=@you\n",
                 "origin: Owner=: \"@you\" is not a valid name for an owner"},
                {"[Org]\nForge=github\nArchived=maybe\n",
                 "origin:3: Archived=: \"maybe\" is not yes or no"},
                {"[Org]\nForge=github\nForks=2\n", "origin:3: Forks=: \"2\" is not yes or no"},
                {"[Org]\nForge=github\nClientId=a b\n",
                 "origin: ClientId=: this is not the id of an application"},
                {"[Org]\nForge=gitlab\nClientId=a\n",
                 "origin: ClientId= is for github; Forge= is gitlab"},
                {"[Org]\nForge=github\nRepo=a\n",
                 "origin: Repo= is for servers that cannot list their repositories; for github, "
                 "use "
                 "Include="},
        };
        for (size_t i = 0; i < ELEMENTSOF(mistakes); i++) {
                OrgConfig *c = NULL;
                ConfigError e;
                ck_assert_int_eq(parse(mistakes[i].text, &c, &e), -EINVAL);
                ck_assert_ptr_null(c);
                ck_assert_str_eq(e.text, mistakes[i].error);
        }
}
END_TEST

/* What would have no effect is a mistake: it would pass for a setting. */
START_TEST(test_not_applicable) {
        static const char *const lines[] = {
                "ApiUrl=https://h", "Owner=x", "Include=x", "Exclude=x", "Archived=no", "Forks=no"};

        for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
                _cleanup_buf_ Buf text = {0};
                OrgConfig *c = NULL;
                ConfigError e;

                ck_assert_int_eq(buf_appendf(&text, "[Org]\nUrl=https://h\n%s\n", lines[i]), 0);
                ck_assert_int_eq(parse(buf_str(&text), &c, &e), -EINVAL);
                ck_assert_ptr_nonnull(strstr(e.text, "= is for github, gitlab, gitea and mesa"));
        }
}
END_TEST

START_TEST(test_kinds) {
        for (int k = 0; k < _ORG_KIND_MAX; k++)
                ck_assert_int_eq(org_kind_from_string(org_kind_name((OrgKind) k)), k);
        ck_assert_int_eq(org_kind_from_string("Git"), _ORG_KIND_INVALID);
        ck_assert_int_eq(org_kind_from_string(""), _ORG_KIND_INVALID);
}
END_TEST

START_TEST(test_number_of_repos_is_bounded) {
        _cleanup_(org_config_freep) OrgConfig *c = NULL;
        char name[16];

        ck_assert_int_eq(org_config_new("name", ORG_GIT, "https://host", &c), 0);
        for (int i = 0; i < ORG_REPOS_MAX; i++) {
                (void) snprintf(name, sizeof(name), "%d", i);
                int r = org_config_add_repo(c, name);
                if (r != 0)
                        ck_abort_msg("repository %d: %d", i, r);
        }
        ck_assert_int_eq(org_config_add_repo(c, "0"), 0);
        ck_assert_int_eq(org_config_add_repo(c, "more"), -E2BIG);
}
END_TEST

START_TEST(test_patterns_are_bounded) {
        _cleanup_(org_config_freep) OrgConfig *c = NULL;
        _cleanup_(org_config_freep) OrgConfig *longer = NULL;
        char pattern[ORG_PATTERN_MAX + 2] = "";
        ConfigError e;

        ck_assert_int_eq(org_config_new("name", ORG_GITHUB, "", &c), 0);
        for (int i = 0; i < ORG_PATTERNS_MAX; i++) {
                (void) snprintf(pattern, sizeof(pattern), "%d*", i);
                ck_assert_int_eq(org_config_add_include(c, pattern), 0);
                ck_assert_int_eq(org_config_add_exclude(c, pattern), 0);
        }
        ck_assert_int_eq(org_config_add_include(c, "0*"), 0);
        ck_assert_int_eq(org_config_add_include(c, "more"), -E2BIG);
        ck_assert_int_eq(org_config_add_exclude(c, "more"), -E2BIG);

        memset(pattern, '*', sizeof(pattern) - 1);
        ck_assert_int_eq(org_config_new("name", ORG_GITHUB, "", &longer), 0);
        ck_assert_int_eq(org_config_add_exclude(longer, pattern), 0);
        ck_assert_int_eq(org_config_check(longer, &e), -EINVAL);
        ck_assert_ptr_nonnull(strstr(e.text, "Exclude=: "));
}
END_TEST

START_TEST(test_owner_is_bounded) {
        char deep[2 * ORG_OWNER_DEPTH_MAX + 2], wide[ORG_OWNER_MAX + 2];
        char *const owners[] = {deep, wide};

        for (size_t i = 0; i + 1 < sizeof(deep); i++)
                deep[i] = i % 2 ? '/' : 'a';
        deep[sizeof(deep) - 1] = '\0'; /* one name more than are allowed */
        memset(wide, 'a', sizeof(wide) - 1);
        wide[sizeof(wide) - 1] = '\0';
        for (size_t i = 0; i < ELEMENTSOF(owners); i++) {
                _cleanup_(org_config_freep) OrgConfig *c = NULL;
                ConfigError e;

                ck_assert_int_eq(org_config_new("name", ORG_GITLAB, "", &c), 0);
                c->owner = strdup(owners[i]);
                ck_assert_int_eq(org_config_check(c, &e), -EINVAL);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_each_option);
        tcase_add_test(tc, test_defaults);
        tcase_add_test(tc, test_round_trip);
        tcase_add_test(tc, test_round_trip_of_api);
        tcase_add_test(tc, test_public_instances);
        tcase_add_test(tc, test_urls);
        tcase_add_test(tc, test_credentials_refused);
        tcase_add_test(tc, test_directories);
        tcase_add_test(tc, test_names);
        tcase_add_test(tc, test_mistakes_are_found);
        tcase_add_test(tc, test_not_applicable);
        tcase_add_test(tc, test_kinds);
        tcase_add_test(tc, test_number_of_repos_is_bounded);
        tcase_add_test(tc, test_patterns_are_bounded);
        tcase_add_test(tc, test_owner_is_bounded);
}

CHECK_MAIN("config-org", add_tests)
