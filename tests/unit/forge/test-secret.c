/* The order of the places that a token comes from, and what is asked of each. */

#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"
#include "secret-fixture.h"

START_TEST(the_first_place_that_has_one_wins) { /* issue 3, 5: the order */
        Fixture f;
        _cleanup_free_ char *systemd = NULL;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=from-git\n", 0600);
        assert_token(&f, SECRET_GIT, "from-git");
        assert_log(&f, GH "git get\n");

        write_text(&f, "gh-token", "from-gh\n", 0600);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_TOOL, "from-gh");

        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "from-file"), 0);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_FILE, "from-file");

        systemd = in_dir(&f, "systemd");
        ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", systemd, 1), 0);
        write_text(&f, "systemd/gitfs.other", "wrong", 0400);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_FILE, "from-file");
        write_text(&f, "systemd/gitfs.acme", "from-systemd\n", 0400);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_SYSTEMD, "from-systemd");
        teardown(&f);
}
END_TEST

START_TEST(tools_are_asked_for_their_own_servers_only) {
        Fixture f;

        setup(&f, ORG_GITLAB, "https://gitlab.test:8443/group");
        write_text(&f, "glab-token", "from-glab\n", 0600);
        assert_token(&f, SECRET_TOOL, "from-glab");
        assert_log(&f, "glab config get token --host gitlab.test:8443\n");
        teardown(&f);

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        assert_result(&f, 0);
        assert_log(&f, "git get\n");
        teardown(&f);

        /* They would send what is meant for https. */
        setup(&f, ORG_GITHUB, "http://127.0.0.1:8080/acme");
        assert_result(&f, 0);
        assert_log(&f, "git get\n");
        teardown(&f);
}
END_TEST

START_TEST(git_tells_the_user_name_too) {
        Fixture f;
        _cleanup_secret_ Secret secret = {0};

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=s3cret\n", 0600);
        ck_assert_int_eq(secrets_peek(f.secrets, &secret), 0);
        ck_assert_int_eq(get(&f, &secret), 1);
        ck_assert_str_eq(secret.username, "alice");
        secret_done(&secret);
        ck_assert_int_eq(secrets_peek(f.secrets, &secret), 1);
        ck_assert_str_eq(secret.token, "s3cret");
        secret_done(&secret);
        /* 0 only where it is time to look at the file again. */
        while (secrets_get_at_once(f.secrets, &secret) == 0)
                assert_token(&f, SECRET_GIT, "s3cret");
        ck_assert_str_eq(secret.token, "s3cret");
        assert_log(&f, "git get\n");
        teardown(&f);
}
END_TEST

START_TEST(orgs_of_one_server_have_their_own) {
        Fixture f;
        Asker asker;
        Secret secret = {0};

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=of-acme\n", 0600);
        assert_token(&f, SECRET_GIT, "of-acme");
        write_text(&f, "git-token", "username=bob\npassword=of-other\n", 0600);
        _cleanup_(secrets_unrefp) Secrets *other =
                make(&f, "other", ORG_GITEA, "https://gitea.test/other");
        ask(other, in_a_minute(), &asker);
        ck_assert_int_eq(answer(&asker, &secret), 1);
        ck_assert_str_eq(secret.token, "of-other");
        secret_done(&secret);
        teardown(&f);
}
END_TEST

START_TEST(that_there_is_none_is_remembered) {
        Fixture f;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        assert_result(&f, 0);
        assert_result(&f, 0);
        assert_log(&f, GH "git get\n");
        assert_words(&f, FAILURE_TOKEN_MISSING, "no token is set for \"acme\"");
        teardown(&f);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, the_first_place_that_has_one_wins);
        tcase_add_test(tc, tools_are_asked_for_their_own_servers_only);
        tcase_add_test(tc, git_tells_the_user_name_too);
        tcase_add_test(tc, orgs_of_one_server_have_their_own);
        tcase_add_test(tc, that_there_is_none_is_remembered);
}

CHECK_MAIN("secret", add_tests)
