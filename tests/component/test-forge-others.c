/* GitLab, Gitea and Mesa as the test forge speaks them: what is listed, found, fetched, and with
 * how many questions. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "component/forge-fixture.h"
#include "forge/secret.h"
#include "lib/check-main.h"

#define REPO(name, more) "{\"name\":\"" name "\",\"git\":\"@\"" more "}"

static const char
        world[] =
                "{\"gitlab\":{\"owners\":["
                "{\"name\":\"acme\",\"type\":\"group\",\"repos\":[" REPO("app", ",\"was\":[\"before\"]") "," REPO(
                        "old",
                        ",\"archived\":true") "," REPO("fork", ",\"fork\":true") "," REPO("secret", ",\"private\":true") "]},"
                                                                                                                         "{\"name\":\"acme/tools\",\"type\":\"group\",\"repos\":[" REPO("lint", "") "]},"
                                                                                                                                                                                                    "{\"name\":\"acme/tools/deep\",\"type\":\"group\",\"repos\":[" REPO("x", "") "]},"
                                                                                                                                                                                                                                                                                 "{\"name\":\"ann\",\"type\":\"user\",\"repos\":[" REPO("dots", "") "]}],"
                                                                                                                                                                                                                                                                                                                                                    "\"knobs\":{\"page_max\":2,\"tokens\":{\"t0ken\":{\"user\":\"ann\"}}}},"

                                                                                                                                                                                                                                                                                                                                                    "\"gitlab-bare\":{\"kind\":\"gitlab\",\"owners\":[{\"name\":\"acme\",\"type\":\"group\","
                                                                                                                                                                                                                                                                                                                                                    "\"repos\":[" REPO(
                                                                                                                                                                                                                                                                                                                                                            "app", "") "]}],\"knobs\":{\"graphql\":false,\"faults\":["
                                                                                                                                                                                                                                                                                                                                                                       "{\"on\":\"git-upload-pack\",\"status\":500}]}},"

                                                                                                                                                                                                                                                                                                                                                                       /* The first question of GraphQL is one too many; names that lie. */
                                                                                                                                                                                                                                                                                                                                                                       "\"gitlab-lies\":{\"kind\":\"gitlab\",\"owners\":[{\"name\":\"acme\",\"type\":"
                                                                                                                                                                                                                                                                                                                                                                       "\"group\",\"repos\":[" REPO(
                                                                                                                                                                                                                                                                                                                                                                               "app",
                                                                                                                                                                                                                                                                                                                                                                               "") "]}],\"knobs\":{\"lies\":{\"loop\":true,"
                                                                                                                                                                                                                                                                                                                                                                                   "\"names\":[\"..\",\"a/b\",\"\",\"good\"],\"null\":[\"namespace\"]},\"faults\":[{\"on\":"
                                                                                                                                                                                                                                                                                                                                                                                   "\"graphql\",\"count\":1,\"raw\":\"{\\\"errors\\\":[{\\\"message\\\":\\\"Query has "
                                                                                                                                                                                                                                                                                                                                                                                   "complexity of 300, which exceeds max complexity of 250\\\"}]}\"}]}},"

                                                                                                                                                                                                                                                                                                                                                                                   "\"gitea\":{\"owners\":["
                                                                                                                                                                                                                                                                                                                                                                                   "{\"name\":\"acme\",\"type\":\"org\",\"repos\":[" REPO(
                                                                                                                                                                                                                                                                                                                                                                                           "app", ",\"was\":[\"before\"]") "," REPO("old", ",\"archived\":true") "," REPO("fork", ",\"fork\":true") "," REPO("secret", ",\"private\":true") "]},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "{\"name\":\"ann\",\"type\":\"user\",\"repos\":[" REPO(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "dots", "") "]}],"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "\"knobs\":{\"page_max\":1,\"tree_page\":2,\"tokens\":{\"t0ken\":{\"user\":\"ann\"}}}},"

                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "\"gitea-proxied\":{\"kind\":\"gitea\",\"owners\":[{\"name\":\"acme\",\"type\":\"org\","
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "\"repos\":[" REPO("app", "") "," REPO(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "lib",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "") "]}],\"knobs\":{\"page_max\":1,"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "\"lies\":{\"next\":\"http://elsewhere.invalid/api/v1/x?page=2\"},\"faults\":["
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "{\"on\":\"git-upload-pack\",\"status\":500}]}},"

                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "\"gitea-lies\":{\"kind\":\"gitea\",\"owners\":[{\"name\":\"acme\",\"type\":\"org\","
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "\"repos\":[" REPO(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "app",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "") "]}],\"knobs\":{\"lies\":{\"same\":true,\"names\":[\"..\"],"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "\"null\":[\"empty\",\"fork\"],\"drop\":[\"archived\"],\"size\":1}}},"

                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "\"mesa-lies\":{\"kind\":\"mesa\",\"owners\":[{\"name\":\"acme\",\"repos\":[" REPO("app", "") "]}],\"knobs\":{\"tokens\":{\"t0ken\":{\"user\":\"ann\"}},\"lies\":{"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      "\"same\":true,\"names\":[\"..\",\"x\"]}}},"

                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      "\"mesa-bare\":{\"kind\":\"mesa\",\"owners\":[{\"name\":\"acme\",\"repos\":[" REPO(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "app",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "") "]}],\"knobs\":{\"tokens\":{\"t0ken\":{\"user\":\"ann\"}},\"faults\":["
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "{\"on\":\"POST .*git-upload-pack\",\"skip\":2,\"status\":500}]}},"

                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "\"mesa\":{\"owners\":["
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "{\"name\":\"acme\",\"repos\":[" REPO(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "app", "") "," REPO("lib", "") "," REPO("new", ",\"syncing\":1") "]},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           /* torvalds/linux, git/git, git/gitk */
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "{\"name\":\"github\",\"repos\":[" REPO("dG9ydmFsZHMvbGludXg=", "") "," REPO("Z2l0L2dpdA==", "") "," REPO("Z2l0L2dpdGs=", "") "]}],"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "\"knobs\":{\"page_max\":1,\"tokens\":{\"t0ken\":{\"user\":\"ann\"}}}}}";

typedef struct Others {
        ForgeFixture f;
        Forge *forge;
} Others;

static void others_init(Others *o) {
        *o = (Others){0};
        forge_fixture_init(&o->f);
        forge_fixture_start_world(&o->f, world);
}

static void others_done(Others *o) {
        (void) forge_unref(o->forge);
        forge_fixture_done(&o->f);
}

#define _cleanup_others_ _cleanup_(others_done)

/* Opens an org; path: behind the URL of the forge. */
static void open_org(
        Others *o,
        const char *forge,
        OrgKind kind,
        const char *path,
        const char *owner,
        const char *token) {
        _cleanup_(org_config_freep) OrgConfig *org = NULL;
        _cleanup_free_ char *base = forge_fixture_world_url(&o->f, forge);
        _cleanup_free_ char *url = NULL;

        (void) forge_unref(o->forge);
        ck_assert_int_gt(asprintf(&url, "%s%s", base, path), 0);
        ck_assert_int_eq(org_config_new("org", kind, url, &org), 0);
        if (owner)
                ck_assert_ptr_nonnull(org->owner = strdup(owner));
        if (token)
                ck_assert_int_eq(secret_file_write(o->f.dir.path, "org", token), 0);
        o->forge = forge_fixture_open(&o->f, org);
}

static void check_names(Others *o, const char *owner, const char *expected) {
        Failure failure;
        int result;

        _cleanup_free_ char *names = forge_fixture_names(&o->f, o->forge, owner, &result, &failure);
        ck_assert_msg(result == 0, "%s: %d %s", owner, result, failure.text);
        ck_assert_str_eq(names, expected);
}

static Source *find_repo(Others *o, const char *owner, const char *name) {
        ForgeFound found;
        Failure failure;

        int r = forge_fixture_find(&o->f, o->forge, owner, name, false, &found, &failure);
        ck_assert_msg(r == 0, "%s/%s: %d %s", owner, name, r, failure.text);
        ck_assert_int_eq(found.kind, FORGE_REPO);
        return found.source;
}

static void check_owner(Others *o, const char *owner, const char *name) {
        ForgeFound found;
        Failure failure;

        int r = forge_fixture_find(&o->f, o->forge, owner, name, false, &found, &failure);
        ck_assert_msg(r == 0, "%s/%s: %d %s", owner, name, r, failure.text);
        ck_assert_int_eq(found.kind, FORGE_OWNER);
        ck_assert(!found.unproven);
}

static FailureClass check_absent(Others *o, const char *owner, const char *name, int result) {
        ForgeFound found;
        Failure failure;

        ck_assert_int_eq(
                forge_fixture_find(&o->f, o->forge, owner, name, false, &found, &failure), result);
        return failure.class;
}

static unsigned count(Others *o, const char *what) {
        _cleanup_free_ char *requests = forge_fixture_world_requests(&o->f);
        unsigned n = 0;

        for (const char *p = requests; (p = strstr(p, what)); p += strlen(what))
                n++;
        return n;
}

/* The commit and its trees come by git, which the repository must be found for. */
static void fetch_commit(Others *o, Source *source) {
        FetchRun run;
        const Oid head = forge_fixture_oid(&o->f, "main");

        ck_assert_int_eq(fetch_ref(&o->f, source, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_int_eq(fetch_objects(&o->f, source, FETCH_COMMIT, &head, 1, &run), 0);
}

/* All five files of the fixture, one of them empty. */
static int fetch_sizes(Others *o, Source *source, const char *directory, unsigned *ret_n) {
        static const char *const files[] = {
                "main:README",
                "main:src/main.c",
                "main:src/deep/er/file",
                "main:doc/text",
                "main:empty",
        };
        Oid oids[ELEMENTSOF(files)];
        Failure failure;
        FetchRun run;

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                oids[i] = forge_fixture_oid(&o->f, files[i]);
        fetch_run_init(&run, FETCH_SIZES, oids, ELEMENTSOF(oids));
        run.fetch.root = forge_fixture_oid(&o->f, "main^{tree}");
        run.fetch.tree = forge_fixture_oid(&o->f, directory);
        run.fetch.commit = forge_fixture_oid(&o->f, "main");
        int r = fetch_run(&o->f, source, &run, &failure);
        *ret_n = run.n_sizes;
        return r;
}

static void check_sizes(Others *o, Source *source, const char *directory) {
        unsigned n;

        ck_assert_int_eq(fetch_sizes(o, source, directory, &n), 0);
        ck_assert_uint_eq(n, 5);
}

static void check_blob(Others *o, Source *source) {
        const Oid oid = forge_fixture_oid(&o->f, "main:src/main.c");
        FetchRun run;

        ck_assert_int_eq(fetch_objects(&o->f, source, FETCH_BLOBS, &oid, 1, &run), 0);
        ck_assert(forge_fixture_has(&o->f, &oid));
}

/* --- GitLab --- */

START_TEST(gitlab_groups_nest) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitlab", ORG_GITLAB, "", "acme", NULL);
        check_names(&o, "", "app\nold\nfork\ntools/\n");
        check_names(&o, "tools", "lint\ndeep/\n");
        check_names(&o, "tools/deep", "x\n");
        check_owner(&o, "", "tools");
        check_owner(&o, "tools", "deep");
        ck_assert_int_eq(check_absent(&o, "tools", "nothing", -ENOENT), FAILURE_NOT_FOUND);
        ck_assert_int_eq(check_absent(&o, "", "secret", -ENOENT), FAILURE_NOT_FOUND);
        ck_assert_uint_eq(count(&o, "\"class\": \"git\""), 0); /* no door was knocked at */

        _cleanup_(source_unrefp) Source *source = find_repo(&o, "tools/deep", "x");
        fetch_commit(&o, source);
}
END_TEST

START_TEST(gitlab_as_a_whole_has_groups_and_users) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitlab", ORG_GITLAB, "", NULL, NULL);
        check_owner(&o, "", "acme");
        check_owner(&o, "", "ann");
        (void) check_absent(&o, "", "nobody", -ENOENT);
        check_names(&o, "ann", "dots\n");
        check_names(&o, "acme/tools", "lint\ndeep/\n");
}
END_TEST

START_TEST(gitlab_shows_a_token_more) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitlab", ORG_GITLAB, "", "acme", "t0ken");
        check_names(&o, "", "app\nold\nfork\nsecret\ntools/\n");
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "secret");
        fetch_commit(&o, source);
        check_blob(&o, source);
}
END_TEST

