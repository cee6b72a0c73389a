#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "store/documents.h"
#include "util/fd.h"
#include "util/path.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)

static TempDir dir;
static char *directory;
static Documents *documents;

static void set_up(void) {
        temp_dir_init(&dir);
        directory = path_join(dir.path, "forge", "documents", NULL);
        ck_assert_int_eq(documents_open(directory, 1 * MIB, &documents), 0);
}

static void tear_down(void) {
        documents = documents_close(documents);
        free(directory);
        temp_dir_done(&dir);
}

static void put(const char *key, const char *text) {
        ck_assert_int_eq(documents_put(documents, key, text, strlen(text)), 0);
}

static void assert_content(const char *key, const char *expected) {
        _cleanup_buf_ Buf b = {0};

        ck_assert_int_eq(documents_get(documents, key, &b), expected ? 1 : 0);
        ck_assert_str_eq(buf_str(&b), expected ? expected : "");
}

/* The one file in the directory, or NULL; fails if there are more. */
static char *only_file(void) {
        char *path = NULL;

        DIR *d = opendir(directory);
        ck_assert_ptr_nonnull(d);
        for (const struct dirent *e; (e = readdir(d));)
                if (e->d_name[0] != '.') {
                        ck_assert_ptr_null(path);
                        path = path_join(directory, e->d_name, NULL);
                }
        (void) closedir(d);
        return path;
}

static void write_raw(const char *path, const void *data, size_t len) {
        ck_assert_int_eq(write_file_atomic(path, data, len, 0600), 0);
}

/* --- */

START_TEST(what_was_put_is_there) {
        assert_content("list acme", NULL);
        put("list acme", "one");
        put("list acme/sub", "two");
        put("", "no key");
        put("empty", "");
        assert_content("list acme", "one");
        assert_content("list acme/sub", "two");
        assert_content("", "no key");
        assert_content("empty", "");
        put("list acme", "a longer one");
        assert_content("list acme", "a longer one");
        put("list acme", "s");
        assert_content("list acme", "s");
}
END_TEST

START_TEST(it_survives_a_restart) {
        put("key", "kept");
        documents = documents_close(documents);
        ck_assert_int_eq(documents_open(directory, 1 * MIB, &documents), 0);
        assert_content("key", "kept");
}
END_TEST

