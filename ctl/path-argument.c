#include "ctl/path-argument.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#include "util/path.h"

/* Removes "", "." and "..", in place, from an absolute path; ".." of the root is the root. */
static void resolve_dots(char *path) {
        char *out = path;

        for (const char *in = path; *in;) {
                size_t slashes = strspn(in, "/");
                const char *name = in + slashes;
                size_t len = strcspn(name, "/");

                if (len == 2 && strncmp(name, "..", 2) == 0) {
                        while (out > path && *--out != '/')
                                continue;
                } else if (len > 0 && !(len == 1 && name[0] == '.')) {
                        *out++ = '/';
                        memmove(out, name, len);
                        out += len;
                }
                in = name + len;
        }
        if (out == path)
                *out++ = '/';
        *out = '\0';
}

char *path_absolute(const char *cwd, const char *arg) {
        char *path = arg[0] == '/' ? strdup(arg) : path_join(cwd, arg, NULL);

        if (path)
                resolve_dots(path);
        return path;
}

/* The part of `path` below `mount_point`, or NULL. Both are absolute and without dots. */
static const char *below(const char *mount_point, const char *path) {
        size_t len = strlen(mount_point);

        if (strcmp(mount_point, "/") == 0)
                return path + 1;
        if (strncmp(path, mount_point, len) != 0)
                return NULL;
        if (path[len] == '\0')
                return path + len;
        return path[len] == '/' ? path + len + 1 : NULL;
}

static bool has_dot_prefix(const char *arg) {
        size_t dots = strspn(arg, ".");
        return (dots == 1 || dots == 2) && (arg[dots] == '\0' || arg[dots] == '/');
}

int path_argument(const char *mount_point, const char *cwd, const char *arg, char **ret) {
        const char *base = mount_point;

        if (has_dot_prefix(arg) && !cwd)
                return -EXDEV;
        if (cwd && (has_dot_prefix(arg) || below(mount_point, cwd)))
                base = cwd;
        _cleanup_free_ char *path = path_absolute(base, arg);
        if (!path)
                return -ENOMEM;
        const char *relative = below(mount_point, path);
        if (!relative)
                return -EXDEV;
        char *copy = strdup(relative);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}
