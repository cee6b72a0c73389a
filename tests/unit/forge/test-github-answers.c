/* What GitHub is asked, and what is made of its answers, whatever these are. */

#include <errno.h>
#include <string.h>

#include "forge/api-forges.h"
#include "forge/api-listing.h"
#include "lib/check-main.h"

static const ApiForgeOps *const ops = &github_api_ops;
static ApiForge closed = {.ops = &github_api_ops}; /* enough for URLs and answers */

#define ORDER "sort=created&direction=asc&per_page=100"

static const struct {
        const char *owner;
        unsigned alternative, part;
        const char *url; /* NULL: none */
} lists[] = {
        {"acme", 0, 0, "/orgs/acme/repos?type=all&" ORDER},
        {"acme", 0, 1, NULL},
        {"acme", 1, 0, "/users/acme/repos?type=owner&" ORDER},
        {"acme", 2, 0, NULL},
        {"@me", 0, 0, "/user/repos?affiliation=owner&" ORDER},
        {"@me", 1, 0, NULL},
        {"", 0, 0, NULL},
        {"..", 0, 0, NULL},
        {"a/b", 0, 0, NULL},
        {"a?b", 0, 0, NULL},
};

START_TEST(a_listing_is_asked_for) {
        const ApiListing listing = {
                .owner = lists[_i].owner,
                .alternative = lists[_i].alternative,
                .part = lists[_i].part};
        _cleanup_free_ char *url = NULL;

        int r = ops->list_url(&closed, &listing, &url);
        ck_assert_int_eq(r, lists[_i].url != NULL);
        if (url)
                ck_assert_str_eq(url, lists[_i].url);
}
END_TEST

static const struct {
        const char *owner, *name;
        const char *url; /* NULL: there can be none */
} repos[] = {
        {"acme", "app", "/repos/acme/app"},
        {"a_managed", "x.y-z_1", "/repos/a_managed/x.y-z_1"},
        {"acme", ".github", "/repos/acme/.github"},
        {"acme", "..", NULL},
        {"acme", ".", NULL},
        {"acme", ".git", NULL},
        {"acme", "app.git", NULL},
        {"acme", "a b", NULL},
        {"acme", "\xc3\xa4", NULL},
        {"acme/sub", "app", NULL},
        {"-acme", "app", NULL},
        {"..", "app", NULL},
};

START_TEST(a_repository_is_asked_for) {
        _cleanup_free_ char *url = NULL;
        _cleanup_free_ char *other = NULL;

        int r = ops->repo_url(&closed, repos[_i].owner, repos[_i].name, 0, &url);
        ck_assert_int_eq(r, repos[_i].url != NULL);
        if (url)
                ck_assert_str_eq(url, repos[_i].url);
        ck_assert_int_eq(ops->repo_url(&closed, repos[_i].owner, repos[_i].name, 1, &other), 0);
}
END_TEST

static const struct {
        const char *url, *api, *git;
} places[] = {
        {"", "https://api.github.com", "https://github.com"},
        {"https://GitHub.com", "https://api.github.com", "https://github.com"},
        {"https://ghe.example:8443", "https://ghe.example:8443/api/v3", "https://ghe.example:8443"},
        {"http://127.0.0.1:80", "http://127.0.0.1:80/api/v3", "http://127.0.0.1:80"},
};

START_TEST(github_has_its_place) {
        const OrgConfig org = {.url = (char *) places[_i].url};
        _cleanup_free_ char *api = NULL;
        _cleanup_free_ char *git = NULL;

        ck_assert_int_eq(ops->place(&org, &api, &git, NULL), 0);
        ck_assert_str_eq(api, places[_i].api);
        ck_assert_str_eq(git, places[_i].git);
}
END_TEST

static const struct {
        const char *answer;
        int result;
        size_t n;
        unsigned flags; /* of all */
} pages[] = {
        {"[]", 0, 0, 0},
        {"[{\"name\":\"app\"}]", 0, 1, 0},
        {"[{\"name\":\"app\",\"archived\":true,\"fork\":null,\"disabled\":true},"
         "{\"name\":\"b\",\"fork\":true}]",
         0,
         2,
         API_ENTRY_ARCHIVED | API_ENTRY_FORK | API_ENTRY_DISABLED},
        {"[null,1,\"x\",[],{},{\"name\":null},{\"name\":[\"a\"]},{\"name\":\"\"},"
         "{\"name\":\"../x\"},{\"name\":\"ok\",\"archived\":\"true\",\"fork\":1}]",
         0,
         1,
         0},
        {"{\"name\":\"app\"}", -EBADMSG, 0, 0},
        {"null", -EBADMSG, 0, 0},
        {"\"app\"", -EBADMSG, 0, 0},
};

