#include "util/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int buf_reserve(Buf *b, size_t extra) {
        if (extra > SIZE_MAX / 2 - b->len)
                return -ENOMEM;
        size_t need = b->len + extra;
        if (need <= b->cap)
                return 0;

        size_t cap = MAX(b->cap * 2, (size_t) 64);
        cap = MAX(cap, need);
        uint8_t *data = realloc(b->data, cap);
        if (!data)
                return -ENOMEM;
        b->data = data;
        b->cap = cap;
        return 0;
}

int buf_append(Buf *b, const void *data, size_t len) {
        int r = buf_reserve(b, len);
        if (r < 0)
                return r;
        if (len > 0)
                memcpy(b->data + b->len, data, len);
        b->len += len;
        return 0;
}

int buf_append_str(Buf *b, const char *s) {
        return buf_append(b, s, strlen(s));
}

int buf_appendf(Buf *b, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (n < 0)
                return -EINVAL;

        int r = buf_reserve(b, (size_t) n + 1);
        if (r < 0)
                return r;
        va_start(ap, fmt);
        (void) vsnprintf((char *) b->data + b->len, (size_t) n + 1, fmt, ap);
        va_end(ap);
        b->len += (size_t) n;
        return 0;
}

const char *buf_str(Buf *b) {
        if (buf_reserve(b, 1) < 0)
                return NULL;
        b->data[b->len] = '\0';
        return (const char *) b->data;
}

void buf_done(Buf *b) {
        free(b->data);
        *b = (Buf){0};
}

void buf_wipe(Buf *b) {
        if (b->data)
                explicit_bzero(b->data, b->cap);
        buf_done(b);
}
