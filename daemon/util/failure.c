#include "util/failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/redact.h"
#include "util/text.h"

static const struct {
        const char *name;
        int error;
} classes[_FAILURE_CLASS_MAX] = {
        [FAILURE_NONE] = {"none", 0},
        [FAILURE_NOT_FOUND] = {"not-found", -ENOENT},
        [FAILURE_AUTH] = {"auth", -EACCES},
        [FAILURE_TOKEN_MISSING] = {"token-missing", -EACCES},
        [FAILURE_TOKEN_REFUSED] = {"token-refused", -EACCES},
        [FAILURE_FORBIDDEN] = {"forbidden", -EACCES},
        [FAILURE_SSO] = {"sso-required", -EACCES},
        [FAILURE_BLOCKED] = {"blocked", -EACCES},
        [FAILURE_RENAMED] = {"renamed", -ENOENT},
        [FAILURE_OFFLINE] = {"offline", -EHOSTDOWN},
        [FAILURE_TIMEOUT] = {"timeout", -ETIMEDOUT},
        [FAILURE_RATE_LIMITED] = {"rate-limited", -EAGAIN},
        [FAILURE_BUSY] = {"busy", -EAGAIN},
        [FAILURE_TOO_LARGE] = {"too-large", -EFBIG},
        [FAILURE_SERVER] = {"server", -EIO},
        [FAILURE_CORRUPT] = {"corrupt", -EIO},
        [FAILURE_UNSUPPORTED] = {"unsupported", -EOPNOTSUPP},
        [FAILURE_CANCELLED] = {"cancelled", -EINTR},
        [FAILURE_LOCAL] = {"local", -EIO},
};

int failure_errno(FailureClass class) {
        assert(class >= 0 && class < _FAILURE_CLASS_MAX);
        return classes[class].error;
}

const char *failure_class_name(FailureClass class) {
        assert(class >= 0 && class < _FAILURE_CLASS_MAX);
        return classes[class].name;
}

int failure_set(Failure *f, FailureClass class, const char *fmt, ...) {
        if (f) {
                char text[2048];
                va_list ap;

                va_start(ap, fmt);
                (void) vsnprintf(text, sizeof(text), fmt, ap); /* cut to fit, like the copy below */
                va_end(ap);
                /* Before it is cut: what is left of a URL may not show that it holds a secret. */
                redact_urls(text);
                *f = (Failure){.class = class};
                memcpy(f->text, text, strnlen(text, sizeof(f->text) - 1));
                /* Servers have a say in it. After it is cut: that may have hit a character. */
                text_sanitize(f->text);
        }
        return failure_errno(class);
}
