#include "lib/temp-dir.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/fd.h"
#include "util/path.h"

void temp_dir_init(TempDir *t) {
        char template[] = "/tmp/gitfs-test-XXXXXX";

        ck_assert_ptr_nonnull(mkdtemp(template));
        t->path = strdup(template);
        ck_assert_ptr_nonnull(t->path);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

void temp_dir_done(TempDir *t) {
        if (t->path) {
                // NOLINTNEXTLINE(concurrency-mt-unsafe): a test cleans up in its main thread
                int r = nftw(t->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
                ck_assert_int_eq(r, 0);
        }
        free(t->path);
        *t = (TempDir){0};
}

/* As write_file_atomic(), but that nothing here has to survive a crash: tests write hundreds of
 * files, and on a busy disk each would wait for it. */
static void replace(const char *path, const void *data, size_t len) {
        char tmp[PATH_MAX];

        ck_assert_int_lt(snprintf(tmp, sizeof(tmp), "%s.new", path), (int) sizeof(tmp));
        _cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fchmod(fd, 0644), 0);
        ck_assert_int_eq(write_all(fd, data, len), 0);
        ck_assert_int_eq(rename(tmp, path), 0);
}

void temp_dir_write(const TempDir *t, const char *name, const void *data, size_t len) {
        _cleanup_free_ char *path = path_join(t->path, name, NULL);

        ck_assert_ptr_nonnull(path);
        char *slash = strrchr(path, '/');
        *slash = '\0';
        ck_assert_int_eq(mkdir_parents(path, 0755), 0);
        *slash = '/';
        replace(path, data, len);
}