START_TEST(gitlab_tells_sizes_by_graphql) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitlab", ORG_GITLAB, "", "acme", NULL);
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "tools", "lint");
        fetch_commit(&o, source);
        check_sizes(&o, source, "main:src");
        ck_assert_uint_eq(count(&o, "\"class\": \"graphql\""), 1);
}
END_TEST

START_TEST(gitlab_without_graphql_says_so) {
        _cleanup_others_ Others o;
        unsigned n;

        others_init(&o);
        open_org(&o, "gitlab-bare", ORG_GITLAB, "", "acme", NULL);
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "app");
        ck_assert_int_eq(fetch_sizes(&o, source, "main:src", &n), -EOPNOTSUPP);
        ck_assert_uint_eq(n, 0);
        /* git is broken here: the blob comes from the API. */
        check_blob(&o, source);
}
END_TEST

START_TEST(gitlab_follows_a_rename) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitlab", ORG_GITLAB, "", "acme", NULL);
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "before");
        ck_assert_ptr_nonnull(strstr(source->url, "/acme/app"));
        fetch_commit(&o, source);
}
END_TEST

START_TEST(gitlab_knows_whose_token_it_is) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitlab", ORG_GITLAB, "", "@me", "t0ken");
        check_names(&o, "", "dots\n");
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "dots");
        fetch_commit(&o, source);
}
END_TEST

