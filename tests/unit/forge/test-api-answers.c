/* What GitLab, Gitea and Mesa are asked, and what is made of their answers, whatever these are. */

#include <errno.h>
#include <string.h>

#include "forge/api-forges.h"
#include "forge/api-listing.h"
#include "lib/check-main.h"

static OrgConfig org;
static Config config;
static const ForgeContext context = {.config = &config};

/* A forge that is not open: enough for all that makes URLs and reads answers. Mesa keeps more of
 * itself behind it. */
static union {
        ApiForge forge;
        char room[sizeof(ApiForge) + 64];
} closed;

static ApiForge *closed_forge(const ApiForgeOps *ops) {
        memset(&closed, 0, sizeof(closed));
        closed.forge.ops = ops;
        closed.forge.org = &org;
        closed.forge.context = &context;
        return &closed.forge;
}

/* --- questions --- */

typedef struct Question {
        const ApiForgeOps *ops;
        const char *owner;
        unsigned alternative, part;
        const char *url; /* NULL: none */
} Question;

#define GITLAB_PAGE "with_shared=false&order_by=id&sort=asc&per_page=100&simple=true"

static const Question list_questions[] = {
        {&gitlab_api_ops, "", 0, 0, NULL},
        {&gitlab_api_ops, "acme", 0, 0, "/groups/acme/projects?" GITLAB_PAGE},
        {&gitlab_api_ops, "acme", 0, 1, "/groups/acme/subgroups?order_by=id&sort=asc&per_page=100"},
        {&gitlab_api_ops, "acme", 0, 2, NULL},
        {&gitlab_api_ops, "acme", 1, 0, "/users/acme/projects?" GITLAB_PAGE},
        {&gitlab_api_ops, "acme", 1, 1, NULL},
        {&gitlab_api_ops, "acme", 2, 0, NULL},
        {&gitlab_api_ops, "a/b?c", 0, 0, "/groups/a%2Fb%3Fc/projects?" GITLAB_PAGE},
        {&gitlab_api_ops, "a/b", 1, 0, NULL}, /* no user is called so */
        {&gitlab_api_ops, "@me", 0, 0, "/user"},
        {&gitlab_api_ops, "@me", 0, 1, NULL},
        {&gitlab_api_ops, "@me", 1, 0, NULL},
        {&gitlab_api_ops, "1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2", 0, 0, NULL},
        {&gitlab_api_ops, "1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1", 0, 1, NULL},

        {&gitea_api_ops, "", 0, 0, NULL},
        {&gitea_api_ops, "acme", 0, 0, "/orgs/acme/repos?limit=50&page=1"},
        {&gitea_api_ops, "acme", 1, 0, "/users/acme/repos?limit=50&page=1"},
        {&gitea_api_ops, "acme", 2, 0, NULL},
        {&gitea_api_ops, "acme", 0, 1, NULL},
        {&gitea_api_ops, "a/b", 0, 0, NULL},
        {&gitea_api_ops, "../..", 0, 0, NULL},
        {&gitea_api_ops, "@me", 0, 0, "/user"},
        {&gitea_api_ops, "@me", 1, 0, NULL},

        {&mesa_api_ops, "", 0, 0, NULL},
        {&mesa_api_ops, "acme", 0, 0, "/acme/repos?limit=100"},
        {&mesa_api_ops, "acme", 0, 1, NULL},
        {&mesa_api_ops, "acme", 1, 0, NULL},
        {&mesa_api_ops, "acme/x", 0, 0, NULL},
        {&mesa_api_ops, "github", 0, 0, "/github/repos?limit=100"},
        {&mesa_api_ops, "github/torvalds", 0, 0, "/github/repos?limit=100"},
        {&mesa_api_ops, "github/torvalds/x", 0, 0, NULL},
        {&mesa_api_ops, "githubber", 0, 0, "/githubber/repos?limit=100"},
        {&mesa_api_ops, "@me", 0, 0, "/whoami"},
};

