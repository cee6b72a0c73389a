#include "config/ini-text.h"

#include <errno.h>
#include <ini.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/redact.h"

/* libinih forgives what must not pass here: it cuts long lines, takes indented lines for the rest
 * of a value and reads over what follows a section's bracket. So its lines come from our reader,
 * which refuses or removes all that before libinih sees it. */

#define LINE_MAX_BYTES 8192 /* more than a path or URL can have */

typedef struct IniText {
        const char *p, *end; /* what is left */
        unsigned line;       /* of the file, from 1 */
        const ConfigOption *options;
        IniApply apply;
        void *userdata;
        int error;
        ConfigError reason; /* set with error, without the origin */
} IniText;

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_setup(void) {
        ini_allow_multiline = false;
        ini_allow_inline_comments = false;
        ini_stop_on_first_error = true;
        ini_max_line = LINE_MAX_BYTES;
}

int config_error_set(ConfigError *e, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(e->text, sizeof(e->text), fmt, ap); /* cut to fit */
        va_end(ap);
        redact_urls(e->text);
        return -EINVAL;
}

static bool section_is_known(const IniText *t, const char *section, size_t len) {
        for (const ConfigOption *o = t->options; o->section; o++)
                if (strlen(o->section) == len && memcmp(o->section, section, len) == 0)
                        return true;
        return false;
}

/* "[Name]", trailing blanks already gone. */
static int check_section_line(IniText *t, const char *line, size_t len) {
        const char *close = memchr(line, ']', len);

        if (!close || close != line + len - 1)
                return config_error_set(&t->reason, "a section must stand alone as \"[Name]\"");
        if (!section_is_known(t, line + 1, len - 2))
                return config_error_set(
                        &t->reason, "unknown section [%.*s]", (int) len - 2, line + 1);
        return 0;
}

static int check_line(IniText *t, const char *line, size_t len, size_t room) {
        if (memchr(line, '\0', len))
                return config_error_set(&t->reason, "the line holds a NUL byte");
        if (len > room)
                return config_error_set(&t->reason, "the line is longer than %zu bytes", room);
        return len > 0 && line[0] == '[' ? check_section_line(t, line, len) : 0;
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r';
}

/* Gives libinih the next line, as fgets() would. */
static char *read_line(char *buffer, int size, void *stream) {
        IniText *t = stream;

        if (t->p == t->end || t->error < 0)
                return NULL;
        const char *line = t->p;
        const char *lf = memchr(line, '\n', (size_t) (t->end - line));
        const char *end = lf ? lf : t->end;
        t->p = lf ? lf + 1 : t->end;
        t->line++;
        while (line < end && is_blank(*line))
                line++;
        while (line < end && is_blank(end[-1]))
                end--;

        size_t len = (size_t) (end - line);
        t->error = check_line(t, line, len, (size_t) size - 2);
        if (t->error < 0)
                return NULL;
        memcpy(buffer, line, len);
        memcpy(buffer + len, "\n", 2);
        return buffer;
}

/* libinih's convention: 0 is a failure. */
static int handle(void *userdata, const char *section, const char *key, const char *value) {
        IniText *t = userdata;
        size_t i = 0;

        for (; t->options[i].section; i++)
                if (strcmp(t->options[i].section, section) == 0 &&
                    strcmp(t->options[i].key, key) == 0)
                        break;
        if (t->options[i].section)
                t->error = t->apply(i, value, t->userdata, &t->reason);
        else if (section[0] == '\0')
                t->error = config_error_set(
                        &t->reason, "option \"%s\" stands before any section", key);
        else
                t->error =
                        config_error_set(&t->reason, "unknown option \"%s\" in [%s]", key, section);
        return t->error >= 0;
}

int ini_text_parse(
        const char *text,
        size_t len,
        const char *origin,
        const ConfigOption *options,
        IniApply apply,
        void *userdata,
        ConfigError *ret_error) {
        IniText t = {
                .p = text,
                .end = len > 0 ? text + len : text,
                .options = options,
                .apply = apply,
                .userdata = userdata,
        };

        (void) pthread_once(&library_once, library_setup);
        int r = ini_parse_stream(read_line, &t, handle, &t);
        if (t.error >= 0 && r > 0)
                t.error = config_error_set(&t.reason, "neither \"Key=Value\" nor a section");
        if (t.error >= 0 && r < 0)
                t.error = -ENOMEM;
        if (t.error == -ENOMEM)
                (void) config_error_set(&t.reason, "out of memory");
        if (t.error < 0)
                (void) config_error_set(ret_error, "%s:%u: %s", origin, t.line, t.reason.text);
        return t.error < 0 ? t.error : 0;
}
