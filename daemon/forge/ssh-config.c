/* The service is shut in with PrivateUsers=: there every user but its own is "nobody", root too.
 * ssh reads its system-wide configuration whoever owns it, but what that includes (on Fedora, for
 * one, all there is) must be root's or the user's. To leave it out would drop what the
 * administrator wants, so ssh is given copies. */

#include "forge/ssh-config.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "util/buf.h"
#include "util/fd.h"
#include "util/path.h"

#define FILE_MAX ((size_t) 256 << 10)
#define FILES_MAX 100
#define DEPTH_MAX 16 /* ssh's own limit */

typedef struct Copier {
        const char *base;      /* what relative names are below */
        const char *directory; /* for the copies */
        unsigned n_files;
} Copier;

static int copy_file(Copier *c, const char *path, unsigned depth, char **ret);

bool ssh_config_is_foreign(const char *system_config) {
        struct stat st;

        return stat(system_config, &st) >= 0 && st.st_uid != 0 && st.st_uid != getuid();
}

/* One word of a line, without its quotes; "" at the end. 0 or -ENOMEM. */
static int next_word(const char **line, char **ret) {
        const char *p = *line + strspn(*line, " \t\r");
        bool quoted = *p == '"';
        size_t len = quoted ? strcspn(++p, "\"") : strcspn(p, " \t\r");

        *ret = strndup(p, len);
        *line = p + len + (quoted && p[len] == '"');
        return *ret ? 0 : -ENOMEM;
}

/* True, and what stands behind it, for "Include ...". */
static bool is_include(const char *line, const char **ret_rest) {
        static const char keyword[] = "include";
        const size_t len = strlen(keyword);
        const char *p = line + strspn(line, " \t\r");

        if (strncasecmp(p, keyword, len) != 0 || !strchr(" \t=\"", p[len]) || p[len] == '\0')
                return false;
        p += len;
        p += strspn(p, " \t");
        *ret_rest = *p == '=' ? p + 1 : p;
        return true;
}

/* The copies of all files that a word names. Those that cannot be read are left out, as ssh does
 * with most. */
static int include_word(Copier *c, const char *word, unsigned depth, Buf *ret) {
        _cleanup_free_ char *pattern =
                word[0] == '/' ? strdup(word) : path_join(c->base, word, NULL);
        glob_t found;
        int r = 0;

        if (!pattern)
                return -ENOMEM;
        if (glob(pattern, 0, NULL, &found) != 0) // NOLINT(concurrency-mt-unsafe): no "~" in it
                return 0;
        for (size_t i = 0; i < found.gl_pathc && r != -ENOMEM; i++) {
                _cleanup_free_ char *copy = NULL;
                r = copy_file(c, found.gl_pathv[i], depth + 1, &copy);
                if (r >= 0)
                        r = buf_appendf(ret, " \"%s\"", copy);
        }
        globfree(&found);
        return r == -ENOMEM ? r : 0;
}

static int copy_include(Copier *c, const char *rest, unsigned depth, Buf *ret) {
        _cleanup_buf_ Buf files = {0};

        for (;;) {
                _cleanup_free_ char *word = NULL;
                int r = next_word(&rest, &word);
                if (r >= 0 && word[0] == '\0')
                        break;
                if (r >= 0)
                        r = include_word(c, word, depth, &files);
                if (r < 0)
                        return r;
        }
        return files.len > 0 ? buf_appendf(ret, "Include%s\n", buf_str(&files)) : 0;
}

static int copy_lines(Copier *c, char *text, unsigned depth, Buf *ret) {
        const char *rest;
        char *line;
        int r = 0;

        while (r >= 0 && (line = strsep(&text, "\n")))
                r = is_include(line, &rest) ? copy_include(c, rest, depth, ret)
                                            : buf_appendf(ret, "%s\n", line);
        return r;
}

/* The lines of a file, those of includes naming copies. */
static int convert(Copier *c, const char *path, unsigned depth, Buf *ret) {
        _cleanup_buf_ Buf text = {0};

        int r = read_file(path, FILE_MAX, &text);
        if (r < 0)
                return r;
        if (!buf_str(&text))
                return -ENOMEM;
        return copy_lines(c, (char *) text.data, depth, ret);
}

static int copy_file(Copier *c, const char *path, unsigned depth, char **ret) {
        _cleanup_free_ char *copy = NULL;
        _cleanup_buf_ Buf text = {0};
        char name[16];

        if (depth > DEPTH_MAX || c->n_files == FILES_MAX)
                return -ELOOP;
        (void) snprintf(name, sizeof(name), "%u", c->n_files++);
        copy = path_join(c->directory, name, NULL);
        if (!copy)
                return -ENOMEM;
        int r = convert(c, path, depth, &text);
        if (r >= 0)
                r = write_file_atomic(copy, text.data, text.len, 0600);
        if (r >= 0)
                *ret = TAKE_PTR(copy);
        return r;
}

int ssh_config_copy(const char *system_config, const char *directory, char **ret) {
        _cleanup_free_ char *base =
                strndup(system_config, (size_t) (strrchr(system_config, '/') - system_config));
        _cleanup_free_ char *path = path_join(directory, "config", NULL);
        Copier c = {.base = base, .directory = directory};
        _cleanup_buf_ Buf text = {0};

        if (!base || !path)
                return -ENOMEM;
        int r = mkdir_parents(directory, 0700);
        /* The user's own comes first, and what is said first counts. */
        if (r >= 0)
                r = buf_append_str(&text, "Include ~/.ssh/config\n");
        if (r >= 0)
                r = convert(&c, system_config, 0, &text);
        if (r >= 0)
                r = write_file_atomic(path, text.data, text.len, 0600);
        if (r >= 0)
                *ret = TAKE_PTR(path);
        return r;
}
