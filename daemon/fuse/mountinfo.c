#include "fuse/mountinfo.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A line: "36 35 98:0 /root /mount/point options [tag...] - fstype source superoptions". Blanks,
 * tabs, newlines and backslashes in the mount point are written as three octal digits. */

static bool octal(const char *p, const char *end) {
        for (int i = 0; i < 3; i++)
                if (p + i >= end || p[i] < '0' || p[i] > '7')
                        return false;
        return true;
}

/* Compares an escaped field with plain text. */
static bool field_equals(const char *field, size_t len, const char *plain) {
        const char *end = field + len;

        while (field < end) {
                unsigned char c = (unsigned char) *field++;
                if (c == '\\' && octal(field, end)) {
                        c = (unsigned char) ((field[0] - '0') * 64 + (field[1] - '0') * 8 + (field[2] - '0'));
                        field += 3;
                }
                if (c == '\0' || c != (unsigned char) *plain++)
                        return false;
        }
        return *plain == '\0';
}

/* The next blank-separated field of the line, or false at its end. */
static bool next_field(const char **p, const char *end, const char **ret, size_t *ret_len) {
        while (*p < end && **p == ' ')
                (*p)++;
        const char *start = *p;
        while (*p < end && **p != ' ')
                (*p)++;
        *ret = start;
        *ret_len = (size_t) (*p - start);
        return *p > start;
}

static bool parse_device(const char *field, size_t len, MountInfo *ret) {
        char text[32];
        char trailing;

        if (len >= sizeof(text))
                return false;
        memcpy(text, field, len);
        text[len] = '\0';
        return sscanf(text, "%u:%u%c", &ret->major, &ret->minor, &trailing) == 2;
}

static bool parse_line(const char *p, const char *end, const char *path, MountInfo *ret) {
        const char *field;
        size_t len;
        MountInfo info = {0};

        for (int i = 0; i < 5; i++) {
                if (!next_field(&p, end, &field, &len))
                        return false;
                if (i == 2 && !parse_device(field, len, &info))
                        return false;
        }
        if (!field_equals(field, len, path))
                return false;
        do {
                if (!next_field(&p, end, &field, &len))
                        return false;
        } while (len != 1 || *field != '-');
        if (!next_field(&p, end, &field, &len))
                return false;
        if (len >= sizeof(info.fstype))
                len = sizeof(info.fstype) - 1;
        memcpy(info.fstype, field, len);
        info.fstype[len] = '\0';
        *ret = info;
        return true;
}

int mountinfo_find(const char *text, size_t len, const char *path, MountInfo *ret) {
        const char *end = text + len;
        int found = 0;

        for (const char *p = text; p < end;) {
                const char *newline = memchr(p, '\n', (size_t) (end - p));
                const char *line_end = newline ? newline : end;
                if (parse_line(p, line_end, path, ret))
                        found = 1;
                p = line_end + 1;
        }
        return found;
}
