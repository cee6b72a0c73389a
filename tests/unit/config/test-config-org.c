#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "gitfs/macro.h"

#include "config/config.h"
#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "util/clock.h"
#include "util/path.h"

static int parse(const char *text, OrgConfig **ret, ConfigError *e) {
        return org_config_parse("name", text, strlen(text), "origin", ret, e);
}

static void check_equal(const OrgConfig *a, const OrgConfig *b) {
        ck_assert_str_eq(a->name, b->name);
        ck_assert_int_eq(a->kind, b->kind);
        ck_assert_str_eq(a->url, b->url);
        ck_assert_uint_eq(a->poll_interval_usec, b->poll_interval_usec);
        size_t i = 0;
        for (; a->repos && a->repos[i]; i++) {
                ck_assert_ptr_nonnull(b->repos);
                ck_assert_pstr_eq(a->repos[i], b->repos[i]);
        }
        ck_assert(!b->repos || !b->repos[i]);
}

/* R22: one file that sets each option, and nothing in the table that it does not set. */
START_TEST(test_each_option) {
        static const char text[] = "[Org]\nForge=local\nUrl=/srv/git\nRepo=a\nRepo=b c\n"
                                   "PollIntervalSec=2min\n";
        _cleanup_(org_config_freep) OrgConfig *c = NULL;
        ConfigError e;

        for (const ConfigOption *o = org_options; o->section; o++) {
                char line[64];
                ck_assert_str_eq(o->section, "Org");
                (void) snprintf(line, sizeof(line), "\n%s=", o->key);
                ck_assert_msg(strstr(text, line), "no test for %s=", o->key);
        }
        ck_assert_msg(parse(text, &c, &e) == 0, "%s", e.text);
        ck_assert_str_eq(c->name, "name");
        ck_assert_int_eq(c->kind, ORG_LOCAL);
        ck_assert_str_eq(c->url, "/srv/git");
        ck_assert_str_eq(c->repos[0], "a");
        ck_assert_str_eq(c->repos[1], "b c");
        ck_assert_ptr_null(c->repos[2]);
        ck_assert_uint_eq(c->poll_interval_usec, 120 * USEC_PER_SEC);
}
END_TEST

START_TEST(test_defaults) {
        _cleanup_(org_config_freep) OrgConfig *c = NULL;
        ConfigError e;

        ck_assert_int_eq(parse("[Org]\nUrl=https://host\n", &c, &e), 0);
        ck_assert_int_eq(c->kind, ORG_GIT);
        ck_assert_ptr_null(c->repos);
        ck_assert_uint_eq(c->poll_interval_usec, ORG_POLL_DEFAULT);

        /* An empty assignment takes back what stood before. */
        _cleanup_(org_config_freep) OrgConfig *again = NULL;
        static const char text[] = "[Org]\nForge=local\nForge=\nRepo=a\nRepo=\nRepo=b\nRepo=b\n"
                                   "PollIntervalSec=0\nPollIntervalSec=\nUrl=https://host\n";
        ck_assert_msg(parse(text, &again, &e) == 0, "%s", e.text);
        ck_assert_int_eq(again->kind, ORG_GIT);
        ck_assert_str_eq(again->repos[0], "b");
        ck_assert_ptr_null(again->repos[1]);
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

START_TEST(test_urls) {
        static const char *const good[] = {
                "https://github.com",
                "http://127.0.0.1:8080/",
                "HTTPS://Host.example/path%20x/~user/@scope",
                "https://[2001:db8::1]",
                "http://a_b.local:65535/x;y=z,w",
        };
        static const char *const bad[] = {
                "github.com",
                "ftp://host/",
                "ssh://git@host/",
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
                {"[Org]\nForge=hub\n", "origin:2: Forge=: \"hub\" is not local or git"},
                {"[Org]\nURL=https://host\n", "origin:2: unknown option \"URL\" in [Org]"},
                {"[Mount]\n", "origin:1: unknown section [Mount]"},
                {"[Org]\nPollIntervalSec=x\n",
                 "origin:2: PollIntervalSec=: \"x\" is not a time span of up to a year"},
                {"[Org]\nUrl=https://h\nRepo=a/b\n",
                 "origin: \"a/b\" is not a valid name for a repository"},
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

START_TEST(test_kinds) {
        for (int k = 0; k < _ORG_KIND_MAX; k++)
                ck_assert_int_eq(org_kind_from_string(org_kind_name((OrgKind) k)), k);
        ck_assert_int_eq(org_kind_from_string("Git"), _ORG_KIND_INVALID);
        ck_assert_int_eq(org_kind_from_string(""), _ORG_KIND_INVALID);
}
END_TEST

static void count_error(const ConfigError *error, void *userdata) {
        unsigned *n = userdata;

        ck_assert_ptr_nonnull(strstr(error->text, "/orgs.d/broken"));
        (*n)++;
}

/* A broken file is told of and does not hide the others. */
START_TEST(test_load_all) {
        static const char *const files[][2] = {
                {"orgs.d/b.conf", "[Org]\nUrl=https://b\n"},
                {"orgs.d/a.conf", "[Org]\nUrl=https://a\n"},
                {"orgs.d/broken.conf", "[Org]\nUrl=nothing\n"},
                {"orgs.d/broken dir.conf/x", ""},
                {"orgs.d/c.conf~", "[Org]\nUrl=nothing\n"},
                {"orgs.d/.d.conf", "[Org]\nUrl=nothing\n"},
                {"orgs.d/README", "nothing\n"},
        };
        _cleanup_temp_dir_ TempDir t = {0};
        OrgConfig **orgs;
        unsigned errors = 0;
        size_t n;

        temp_dir_init(&t);
        ck_assert_int_eq(org_config_load_all(t.path, count_error, &errors, &orgs, &n), 0);
        ck_assert_uint_eq(n, 0);
        free(orgs);

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                temp_dir_write(&t, files[i][0], files[i][1], strlen(files[i][1]));
        /* Nobody writes to it: whoever waits for that waits for ever. */
        _cleanup_free_ char *fifo = path_join(t.path, "orgs.d/broken pipe.conf", NULL);
        ck_assert_int_eq(mkfifo(fifo, 0600), 0);
        ck_assert_int_eq(org_config_load_all(t.path, count_error, &errors, &orgs, &n), 0);
        ck_assert_uint_eq(errors, 3);
        ck_assert_uint_eq(n, 2);
        ck_assert_str_eq(orgs[0]->name, "a");
        ck_assert_str_eq(orgs[1]->url, "https://b");
        for (size_t i = 0; i < n; i++)
                org_config_free(orgs[i]);
        free(orgs);
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

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_each_option);
        tcase_add_test(tc, test_defaults);
        tcase_add_test(tc, test_round_trip);
        tcase_add_test(tc, test_urls);
        tcase_add_test(tc, test_credentials_refused);
        tcase_add_test(tc, test_directories);
        tcase_add_test(tc, test_names);
        tcase_add_test(tc, test_mistakes_are_found);
        tcase_add_test(tc, test_kinds);
        tcase_add_test(tc, test_load_all);
        tcase_add_test(tc, test_number_of_repos_is_bounded);
}

CHECK_MAIN("config-org", add_tests)