START_TEST(gitlab_is_asked_for_less_when_it_is_too_much) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitlab-lies", ORG_GITLAB, "", "acme", NULL);
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "app");
        fetch_commit(&o, source);
        check_sizes(&o, source, "main:src");
        ck_assert_uint_eq(count(&o, "\"class\": \"graphql\""), 4); /* 5, then 2, 2 and 1 */
}
END_TEST

/* Pages that go on for ever end, and no name leads elsewhere. */
START_TEST(lists_that_lie_end) {
        static const struct {
                const char *forge, *path, *names;
                OrgKind kind;
        } cases[] = {
                {"gitlab-lies", "", "good\napp\n", ORG_GITLAB},
                {"gitea-lies", "", "app\n", ORG_GITEA},
                {"mesa-lies", "/v1", "x\napp\n", ORG_MESA},
        };
        _cleanup_others_ Others o;
        Failure failure;
        int result;

        others_init(&o);
        open_org(
                &o,
                cases[_i].forge,
                cases[_i].kind,
                cases[_i].path,
                "acme",
                cases[_i].path[0] ? "t0ken" : NULL);
        _cleanup_free_ char *names = forge_fixture_names(&o.f, o.forge, "", &result, &failure);
        ck_assert(strncmp(names, cases[_i].names, strlen(cases[_i].names)) == 0);
        ck_assert_ptr_null(strstr(names, ".."));
        ck_assert_ptr_null(strstr(names, "a/b"));
        ck_assert_uint_le(count(&o, "\"class\": \"rest\""), 4);
}
END_TEST

