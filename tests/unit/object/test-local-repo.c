#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "lib/check-main.h"
#include "lib/git-fixture.h"
#include "object/local-repo.h"
#include "util/fd.h"
#include "util/path.h"

#define NO_LIMIT UINT64_MAX

static GitFixture repo;

static void setup(void) {
        ck_assert_int_eq(object_library_init(), 0);
        git_fixture_init(&repo, "sha1");
}

static void teardown(void) {
        git_fixture_done(&repo);
        object_library_done();
}

static void make_commits(void) {
        git_fixture_write(&repo, "file", "hello\n", 6);
        git_fixture_write(&repo, "empty", "", 0);
        git_fixture_commit(&repo, "first");
        git_fixture_write(&repo, "file", "world\n", 6);
        git_fixture_commit(&repo, "second");
}

static char *under(const char *name) {
        char *path = path_join(repo.dir.path, name, NULL);

        ck_assert_ptr_nonnull(path);
        return path;
}

static LocalRepo *open_repo(const char *path) {
        LocalRepo *l = NULL;

        ck_assert_int_eq(local_repo_open(path, &l), 0);
        ck_assert_ptr_nonnull(l);
        return l;
}

/* The id that git gives a revision. */
static Oid rev(const char *name) {
        _cleanup_free_ char *hex = git_fixture_line(&repo, "rev-parse", name, NULL);
        Oid oid;

        ck_assert_int_eq(oid_from_hex(&oid, hex, strlen(hex)), 0);
        return oid;
}

static void check_resolves(LocalRepo *l, const char *refname, const char *revision) {
        Oid expected = rev(revision), oid;

        ck_assert_int_eq(local_repo_resolve(l, refname, &oid, NULL), 1);
        ck_assert(oid_equal(&oid, &expected));
}

START_TEST(test_open_kinds) {
        make_commits();
        git_fixture_run(&repo, NULL, NULL, "clone", "-q", "--bare", ".", "bare.git", NULL);
        git_fixture_run(&repo, NULL, NULL, "worktree", "add", "-q", "linked", "-b", "other", NULL);
        static const char *const paths[] = {"", ".git", "bare.git", "linked"};
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                _cleanup_free_ char *path = under(paths[i]);
                ck_assert(local_repo_probe(path));
                _cleanup_(local_repo_freep) LocalRepo *l = open_repo(path);
                check_resolves(l, "HEAD", "HEAD");
        }
}
END_TEST

START_TEST(test_open_nothing) {
        /* A directory inside of a repository is not one. */
        static const char *const paths[] = {"dir", "dir/file", "missing"};
        LocalRepo *l = NULL;

        git_fixture_write(&repo, "dir/file", "x", 1);
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                _cleanup_free_ char *path = under(paths[i]);
                ck_assert(!local_repo_probe(path));
                ck_assert_int_eq(local_repo_open(path, &l), -ENOENT);
                ck_assert_ptr_null(l);
        }
}
END_TEST

/* Opens a repository in a process of its own, without root's rights if `as_other`: libgit2 1.5
 * leaks when it opens one of format version 1, which LeakSanitizer would find here. */
static int open_result(const char *path, bool as_other) {
        int status;

        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
                LocalRepo *l = NULL;
                if (as_other && geteuid() == 0 && setuid(65534) < 0)
                        _exit(EXIT_FAILURE);
                _exit(-local_repo_open(path, &l));
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status));
        return -WEXITSTATUS(status);
}

static void append_config(const char *text) {
        _cleanup_free_ char *path = under(".git/config");
        _cleanup_buf_ Buf b = {0};

        ck_assert_int_eq(read_file(path, 65536, &b), 0);
        ck_assert_int_eq(buf_append_str(&b, text), 0);
        ck_assert_int_eq(write_file_atomic(path, b.data, b.len, 0644), 0);
}

