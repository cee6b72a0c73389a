#include "config/conf-dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/ini-text.h"
#include "config/string-list.h"
#include "util/fd.h"

#define FILE_SIZE_MAX ((size_t) 1 << 20)

static int is_conf(const struct dirent *d) {
        size_t len = strlen(d->d_name), suffix = strlen(".conf");

        return d->d_name[0] != '.' && len > suffix &&
               strcmp(d->d_name + len - suffix, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

int conf_dir_list(const char *dir, char ***ret) {
        struct dirent **entries = NULL;

        int n = scandir(dir, &entries, is_conf, by_name);
        if (n < 0 && errno != ENOENT)
                return -errno;
        n = MAX(n, 0);
        _cleanup_(string_list_freep) char **names = calloc((size_t) n + 1, sizeof(*names));
        bool complete = names;
        for (int i = 0; i < n; i++) {
                if (complete) {
                        names[i] = strdup(entries[i]->d_name);
                        complete = names[i];
                }
                free(entries[i]);
        }
        free(entries);
        if (!complete)
                return -ENOMEM;
        *ret = TAKE_PTR(names);
        return 0;
}

int conf_file_read(const char *path, Buf *ret, ConfigError *ret_error) {
        int r = read_file(path, FILE_SIZE_MAX, ret);
        if (r == -EFBIG)
                (void) config_error_set(
                        ret_error, "%s: larger than %zu bytes", path, FILE_SIZE_MAX);
        else if (r < 0 && r != -ENOENT) {
                errno = -r;
                (void) config_error_set(ret_error, "%s: %m", path);
        }
        return r;
}
