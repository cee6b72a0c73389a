#include "manager/pin-list.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "manager/pins.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/path.h"

#define MAX_FILE (PINS_MAX * (size_t) PATH_MAX)
#define HEADER                                                                                     \
        "# What gitfs keeps complete in its cache, one path a line: see gitfsctl pin.\n"           \
        "# After an edit: gitfsctl reload.\n"

typedef struct Reader {
        const char *file, *mount_point;
        int (*fn)(const char *path, void *userdata);
        void *userdata;
} Reader;

static int read_line(const Reader *reader, const char *line, size_t len) {
        _cleanup_free_ char *typed = strndup(line, len), *path = NULL;

        if (!typed)
                return -ENOMEM;
        if (len == 0 || line[0] == '#')
                return 0;
        int r = path_below(reader->mount_point, typed, &path, NULL);
        if (r >= 0)
                r = path[0] == '\0' ? -EINVAL : reader->fn(path, reader->userdata);
        if (r == -EINVAL || r == -E2BIG) {
                log_warning("%s: \"%s\" cannot be pinned, ignoring", reader->file, typed);
                return 0;
        }
        return r;
}

int pin_list_read(
        const char *file,
        const char *mount_point,
        int (*fn)(const char *path, void *userdata),
        void *userdata) {
        const Reader reader = {file, mount_point, fn, userdata};
        _cleanup_buf_ Buf text = {0};

        int r = read_file(file, MAX_FILE, &text);
        if (r < 0 && r != -ENOENT) {
                log_warning("Cannot read \"%s\": %s, ignoring", file, strerrordesc_np(-r));
                return r == -ENOMEM ? r : 1;
        }
        if (text.len == 0)
                return 0;
        const char *at = (const char *) text.data, *end = at + text.len;
        for (r = 0; at < end && r >= 0;) {
                const char *newline = memchr(at, '\n', (size_t) (end - at));
                const char *stop = newline ? newline : end;
                r = read_line(&reader, at, (size_t) (stop - at));
                at = stop + 1;
        }
        return r;
}

int pin_list_write(const char *file, const Buf *lines, Failure *ret_failure) {
        _cleanup_buf_ Buf text = {0};

        int r = buf_append_str(&text, HEADER);
        if (r >= 0)
                r = buf_append(&text, lines->data, lines->len);
        return r < 0 ? r : write_own_file(file, text.data, text.len, ret_failure);
}
