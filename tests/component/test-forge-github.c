/* GitHub as the test forge speaks it: what is listed, kept, found and fetched, with how many
 * questions, and what is said when it does not work. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "component/forge-fixture.h"
#include "forge/secret.h"
#include "lib/check-main.h"
#include "store/store.h"
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

#define PUBLIC "app\nold\nfork\ntaken-down\nforbidden\noff\nvoid\n"
#define ALL "app\nsecret\nold\nfork\ntaken-down\nforbidden\noff\nvoid\n"
#define TOKENS                                                                                     \
        "\"tokens\":{\"t0ken\":{\"user\":\"ann\"},\"stale\":{\"state\":\"expired\"},"              \
        "\"part\":{\"sso\":\"partial\"},\"sso\":{\"sso\":\"required\"}}"

typedef struct Github {
        ForgeFixture f;
        Forge *forge;
        char *url;
        const char *owner; /* of the org; NULL: all of GitHub */
        const char *token; /* NULL: none */
        bool no_archived, no_forks;
        const char *exclude;
} Github;

/* knobs: members of an object, may be "". */
static void start(Github *g, const char *knobs) {
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

static void stop(Github *g) {
        (void) forge_unref(g->forge);
        free(g->url);
        forge_fixture_done(&g->f);
}
#define _cleanup_github_ _cleanup_(stop)

/* Turns knobs of the running forge: a JSON object. */
static void turn(Github *g, const char *knobs) {
        _cleanup_free_ char *url = NULL;
        _cleanup_buf_ Buf output = {0};

        ck_assert_int_gt(asprintf(&url, "%s/_knobs", g->url), 0);
        const char *const argv[] = {"curl", "-sf", "-d", knobs, url, NULL};
        ck_assert_int_eq(
                subprocess_run(argv, NULL, NULL, 0, 1 << 20, 10 * 1000 * 1000, &output), 0);
}

static void open_org(Github *g) {
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

/* The daemon is started again: nothing in memory survives. */
static void restart(Github *g) {
        (void) forge_unref(g->forge);
        g->forge = NULL;
        forge_fixture_forget(&g->f);
        open_org(g);
}

static unsigned count(Github *g, const char *what) {
        _cleanup_free_ char *requests = forge_fixture_world_requests(&g->f);
        unsigned n = 0;

        for (const char *p = requests; (p = strstr(p, what)); p += strlen(what))
                n++;
        return n;
}
#define REQUEST "\"method\""
#define REST "\"rest\""
#define GIT "\"git\""
#define GRAPHQL "\"graphql\""

static void check_list(Github *g, const char *owner, const char *expected, FailureClass class) {
        Failure failure;
        int result;

        _cleanup_free_ char *names = forge_fixture_names(&g->f, g->forge, owner, &result, &failure);
        ck_assert_msg(result == 0, "%d %s", result, failure.text);
        ck_assert_str_eq(names, expected);
        ck_assert_msg(failure.class == class, "%s", failure.text);
}

static void check_no_list(Github *g, int expected, const char *names, FailureClass class) {
        Failure failure;
        int result;

        _cleanup_free_ char *got = forge_fixture_names(&g->f, g->forge, "", &result, &failure);
        ck_assert_msg(result == expected, "%d %s", result, failure.text);
        ck_assert_msg(failure.class == class, "%s", failure.text);
        ck_assert_str_eq(got, names);
}

static Source *find(Github *g, const char *owner, const char *name, bool listed) {
        ForgeFound found;
        Failure failure;

        int r = forge_fixture_find(&g->f, g->forge, owner, name, listed, &found, &failure);
        ck_assert_msg(r == 0, "%s: %d %s", name, r, failure.text);
        ck_assert_int_eq(found.kind, FORGE_REPO);
        return found.source;
}

static void check_absent(Github *g, const char *name, int expected, FailureClass class) {
        ForgeFound found;
        Failure failure;

        int r = forge_fixture_find(&g->f, g->forge, "", name, false, &found, &failure);
        ck_assert_msg(r == expected && failure.class == class, "%s: %d %s", name, r, failure.text);
}

/* --- listings --- */

START_TEST(an_org_is_listed) {
        _cleanup_github_ Github g;

        start(&g, "\"page_max\":3");
        open_org(&g);
        check_list(&g, "", PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(count(&g, REQUEST), 3);

        g.token = "t0ken";
        open_org(&g);
        check_list(&g, "", ALL, FAILURE_NONE);
}
END_TEST

START_TEST(a_user_and_oneself_are_listed) {
        _cleanup_github_ Github g;

        start(&g, "");
        g.owner = "ann";
        open_org(&g);
        check_list(&g, "", "dots\n", FAILURE_NONE);

        g.owner = "@me";
        g.token = "t0ken";
        open_org(&g);
        check_list(&g, "", "dots\n", FAILURE_NONE);
        _cleanup_(source_unrefp) Source *source = find(&g, "", "dots", true);
        ck_assert(strstr(source->url, "/ann/dots.git"));
        _cleanup_(source_unrefp) Source *again = find(&g, "", "dots", true);
        ck_assert_str_eq(again->url, source->url);
        ck_assert_uint_eq(count(&g, "/api/v3/user\""), 1); /* asked once */

        g.token = NULL;
        open_org(&g);
        check_no_list(&g, -EACCES, "", FAILURE_TOKEN_MISSING);
        g.owner = "nobody";
        open_org(&g);
        check_no_list(&g, -ENOENT, "", FAILURE_NOT_FOUND);
}
END_TEST

START_TEST(what_is_configured_is_left_out) {
        _cleanup_github_ Github g;

        start(&g, "");
        open_org(&g);
        check_list(&g, "", PUBLIC, FAILURE_NONE);
        g.no_archived = g.no_forks = true;
        g.exclude = "*o*";
        restart(&g);
        int result;
        /* Another configuration takes no question. */
        _cleanup_free_ char *names = forge_fixture_kept_names(&g.f, g.forge, "", &result, NULL);
        ck_assert_int_eq(result, 0);
        ck_assert_str_eq(names, "app\n");
        check_list(&g, "", "app\n", FAILURE_NONE);
}
END_TEST

/* A listing is there at once after a restart, and costs nothing to be asked for again. */
START_TEST(a_listing_is_kept_and_asked_for_on_condition) {
        _cleanup_github_ Github g;
        Failure failure;
        int result;

        start(&g, "\"page_max\":3");
        open_org(&g);
        _cleanup_free_ char *none = forge_fixture_kept_names(&g.f, g.forge, "", &result, &failure);
        ck_assert_int_eq(result, -ENODATA);
        ck_assert_str_eq(none, "");
        check_list(&g, "", PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(count(&g, REQUEST), 3);

        restart(&g);
        _cleanup_free_ char *names = forge_fixture_kept_names(&g.f, g.forge, "", &result, &failure);
        ck_assert_int_eq(result, 0);
        ck_assert_str_eq(names, PUBLIC);
        ck_assert_uint_eq(count(&g, REQUEST), 3);

        check_list(&g, "", PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(count(&g, REQUEST), 6);
        ck_assert_uint_eq(count(&g, "\"status\": 304"), 3);

        /* What has changed is taken, and kept. */
        turn(&g, "{\"page_max\":null}");
        check_list(&g, "", PUBLIC, FAILURE_NONE);
        check_list(&g, "", PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(count(&g, REQUEST), 8);
        ck_assert_uint_eq(count(&g, "\"status\": 304"), 4);
}
END_TEST

START_TEST(a_listing_without_end_ends) {
        _cleanup_github_ Github g;

        start(&g, "\"page_max\":3,\"lies\":{\"loop\":true}");
        open_org(&g);
        check_no_list(&g, -EIO, PUBLIC, FAILURE_SERVER);
        turn(&g, "{\"lies\":{\"same\":true}}");
        check_no_list(&g, -EIO, "app\nold\nfork\n", FAILURE_SERVER);
        turn(&g, "{\"lies\":{\"next\":\"http://elsewhere.invalid/x\"}}");
        check_list(&g, "", "app\nold\nfork\n", FAILURE_NONE);
        turn(&g, "{\"lies\":{\"repeat\":true}}");
        check_list(&g, "", PUBLIC, FAILURE_NONE);
}
END_TEST

/* A page that is full does not change when another comes behind it. */
START_TEST(a_page_behind_a_full_one_is_seen) {
        _cleanup_github_ Github g;

        start(&g, "\"lies\":{\"names\":[\"a\",\"b\",\"c\"]}");
        open_org(&g);
        check_list(&g, "", "a\nb\nc\n" PUBLIC, FAILURE_NONE); /* ten */
        check_list(&g, "", "a\nb\nc\n" PUBLIC, FAILURE_NONE);
        ck_assert_uint_eq(count(&g, "\"status\": 304"), 0);
        ck_assert_uint_eq(count(&g, REQUEST), 2);
}
END_TEST

START_TEST(names_that_lead_elsewhere_are_left_out) {
        _cleanup_github_ Github g;

        start(&g, "\"lies\":{\"names\":[\"..\",\"a/b\",\"\",\"good\"]}");
        open_org(&g);
        check_list(&g, "", "good\n" PUBLIC, FAILURE_NONE);
        turn(&g, "{\"lies\":{\"null\":[\"archived\",\"fork\",\"owner\",\"full_name\"]}}");
        check_list(&g, "", PUBLIC, FAILURE_NONE);
        turn(&g, "{\"lies\":{\"drop\":[\"name\"]}}");
        check_list(&g, "", "", FAILURE_NONE);
        turn(&g, "{\"lies\":{},\"faults\":[{\"on\":\"repos\",\"raw\":\"[1,\"}]}");
        check_no_list(&g, -EIO, "", FAILURE_SERVER);
}
END_TEST

START_TEST(what_is_missing_in_a_list_is_said) {
        _cleanup_github_ Github g;

        start(&g, "");
        g.token = "part";
        open_org(&g);
        check_list(&g, "", PUBLIC, FAILURE_SSO);
        g.token = "sso";
        open_org(&g);
        check_no_list(&g, -EACCES, "", FAILURE_SSO);
        g.token = "stale";
        open_org(&g);
        check_no_list(&g, -EACCES, "", FAILURE_TOKEN_REFUSED);
        g.token = NULL;
        g.owner = "acme-old";
        open_org(&g);
        check_list(&g, "", PUBLIC, FAILURE_RENAMED);
        restart(&g);
        int result;
        Failure failure;
        _cleanup_free_ char *names = forge_fixture_kept_names(&g.f, g.forge, "", &result, &failure);
        ck_assert_str_eq(names, PUBLIC);
        ck_assert_int_eq(failure.class, FAILURE_RENAMED);
}
END_TEST

/* --- look-ups --- */

START_TEST(a_listed_repository_needs_no_request) {
        _cleanup_github_ Github g;
        FetchRun run;

        start(&g, "");
        open_org(&g);
        _cleanup_(source_unrefp) Source *source = find(&g, "", "app", true);
        ck_assert_uint_eq(count(&g, REQUEST), 0);
        ck_assert_int_eq(fetch_ref(&g.f, source, NULL, &run), 0);
        Oid head = forge_fixture_oid(&g.f, "main");
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_uint_eq(count(&g, REST), 0);
}
END_TEST

/* What the look-up asked for answers the first question for the default branch. */
START_TEST(another_is_asked_for_by_git) {
        _cleanup_github_ Github g;
        FetchRun run;

        start(&g, "");
        open_org(&g);
        _cleanup_(source_unrefp) Source *source = find(&g, "", "app", false);
        unsigned n = count(&g, REQUEST);
        ck_assert_int_eq(fetch_ref(&g.f, source, NULL, &run), 0);
        Oid head = forge_fixture_oid(&g.f, "main");
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert_uint_eq(count(&g, REQUEST), n);
        ck_assert_uint_eq(count(&g, REST), 0);
        /* The second is for news. */
        ck_assert_int_eq(fetch_ref(&g.f, source, NULL, &run), 0);
        ck_assert_uint_eq(count(&g, REQUEST), n + 1);
}
END_TEST

START_TEST(the_reason_of_a_refusal_is_told) {
        _cleanup_github_ Github g;

        start(&g, "");
        open_org(&g);
        check_absent(&g, "missing", -ENOENT, FAILURE_NOT_FOUND);
        check_absent(&g, "secret", -ENOENT, FAILURE_NOT_FOUND);
        check_absent(&g, "taken-down", -EACCES, FAILURE_BLOCKED);
        check_absent(&g, "forbidden", -EACCES, FAILURE_FORBIDDEN);
        check_absent(&g, "off", -EACCES, FAILURE_BLOCKED);
        unsigned n = count(&g, REQUEST);
        check_absent(&g, ".git", -ENOENT, FAILURE_NOT_FOUND);
        check_absent(&g, "a b", -ENOENT, FAILURE_NOT_FOUND);
        check_absent(&g, "app.git", -ENOENT, FAILURE_NOT_FOUND);
        ck_assert_uint_eq(count(&g, REQUEST), n);
}
END_TEST

START_TEST(a_renamed_repository_is_followed) {
        _cleanup_github_ Github g;
        FetchRun run;

        start(&g, "");
        open_org(&g);
        Oid head = forge_fixture_oid(&g.f, "main");
        _cleanup_(source_unrefp) Source *found = find(&g, "", "app-old", false);
        ck_assert_int_eq(fetch_ref(&g.f, found, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        /* A listing was right when it was made. */
        _cleanup_(source_unrefp) Source *listed = find(&g, "", "app-old", true);
        ck_assert_int_eq(fetch_ref(&g.f, listed, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_int_eq(fetch_objects(&g.f, listed, FETCH_COMMIT, &head, 1, &run), 0);
}
END_TEST

static int find_owner(Github *g, const char *name, bool *ret_unproven) {
        ForgeFound found = {0};

        int r = forge_fixture_find(&g->f, g->forge, "", name, false, &found, NULL);
        if (r == 0)
                ck_assert_int_eq(found.kind, FORGE_OWNER);
        *ret_unproven = found.unproven;
        return r;
}

/* F10: what the forge can list is listed; it cannot list itself. */
START_TEST(all_of_github_has_owners) {
        _cleanup_github_ Github g;
        bool unproven;

        start(&g, "");
        g.owner = NULL;
        open_org(&g);
        check_list(&g, "", "", FAILURE_NONE);
        ck_assert_int_eq(find_owner(&g, "acme", &unproven), 0);
        ck_assert(!unproven);
        ck_assert_uint_eq(count(&g, REQUEST), 1);
        check_list(&g, "acme", PUBLIC, FAILURE_NONE);
        check_list(&g, "ann", "dots\n", FAILURE_NONE);
        _cleanup_(source_unrefp) Source *source = find(&g, "ann", "dots", false);
        ck_assert(strstr(source->url, "/ann/dots.git"));
        ck_assert_int_eq(find_owner(&g, "nobody", &unproven), -ENOENT);
        unsigned n = count(&g, REQUEST);
        ck_assert_int_eq(find_owner(&g, ".Trash", &unproven), -ENOENT);
        ck_assert_uint_eq(count(&g, REQUEST), n);

        /* Nobody can tell now; the repository below it can. */
        turn(&g, "{\"budget\":{\"limit\":60,\"remaining\":0,\"reset\":3000}}");
        ck_assert_int_eq(find_owner(&g, "ann", &unproven), 0);
        ck_assert(unproven);
        _cleanup_(source_unrefp) Source *again = find(&g, "ann", "dots", false);
        ck_assert_str_eq(again->url, source->url);
}
END_TEST

/* --- sizes --- */

typedef struct Files {
        Oid oids[5];
        Oid root;
} Files;

static void all_files(Github *g, Files *ret) {
        static const char *const names[] = {
                "main:README",
                "main:src/main.c",
                "main:src/deep/er/file",
                "main:doc/text",
                "main:empty"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                ret->oids[i] = forge_fixture_oid(&g->f, names[i]);
        ret->root = forge_fixture_oid(&g->f, "main^{tree}");
}

static Source *open_app(Github *g) {
        Oid head = forge_fixture_oid(&g->f, "main");
        FetchRun run;

        Source *source = find(g, "", "app", true);
        ck_assert_int_eq(fetch_objects(&g->f, source, FETCH_COMMIT, &head, 1, &run), 0);
        return source;
}

static int
fetch_sizes(Github *g, Source *source, const Files *files, const char *directory, FetchRun *run) {
        fetch_run_init(run, FETCH_SIZES, files->oids, ELEMENTSOF(files->oids));
        run->fetch.root = files->root;
        run->fetch.tree = forge_fixture_oid(&g->f, directory);
        return fetch_run(&g->f, source, run, NULL);
}

START_TEST(one_request_tells_all_sizes) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        start(&g, "");
        open_org(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        ck_assert(source->cheap_sizes);
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src", &run), 0);
        ck_assert_uint_eq(run.n_sizes, 5);
        ck_assert_uint_eq(run.n_objects, 0);
        ck_assert_uint_eq(count(&g, REST), 1);
        ck_assert_uint_eq(count(&g, "recursive=1"), 1);
}
END_TEST

/* The directory that somebody looks at is told, whatever the size of the rest. */
START_TEST(a_tree_that_is_cut_off_is_asked_for_in_parts) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        start(&g, "\"tree_limit\":2");
        open_org(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src/deep/er", &run), 0);
        ck_assert_uint_eq(count(&g, REST), 2); /* the root, the directory */
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src", &run), 0);
        ck_assert_uint_eq(count(&g, REST), 4); /* the directory with all below it, without */
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main^{tree}", &run), 0);
        ck_assert_uint_eq(count(&g, REST), 5); /* the root, which is known to be too large */
        ck_assert_uint_eq(run.n_sizes, 2);
        ck_assert_uint_eq(run.n_objects, 0);
}
END_TEST

/* While the API is used up, `ls -l` goes on working: the files of one directory come by git. */
START_TEST(without_the_api_a_directory_is_fetched) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        start(&g, "\"budget\":{\"limit\":60,\"remaining\":0,\"reset\":3000}");
        open_org(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src", &run), 0);
        ck_assert_uint_eq(run.n_objects, 1);
        ck_assert_uint_eq(run.n_sizes, 1);
        ck_assert_uint_eq(run.last_size, strlen("int main;\n"));
        ck_assert_uint_eq(count(&g, REST), 1);
        /* No question before the reset. */
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:doc", &run), 0);
        ck_assert_uint_eq(count(&g, REST), 1);
}
END_TEST

START_TEST(git_tells_sizes_where_it_can) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        start(&g, "\"object_info\":true");
        open_org(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src", &run), 0);
        ck_assert_uint_eq(run.n_sizes, 5);
        ck_assert_uint_eq(count(&g, REST), 0);
}
END_TEST

/* --- blobs --- */

START_TEST(blobs_come_from_the_api_when_git_fails) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        start(&g, "");
        g.f.config.retries = 0;
        open_org(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        turn(&g, "{\"faults\":[{\"on\":\"git-upload-pack\",\"status\":500}]}");
        ck_assert_int_eq(fetch_objects(&g.f, source, FETCH_BLOBS, files.oids, 5, &run), 0);
        ck_assert_uint_eq(run.n_objects, 5);
        for (size_t i = 0; i < 5; i++)
                ck_assert(forge_fixture_has(&g.f, &files.oids[i]));
        ck_assert_uint_eq(count(&g, "/git/blobs/"), 5);
}
END_TEST

/* What the API sends is no more trusted than what git sends. */
START_TEST(a_blob_that_lies_is_not_taken) {
        _cleanup_github_ Github g;
        FetchRun run;
        Failure failure;
        Files files;

        start(&g, "");
        g.f.config.retries = 0;
        open_org(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        turn(&g,
             "{\"faults\":[{\"on\":\"git-upload-pack\",\"status\":500},"
             "{\"on\":\"/git/blobs/\",\"raw\":\"lies\"}]}");
        fetch_run_init(&run, FETCH_BLOBS, files.oids, 1);
        ck_assert_int_eq(fetch_run(&g.f, source, &run, &failure), -EIO);
        ck_assert_int_eq(failure.class, FAILURE_CORRUPT);
        ck_assert(!forge_fixture_has(&g.f, &files.oids[0]));
}
END_TEST

/* --- heads --- */

START_TEST(one_request_tells_the_heads_of_neighbours) {
        _cleanup_github_ Github g;
        FetchRun run;

        start(&g, "");
        g.token = "t0ken";
        open_org(&g);
        check_list(&g, "", ALL, FAILURE_NONE);
        unsigned rest = count(&g, REST);
        Oid head = forge_fixture_oid(&g.f, "main");
        _cleanup_(source_unrefp) Source *app = find(&g, "", "app", true);
        ck_assert_int_eq(fetch_ref(&g.f, app, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert(run.fetch.moves);
        _cleanup_(source_unrefp) Source *old = find(&g, "", "old", true);
        ck_assert_int_eq(fetch_ref(&g.f, old, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_uint_eq(count(&g, GRAPHQL), 1);
        ck_assert_uint_eq(count(&g, GIT), 0);
        /* Whoever asks again wants news. */
        ck_assert_int_eq(fetch_ref(&g.f, old, NULL, &run), 0);
        ck_assert_uint_eq(count(&g, GRAPHQL), 2);
        /* Of an empty repository git knows more. */
        _cleanup_(source_unrefp) Source *empty = find(&g, "", "void", true);
        (void) fetch_ref(&g.f, empty, NULL, &run);
        ck_assert_uint_gt(count(&g, GIT), 0);
        ck_assert_uint_le(count(&g, REST), rest + 1);
}
END_TEST

/* A look-up asks the same question; what GraphQL does not know git may, and then REST says why. */
START_TEST(a_repository_is_found_by_its_head) {
        _cleanup_github_ Github g;
        FetchRun run;

        start(&g, "");
        g.token = "t0ken";
        open_org(&g);
        _cleanup_(source_unrefp) Source *source = find(&g, "", "secret", false);
        ck_assert_int_eq(fetch_ref(&g.f, source, NULL, &run), 0);
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert_uint_eq(count(&g, REQUEST), 1);
        ck_assert_uint_eq(count(&g, GRAPHQL), 1);
        check_absent(&g, "missing", -ENOENT, FAILURE_NOT_FOUND);
}
END_TEST

/* Whoever is refused after that is told the reason, too. */
START_TEST(a_refused_commit_has_a_reason) {
        _cleanup_github_ Github g;
        Failure failure;
        FetchRun run;

        start(&g, "");
        open_org(&g);
        Oid head = forge_fixture_oid(&g.f, "main");
        _cleanup_(source_unrefp) Source *source = find(&g, "", "taken-down", true);
        fetch_run_init(&run, FETCH_COMMIT, &head, 1);
        ck_assert_int_eq(fetch_run(&g.f, source, &run, &failure), -EACCES);
        ck_assert_int_eq(failure.class, FAILURE_BLOCKED);
        ck_assert(strstr(failure.text, "dmca"));
}
END_TEST

START_TEST(without_graphql_git_tells_heads) {
        _cleanup_github_ Github g;
        FetchRun run;

        start(&g, "\"graphql\":false");
        g.token = "t0ken";
        open_org(&g);
        check_list(&g, "", ALL, FAILURE_NONE);
        _cleanup_(source_unrefp) Source *app = find(&g, "", "app", true);
        _cleanup_(source_unrefp) Source *old = find(&g, "", "old", true);
        ck_assert_int_eq(fetch_ref(&g.f, app, NULL, &run), 0);
        ck_assert_int_eq(fetch_ref(&g.f, old, NULL, &run), 0);
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert_uint_eq(count(&g, GRAPHQL), 1); /* it is left alone then */
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, an_org_is_listed);
        tcase_add_test(tc, a_user_and_oneself_are_listed);
        tcase_add_test(tc, what_is_configured_is_left_out);
        tcase_add_test(tc, a_listing_is_kept_and_asked_for_on_condition);
        tcase_add_test(tc, a_listing_without_end_ends);
        tcase_add_test(tc, a_page_behind_a_full_one_is_seen);
        tcase_add_test(tc, names_that_lead_elsewhere_are_left_out);
        tcase_add_test(tc, what_is_missing_in_a_list_is_said);
        tcase_add_test(tc, a_listed_repository_needs_no_request);
        tcase_add_test(tc, another_is_asked_for_by_git);
        tcase_add_test(tc, the_reason_of_a_refusal_is_told);
        tcase_add_test(tc, a_renamed_repository_is_followed);
        tcase_add_test(tc, all_of_github_has_owners);
        tcase_add_test(tc, one_request_tells_all_sizes);
        tcase_add_test(tc, a_tree_that_is_cut_off_is_asked_for_in_parts);
        tcase_add_test(tc, without_the_api_a_directory_is_fetched);
        tcase_add_test(tc, git_tells_sizes_where_it_can);
        tcase_add_test(tc, blobs_come_from_the_api_when_git_fails);
        tcase_add_test(tc, a_blob_that_lies_is_not_taken);
        tcase_add_test(tc, one_request_tells_the_heads_of_neighbours);
        tcase_add_test(tc, a_repository_is_found_by_its_head);
        tcase_add_test(tc, a_refused_commit_has_a_reason);
        tcase_add_test(tc, without_graphql_git_tells_heads);
}

CHECK_MAIN("forge-github", add_tests)