/* --- Gitea --- */

START_TEST(gitea_lists_orgs_and_users) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitea", ORG_GITEA, "", "acme", NULL);
        check_names(&o, "", "app\nold\nfork\n");
        open_org(&o, "gitea", ORG_GITEA, "", NULL, NULL);
        check_owner(&o, "", "acme");
        check_owner(&o, "", "ann");
        (void) check_absent(&o, "", "nobody", -ENOENT);
        check_names(&o, "ann", "dots\n");
        (void) check_absent(&o, "acme", "nothing", -ENOENT);
}
END_TEST

START_TEST(gitea_pages_are_counted_not_followed) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitea-proxied", ORG_GITEA, "", "acme", NULL);
        check_names(&o, "", "app\nlib\n");
}
END_TEST

START_TEST(gitea_tells_sizes_in_pages) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitea", ORG_GITEA, "", "acme", "t0ken");
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "secret");
        fetch_commit(&o, source);
        check_sizes(&o, source, "main^{tree}");
        check_sizes(&o, source, "main:src");
        check_sizes(&o, source, "main^{tree}"); /* from where the last one ended, around */
}
END_TEST

START_TEST(gitea_gives_blobs_when_git_does_not) {
        _cleanup_others_ Others o;
        ForgeFound found;

        others_init(&o);
        open_org(&o, "gitea-proxied", ORG_GITEA, "", "acme", NULL);
        ck_assert_int_eq(forge_fixture_find(&o.f, o.forge, "", "app", true, &found, NULL), 0);
        _cleanup_(source_unrefp) Source *source = found.source;
        check_blob(&o, source);
}
END_TEST

