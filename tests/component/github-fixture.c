#include "component/github-fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/secret.h"
#include "lib/check-main.h"
#include "util/subprocess.h"

/* In the order in which they were made, which is the one they are asked for in. */
static const char owners[] =
        "\"owners\":[{\"name\":\"acme\",\"type\":\"org\",\"was\":[\"acme-old\"],\"repos\":["
        "{\"name\":\"app\",\"git\":\"@\",\"was\":[\"app-old\"]},"
        "{\"name\":\"secret\",\"git\":\"@\",\"private\":true},"
        "{\"name\":\"old\",\"git\":\"@\",\"archived\":true},"
        "{\"name\":\"fork\",\"git\":\"@\",\"fork\":true},"
        "{\"name\":\"taken-down\",\"git\":\"@\",\"blocked\":true},"
        "{\"name\":\"forbidden\",\"git\":\"@\",\"forbidden\":true},"
        "{\"name\":\"off\",\"git\":\"@\",\"disabled\":true},"
        "{\"name\":\"void\"}]},"
        "{\"name\":\"ann\",\"type\":\"user\",\"repos\":[{\"name\":\"dots\",\"git\":\"@\"}]}]";

void github_start(Github *g, const char *knobs) {
        _cleanup_free_ char *world = NULL;

        *g = (Github){.owner = "acme"};
        forge_fixture_init(&g->f);
        ck_assert_int_gt(
                asprintf(
                        &world,
                        "{\"github\":{%s,\"knobs\":{" TOKENS "%s%s}}}",
                        owners,
                        knobs[0] ? "," : "",
                        knobs),
                0);
        forge_fixture_start_world(&g->f, world);
        g->url = forge_fixture_world_url(&g->f, "github");
}

void github_stop(Github *g) {
        (void) forge_unref(g->forge);
        free(g->url);
        forge_fixture_done(&g->f);
}

void github_turn(Github *g, const char *knobs) {
        _cleanup_free_ char *url = NULL;
        _cleanup_buf_ Buf output = {0};

        ck_assert_int_gt(asprintf(&url, "%s/_knobs", g->url), 0);
        const char *const argv[] = {"curl", "-sf", "-d", knobs, url, NULL};
        ck_assert_int_eq(
                subprocess_run(argv, NULL, NULL, 0, 1 << 20, 10 * 1000 * 1000, &output), 0);
}

void github_open(Github *g) {
        _cleanup_(org_config_freep) OrgConfig *org = NULL;

        ck_assert_int_eq(org_config_new("work", ORG_GITHUB, g->url, &org), 0);
        if (g->owner)
                ck_assert_ptr_nonnull(org->owner = strdup(g->owner));
        org->no_archived = g->no_archived;
        org->no_forks = g->no_forks;
        if (g->exclude) {
                ck_assert_ptr_nonnull(org->exclude = calloc(2, sizeof(*org->exclude)));
                ck_assert_ptr_nonnull(org->exclude[0] = strdup(g->exclude));
        }
        if (g->token)
                ck_assert_int_eq(secret_file_write(g->f.dir.path, "work", g->token), 0);
        else
                ck_assert_int_eq(secret_file_remove(g->f.dir.path, "work"), 0);
        (void) forge_unref(g->forge);
        g->forge = forge_fixture_open(&g->f, org);
}

unsigned github_count(Github *g, const char *what) {
        _cleanup_free_ char *requests = forge_fixture_world_requests(&g->f);
        unsigned n = 0;

        for (const char *p = requests; (p = strstr(p, what)); p += strlen(what))
                n++;
        return n;
}

void github_check_list(Github *g, const char *owner, const char *expected, FailureClass class) {
        Failure failure;
        int result;

        _cleanup_free_ char *names = forge_fixture_names(&g->f, g->forge, owner, &result, &failure);
        ck_assert_msg(result == 0, "%d %s", result, failure.text);
        ck_assert_str_eq(names, expected);
        ck_assert_msg(failure.class == class, "%s", failure.text);
}

Source *github_find(Github *g, const char *owner, const char *name, bool listed) {
        ForgeFound found;
        Failure failure;

        int r = forge_fixture_find(&g->f, g->forge, owner, name, listed, &found, &failure);
        ck_assert_msg(r == 0, "%s: %d %s", name, r, failure.text);
        ck_assert_int_eq(found.kind, FORGE_REPO);
        return found.source;
}
