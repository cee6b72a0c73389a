#include "util/failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "util/redact.h"

static const struct {
        const char *name;
        int error;
} classes[_FAILURE_CLASS_MAX] = {
        [FAILURE_NONE] = {"none", 0},
        [FAILURE_NOT_FOUND] = {"not-found", -ENOENT},
        [FAILURE_AUTH] = {"auth", -EACCES},
        [FAILURE_OFFLINE] = {"offline", -EHOSTDOWN},
        [FAILURE_TIMEOUT] = {"timeout", -ETIMEDOUT},
        [FAILURE_RATE_LIMITED] = {"rate-limited", -EAGAIN},
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
                va_list ap;
                *f = (Failure){.class = class};
                va_start(ap, fmt);
                (void) vsnprintf(f->text, sizeof(f->text), fmt, ap);
                va_end(ap);
                redact_urls(f->text);
        }
        return failure_errno(class);
}