START_TEST(gitea_follows_a_rename) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitea", ORG_GITEA, "", "acme", NULL);
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "before");
        fetch_commit(&o, source);
}
END_TEST

START_TEST(gitea_knows_whose_token_it_is) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "gitea", ORG_GITEA, "", "@me", "t0ken");
        check_names(&o, "", "dots\n");
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "dots");
        fetch_commit(&o, source);
}
END_TEST

/* --- Mesa, in either dialect --- */

static const char *const dialects[] = {"/api/v1", "/v1"};

START_TEST(mesa_lists_by_cursor) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "mesa", ORG_MESA, dialects[_i], "acme", "t0ken");
        check_names(&o, "", "app\nlib\nnew\n");
        (void) check_absent(&o, "", "nothing", -ENOENT);
        open_org(&o, "mesa", ORG_MESA, dialects[_i], NULL, "t0ken");
        check_owner(&o, "", "acme");
        (void) check_absent(&o, "", "nobody", -ENOENT);
}
END_TEST

START_TEST(mesa_tells_sizes_by_content) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "mesa", ORG_MESA, dialects[_i], "acme", "t0ken");
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "app");
        fetch_commit(&o, source);
        check_sizes(&o, source, "main:src");
        ck_assert_uint_eq(count(&o, "/content?"), 2); /* src, and all */
        check_blob(&o, source);
}
END_TEST

START_TEST(mesa_gives_blobs_when_git_does_not) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "mesa-bare", ORG_MESA, dialects[_i], "acme", "t0ken");
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "app");
        fetch_commit(&o, source); /* after which git fails */
        check_blob(&o, source);
        ck_assert_uint_eq(count(&o, "/content?path=src%2Fmain.c"), 1);
}
END_TEST

START_TEST(mesa_mirrors_github_in_directories) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "mesa", ORG_MESA, dialects[_i], "github", "t0ken");
        check_names(&o, "", "torvalds/\ngit/\n");
        check_names(&o, "git", "git\ngitk\n");
        check_owner(&o, "", "torvalds");
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "torvalds", "linux");
        fetch_commit(&o, source);
        check_sizes(&o, source, "main^{tree}");
}
END_TEST