START_TEST(nobody_else_may_read_it) {
        struct stat st;

        put("key", "private repositories");
        ck_assert_int_eq(stat(directory, &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0700);
        _cleanup_free_ char *path = only_file();
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(content_is_appended) {
        _cleanup_buf_ Buf b = {0};

        put("key", "content");
        ck_assert_int_eq(buf_append_str(&b, "before "), 0);
        ck_assert_int_eq(documents_get(documents, "key", &b), 1);
        ck_assert_int_eq(documents_get(documents, "none", &b), 0);
        ck_assert_str_eq(buf_str(&b), "before content");
}
END_TEST

START_TEST(removed_is_gone) {
        put("a", "1");
        put("b", "2");
        documents_remove(documents, "a");
        documents_remove(documents, "never there");
        assert_content("a", NULL);
        assert_content("b", "2");
        documents_clear(documents);
        assert_content("b", NULL);
        ck_assert_ptr_null(only_file());
}
END_TEST

START_TEST(a_cut_file_is_no_document) {
        _cleanup_buf_ Buf whole = {0};

        put("key", "some content");
        _cleanup_free_ char *path = only_file();
        ck_assert_int_eq(read_file(path, 4096, &whole), 0);
        for (size_t len = 0; len < whole.len; len++) {
                write_raw(path, whole.data, len);
                assert_content("key", NULL);
        }
        ck_assert_int_eq(buf_append_str(&whole, "x"), 0);
        write_raw(path, whole.data, whole.len);
        assert_content("key", NULL);
        write_raw(path, whole.data, whole.len - 1);
        assert_content("key", "some content");
}
END_TEST

START_TEST(a_flipped_bit_is_noticed) {
        _cleanup_buf_ Buf whole = {0};

        put("key", "some content");
        _cleanup_free_ char *path = only_file();
        ck_assert_int_eq(read_file(path, 4096, &whole), 0);
        for (size_t bit = 0; bit < 8 * whole.len; bit++) {
                whole.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
                write_raw(path, whole.data, whole.len);
                assert_content("key", NULL);
                whole.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
        put("key", "again"); /* in place of the damaged one */
        assert_content("key", "again");
}
END_TEST

static void assert_verified(uint64_t checked, uint64_t damaged) {
        uint64_t n_checked, n_damaged;

        ck_assert_int_eq(documents_verify(documents, &n_checked, &n_damaged), 0);
        ck_assert_uint_eq(n_checked, checked);
        ck_assert_uint_eq(n_damaged, damaged);
}

/* Wherever it is, in the key, too. */
START_TEST(verification_removes_what_is_damaged) {
        _cleanup_buf_ Buf whole = {0};

        assert_verified(0, 0);
        put("key", "some content");
        _cleanup_free_ char *path = only_file();
        ck_assert_int_eq(read_file(path, 4096, &whole), 0);
        put("another", "of more content");
        put("", "");
        for (size_t bit = 0; bit < 8 * whole.len; bit++) {
                whole.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
                write_raw(path, whole.data, whole.len);
                assert_verified(3, 1);
                assert_verified(2, 0);
                whole.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
        write_raw(path, whole.data, 3);
        assert_verified(3, 1);
        write_raw(path, whole.data, whole.len);
        assert_verified(3, 0);
        assert_content("key", "some content");
        assert_content("another", "of more content");
}
END_TEST

/* What cannot be opened may be all right. A socket stands for it: it fails for root, too. */
START_TEST(verification_keeps_what_it_cannot_read) {
        put("key", "content");
        _cleanup_free_ char *path = only_file();
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(mknod(path, S_IFSOCK | 0600, 0), 0);
        put("another", "content");
        assert_verified(1, 0);
        ck_assert_int_eq(access(path, F_OK), 0);
        put("key", "back");
        assert_verified(2, 0);
}
END_TEST

START_TEST(another_keys_file_is_not_taken) {
        put("key", "of key");
        _cleanup_free_ char *path = only_file();
        documents_remove(documents, "key");
        put("yek", "of yek");
        _cleanup_free_ char *other = only_file();
        ck_assert_int_eq(rename(other, path), 0);
        assert_content("key", NULL);
        assert_content("yek", NULL);
        assert_verified(1, 1);
}
END_TEST

START_TEST(what_is_no_file_is_no_document) {
        put("key", "content");
        _cleanup_free_ char *path = only_file();
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        assert_content("key", NULL);
        put("key", "in its place");
        assert_content("key", "in its place");
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(symlink("/etc/passwd", path), 0);
        assert_content("key", NULL);
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(mkfifo(path, 0600), 0);
        assert_content("key", NULL);
        put("key", "back");
        assert_content("key", "back");
}
END_TEST

/* `rm -r ~/.cache` while the daemon runs. */
START_TEST(a_deleted_directory_is_made_again) {
        _cleanup_free_ char *parent = path_join(dir.path, "forge", NULL);

        put("key", "lost");
        documents_clear(documents);
        ck_assert_int_eq(rmdir(directory), 0);
        ck_assert_int_eq(rmdir(parent), 0);
        assert_content("key", NULL);
        documents_remove(documents, "key");
        documents_clear(documents);
        put("key", "again");
        assert_content("key", "again");
}
END_TEST

START_TEST(a_read_only_directory_keeps_what_it_has) {
        bool root = geteuid() == 0; /* to whom modes mean nothing */

        put("key", "old");
        if (root) {
                _cleanup_free_ char *parent = path_join(dir.path, "forge", NULL);
                _cleanup_free_ char *path = only_file();
                ck_assert_int_eq(chmod(dir.path, 0711) | chmod(parent, 0711), 0);
                ck_assert_int_eq(chown(directory, 65534, 65534) | chown(path, 65534, 65534), 0);
                ck_assert_int_eq(seteuid(65534), 0);
        }
        ck_assert_int_eq(chmod(directory, 0500), 0);
        ck_assert_int_eq(documents_put(documents, "key", "new", 3), -EACCES);
        ck_assert_int_eq(documents_put(documents, "another", "new", 3), -EACCES);
        documents_remove(documents, "key");
        documents_clear(documents);
        assert_content("key", "old");
        assert_content("another", NULL);
        ck_assert_int_eq(chmod(directory, 0700), 0);
        put("key", "new");
        assert_content("key", "new");
        if (root)
                ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(a_directory_that_cannot_be_made_is_told) {
        _cleanup_free_ char *path = path_join(dir.path, "file", "documents", NULL);
        Documents *none = NULL;

        temp_dir_write(&dir, "file", "", 0);
        ck_assert_int_eq(documents_open(path, MIB, &none), -ENOTDIR);
        ck_assert_ptr_null(none);
}
END_TEST

/* Bounds what a server's answers may take on disk. */
START_TEST(the_oldest_make_room) {
        static char content[60 * KIB];
        char key[32];

        for (unsigned i = 0; i < 17; i++) {
                (void) snprintf(key, sizeof(key), "key %u", i);
                if (i == 16)
                        put("key 0", "written again");
                ck_assert_int_eq(documents_put(documents, key, content, sizeof(content)), 0);
                /* The clock of the file system is too coarse to tell them apart. */
                DIR *d = opendir(directory);
                ck_assert_ptr_nonnull(d);
                for (const struct dirent *e; i < 15 && (e = readdir(d));) {
                        struct stat st;
                        const struct timespec times[] = {
                                {.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000 + i}};
                        ck_assert_int_eq(fstatat(dirfd(d), e->d_name, &st, 0), 0);
                        if (e->d_name[0] != '.' && st.st_mtim.tv_sec > 1000 + 17)
                                ck_assert_int_eq(utimensat(dirfd(d), e->d_name, times, 0), 0);
                }
                (void) closedir(d);
        }
        for (unsigned i = 1; i < 17; i++) {
                _cleanup_buf_ Buf b = {0};
                (void) snprintf(key, sizeof(key), "key %u", i);
                ck_assert_msg(documents_get(documents, key, &b) == (i >= 2), "%s", key);
        }
        assert_content("key 0", "written again");
}
END_TEST

START_TEST(what_has_no_room_is_refused) {
        _cleanup_free_ char *large = calloc(1, DOCUMENT_MAX_SIZE + 1);
        char long_key[4098];
        _cleanup_buf_ Buf b = {0};

        ck_assert_ptr_nonnull(large);
        put("key", "old");
        ck_assert_int_eq(documents_put(documents, "key", large, 1 * MIB), -EFBIG);
        ck_assert_int_eq(documents_put(documents, "key", large, DOCUMENT_MAX_SIZE + 1), -EFBIG);
        assert_content("key", "old");
        memset(long_key, 'k', sizeof(long_key));
        long_key[4097] = '\0';
        ck_assert_int_eq(documents_put(documents, long_key, "x", 1), -ENAMETOOLONG);
        ck_assert_int_eq(documents_get(documents, long_key, &b), 0);
        long_key[4096] = '\0';
        put(long_key, "fits");
        assert_content(long_key, "fits");
}
END_TEST

START_TEST(the_rest_of_a_crash_is_swept_up) {
        put("key", "content");
        _cleanup_free_ char *path = only_file();
        _cleanup_free_ char *rest = NULL;
        ck_assert_int_gt(asprintf(&rest, "%s.new-a1B2c3", path), 0);
        write_raw(rest, "half", 4);
        temp_dir_write(&dir, "forge/documents/README", "not ours", 8);
        documents = documents_close(documents);
        ck_assert_int_eq(documents_open(directory, 1 * MIB, &documents), 0);
        ck_assert_int_eq(access(rest, F_OK), -1);
        assert_content("key", "content");
        documents_clear(documents);
        _cleanup_free_ char *left = only_file();
        ck_assert_str_eq(strrchr(left, '/'), "/README");
}
END_TEST

START_TEST(an_overfull_directory_is_trimmed_at_open) {
        static char content[100 * KIB];
        char key[32];
        unsigned n = 0;

        for (unsigned i = 0; i < 8; i++) {
                (void) snprintf(key, sizeof(key), "key %u", i);
                ck_assert_int_eq(documents_put(documents, key, content, sizeof(content)), 0);
        }
        documents = documents_close(documents);
        ck_assert_int_eq(documents_open(directory, 256 * KIB, &documents), 0);
        for (unsigned i = 0; i < 8; i++) {
                _cleanup_buf_ Buf b = {0};
                (void) snprintf(key, sizeof(key), "key %u", i);
                n += documents_get(documents, key, &b) == 1;
        }
        ck_assert_uint_eq(n, 2);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, what_was_put_is_there);
        tcase_add_test(tc, it_survives_a_restart);
        tcase_add_test(tc, nobody_else_may_read_it);
        tcase_add_test(tc, content_is_appended);
        tcase_add_test(tc, removed_is_gone);
        tcase_add_test(tc, a_cut_file_is_no_document);
        tcase_add_test(tc, a_flipped_bit_is_noticed);
        tcase_add_test(tc, verification_removes_what_is_damaged);
        tcase_add_test(tc, verification_keeps_what_it_cannot_read);
        tcase_add_test(tc, another_keys_file_is_not_taken);
        tcase_add_test(tc, what_is_no_file_is_no_document);
        tcase_add_test(tc, a_deleted_directory_is_made_again);
        tcase_add_test(tc, a_read_only_directory_keeps_what_it_has);
        tcase_add_test(tc, a_directory_that_cannot_be_made_is_told);
        tcase_add_test(tc, the_oldest_make_room);
        tcase_add_test(tc, what_has_no_room_is_refused);
        tcase_add_test(tc, the_rest_of_a_crash_is_swept_up);
        tcase_add_test(tc, an_overfull_directory_is_trimmed_at_open);
}

CHECK_MAIN("documents", add_tests)