START_TEST(a_listing_is_asked_for) {
        const Question *q = &list_questions[_i];
        const ApiListing listing = {
                .owner = q->owner, .alternative = q->alternative, .part = q->part};
        _cleanup_free_ char *url = NULL;

        int r = q->ops->list_url(closed_forge(q->ops), &listing, &url);
        ck_assert_int_eq(r, q->url != NULL);
        if (q->url)
                ck_assert_str_eq(url, q->url);
}
END_TEST

START_TEST(gitlab_leaves_out_what_the_org_does) {
        const ApiListing listing = {.owner = "acme"};
        _cleanup_free_ char *url = NULL;
        ApiForge *forge = closed_forge(&gitlab_api_ops);

        org.no_archived = org.no_forks = true;
        int r = gitlab_api_ops.list_url(forge, &listing, &url);
        org.no_archived = org.no_forks = false;
        ck_assert_int_eq(r, 1);
        ck_assert_ptr_nonnull(strstr(url, "&archived=false"));
        ck_assert_ptr_null(strstr(url, "simple")); /* which says nothing of forks */
}
END_TEST

static const Question owner_questions[] = {
        {&gitlab_api_ops, "", 0, 0, NULL},
        {&gitlab_api_ops, "a/b", 0, 0, "/groups/a%2Fb?with_projects=false"},
        {&gitlab_api_ops, "a/b", 1, 0, NULL},
        {&gitlab_api_ops, "a&b", 1, 0, "/users?username=a%26b"},
        {&gitlab_api_ops, "a", 2, 0, NULL},
        {&gitea_api_ops, "", 0, 0, NULL},
        {&gitea_api_ops, "a", 0, 0, "/users/a"},
        {&gitea_api_ops, "a", 1, 0, NULL},
        {&gitea_api_ops, "a/b", 0, 0, NULL},
        {&mesa_api_ops, "", 0, 0, NULL},
        {&mesa_api_ops, "a", 0, 0, "/a/repos?limit=1"},
        {&mesa_api_ops, "a", 1, 0, NULL},
        {&mesa_api_ops, "a/b", 0, 0, NULL},
        {&mesa_api_ops, "github/b", 0, 0, "/github/repos?limit=1"},
        {&mesa_api_ops, "github/b/c", 0, 0, NULL},
};

START_TEST(an_owner_is_asked_for) {
        const Question *q = &owner_questions[_i];
        _cleanup_free_ char *url = NULL;

        int r = q->ops->owner_url(closed_forge(q->ops), q->owner, q->alternative, &url);
        ck_assert_int_eq(r, q->url != NULL);
        if (q->url)
                ck_assert_str_eq(url, q->url);
}
END_TEST

/* The name is "na me". */
static const Question repo_questions[] = {
        {&gitlab_api_ops, "a/b", 0, 0, "/projects/a%2Fb%2Fna%20me"},
        {&gitlab_api_ops, "a/b", 1, 0, NULL},
        {&gitea_api_ops, "a", 0, 0, "/repos/a/na%20me"},
        {&gitea_api_ops, "a", 1, 0, NULL},
        {&mesa_api_ops, "a", 0, 0, "/a/na%20me"},
        {&mesa_api_ops, "a", 1, 0, NULL},
        {&mesa_api_ops, "github", 0, 0, NULL}, /* holds owners */
        {&mesa_api_ops, "github/b", 0, 0, "/github/Yi9uYSBtZQ%3D%3D"},
};

START_TEST(a_repository_is_asked_for) {
        const Question *q = &repo_questions[_i];
        _cleanup_free_ char *url = NULL;

        int r = q->ops->repo_url(closed_forge(q->ops), q->owner, "na me", q->alternative, &url);
        ck_assert_int_eq(r, q->url != NULL);
        if (q->url)
                ck_assert_str_eq(url, q->url);
}
END_TEST

START_TEST(git_is_where_it_is) {
        ApiForge *forge = closed_forge(&mesa_api_ops);
        _cleanup_free_ char *url = NULL;
        _cleanup_free_ char *mirrored = NULL;

        forge->git_base = (char *) "https://host";
        ck_assert_int_eq(mesa_api_ops.git_url(forge, "acme", "app", &url), 0);
        ck_assert_str_eq(url, "https://host/acme/app.git");
        ck_assert_int_eq(mesa_api_ops.git_url(forge, "github/torvalds", "linux", &mirrored), 0);
        ck_assert_str_eq(mirrored, "https://host/github/dG9ydmFsZHMvbGludXg%3D.git");
}
END_TEST

