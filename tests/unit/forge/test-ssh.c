/* The parts of ssh that need no server: what is run, where an answer ends, what an end means. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "forge/ssh-command.h"
#include "forge/ssh-config.h"
#include "forge/ssh-failure.h"
#include "forge/ssh-scan.h"
#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "object/pktline.h"
#include "util/buf.h"
#include "util/fd.h"
#include "util/path.h"

static void assert_argv(const SshProgram *p, const char *url, bool v2, const char *expected) {
        _cleanup_(ssh_argv_freep) char **argv = NULL;
        _cleanup_ssh_url_ SshUrl u = {0};
        _cleanup_buf_ Buf text = {0};

        ck_assert_int_eq(ssh_url_parse(url, &u), 0);
        ck_assert_int_eq(ssh_program_argv(p, &u, v2, &argv), 0);
        for (char **a = argv; *a; a++)
                ck_assert_int_eq(buf_appendf(&text, "%s|", *a), 0);
        ck_assert_str_eq(buf_str(&text), expected);
}

START_TEST(what_is_run) {
        char ssh[] = "ssh", words[] = "ssh -v -i 'a key'", wrapper[] = "wrap";
        const SshProgram plain = {.command = ssh};
        const SshProgram shell = {.command = words, .shell = true};
        const SshProgram simple = {.command = wrapper, .simple = true};
        _cleanup_ssh_url_ SshUrl u = {0};
        char **argv;

        assert_argv(
                &plain,
                "ssh://git@host:2222/srv/r",
                true,
                "ssh|-oBatchMode=yes|-oControlMaster=no|-oSendEnv=GIT_PROTOCOL|-p2222|git@host|"
                "git-upload-pack '/srv/r'|");
        assert_argv(
                &plain,
                "ssh://[::1]/r",
                false,
                "ssh|-oBatchMode=yes|-oControlMaster=no|::1|git-upload-pack '/r'|");
        assert_argv(
                &shell,
                "host:r",
                false,
                "/bin/sh|-c|ssh -v -i 'a key' \"$@\"|ssh -v -i 'a "
                "key'|-oBatchMode=yes|-oControlMaster=no|host|"
                "git-upload-pack 'r'|");
        assert_argv(&simple, "host:r", true, "wrap|host|git-upload-pack 'r'|");
        /* With a configuration in place of its own, unless the user has said which. */
        char config[] = "/run/config", named[] = "ssh -F mine";
        const SshProgram other = {.command = ssh, .config = config};
        const SshProgram chosen = {.command = named, .shell = true, .config = config};
        assert_argv(
                &other,
                "host:r",
                false,
                "ssh|-F/run/config|-oBatchMode=yes|-oControlMaster=no|host|git-upload-pack 'r'|");
        assert_argv(
                &chosen,
                "host:r",
                false,
                "/bin/sh|-c|ssh -F mine \"$@\"|ssh -F mine|-oBatchMode=yes|-oControlMaster=no|host|"
                "git-upload-pack 'r'|");
        ck_assert_int_eq(ssh_url_parse("ssh://host:22/r", &u), 0);
        ck_assert_int_eq(ssh_program_argv(&simple, &u, true, &argv), -EINVAL);
}
END_TEST

static void assert_file(const char *path, const char *expected) {
        _cleanup_buf_ Buf text = {0};

        ck_assert_int_eq(read_file(path, 4096, &text), 0);
        ck_assert_str_eq(buf_str(&text), expected);
}

