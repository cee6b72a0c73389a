#include <errno.h>
#include <string.h>

#include "forge/api-forge.h"
#include "forge/gitea-sizes.h"
#include "forge/gitlab-sizes.h"
#include "forge/mesa-sizes.h"
#include "lib/check-main.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccc"

/* What is asked for, and what came of it. */
typedef struct Question {
        Fetch fetch;
        Buf sizes;
} Question;

static void on_size(Fetch *fetch, const Oid *oid, uint64_t size) {
        char hex[OID_HEX_MAX + 1];

        ck_assert_int_eq(
                buf_appendf(
                        &container_of(fetch, Question, fetch)->sizes,
                        "%.1s=%llu ",
                        oid_to_hex(oid, hex),
                        (unsigned long long) size),
                0);
}

static int read_mesa(const Json *json, ApiSizes *sizes) {
        mesa_sizes_read(json, sizes);
        return 0;
}

typedef int (*Reader)(const Json *json, ApiSizes *sizes);

typedef struct Case {
        Reader read;
        const char *answer;
        int result;
        const char *sizes;
} Case;

#define NODES(nodes) "{\"data\":{\"project\":{\"repository\":{\"blobs\":{\"nodes\":" nodes "}}}}}"

static const Case cases[] = {
        /* BigInt is a string, some servers send numbers. */
        {gitlab_sizes_read,
         NODES("[{\"oid\":\"" A "\",\"size\":\"12\"},{\"oid\":\"" B
               "\",\"size\":9007199254740993}]"),
         0,
         "a=12 b=9007199254740993 "},
        {gitlab_sizes_read, NODES("[]"), 0, ""},
        {gitlab_sizes_read,
         NODES("[null,7,[],{},{\"oid\":\"" A "\"},{\"oid\":\"" A "\",\"size\":null},"
               "{\"oid\":\"" A "\",\"size\":-1},{\"oid\":\"" A "\",\"size\":\"1e3\"},"
               "{\"oid\":\"" A "\",\"size\":\"9223372036854775808\"},"
               "{\"oid\":\"" A "0\",\"size\":1},{\"oid\":{},\"size\":1},"
               "{\"oid\":\"" C "\",\"size\":3}]"),
         0,
         "c=3 "},
        {gitlab_sizes_read, NODES("null"), -EOPNOTSUPP, ""},
        {gitlab_sizes_read, "{\"data\":{\"project\":null}}", -EOPNOTSUPP, ""},
        {gitlab_sizes_read, "{\"data\":{\"project\":{\"repository\":null}}}", -EOPNOTSUPP, ""},
        {gitlab_sizes_read,
         "{\"errors\":[{\"message\":\"Query has complexity of 300, which exceeds max complexity of "
         "200\"}]}",
         -E2BIG,
         ""},
        {gitlab_sizes_read,
         "{\"errors\":[{\"message\":\"Field 'blobs' doesn't exist on type 'Repository'\"}]}",
         -EOPNOTSUPP,
         ""},
        {gitlab_sizes_read, "{\"errors\":[{},{\"message\":7}]}", -EOPNOTSUPP, ""},
        {gitlab_sizes_read, "{\"data\":null,\"errors\":[]}", -EOPNOTSUPP, ""},
        {gitlab_sizes_read, "[]", -EOPNOTSUPP, ""},
        {gitlab_sizes_read, "null", -EOPNOTSUPP, ""},

        {gitea_sizes_read,
         "{\"sha\":\"" C "\",\"tree\":[{\"path\":\"a\",\"type\":\"blob\",\"size\":5,\"sha\":\"" A
         "\"},{\"path\":\"d\",\"type\":\"tree\",\"size\":0,\"sha\":\"" B
         "\"},{\"path\":\"m\",\"type\":\"commit\",\"size\":0,\"sha\":\"" C
         "\"}],\"truncated\":false,\"page\":1,\"total_count\":3}",
         0,
         "a=5 "},
        {gitea_sizes_read,
         "{\"tree\":[{\"type\":\"blob\",\"size\":0,\"sha\":\"" A "\"}],\"truncated\":true}",
         1,
         "a=0 "},
        {gitea_sizes_read, "{\"tree\":null,\"truncated\":1}", 0, ""},
        {gitea_sizes_read, "{\"tree\":{\"type\":\"blob\"}}", 0, ""},
        {gitea_sizes_read, "7", 0, ""},

        {read_mesa,
         "{\"type\":\"dir\",\"sha\":\"" C "\",\"child_count\":2,\"has_more\":false,\"entries\":["
         "{\"type\":\"file\",\"name\":\"a\",\"path\":\"a\",\"sha\":\"" A "\",\"size\":1},"
         "{\"type\":\"dir\",\"name\":\"d\",\"path\":\"d\",\"sha\":\"" C "\",\"entries\":["
         "{\"type\":\"symlink\",\"path\":\"d/l\",\"mode\":\"120000\",\"sha\":\"" B
         "\",\"size\":2}]}]}",
         0,
         "a=1 b=2 "},
        {read_mesa,
         "{\"type\":\"dir\",\"entries\":[{\"type\":\"dir\",\"has_more\":true,\"entries\":[]},"
         "{\"type\":\"file\",\"sha\":\"" A "\",\"size\":1}]}",
         0,
         "a=1 "},
        {read_mesa, "{\"type\":\"file\",\"sha\":\"" A "\",\"size\":1}", 0, "a=1 "},
        {read_mesa, "{\"type\":\"dir\",\"entries\":{\"a\":[]}}", 0, ""},
        {read_mesa, "{\"type\":\"dir\",\"entries\":[null,[[]],{\"type\":null}]}", 0, ""},
        {read_mesa, "\"dir\"", 0, ""},
};