static const struct {
        const ApiForgeOps *ops;
        const char *url, *api, *git;
} places[] = {
        {&gitlab_api_ops, "", "https://gitlab.com/api/v4", "https://gitlab.com"},
        {&gitlab_api_ops, "https://h:8/git", "https://h:8/git/api/v4", "https://h:8/git"},
        {&gitea_api_ops, "http://h", "http://h/api/v1", "http://h"},
        {&gitea_api_ops, "", NULL, NULL},
        {&mesa_api_ops, "", "https://api.mesa.dev/v1", "https://api.mesa.dev"},
        {&mesa_api_ops, "http://h:8/api/v1", "http://h:8/api/v1", "http://h:8"},
        {&mesa_api_ops, "http://h", "http://h", "http://h"},
};

START_TEST(a_forge_has_its_place) {
        const ApiForgeOps *ops = places[_i].ops;
        const OrgConfig here = {.url = (char *) places[_i].url};
        _cleanup_free_ char *api = NULL;
        _cleanup_free_ char *git = NULL;
        Failure failure;

        int r = ops->place(&here, &api, &git, &failure);
        ck_assert_int_eq(r < 0, places[_i].api == NULL);
        if (r >= 0) {
                ck_assert_str_eq(api, places[_i].api);
                ck_assert_str_eq(git, places[_i].git);
        }
}
END_TEST

/* --- pages --- */

typedef struct Page {
        const ApiForgeOps *ops;
        ApiListing listing;
        const char *answer;
        bool more;        /* Link says so */
        const char *link; /* and leads to this server; NULL: it does not */
        int result;
        const char *entries; /* "name ", "name/ " for owners, "!" in front of what is archived, "?"
                                empty, "+" a fork */
        const char *next;    /* "" none; NULL: as Link says */
} Page;

