/* Many who want secrets at once, and programs that hang. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "forge/helper.h"
#include "lib/check-main.h"
#include "secret-fixture.h"
#include "util/clock.h"

START_TEST(many_make_one_read) {
        Fixture f;
        Asker askers[64];

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "gh-token", "from-gh\n", 0600);
        for (size_t i = 0; i < ELEMENTSOF(askers); i++)
                ask(f.secrets, in_a_minute(), &askers[i]);
        for (size_t i = 0; i < ELEMENTSOF(askers); i++) {
                _cleanup_secret_ Secret secret = {0};
                ck_assert_int_eq(answer(&askers[i], &secret), 1);
                ck_assert_str_eq(secret.token, "from-gh");
        }
        assert_log(&f, GH);
        teardown(&f);
}
END_TEST

START_TEST(who_has_no_time_spoils_nothing_for_others) {
        Fixture f;
        Asker asker;
        Secret secret;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "gh-token", "from-gh\n", 0600);
        ask(f.secrets, now_usec(), &asker);
        ck_assert_int_eq(answer(&asker, &secret), -ETIMEDOUT);
        assert_token(&f, SECRET_TOOL, "from-gh");
        teardown(&f);
}
END_TEST

/* Makes gh wait for a writer of the token's file. */
static void hold_gh(const Fixture *f) {
        _cleanup_free_ char *path = in_dir(f, "gh-token");

        ck_assert_int_eq(mkfifo(path, 0600), 0);
}

/* There is one worker. More orgs wait for gh than may run, and another program still does. */
START_TEST(a_program_that_hangs_holds_no_worker) { /* R9 */
        Fixture f;
        Asker held[HELPERS_MAX + 1], other;
        Secrets *orgs[ELEMENTSOF(held)];
        Secret secret;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "glab-token", "from-glab\n", 0600);
        hold_gh(&f);
        for (size_t i = 0; i < ELEMENTSOF(held); i++) {
                const char name[] = {'o', (char) ('0' + i), '\0'};
                orgs[i] = make(&f, name, ORG_GITHUB, "https://github.test/other");
                ask(orgs[i], in_a_minute(), &held[i]);
        }
        _cleanup_(secrets_unrefp) Secrets *lab =
                make(&f, "lab", ORG_GITLAB, "https://gitlab.test/group");
        ask(lab, in_a_minute(), &other);
        ck_assert_int_eq(answer(&other, &secret), 1);
        ck_assert_str_eq(secret.token, "from-glab");
        secret_done(&secret);

        helpers_stop(f.context.helpers);
        for (size_t i = 0; i < ELEMENTSOF(held); i++) {
                ck_assert_int_eq(answer(&held[i], &secret), -ECANCELED);
                secrets_unref(orgs[i]);
        }
        teardown(&f);
}
END_TEST

START_TEST(all_who_wait_are_told_when_the_daemon_stops) {
        Fixture f;
        Asker askers[8], late;
        Secret secret;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        hold_gh(&f);
        for (size_t i = 0; i < ELEMENTSOF(askers); i++)
                ask(f.secrets, in_a_minute(), &askers[i]);
        assert_log(&f, GH);
        helpers_stop(f.context.helpers);
        for (size_t i = 0; i < ELEMENTSOF(askers); i++)
                ck_assert_int_eq(answer(&askers[i], &secret), -ECANCELED);
        ask(f.secrets, in_a_minute(), &late);
        ck_assert_int_eq(answer(&late, &secret), -ECANCELED);
        assert_log(&f, GH);
        teardown(&f);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, many_make_one_read);
        tcase_add_test(tc, who_has_no_time_spoils_nothing_for_others);
        tcase_add_test(tc, a_program_that_hangs_holds_no_worker);
        tcase_add_test(tc, all_who_wait_are_told_when_the_daemon_stops);
}

CHECK_MAIN("secret-wait", add_tests)
