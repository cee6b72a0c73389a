#include <errno.h>
#include <string.h>

#include "config/ssh-url.h"
#include "lib/check-main.h"

START_TEST(good_ones) {
        static const struct {
                const char *url, *user, *host;
                unsigned port;
                const char *path;
        } cases[] = {
                {"ssh://host/srv/git", NULL, "host", 0, "/srv/git"},
                {"SSH://git@host:2222/srv", "git", "host", 2222, "/srv"},
                {"ssh://host", NULL, "host", 0, ""},
                {"ssh://host/", NULL, "host", 0, "/"},
                {"ssh://host/~alice/x", NULL, "host", 0, "~alice/x"},
                {"ssh://host/a%20b", NULL, "host", 0, "/a b"},
                {"ssh://[2001:db8::1]:22/x", NULL, "2001:db8::1", 22, "/x"},
                {"ssh://a@b.c@host/x", "a@b.c", "host", 0, "/x"},
                {"git@host:path", "git", "host", 0, "path"},
                {"host:/srv/a%20b", NULL, "host", 0, "/srv/a%20b"},
                {"my_alias:", NULL, "my_alias", 0, ""},
                {"git@[::1]:x/y", "git", "::1", 0, "x/y"},
                {"host:2222/x", NULL, "host", 0, "2222/x"},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_ssh_url_ SshUrl u = {0};
                ck_assert_msg(ssh_url_is(cases[i].url), "%s", cases[i].url);
                ck_assert_msg(ssh_url_parse(cases[i].url, &u) == 0, "%s", cases[i].url);
                ck_assert_pstr_eq(u.user, cases[i].user);
                ck_assert_str_eq(u.host, cases[i].host);
                ck_assert_uint_eq(u.port, cases[i].port);
                ck_assert_str_eq(u.path, cases[i].path);
        }
}
END_TEST

/* What could pass for an option, of ssh or of the program on the other side, never gets there. */
START_TEST(bad_ones) {
        static const char *const urls[] = {
                "ssh://",
                "ssh:///path",
                "ssh://-oProxyCommand=x/path",
                "ssh://-l@host/path",
                "ssh://git:s3cret@host/path",
                "ssh://host:/path",
                "ssh://host:0/path",
                "ssh://host:65536/path",
                "ssh://host:x/path",
                "ssh://@host/path",
                "ssh://h$(x)/path",
                "ssh://host/a%0ab",
                "ssh://host/%zz",
                "ssh://[::1/path",
                "ssh://[x]/path",
                "-host:path",
                "host:-path",
                "-u@host:path",
                "git@:path",
                "a:b@host:path\n",
        };
        for (size_t i = 0; i < ELEMENTSOF(urls); i++) {
                SshUrl u;
                ck_assert_msg(ssh_url_is(urls[i]), "%s", urls[i]);
                ck_assert_msg(ssh_url_parse(urls[i], &u) == -EINVAL, "%s", urls[i]);
        }
}
END_TEST

/* As git tells them apart: the colon must come before any slash. */
START_TEST(others) {
        static const char *const urls[] = {
                "",
                "/srv/git",
                "host",
                "./a:b",
                "dir/a:b",
                "https://host/x",
                "http://host:80",
                "file:///srv",
                "https:/host"};

        for (size_t i = 0; i < ELEMENTSOF(urls); i++)
                ck_assert_msg(!ssh_url_is(urls[i]), "%s", urls[i]);
}
END_TEST

START_TEST(names_are_appended) {
        static const char *const cases[][3] = {
                {"ssh://host/srv", "a b", "ssh://host/srv/a%20b"},
                {"ssh://host", "a", "ssh://host/a"},
                {"host:srv", "a b", "host:srv/a b"},
                {"host:", "a", "host:a"},
                {"host:/", "a", "host:/a"},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *joined = ssh_url_join(cases[i][0], cases[i][1]);
                ck_assert_str_eq(joined, cases[i][2]);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, good_ones);
        tcase_add_test(tc, bad_ones);
        tcase_add_test(tc, others);
        tcase_add_test(tc, names_are_appended);
}

CHECK_MAIN("ssh-url", add_tests)
