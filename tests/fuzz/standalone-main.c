/* Runs a harness over files, and those in directories, given as arguments: so the corpora are tests
 * without libFuzzer. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "gitfs/macro.h"

#include "fuzz.h"
#include "util/fd.h"
#include "util/path.h"

#define FILE_SIZE_MAX ((size_t) 16 << 20)

static int run_file(const char *path) {
        _cleanup_buf_ Buf b = {0};

        int r = read_file(path, FILE_SIZE_MAX, &b);
        if (r < 0)
                return r;
        /* An exact copy, so that ASan sees a read behind the end. */
        _cleanup_free_ uint8_t *copy = malloc(MAX(b.len, (size_t) 1));
        if (!copy)
                return -ENOMEM;
        if (b.len > 0)
                memcpy(copy, b.data, b.len);
        return LLVMFuzzerTestOneInput(copy, b.len);
}

static int is_visible(const struct dirent *d) {
        return d->d_name[0] != '.';
}

/* Returns the number of files run, or negative errno. */
static int run_path(const char *path) {
        struct dirent **entries;
        struct stat st;
        int r = 0;

        if (stat(path, &st) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode)) {
                r = run_file(path);
                return r < 0 ? r : 1;
        }
        int n = scandir(path, &entries, is_visible, alphasort);
        if (n < 0)
                return -errno;
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *file = path_join(path, entries[i]->d_name, NULL);
                if (r >= 0)
                        r = file ? run_file(file) : -ENOMEM;
                free(entries[i]);
        }
        free(entries);
        return r < 0 ? r : n;
}

int main(int argc, char **argv) {
        int n = 0;

        if (LLVMFuzzerInitialize(&argc, &argv) != 0)
                return EXIT_FAILURE;
        for (int i = 1; i < argc; i++) {
                int r = run_path(argv[i]);
                if (r < 0) {
                        errno = -r;
                        (void) fprintf(stderr, "%s: %m\n", argv[i]);
                        return EXIT_FAILURE;
                }
                n += r;
        }
        (void) printf("%d inputs\n", n);
        return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE; /* no corpus is no test */
}
