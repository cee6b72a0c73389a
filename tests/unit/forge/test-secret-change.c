/* Tokens that change, are refused, or accepted. */

#include <errno.h>
#include <string.h>

#include "lib/check-main.h"
#include "secret-fixture.h"

START_TEST(a_changed_file_is_read_again) { /* issue 3, 5: rotated without a restart */
        Fixture f;
        _cleanup_secret_ Secret old = {0};
        _cleanup_secret_ Secret new = {0};

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        assert_result(&f, 0);
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "first"), 0);
        await_token(&f, "first");
        ck_assert_int_eq(get(&f, &old), 1);
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "other"), 0);
        await_token(&f, "other");
        ck_assert_int_eq(get(&f, &new), 1);
        ck_assert_uint_ne(old.serial, new.serial);

        /* Back to the old one, which has the old budget. */
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "first"), 0);
        await_token(&f, "first");
        secret_done(&new);
        ck_assert_int_eq(get(&f, &new), 1);
        ck_assert_uint_eq(old.serial, new.serial);
        teardown(&f);
}
END_TEST

START_TEST(a_new_generation_is_read_at_once) {
        Fixture f;
        _cleanup_secret_ Secret secret = {0};

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "first"), 0);
        assert_token(&f, SECRET_FILE, "first");
        refuse(&f, true);
        assert_result(&f, -EKEYREJECTED);
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "other"), 0);
        credentials_flush(f.context.credentials);
        ck_assert_int_eq(secrets_peek(f.secrets, &secret), 0);
        assert_token(&f, SECRET_FILE, "other");
        /* The user may know better than the server. */
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "first"), 0);
        credentials_flush(f.context.credentials);
        assert_token(&f, SECRET_FILE, "first");
        teardown(&f);
}
END_TEST

START_TEST(a_refused_one_is_read_once_more) { /* issue 3, 5: reloaded when it is refused once */
        Fixture f;
        _cleanup_secret_ Secret old = {0};

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "gh-token", "first\n", 0600);
        ck_assert_int_eq(get(&f, &old), 1);
        write_text(&f, "gh-token", "second\n", 0600);
        ck_assert(secrets_refused(f.secrets, &old));
        assert_token(&f, SECRET_TOOL, "second");
        /* Somebody else's request comes back late with the old one: the new one stays. */
        ck_assert(secrets_refused(f.secrets, &old));
        assert_token(&f, SECRET_TOOL, "second");
        assert_log(&f, GH GH);
        teardown(&f);
}
END_TEST

START_TEST(a_refused_one_is_not_given_out_again) {
        Fixture f;
        _cleanup_secret_ Secret secret = {0};

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "gh-token", "wrong\n", 0600);
        ck_assert_int_eq(get(&f, &secret), 1);
        ck_assert(secrets_refused(f.secrets, &secret));
        assert_result(&f, -EKEYREJECTED);
        ck_assert(!secrets_refused(f.secrets, &secret));
        assert_result(&f, -EKEYREJECTED);
        assert_log(&f, GH GH);
        assert_words(&f, FAILURE_TOKEN_REFUSED, "from gh was refused");
        secret_done(&secret);
        ck_assert_int_eq(secrets_peek(f.secrets, &secret), 0);
        /* A new file is found while that is so. */
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "right"), 0);
        await_token(&f, "right");
        teardown(&f);
}
END_TEST

START_TEST(git_is_told_of_a_refusal_of_what_was_never_good) { /* only on a clean 401 */
        Fixture f;

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=wrong\n", 0600);
        refuse(&f, true);
        assert_log(&f, "git get\ngit erase\n");
        assert_result(&f, -EKEYREJECTED);
        assert_words(&f, FAILURE_TOKEN_REFUSED, "was refused");
        teardown(&f);
}
END_TEST

START_TEST(git_keeps_what_was_good_once) {
        Fixture f;

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=right\n", 0600);
        accept_it(&f);
        accept_it(&f);
        assert_log(&f, "git get\ngit store\n");
        refuse(&f, true);
        assert_result(&f, -EKEYREJECTED);
        assert_log(&f, "git get\ngit store\ngit get\n");
        teardown(&f);
}
END_TEST

START_TEST(git_is_told_nothing_of_other_tokens) {
        Fixture f;

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "token"), 0);
        accept_it(&f);
        refuse(&f, true);
        assert_log(&f, "");
        teardown(&f);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_changed_file_is_read_again);
        tcase_add_test(tc, a_new_generation_is_read_at_once);
        tcase_add_test(tc, a_refused_one_is_read_once_more);
        tcase_add_test(tc, a_refused_one_is_not_given_out_again);
        tcase_add_test(tc, git_is_told_of_a_refusal_of_what_was_never_good);
        tcase_add_test(tc, git_keeps_what_was_good_once);
        tcase_add_test(tc, git_is_told_nothing_of_other_tokens);
}

CHECK_MAIN("secret-change", add_tests)
