#include "util/path.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "util/buf.h"

char *path_join(const char *first, ...) {
        _cleanup_buf_ Buf b = {0};
        va_list ap;

        int r = buf_append_str(&b, first);
        va_start(ap, first);
        for (const char *s; r >= 0 && (s = va_arg(ap, const char *));) {
                if (b.len > 0 && b.data[b.len - 1] != '/')
                        r = buf_append_str(&b, "/");
                if (r >= 0)
                        r = buf_append_str(&b, s);
        }
        va_end(ap);
        if (r < 0 || !buf_str(&b))
                return NULL;
        return (char *) TAKE_PTR(b.data);
}

void path_simplify(char *path) {
        char *out = path;
        const char *in = path;

        while (*in) {
                if (in[0] == '/' && (in[1] == '/' || in[1] == '\0') && out != path) {
                        in++;
                        continue;
                }
                if (in[0] == '/' && in[1] == '/') {
                        in++;
                        continue;
                }
                if (in[0] == '/' && in[1] == '.' && (in[2] == '/' || in[2] == '\0')) {
                        in += 2;
                        continue;
                }
                *out++ = *in++;
        }
        if (out == path && path[0] == '/')
                *out++ = '/';
        *out = '\0';
}

static bool has_dotdot(const char *path) {
        for (const char *p = path; (p = strstr(p, "..")); p += 2) {
                bool starts = p == path || p[-1] == '/';
                if (starts && (p[2] == '/' || p[2] == '\0'))
                        return true;
        }
        return false;
}

/* Behind the root, if the path begins with it; NULL: it is another directory's. */
static const char *behind(const char *root, const char *path) {
        size_t len = strlen(root);

        if (strncmp(path, root, len) != 0 || (path[len] != '/' && path[len] != '\0'))
                return NULL;
        return path + len;
}

int path_below(const char *root, const char *path, char **ret, Failure *ret_failure) {
        _cleanup_free_ char *copy = strdup(path);
        if (!copy)
                return -ENOMEM;
        path_simplify(copy);
        const char *rest = copy[0] == '/' ? behind(root, copy) : copy;
        if (has_dotdot(copy)) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "\"%s\" holds \"..\": give the path itself",
                                   path);
                return -EINVAL;
        }
        if (!rest) {
                (void) failure_set(/* likewise */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "\"%s\" is outside of the mount \"%s\"",
                                   path,
                                   root);
                return -EINVAL;
        }
        while (rest[0] == '/' || (rest[0] == '.' && (rest[1] == '/' || rest[1] == '\0')))
                rest++;
        char *out = strdup(rest); /* it ends with no slash, as it is simple */
        if (!out)
                return -ENOMEM;
        *ret = out;
        return 0;
}

bool name_is_valid(const char *name) {
        size_t len = strlen(name);

        if (len == 0 || len > NAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                return false;
        /* git would take it for the repository of the directory that it is in, hooks and all. */
        if (strcasecmp(name, ".git") == 0)
                return false;
        for (const char *p = name; *p; p++)
                if (*p == '/' || iscntrl((unsigned char) *p))
                        return false;
        return true;
}

static int hex_value(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -EINVAL;
}

int percent_decode(char *s) {
        char *out = s;

        for (const char *in = s; *in; in++) {
                if (*in != '%') {
                        *out++ = *in;
                        continue;
                }
                int hi = hex_value(in[1]);
                int lo = hi < 0 ? hi : hex_value(in[2]);
                if (lo < 0 || (hi == 0 && lo == 0))
                        return -EINVAL;
                *out++ = (char) (hi * 16 + lo);
                in += 2;
        }
        *out = '\0';
        return 0;
}

char *percent_encode(const char *s, const char *keep) {
        _cleanup_buf_ Buf b = {0};

        for (; *s; s++) {
                unsigned char c = (unsigned char) *s;
                int r = isalnum(c) || strchr("-._~", c) || strchr(keep, c)
                                ? buf_append(&b, s, 1)
                                : buf_appendf(&b, "%%%02X", c);
                if (r < 0)
                        return NULL;
        }
        if (!buf_str(&b))
                return NULL;
        return (char *) TAKE_PTR(b.data);
}

static const char *home_directory(void) {
        const char *home = getenv("HOME"); // NOLINT(concurrency-mt-unsafe): before any thread runs
        if (home && home[0] == '/')
                return home;
        const struct passwd *pw = getpwuid(getuid()); // NOLINT(concurrency-mt-unsafe): as above
        return pw ? pw->pw_dir : NULL;
}

static int path_base(const char *variable, const char *in_home, const char *suffix, char **ret) {
        const char *base =
                getenv(variable); // NOLINT(concurrency-mt-unsafe): before any thread runs
        char *p;

        if (base && base[0] == '/')
                p = path_join(base, suffix, NULL);
        else {
                const char *home = home_directory();
                if (!home)
                        return -ENOENT;
                p = path_join(home, in_home, suffix, NULL);
        }
        if (!p)
                return -ENOMEM;
        *ret = p;
        return 0;
}

int path_runtime(const char *suffix, char **ret) {
        const char *base = getenv("XDG_RUNTIME_DIR"); // NOLINT(concurrency-mt-unsafe): as above
        char fallback[64];

        if (!base || base[0] != '/') {
                (void) snprintf(fallback, sizeof(fallback), "/tmp/gitfs-%u", (unsigned) getuid());
                base = fallback;
        }
        char *p = path_join(base, suffix, NULL);
        if (!p)
                return -ENOMEM;
        *ret = p;
        return 0;
}

int path_config(const char *suffix, char **ret) {
        return path_base("XDG_CONFIG_HOME", ".config", suffix, ret);
}

int path_cache(const char *suffix, char **ret) {
        return path_base("XDG_CACHE_HOME", ".cache", suffix, ret);
}