static bool add_flags(const ApiEntry *entry, void *userdata) {
        *(unsigned *) userdata |= entry->flags;
        return true;
}

START_TEST(a_page_is_read) {
        const ApiListing listing = {.owner = "acme"};
        _cleanup_(json_freep) Json *json = NULL;
        _cleanup_api_page_ ApiPage page = {0};
        unsigned flags = 0;

        ck_assert_int_eq(json_parse(pages[_i].answer, strlen(pages[_i].answer), &json), 0);
        const ApiAnswer answer = {.code = 200, .json = json};
        ck_assert_int_eq(api_page_init(&page, 0, "/x"), 0);
        ck_assert_int_eq(ops->list_page(&closed, &listing, &answer, &page), pages[_i].result);
        ck_assert_uint_eq(page.n_entries, pages[_i].n);
        ck_assert(api_page_each(&page, add_flags, &flags));
        ck_assert_uint_eq(flags, pages[_i].flags);
}
END_TEST

static const struct {
        const char *answer;
        int result;
        const char *owner, *name;
} answers[] = {
        {"{\"name\":\"app\",\"owner\":{\"login\":\"acme\"}}", 1, "acme", "app"},
        {"{\"name\":\"app\",\"owner\":{}}", -EBADMSG, NULL, NULL},
        {"{\"name\":\"app\",\"owner\":\"acme\"}", -EBADMSG, NULL, NULL},
        {"{\"name\":7,\"owner\":{\"login\":\"acme\"}}", -EBADMSG, NULL, NULL},
        {"{\"name\":\"..\",\"owner\":{\"login\":\"acme\"}}", -EBADMSG, NULL, NULL},
        {"{\"name\":\"app\",\"owner\":{\"login\":\"../x\"}}", -EBADMSG, NULL, NULL},
        {"[]", -EBADMSG, NULL, NULL},
        {"null", -EBADMSG, NULL, NULL},
};

START_TEST(a_repository_is_read) {
        _cleanup_(json_freep) Json *json = NULL;
        _cleanup_api_repo_ ApiRepo repo = {0};

        ck_assert_int_eq(json_parse(answers[_i].answer, strlen(answers[_i].answer), &json), 0);
        const ApiAnswer answer = {.code = 200, .json = json};
        ck_assert_int_eq(ops->repo(&closed, &answer, &repo, NULL), answers[_i].result);
        if (answers[_i].owner) {
                ck_assert_str_eq(repo.owner, answers[_i].owner);
                ck_assert_str_eq(repo.name, answers[_i].name);
        }
}
END_TEST

/* Who one is goes into GraphQL as it stands. */
START_TEST(an_identity_is_a_name) {
        static const char good[] = "{\"login\":\"octo-cat_x\"}";
        static const char bad[] = "{\"login\":\"a\\\"){id}\"}";
        _cleanup_(json_freep) Json *a = NULL, *b = NULL;

        ck_assert_int_eq(json_parse(good, strlen(good), &a), 0);
        ck_assert_int_eq(json_parse(bad, strlen(bad), &b), 0);
        ck_assert_str_eq(ops->identity(a), "octo-cat_x");
        ck_assert_ptr_null(ops->identity(b));
}
END_TEST

START_TEST(paths_are_escaped) {
        _cleanup_free_ char *path = NULL;
        _cleanup_free_ char *url = NULL;

        ck_assert_int_eq(api_path(&path, "/a/%/b?c=%", "x/y z", "1&2"), 0);
        ck_assert_str_eq(path, "/a/x%2Fy%20z/b?c=1%262");
        ck_assert_int_eq(api_path_append(&url, "https://h", "a/b c", ".git"), 0);
        ck_assert_str_eq(url, "https://h/a/b%20c.git");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_loop_test(tc, a_listing_is_asked_for, 0, ELEMENTSOF(lists));
        tcase_add_loop_test(tc, a_repository_is_asked_for, 0, ELEMENTSOF(repos));
        tcase_add_loop_test(tc, github_has_its_place, 0, ELEMENTSOF(places));
        tcase_add_loop_test(tc, a_page_is_read, 0, ELEMENTSOF(pages));
        tcase_add_loop_test(tc, a_repository_is_read, 0, ELEMENTSOF(answers));
        tcase_add_test(tc, an_identity_is_a_name);
        tcase_add_test(tc, paths_are_escaped);
}

CHECK_MAIN("github-answers", add_tests)