START_TEST(test_open_formats) {
        GitFixture sha256 = {0};

        git_fixture_init(&sha256, "sha256");
        int r = open_result(sha256.dir.path, false);
        bool probed = local_repo_probe(sha256.dir.path);
        git_fixture_done(&sha256);
        ck_assert_int_eq(r, -EOPNOTSUPP);
        ck_assert(probed);

        append_config("[core]\nrepositoryFormatVersion = 1\n[extensions]\nobjectFormat = SHA1\n"
                      "partialClone = origin\nworktreeConfig = true\npreciousObjects = true\n");
        ck_assert_int_eq(open_result(repo.dir.path, false), 0);
        append_config("refStorage = reftable\n");
        ck_assert_int_eq(open_result(repo.dir.path, false), -EOPNOTSUPP);
        append_config("[broken\n");
        ck_assert_int_eq(open_result(repo.dir.path, false), -EIO);
}
END_TEST

START_TEST(test_open_other_owner) {
        LocalRepo *l = NULL;

        make_commits();
        _cleanup_free_ char *git_dir = under(".git");
        if (geteuid() == 0) {
                ck_assert_int_eq(chown(repo.dir.path, 12345, 12345), 0);
                ck_assert_int_eq(chown(git_dir, 12345, 12345), 0);
        }
        ck_assert_int_eq(local_repo_open(repo.dir.path, &l), 0);
        local_repo_free(l);
}
END_TEST

START_TEST(test_open_not_permitted) {
        make_commits();
        ck_assert_int_eq(chmod(repo.dir.path, 0), 0);
        int r = open_result(repo.dir.path, true);
        ck_assert_int_eq(chmod(repo.dir.path, 0755), 0);
        ck_assert_int_eq(r, -EACCES);
}
END_TEST

START_TEST(test_resolve) {
        _cleanup_free_ char *target = NULL;
        Oid oid;

        make_commits();
        git_fixture_run(&repo, NULL, NULL, "tag", "light", "HEAD~1", NULL);
        git_fixture_run(&repo, NULL, NULL, "tag", "-am", "x", "deep", NULL);
        git_fixture_run(&repo, NULL, NULL, "tag", "-am", "x", "deeper", "deep", NULL);
        git_fixture_run(&repo, NULL, NULL, "tag", "tree", "HEAD^{tree}", NULL);
        _cleanup_(local_repo_freep) LocalRepo *l = open_repo(repo.dir.path);

        check_resolves(l, "refs/tags/light", "HEAD~1");
        check_resolves(l, "refs/tags/deeper", "HEAD");
        check_resolves(l, "refs/heads/main", "HEAD");
        git_fixture_run(&repo, NULL, NULL, "pack-refs", "--all", NULL);
        check_resolves(l, "refs/tags/deeper", "HEAD");
        /* A commit made later is seen. */
        git_fixture_run(&repo, NULL, NULL, "commit", "-q", "--allow-empty", "-m", "x", NULL);
        check_resolves(l, "refs/heads/main", "HEAD");

        ck_assert_int_eq(local_repo_resolve(l, "HEAD", &oid, &target), 1);
        ck_assert_str_eq(target, "refs/heads/main");

        static const char *const missing[] = {
                "refs/heads/none",
                "refs/tags/tree",
                "main",
                "refs/heads/../x",
                "",
                "HEAD~1",
                "a b"};
        for (size_t i = 0; i < ELEMENTSOF(missing); i++) {
                char *none = (char *) "";
                ck_assert_int_eq(local_repo_resolve(l, missing[i], &oid, &none), 0);
                ck_assert_ptr_null(none);
        }
}
END_TEST

START_TEST(test_resolve_head_states) {
        char *target = NULL;
        Oid oid;

        _cleanup_(local_repo_freep) LocalRepo *l = open_repo(repo.dir.path);
        ck_assert_int_eq(local_repo_resolve(l, "HEAD", &oid, &target), 0);
        ck_assert_str_eq(target, "refs/heads/main");
        free(target);

        make_commits();
        git_fixture_run(&repo, NULL, NULL, "checkout", "-q", "--detach", NULL);
        ck_assert_int_eq(local_repo_resolve(l, "HEAD", &oid, &target), 1);
        ck_assert_ptr_null(target);
}
END_TEST