/* Where root's files do not look like root's. */
START_TEST(what_all_users_have_configured_is_copied) {
        static const char config[] = "# all\nInclude ssh_config.d/*.conf\nHost *\n  include = one\n"
                                     "  Include none/*\n  SendEnv LANG\nIncluded yes\n";
        _cleanup_temp_dir_ TempDir dir = {0};
        _cleanup_free_ char *system = NULL, *copies = NULL, *first = NULL, *second = NULL;
        _cleanup_free_ char *third = NULL, *path = NULL;
        _cleanup_buf_ Buf expected = {0}, nested = {0};
        struct stat st;

        temp_dir_init(&dir);
        temp_dir_write(&dir, "ssh/ssh_config", config, strlen(config));
        temp_dir_write(&dir, "ssh/ssh_config.d/a.conf", "Include \"one\"\nPort 7", 20);
        temp_dir_write(&dir, "ssh/one", "User me\n", 8);
        system = path_join(dir.path, "ssh/ssh_config", NULL);
        copies = path_join(dir.path, "run/ssh", NULL);
        ck_assert_int_eq(ssh_config_copy(system, copies, &path), 0);
        first = path_join(copies, "0", NULL);
        second = path_join(copies, "1", NULL);
        third = path_join(copies, "2", NULL);
        ck_assert_int_eq(
                buf_appendf(
                        &expected,
                        "Include ~/.ssh/config\n# all\nInclude \"%s\"\nHost *\nInclude \"%s\"\n"
                        "  SendEnv LANG\nIncluded yes\n\n",
                        first,
                        third),
                0);
        ck_assert_int_eq(buf_appendf(&nested, "Include \"%s\"\nPort 7\n", second), 0);
        assert_file(path, buf_str(&expected));
        assert_file(first, buf_str(&nested));
        assert_file(second, "User me\n\n");
        assert_file(third, "User me\n\n");
        /* ssh takes no others. */
        ck_assert_int_eq(stat(first, &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, 0600);
        ck_assert_uint_eq(st.st_uid, getuid());
        ck_assert(!ssh_config_is_foreign(system));
        ck_assert_int_eq(ssh_config_copy("/nowhere/ssh_config", copies, &path), -ENOENT);
        temp_dir_done(&dir);
}
END_TEST

/* One that includes itself. */
START_TEST(copies_end) {
        _cleanup_temp_dir_ TempDir dir = {0};
        _cleanup_free_ char *system = NULL, *path = NULL;

        temp_dir_init(&dir);
        temp_dir_write(&dir, "ssh_config", "Include ssh_config ssh_config\n", 30);
        system = path_join(dir.path, "ssh_config", NULL);
        ck_assert_int_eq(ssh_config_copy(system, dir.path, &path), 0);
        temp_dir_done(&dir);
}
END_TEST

/* The other side reads it with a shell. */
START_TEST(paths_are_quoted) {
        char ssh[] = "ssh";
        const SshProgram p = {.command = ssh, .simple = true};

        assert_argv(&p, "h:it's", false, "ssh|h|git-upload-pack 'it'\\''s'|");
        assert_argv(&p, "h:a!b", false, "ssh|h|git-upload-pack 'a'\\!'b'|");
        assert_argv(&p, "h:$(x);`y`", false, "ssh|h|git-upload-pack '$(x);`y`'|");
}
END_TEST

START_TEST(the_environment_decides) {
        ck_assert_int_eq(setenv("GIT_CONFIG_NOSYSTEM", "1", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_COUNT", "2", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_KEY_0", "core.sshCommand", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_VALUE_0", "configured -x", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_KEY_1", "ssh.variant", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_VALUE_1", "simple", 1), 0);
        ck_assert_int_eq(setenv("GIT_SSH", "/bin/an ssh", 1), 0);
        ck_assert_int_eq(setenv("GIT_SSH_COMMAND", "command -y", 1), 0);
        {
                _cleanup_ssh_program_ SshProgram p = {0};
                ck_assert_int_eq(ssh_program_find(&p), 0);
                ck_assert_str_eq(p.command, "command -y");
                ck_assert(p.shell && p.simple);
        }
        ck_assert_int_eq(setenv("GIT_SSH_COMMAND", "", 1), 0);
        ck_assert_int_eq(setenv("GIT_SSH_VARIANT", "ssh", 1), 0);
        {
                _cleanup_ssh_program_ SshProgram p = {0};
                ck_assert_int_eq(ssh_program_find(&p), 0);
                ck_assert_str_eq(p.command, "configured -x");
                ck_assert(p.shell && !p.simple);
        }
        ck_assert_int_eq(setenv("GIT_CONFIG_COUNT", "0", 1), 0);
        {
                _cleanup_ssh_program_ SshProgram p = {0};
                ck_assert_int_eq(ssh_program_find(&p), 0);
                ck_assert_str_eq(p.command, "/bin/an ssh");
                ck_assert(!p.shell);
        }
        ck_assert_int_eq(unsetenv("GIT_SSH"), 0);
        _cleanup_ssh_program_ SshProgram p = {0};
        ck_assert_int_eq(ssh_program_find(&p), 0);
        ck_assert_str_eq(p.command, "ssh");
}
END_TEST

/* In whatever pieces it comes; a flush in what a packet says is none. */
START_TEST(an_answer_ends_with_a_flush) {
        static const char tail[] = "0009next";
        _cleanup_buf_ Buf b = {0};

        ck_assert_int_eq(pkt_appendf(&b, "packfile\n"), 0);
        ck_assert_int_eq(pkt_append_delim(&b), 0);
        ck_assert_int_eq(pkt_appendf(&b, "0000 is no flush"), 0);
        ck_assert_int_eq(buf_append_str(&b, "0004"), 0);
        ck_assert_int_eq(pkt_append_flush(&b), 0);
        size_t whole = b.len;
        ck_assert_int_eq(buf_append_str(&b, tail), 0);
        for (size_t piece = 1; piece <= b.len; piece++) {
                SshScan scan = {0};
                size_t at = 0;
                bool end = false;
                while (!end) {
                        ck_assert_uint_lt(at, b.len);
                        int64_t n = ssh_scan(&scan, b.data + at, MIN(piece, b.len - at), &end);
                        ck_assert_int_gt(n, 0);
                        at += (size_t) n;
                }
                ck_assert_uint_eq(at, whole);
        }
}
END_TEST

START_TEST(what_are_no_packets) {
        static const char *const texts[] = {"Welcome\n", "00g0", "fff1", "-001"};

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                SshScan scan = {0};
                bool end;
                const uint8_t *text = (const uint8_t *) texts[i];
                ck_assert_int_eq(ssh_scan(&scan, text, strlen(texts[i]), &end), -EBADMSG);
        }
}
END_TEST

START_TEST(ends_have_reasons) {
        static const struct {
                int status;
                const char *errors;
                FailureClass class;
                const char *word;
        } cases[] = {
                {255, "Host key verification failed.\r\n", FAILURE_AUTH, "host key"},
                {255, "x@h: Permission denied (publickey).\r\n\n", FAILURE_TOKEN_REFUSED, "keys"},
                {255,
                 "ssh: connect to host h port 22: Connection refused\r\n",
                 FAILURE_OFFLINE,
                 "refused"},
                {255, "", FAILURE_OFFLINE, "status 255"},
                {128,
                 "fatal: '/r' does not appear to be a git repository\n",
                 FAILURE_NOT_FOUND,
                 "/r"},
                {1, "ERROR: Repository not found.\n", FAILURE_NOT_FOUND, "Repository"},
                {127,
                 "sh: 1: git-upload-pack: not found\n",
                 FAILURE_UNSUPPORTED,
                 "git-upload-pack"},
                {1,
                 "remote: \nremote: ERROR: The project you were looking for could not be found\n"
                 "remote: \n",
                 FAILURE_NOT_FOUND,
                 "project"},
                {1, "first\nlast\n\n", FAILURE_SERVER, "\"last\""},
                {139, "", FAILURE_SERVER, "139"},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Failure f = {0};
                int r = ssh_failure("ssh://h", cases[i].status, cases[i].errors, &f);
                ck_assert_int_eq(r, failure_errno(cases[i].class));
                ck_assert_msg(f.class == cases[i].class, "%s", f.text);
                ck_assert_msg(strstr(f.text, cases[i].word), "%s", f.text);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_is_run);
        tcase_add_test(tc, what_all_users_have_configured_is_copied);
        tcase_add_test(tc, copies_end);
        tcase_add_test(tc, paths_are_quoted);
        tcase_add_test(tc, the_environment_decides);
        tcase_add_test(tc, an_answer_ends_with_a_flush);
        tcase_add_test(tc, what_are_no_packets);
        tcase_add_test(tc, ends_have_reasons);
}

CHECK_MAIN("ssh", add_tests)