START_TEST(mesa_is_busy_while_it_syncs) {
        _cleanup_others_ Others o;

        others_init(&o);
        open_org(&o, "mesa", ORG_MESA, "/api/v1", "acme", "t0ken");
        ck_assert_int_eq(check_absent(&o, "", "new", -EAGAIN), FAILURE_BUSY);
        _cleanup_(source_unrefp) Source *source = find_repo(&o, "", "new");
        fetch_commit(&o, source);
}
END_TEST

START_TEST(mesa_without_a_key_says_so) {
        _cleanup_others_ Others o;
        Failure failure;
        int result;

        others_init(&o);
        open_org(&o, "mesa", ORG_MESA, "/v1", "acme", NULL);
        _cleanup_free_ char *names = forge_fixture_names(&o.f, o.forge, "", &result, &failure);
        ck_assert_int_eq(result, -EACCES);
        ck_assert_int_eq(failure.class, FAILURE_TOKEN_MISSING);
        ck_assert_str_eq(names, "");
}
END_TEST

START_TEST(a_wrong_token_is_told) {
        static const struct {
                const char *forge, *path;
                OrgKind kind;
        } cases[] = {
                {"gitlab", "", ORG_GITLAB},
                {"gitea", "", ORG_GITEA},
                {"mesa", "/v1", ORG_MESA},
        };
        _cleanup_others_ Others o;
        Failure failure;
        int result;

        others_init(&o);
        open_org(&o, cases[_i].forge, cases[_i].kind, cases[_i].path, "acme", "wr0ng");
        _cleanup_free_ char *names = forge_fixture_names(&o.f, o.forge, "", &result, &failure);
        ck_assert_str_eq(names, "");
        ck_assert_int_eq(result, -EACCES);
        ck_assert_int_eq(failure.class, FAILURE_TOKEN_REFUSED);
        ck_assert_ptr_null(strstr(failure.text, "wr0ng"));
        ck_assert_uint_le(count(&o, "\"status\": 401"), 2);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, gitlab_groups_nest);
        tcase_add_test(tc, gitlab_as_a_whole_has_groups_and_users);
        tcase_add_test(tc, gitlab_shows_a_token_more);
        tcase_add_test(tc, gitlab_tells_sizes_by_graphql);
        tcase_add_test(tc, gitlab_without_graphql_says_so);
        tcase_add_test(tc, gitlab_follows_a_rename);
        tcase_add_test(tc, gitlab_knows_whose_token_it_is);
        tcase_add_test(tc, gitlab_is_asked_for_less_when_it_is_too_much);
        tcase_add_loop_test(tc, lists_that_lie_end, 0, 3);
        tcase_add_test(tc, gitea_lists_orgs_and_users);
        tcase_add_test(tc, gitea_pages_are_counted_not_followed);
        tcase_add_test(tc, gitea_tells_sizes_in_pages);
        tcase_add_test(tc, gitea_gives_blobs_when_git_does_not);
        tcase_add_test(tc, gitea_follows_a_rename);
        tcase_add_test(tc, gitea_knows_whose_token_it_is);
        tcase_add_loop_test(tc, mesa_lists_by_cursor, 0, ELEMENTSOF(dialects));
        tcase_add_loop_test(tc, mesa_tells_sizes_by_content, 0, ELEMENTSOF(dialects));
        tcase_add_loop_test(tc, mesa_gives_blobs_when_git_does_not, 0, ELEMENTSOF(dialects));
        tcase_add_loop_test(tc, mesa_mirrors_github_in_directories, 0, ELEMENTSOF(dialects));
        tcase_add_test(tc, mesa_is_busy_while_it_syncs);
        tcase_add_test(tc, mesa_without_a_key_says_so);
        tcase_add_loop_test(tc, a_wrong_token_is_told, 0, 3);
}

CHECK_MAIN("forge-others", add_tests)
