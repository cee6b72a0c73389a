#include "object/commit-object.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* What is left to read of a commit or tag. */
typedef struct Cursor {
        const char *p, *end;
} Cursor;

static Cursor cursor_on(const void *data, size_t len) {
        const char *p = data;

        return (Cursor){.p = p, .end = len > 0 ? p + len : p};
}

static bool cursor_skip(Cursor *c, const char *prefix) {
        size_t n = strlen(prefix);

        if ((size_t) (c->end - c->p) < n || memcmp(c->p, prefix, n) != 0)
                return false;
        c->p += n;
        return true;
}

/* Takes the rest of the line, without its LF; false when there is no LF. */
static bool cursor_line(Cursor *c, const char **ret, size_t *ret_len) {
        const char *lf = memchr(c->p, '\n', (size_t) (c->end - c->p));

        if (!lf)
                return false;
        *ret = c->p;
        *ret_len = (size_t) (lf - c->p);
        c->p = lf + 1;
        return true;
}

/* Reads "<key><hex>\n". */
static int parse_oid_line(Cursor *c, const char *key, OidAlgo algo, Oid *ret) {
        const char *hex;
        size_t len;

        if (!cursor_skip(c, key) || !cursor_line(c, &hex, &len) || len != 2 * oid_raw_size(algo) ||
            oid_from_hex(ret, hex, len) < 0)
                return -EBADMSG;
        return 0;
}

/* "Name <mail> 1700000000 +0100": the number behind the last '>', as names may hold anything. */
static int64_t parse_signature_time(const char *line, size_t len) {
        const char *p = memrchr(line, '>', len), *end = line + len;
        int64_t t = 0;

        if (!p)
                return 0;
        p++;
        while (p < end && *p == ' ')
                p++;
        for (; p < end && *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(t, 10, &t) || __builtin_add_overflow(t, *p - '0', &t))
                        return 0;
        return p == end || *p == ' ' ? t : 0;
}

int commit_parse(OidAlgo algo, const void *data, size_t len, CommitObject *ret) {
        Cursor c = cursor_on(data, len);
        CommitObject commit = {0};

        int r = parse_oid_line(&c, "tree ", algo, &commit.tree);
        if (r < 0)
                return r;

        /* Headers end at the first empty line. */
        const char *line;
        size_t line_len;
        while (c.p < c.end && *c.p != '\n') {
                bool committer = cursor_skip(&c, "committer ");
                if (!cursor_line(&c, &line, &line_len))
                        break;
                if (committer) {
                        commit.commit_time = parse_signature_time(line, line_len);
                        break;
                }
        }
        *ret = commit;
        return 0;
}

int tag_parse(OidAlgo algo, const void *data, size_t len, TagObject *ret) {
        Cursor c = cursor_on(data, len);
        TagObject tag = {0};
        const char *name;
        size_t name_len;

        int r = parse_oid_line(&c, "object ", algo, &tag.target);
        if (r < 0)
                return r;
        if (!cursor_skip(&c, "type ") || !cursor_line(&c, &name, &name_len))
                return -EBADMSG;
        r = object_type_from_name(name, name_len);
        if (r < 0)
                return -EBADMSG;
        tag.target_type = (ObjectType) r;
        *ret = tag;
        return 0;
}