static const Page pages[] = {
        {&gitlab_api_ops,
         {.owner = "acme"},
         "[{\"path\":\"app\",\"name\":\"The App\"},{\"path\":\"old\",\"archived\":true},"
         "{\"path\":\"fork\",\"forked_from_project\":{\"id\":1},\"empty_repo\":true}]",
         false,
         NULL,
         0,
         "app !old ?+fork ",
         NULL},
        {&gitlab_api_ops,
         {.owner = "acme", .part = 1},
         "[{\"path\":\"sub\",\"full_path\":\"acme/sub\"}]",
         false,
         NULL,
         0,
         "sub/ ",
         NULL},
        {&gitlab_api_ops,
         {.owner = "acme"},
         "[null,7,\"x\",[],{},{\"path\":null},{\"path\":7},{\"path\":\"\"},{\"path\":\"..\"},"
         "{\"path\":\"a/b\"},{\"path\":\"a\\u0000b\"},{\"path\":\"ok\",\"archived\":\"yes\"}]",
         false,
         NULL,
         0,
         "ok ",
         NULL},
        {&gitlab_api_ops, {.owner = "acme"}, "[]", false, NULL, 0, "", NULL},
        {&gitlab_api_ops, {.owner = "acme"}, "{\"path\":\"x\"}", false, NULL, -EBADMSG, "", NULL},
        {&gitlab_api_ops, {.owner = "acme"}, "null", false, NULL, -EBADMSG, "", NULL},
        {&gitlab_api_ops,
         {.owner = "@me"},
         "{\"id\":1,\"username\":\"me\"}",
         false,
         NULL,
         0,
         "",
         "/users/me/projects?" GITLAB_PAGE},
        {&gitlab_api_ops, {.owner = "@me"}, "{\"id\":1}", false, NULL, -EBADMSG, "", NULL},
        {&gitlab_api_ops,
         {.owner = "@me", .page = 1},
         "[{\"path\":\"mine\"}]",
         false,
         NULL,
         0,
         "mine ",
         NULL},

        {&gitea_api_ops,
         {.owner = "acme", .url = "/orgs/acme/repos?limit=50&page=1"},
         "[{\"name\":\"app\"},{\"name\":\"old\",\"archived\":true,\"fork\":true,\"empty\":true}]",
         true,
         NULL,
         0,
         "app !?+old ",
         "/orgs/acme/repos?limit=50&page=2"},
        {&gitea_api_ops,
         {.owner = "acme", .url = "/orgs/acme/repos?limit=50&page=1"},
         "[{\"name\":\"app\"}]",
         true,
         "http://host/orgs/acme/repos?page=2",
         0,
         "app ",
         NULL},
        {&gitea_api_ops,
         {.owner = "acme", .page = 9, .url = "/orgs/acme/repos?limit=50&page=10"},
         "[{\"name\":\".\"},{\"name\":{}},5]",
         false,
         NULL,
         0,
         "",
         ""},
        {&gitea_api_ops,
         {.owner = "acme", .url = "/orgs/acme/repos?limit=50&page=8"},
         "[]", /* with another page behind it, for ever */
         true,
         NULL,
         0,
         "",
         ""},
        {&gitea_api_ops,
         {.owner = "acme", .url = "/orgs/acme/repos?limit=50&page=1"},
         "{\"message\":\"x\"}",
         true,
         NULL,
         -EBADMSG,
         "",
         NULL},
        {&gitea_api_ops,
         {.owner = "@me", .url = "/user"},
         "{\"login\":\"me\"}",
         false,
         NULL,
         0,
         "",
         "/users/me/repos?limit=50&page=1"},
        {&gitea_api_ops,
         {.owner = "@me", .page = 1, .url = "/users/me/repos?limit=50&page=1"},
         "[{\"name\":\"mine\"}]",
         true,
         NULL,
         0,
         "mine ",
         "/users/me/repos?limit=50&page=2"},

        {&mesa_api_ops,
         {.owner = "acme", .url = "/acme/repos?limit=100"},
         "{\"repos\":[{\"name\":\"app\",\"default_branch\":null},{\"name\":null},{},3],"
         "\"next_cursor\":\"a&b=\",\"has_more\":true}",
         false,
         NULL,
         0,
         "app ",
         "/acme/repos?limit=100&cursor=a%26b%3D"},
        {&mesa_api_ops,
         {.owner = "acme", .page = 1, .url = "/acme/repos?limit=100&cursor=old"},
         "{\"repos\":[{\"name\":\"app\"}],\"next_cursor\":\"new\"}",
         false,
         NULL,
         0,
         "app ",
         "/acme/repos?limit=100&cursor=new"},
        {&mesa_api_ops,
         {.owner = "acme", .url = "/acme/repos?limit=100"},
         "{\"repos\":[],\"next_cursor\":\"endless\",\"has_more\":true}",
         false,
         NULL,
         0,
         "",
         ""},
        {&mesa_api_ops,
         {.owner = "acme", .url = "/acme/repos?limit=100"},
         "{\"repos\":[{\"name\":\"app\"}],\"next_cursor\":7}",
         false,
         NULL,
         0,
         "app ",
         ""},
        {&mesa_api_ops,
         {.owner = "acme", .url = "/acme/repos"},
         "[]",
         false,
         NULL,
         -EBADMSG,
         "",
         NULL},
        {&mesa_api_ops,
         {.owner = "acme", .url = "/acme/repos"},
         "{\"repos\":{}}",
         false,
         NULL,
         -EBADMSG,
         "",
         NULL},
        /* torvalds/linux, git/git, "nothing", "a/../b", no Base64 */
        {&mesa_api_ops,
         {.owner = "github", .url = "/github/repos?limit=100"},
         "{\"repos\":[{\"name\":\"dG9ydmFsZHMvbGludXg=\"},{\"name\":\"Z2l0L2dpdA==\"},"
         "{\"name\":\"bm90aGluZw==\"},{\"name\":\"YS8uLi9i\"},{\"name\":\"!\"}]}",
         false,
         NULL,
         0,
         "torvalds/ git/ ",
         ""},
        {&mesa_api_ops,
         {.owner = "github/git", .url = "/github/repos?limit=100"},
         "{\"repos\":[{\"name\":\"dG9ydmFsZHMvbGludXg=\"},{\"name\":\"Z2l0L2dpdA==\"}]}",
         false,
         NULL,
         0,
         "git ",
         ""},
        {&mesa_api_ops,
         {.owner = "@me", .url = "/whoami"},
         "{\"org\":{\"slug\":\"acme\"}}",
         false,
         NULL,
         0,
         "",
         "/acme/repos?limit=100"},
};