START_TEST(sizes_are_read_and_nonsense_is_passed_by) {
        const Case *c = &cases[_i];
        static const char *const asked[] = {A, B, C};
        _cleanup_(json_freep) Json *json = NULL;
        _cleanup_(api_sizes_freep) ApiSizes *sizes = NULL;
        Oid oids[ELEMENTSOF(asked)];
        Question q = {.fetch = {.oids = oids, .n_oids = ELEMENTSOF(oids), .size = on_size}};

        for (size_t i = 0; i < ELEMENTSOF(oids); i++)
                ck_assert_int_eq(oid_from_hex(&oids[i], asked[i], strlen(asked[i])), 0);
        ck_assert_int_eq(json_parse(c->answer, strlen(c->answer), &json), 0);
        ck_assert_int_eq(api_sizes_new(&q.fetch, &sizes), 0);
        ck_assert_int_eq(c->read(json, sizes), c->result);
        ck_assert_str_eq(buf_str(&q.sizes), c->sizes);
        buf_done(&q.sizes);
}
END_TEST

/* A path is bytes of any kind, and must not get out of its quotes. */
START_TEST(a_query_is_json_whatever_the_paths_are) {
        static const char *const paths[] = {"src/main.c", "\"}]{", "back\\slash\n", "\xff\xfe"};
        TreePath items[ELEMENTSOF(paths)];
        _cleanup_(json_freep) Json *json = NULL;
        _cleanup_buf_ Buf query = {0};

        for (size_t i = 0; i < ELEMENTSOF(paths); i++)
                items[i] = (TreePath){.path = (char *) paths[i]};
        ck_assert_int_eq(
                gitlab_sizes_format("g/s\"/p", "main", items, ELEMENTSOF(items), &query), 0);
        ck_assert_int_eq(json_parse(query.data, query.len, &json), 0);
        const Json *variables = json_get_object(json, "variables");
        const Json *array = json_get_array(variables, "paths");
        ck_assert_str_eq(json_get_string(variables, "project"), "g/s\"/p");
        ck_assert_str_eq(json_get_string(variables, "ref"), "main");
        ck_assert_uint_eq(json_array_size(array), ELEMENTSOF(paths));
        for (size_t i = 0; i < 3; i++)
                ck_assert_str_eq(json_string(json_array_get(array, i)), paths[i]);

        buf_done(&query);
        (void) json_free(TAKE_PTR(json));
        ck_assert_int_eq(gitlab_sizes_format("p", NULL, NULL, 0, &query), 0);
        ck_assert_int_eq(json_parse(query.data, query.len, &json), 0);
        ck_assert_ptr_null(json_get_string(json_get_object(json, "variables"), "ref"));
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_loop_test(tc, sizes_are_read_and_nonsense_is_passed_by, 0, ELEMENTSOF(cases));
        tcase_add_test(tc, a_query_is_json_whatever_the_paths_are);
}

CHECK_MAIN("forge-api-sizes", add_tests)
