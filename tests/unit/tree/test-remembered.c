#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "store/documents.h"
#include "tree/namespace-private.h"
#include "tree/remembered.h"
#include "util/path.h"

/* When the one document in the directory was written, or used; set to a second first if that is not
 * 0. */
static time_t age_document(const TempDir *dir, time_t age) {
        _cleanup_free_ char *pattern = path_join(dir->path, "*", NULL);
        const struct timespec times[] = {{.tv_sec = age}, {.tv_sec = age}};
        struct stat st;
        glob_t found;

        ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
        ck_assert_uint_eq(found.gl_pathc, 1);
        if (age > 0)
                ck_assert_int_eq(utimensat(AT_FDCWD, found.gl_pathv[0], times, 0), 0);
        ck_assert_int_eq(stat(found.gl_pathv[0], &st), 0);
        globfree(&found);
        return st.st_mtime;
}

/* The oldest documents make room: one that is in use all the time must not be among them. */
START_TEST(what_stays_the_same_does_not_age) {
        _cleanup_temp_dir_ TempDir dir;
        Source source = {.url = (char[]){"https://example.com/r.git"}};
        Repo repo = {.source = &source};
        const RememberedRef ref = {
                .commit = {.algo = OID_SHA1, .id = {1}},
                .moves = true,
                .resolved = "refs/heads/main"};
        RememberedRef found;

        temp_dir_init(&dir);
        Documents *documents;
        ck_assert_int_eq(documents_open(dir.path, 1 << 20, &documents), 0);
        const ForgeContext context = {.documents = documents};
        Namespace ns = {.context = &context};

        remember_ref(&ns, &repo, "", &ref);
        ck_assert_int_eq(age_document(&dir, 1000), 1000);
        remember_ref(&ns, &repo, "", &ref);
        ck_assert_int_gt(age_document(&dir, 0), 1000);
        ck_assert_int_eq(remembered_ref(&ns, &repo, "", &found), 1);
        ck_assert(oid_equal(&found.commit, &ref.commit) && found.moves);
        documents_close(documents);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_stays_the_same_does_not_age);
}

CHECK_MAIN("tree/remembered", add_tests)