static bool add_entry(const ApiEntry *entry, void *userdata) {
        ck_assert_int_eq(
                buf_appendf(
                        userdata,
                        "%s%s%s%s%s ",
                        entry->flags & API_ENTRY_ARCHIVED ? "!" : "",
                        entry->flags & API_ENTRY_EMPTY ? "?" : "",
                        entry->flags & API_ENTRY_FORK ? "+" : "",
                        entry->name,
                        entry->kind == FORGE_OWNER ? "/" : ""),
                0);
        return true;
}

START_TEST(a_page_is_read_and_nonsense_is_left_out) {
        const Page *p = &pages[_i];
        _cleanup_(json_freep) Json *json = NULL;
        _cleanup_buf_ Buf entries = {0};
        ApiPage page;

        ck_assert_int_eq(json_parse(p->answer, strlen(p->answer), &json), 0);
        const ApiAnswer answer = {
                .code = 200, .json = json, .more = p->more, .next = p->link ? p->link : ""};
        ck_assert_int_eq(api_page_init(&page, p->listing.part, "/"), 0);
        ck_assert_int_eq(
                p->ops->list_page(closed_forge(p->ops), &p->listing, &answer, &page), p->result);
        (void) api_page_each(&page, add_entry, &entries);
        ck_assert_str_eq(buf_str(&entries), p->entries);
        ck_assert_int_eq(page.next_is_set, p->next != NULL);
        if (p->next)
                ck_assert_str_eq(page.next, p->next);
        api_page_done(&page);
}
END_TEST

/* --- owners and repositories --- */

static const struct {
        const ApiForgeOps *ops;
        const char *answer;
        int result;
} owners[] = {
        {&gitlab_api_ops, "{\"id\":1,\"path\":\"b\",\"full_path\":\"a/b\"}", 1},
        {&gitlab_api_ops, "[{\"username\":\"a\"}]", 1},
        {&gitlab_api_ops, "[]", 0},
        {&gitlab_api_ops, "[{\"name\":\"a\"}]", 0},
        {&gitlab_api_ops, "{}", -EBADMSG},
        {&gitlab_api_ops, "7", -EBADMSG},
        {&gitea_api_ops, "{\"login\":\"a\"}", 1},
        {&gitea_api_ops, "[]", -EBADMSG},
        {&mesa_api_ops, "{\"repos\":[]}", 1},
        {&mesa_api_ops, "{\"repos\":null}", -EBADMSG},
        {&mesa_api_ops, "null", -EBADMSG},
};

START_TEST(an_owner_is_told_from_nonsense) {
        const ApiForgeOps *ops = owners[_i].ops;
        _cleanup_(json_freep) Json *json = NULL;

        ck_assert_int_eq(json_parse(owners[_i].answer, strlen(owners[_i].answer), &json), 0);
        const ApiAnswer answer = {.code = 200, .json = json};
        ck_assert_int_eq(ops->owner(closed_forge(ops), "a", &answer), owners[_i].result);
}
END_TEST

