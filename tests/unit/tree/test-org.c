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

START_TEST(health_is_what_the_last_answer_said) {
        _cleanup_temp_dir_ TempDir dir;
        _cleanup_(org_unrefp) Org *org = new_org(&dir);
        Failure offline, cancelled;

        int r = failure_set(&offline, FAILURE_OFFLINE, "no route");
        ck_assert(org_set_health(org, 0, NULL));
        ck_assert(!org_set_health(org, -ENOENT, NULL));
        ck_assert(org_set_health(org, r, &offline));
        ck_assert(!org_set_health(org, r, &offline));
        ck_assert_int_eq(org->health, ORG_HEALTH_FAILING);
        ck_assert_str_eq(org->failure.text, "no route");
        /* Our own memory says nothing of the org. */
        ck_assert(!org_set_health(org, -ENOMEM, NULL));
        ck_assert_str_eq(org->failure.text, "no route");
        r = failure_set(&cancelled, FAILURE_CANCELLED, "stopping");
        ck_assert(org_set_health(org, r, &cancelled));
        ck_assert_int_eq(org->health, ORG_HEALTH_OK);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, health_is_what_the_last_answer_said);
}

CHECK_MAIN("tree/org", add_tests)