START_TEST(test_resolve_prefix) {
        make_commits();
        _cleanup_(local_repo_freep) LocalRepo *l = open_repo(repo.dir.path);
        Oid head = rev("HEAD"), blob = rev("HEAD:file"), oid;
        char hex[OID_HEX_MAX + 1];

        for (size_t len = 0; len <= 40; len++) {
                (void) oid_to_hex(&head, hex);
                hex[len] = '\0';
                int r = local_repo_resolve_prefix(l, hex, &oid);
                ck_assert_int_eq(r, len >= 4);
                if (r == 1)
                        ck_assert(oid_equal(&oid, &head));
        }
        ck_assert_int_eq(local_repo_resolve_prefix(l, oid_to_hex(&blob, hex), &oid), 0);
        ck_assert_int_eq(local_repo_resolve_prefix(l, "fffffff", &oid), 0);
        ck_assert_int_eq(local_repo_resolve_prefix(l, "main", &oid), 0);
        (void) oid_to_hex(&head, hex);
        hex[40] = '0';
        hex[41] = '\0';
        ck_assert_int_eq(local_repo_resolve_prefix(l, hex, &oid), 0);

        /* More blobs than prefixes of four digits: two of them must agree with each other. */
        _cleanup_buf_ Buf input = {0};
        for (int i = 0; i < 1200; i++)
                ck_assert_int_eq(
                        buf_appendf(&input, "blob\nmark :%d\ndata 4\n%04d\n", i + 1, i), 0);
        git_fixture_run(&repo, &input, NULL, "fast-import", "--quiet", NULL);
        _cleanup_buf_ Buf list = {0};
        git_fixture_run(
                &repo, NULL, &list, "cat-file", "--batch-all-objects", "--batch-check", NULL);
        ck_assert_ptr_nonnull(buf_str(&list));
        char *previous = NULL, *save, *line = strtok_r((char *) list.data, "\n", &save);
        for (; line; line = strtok_r(NULL, "\n", &save)) {
                if (previous && memcmp(previous, line, 4) == 0)
                        break;
                previous = line;
        }
        ck_assert_ptr_nonnull(line);
        line[4] = '\0';
        local_repo_rescan(l);
        ck_assert_int_eq(local_repo_resolve_prefix(l, line, &oid), -EEXIST);
}
END_TEST

static void check_reads(LocalRepo *l, const char *revision, ObjectType type, const char *text) {
        _cleanup_free_ uint8_t *data = NULL;
        Oid oid = rev(revision);
        uint64_t size, stat_size;
        ObjectType got;

        ck_assert_int_eq(local_repo_stat(l, &oid, &got, &stat_size), 1);
        ck_assert_int_eq(got, type);
        ck_assert_int_eq(local_repo_read(l, &oid, NO_LIMIT, &got, &data, &size), 1);
        ck_assert_int_eq(got, type);
        ck_assert_uint_eq(size, stat_size);
        if (text) {
                ck_assert_uint_eq(size, strlen(text));
                ck_assert(size == 0 || memcmp(data, text, size) == 0);
        }
}

START_TEST(test_read) {
        make_commits();
        git_fixture_run(&repo, NULL, NULL, "tag", "-am", "x", "v1", NULL);
        _cleanup_(local_repo_freep) LocalRepo *l = open_repo(repo.dir.path);
        for (int packed = 0; packed < 2; packed++) {
                check_reads(l, "HEAD:file", OBJECT_BLOB, "world\n");
                check_reads(l, "HEAD~1:file", OBJECT_BLOB, "hello\n");
                check_reads(l, "HEAD:empty", OBJECT_BLOB, "");
                check_reads(l, "HEAD^{tree}", OBJECT_TREE, NULL);
                check_reads(l, "HEAD", OBJECT_COMMIT, NULL);
                check_reads(l, "v1", OBJECT_TAG, NULL);
                git_fixture_run(&repo, NULL, NULL, "repack", "-qad", NULL);
                local_repo_rescan(l);
        }
}
END_TEST

