#include <errno.h>

#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "tree/org.h"

/* How an org is doing. */

static Org *new_org(TempDir *dir) {
        static const ForgeContext context;
        _cleanup_(org_config_freep) OrgConfig *config = NULL;
        Failure failure;
        Org *org;

        temp_dir_init(dir);
        ck_assert_int_eq(org_config_new("o", ORG_LOCAL, dir->path, &config), 0);
        ck_assert_int_eq(org_new(config, &context, &org, &failure), 0);
        return org;
}

static bool report(Org *org, int from, int result, const Failure *failure) {
        const OrgReport said = {.from = from, .result = result, .failure = failure};

        return org_set_health(org, &said);
}

START_TEST(health_is_what_the_last_answer_said) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Failure offline, cancelled;

        int r = failure_set(&offline, FAILURE_OFFLINE, "no route");
        ck_assert(report(org, ORG_REPORT_NAME, 0, NULL));
        ck_assert(!report(org, ORG_REPORT_NAME, -ENOENT, NULL));
        ck_assert(report(org, ORG_REPORT_NAME, r, &offline));
        ck_assert(!report(org, ORG_REPORT_NAME, r, &offline));
        ck_assert_int_eq(org->health, ORG_HEALTH_FAILING);
        ck_assert_str_eq(org->failure.text, "no route");
        /* Our own memory says nothing of the org. */
        ck_assert(!report(org, ORG_REPORT_NAME, -ENOMEM, NULL));
        ck_assert_str_eq(org->failure.text, "no route");
        r = failure_set(&cancelled, FAILURE_CANCELLED, "stopping");
        ck_assert(report(org, ORG_REPORT_NAME, r, &cancelled));
        ck_assert_int_eq(org->health, ORG_HEALTH_OK);
}
END_TEST

START_TEST(one_repository_in_trouble_is_not_the_org) {
        static const FailureClass classes[] = {
                FAILURE_FORBIDDEN, FAILURE_BLOCKED, FAILURE_TOO_LARGE, FAILURE_CORRUPT};
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Failure f;

        for (size_t i = 0; i < ELEMENTSOF(classes); i++) {
                int r = failure_set(&f, classes[i], "one of them");
                ck_assert(!report(org, ORG_REPORT_NAME, r, &f));
                ck_assert_int_eq(org->health, ORG_HEALTH_IDLE);
        }
        int r = failure_set(&f, FAILURE_FORBIDDEN, "may not list");
        ck_assert(report(org, ORG_REPORT_LISTING, r, &f));
        ck_assert_int_eq(org->health, ORG_HEALTH_FAILING);

        /* An owner that is not there is no trouble; the org's own is. */
        r = failure_set(&f, FAILURE_NOT_FOUND, "no such owner");
        ck_assert(report(org, ORG_REPORT_LISTING, r, &f));
        ck_assert_int_eq(org->health, ORG_HEALTH_OK);
        ck_assert(report(org, ORG_REPORT_ROOT, r, &f));
        ck_assert_int_eq(org->health, ORG_HEALTH_FAILING);
}
END_TEST

START_TEST(what_a_listing_said_stays_until_the_next) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Failure sso, offline;

        (void) failure_set(&sso, FAILURE_SSO, "authorize");
        ck_assert(report(org, ORG_REPORT_ROOT, 0, &sso));
        ck_assert_int_eq(org->health, ORG_HEALTH_NOTICE);
        ck_assert(!report(org, ORG_REPORT_NAME, 0, NULL));
        ck_assert_int_eq(org->health, ORG_HEALTH_NOTICE);
        ck_assert_str_eq(org->failure.text, "authorize");
        ck_assert(report(org, ORG_REPORT_ROOT, 0, NULL));
        ck_assert_int_eq(org->health, ORG_HEALTH_OK);

        /* But any answer shows that there is a connection. */
        int r = failure_set(&offline, FAILURE_OFFLINE, "no route");
        ck_assert(report(org, ORG_REPORT_ROOT, r, &offline));
        ck_assert_int_eq(org->health, ORG_HEALTH_FAILING);
        ck_assert(report(org, ORG_REPORT_NAME, 0, NULL));
        ck_assert_int_eq(org->health, ORG_HEALTH_OK);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, health_is_what_the_last_answer_said);
        tcase_add_test(tc, one_repository_in_trouble_is_not_the_org);
        tcase_add_test(tc, what_a_listing_said_stays_until_the_next);
}

CHECK_MAIN("tree/org", add_tests)
