#include "lib/temp-dir.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void temp_dir_write(const TempDir *t, const char *name, const void *data, size_t len) {
        _cleanup_free_ char *path = path_join(t->path, name, NULL);

        ck_assert_ptr_nonnull(path);
        char *slash = strrchr(path, '/');
        *slash = '\0';
        ck_assert_int_eq(mkdir_parents(path, 0755), 0);
        *slash = '/';
        ck_assert_int_eq(write_file_atomic(path, data, len, 0644), 0);
}