START_TEST(test_read_limits) {
        _cleanup_free_ uint8_t *data = NULL;
        uint64_t size;
        ObjectType type;

        make_commits();
        _cleanup_(local_repo_freep) LocalRepo *l = open_repo(repo.dir.path);
        Oid oid = rev("HEAD:file");
        ck_assert_int_eq(local_repo_read(l, &oid, 5, &type, &data, &size), -EFBIG);
        ck_assert_ptr_null(data);
        ck_assert_int_eq(local_repo_read(l, &oid, 6, &type, &data, &size), 1);

        uint8_t *none = NULL;
        oid.id[0] ^= 1;
        ck_assert_int_eq(local_repo_stat(l, &oid, &type, &size), 0);
        ck_assert_int_eq(local_repo_read(l, &oid, 6, &type, &none, &size), 0);
        oid.algo = OID_SHA256;
        ck_assert_int_eq(local_repo_read(l, &oid, 6, &type, &none, &size), -EOPNOTSUPP);
        ck_assert_ptr_null(none);
}
END_TEST

/* Puts the file of one loose object in the place of another's. */
START_TEST(test_read_corrupt) {
        _cleanup_free_ uint8_t *data = NULL;
        uint64_t size;
        ObjectType type;

        make_commits();
        Oid oid = rev("HEAD:file"), other = rev("HEAD~1:file");
        char hex[OID_HEX_MAX + 1], path[2][96];
        for (int i = 0; i < 2; i++) {
                (void) oid_to_hex(i == 0 ? &oid : &other, hex);
                (void) snprintf(path[i], sizeof(path[i]), ".git/objects/%.2s/%s", hex, hex + 2);
        }
        _cleanup_free_ char *victim = under(path[0]);
        _cleanup_free_ char *source = under(path[1]);
        ck_assert_int_eq(rename(source, victim), 0);
        _cleanup_(local_repo_freep) LocalRepo *l = open_repo(repo.dir.path);
        ck_assert_int_eq(local_repo_read(l, &oid, NO_LIMIT, &type, &data, &size), -EBADMSG);

        ck_assert_int_eq(write_file_atomic(victim, "no zlib", 7, 0444), 0);
        ck_assert_int_eq(local_repo_read(l, &oid, NO_LIMIT, &type, &data, &size), -EBADMSG);
        ck_assert_ptr_null(data);
}
END_TEST

typedef struct Reader {
        LocalRepo *repo;
        Oid oid;
        int result;
} Reader;

static void *read_many(void *userdata) {
        Reader *r = userdata;

        for (int i = 0; i < 200 && r->result == 0; i++) {
                _cleanup_free_ uint8_t *data = NULL;
                ObjectType type;
                uint64_t size;
                Oid head;
                if (i % 2 == 0 && local_repo_resolve(r->repo, "HEAD", &head, NULL) != 1)
                        r->result = -ENOENT;
                if (i % 50 == 0)
                        local_repo_rescan(r->repo);
                int q = local_repo_read(r->repo, &r->oid, NO_LIMIT, &type, &data, &size);
                if (q != 1 || size != 6 || memcmp(data, "world\n", 6) != 0)
                        r->result = q < 0 ? q : -EIO;
        }
        return NULL;
}

START_TEST(test_threads) {
        Reader readers[4];
        pthread_t threads[ELEMENTSOF(readers)];

        make_commits();
        git_fixture_run(&repo, NULL, NULL, "repack", "-qad", NULL);
        _cleanup_(local_repo_freep) LocalRepo *l = open_repo(repo.dir.path);
        for (size_t i = 0; i < ELEMENTSOF(readers); i++) {
                readers[i] = (Reader){.repo = l, .oid = rev("HEAD:file")};
                ck_assert_int_eq(pthread_create(&threads[i], NULL, read_many, &readers[i]), 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(readers); i++)
                ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(readers); i++)
                ck_assert_int_eq(readers[i].result, 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, test_open_kinds);
        tcase_add_test(tc, test_open_nothing);
        tcase_add_test(tc, test_open_formats);
        tcase_add_test(tc, test_open_other_owner);
        tcase_add_test(tc, test_open_not_permitted);
        tcase_add_test(tc, test_resolve);
        tcase_add_test(tc, test_resolve_head_states);
        tcase_add_test(tc, test_resolve_prefix);
        tcase_add_test(tc, test_read);
        tcase_add_test(tc, test_read_limits);
        tcase_add_test(tc, test_read_corrupt);
        tcase_add_test(tc, test_threads);
}

CHECK_MAIN("local-repo", add_tests)