static const struct {
        const ApiForgeOps *ops;
        int code;
        const char *answer;
        int result;
        const char *owner, *name;
        unsigned flags;
} repos[] = {
        {&gitlab_api_ops,
         200,
         "{\"path_with_namespace\":\"a/b/c\",\"archived\":true,"
         "\"repository_access_level\":\"disabled\"}",
         1,
         "a/b",
         "c",
         API_ENTRY_ARCHIVED | API_ENTRY_DISABLED},
        {&gitlab_api_ops, 200, "{\"path_with_namespace\":\"c\"}", -EBADMSG, NULL, NULL, 0},
        {&gitlab_api_ops, 200, "{\"path_with_namespace\":\"/c\"}", -EBADMSG, NULL, NULL, 0},
        {&gitlab_api_ops, 200, "{\"path_with_namespace\":\"a/\"}", -EBADMSG, NULL, NULL, 0},
        {&gitlab_api_ops, 200, "[]", -EBADMSG, NULL, NULL, 0},
        {&gitea_api_ops,
         200,
         "{\"owner\":{\"login\":\"a\"},\"name\":\"b\",\"empty\":true}",
         1,
         "a",
         "b",
         API_ENTRY_EMPTY},
        {&gitea_api_ops, 200, "{\"owner\":\"a\",\"name\":\"b\"}", -EBADMSG, NULL, NULL, 0},
        {&gitea_api_ops,
         200,
         "{\"owner\":{\"login\":\"\"},\"name\":\"b\"}",
         -EBADMSG,
         NULL,
         NULL,
         0},
        {&mesa_api_ops, 200, "{\"org\":\"a\",\"name\":\"b\"}", 1, "a", "b", 0},
        {&mesa_api_ops, 200, "{\"org\":\"a\",\"name\":null}", -EBADMSG, NULL, NULL, 0},
        {&mesa_api_ops, 202, "{\"org\":\"a\",\"name\":\"b\"}", -EAGAIN, NULL, NULL, 0},
        {&mesa_api_ops,
         200,
         "{\"org\":\"a\",\"name\":\"b\",\"status\":\"syncing\"}",
         -EAGAIN,
         NULL,
         NULL,
         0},
        {&mesa_api_ops,
         200,
         "{\"org\":\"github\",\"name\":\"Z2l0L2dpdA==\"}",
         1,
         "github/git",
         "git",
         0},
        {&mesa_api_ops, 200, "{\"org\":\"github\",\"name\":\"plain\"}", -EBADMSG, NULL, NULL, 0},
};

START_TEST(a_repository_is_told_from_nonsense) {
        const ApiForgeOps *ops = repos[_i].ops;
        _cleanup_(json_freep) Json *json = NULL;
        _cleanup_api_repo_ ApiRepo repo = {0};
        Failure failure = {0};

        ck_assert_int_eq(json_parse(repos[_i].answer, strlen(repos[_i].answer), &json), 0);
        const ApiAnswer answer = {.code = repos[_i].code, .json = json};
        int r = ops->repo(closed_forge(ops), &answer, &repo, &failure);
        ck_assert_int_eq(r, repos[_i].result);
        if (r > 0) {
                ck_assert_str_eq(repo.owner, repos[_i].owner);
                ck_assert_str_eq(repo.name, repos[_i].name);
                ck_assert_uint_eq(repo.flags, repos[_i].flags);
        } else if (r != -EBADMSG) {
                ck_assert_int_eq(failure.class, FAILURE_BUSY);
                ck_assert_uint_gt(failure.retry_at_usec, 0);
                ck_assert_ptr_nonnull(strstr(failure.text, "syncing"));
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_loop_test(tc, a_listing_is_asked_for, 0, ELEMENTSOF(list_questions));
        tcase_add_test(tc, gitlab_leaves_out_what_the_org_does);
        tcase_add_loop_test(tc, an_owner_is_asked_for, 0, ELEMENTSOF(owner_questions));
        tcase_add_loop_test(tc, a_repository_is_asked_for, 0, ELEMENTSOF(repo_questions));
        tcase_add_test(tc, git_is_where_it_is);
        tcase_add_loop_test(tc, a_forge_has_its_place, 0, ELEMENTSOF(places));
        tcase_add_loop_test(tc, a_page_is_read_and_nonsense_is_left_out, 0, ELEMENTSOF(pages));
        tcase_add_loop_test(tc, an_owner_is_told_from_nonsense, 0, ELEMENTSOF(owners));
        tcase_add_loop_test(tc, a_repository_is_told_from_nonsense, 0, ELEMENTSOF(repos));
}

CHECK_MAIN("forge-api-answers", add_tests)
