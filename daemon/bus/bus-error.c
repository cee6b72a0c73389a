#include "bus/bus-error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "util/clock.h"
#include "util/text.h"

static const char *const names_by_class[_FAILURE_CLASS_MAX] = {
        [FAILURE_NONE] = NULL,
        [FAILURE_NOT_FOUND] = GITFS_BUS_ERROR_NOT_FOUND,
        [FAILURE_AUTH] = GITFS_BUS_ERROR_AUTH,
        [FAILURE_TOKEN_MISSING] = GITFS_BUS_ERROR_AUTH,
        [FAILURE_TOKEN_REFUSED] = GITFS_BUS_ERROR_AUTH,
        [FAILURE_FORBIDDEN] = GITFS_BUS_ERROR_AUTH,
        [FAILURE_SSO] = GITFS_BUS_ERROR_AUTH,
        [FAILURE_BLOCKED] = GITFS_BUS_ERROR_AUTH,
        [FAILURE_RENAMED] = GITFS_BUS_ERROR_NOT_FOUND,
        [FAILURE_OFFLINE] = GITFS_BUS_ERROR_OFFLINE,
        [FAILURE_TIMEOUT] = GITFS_BUS_ERROR_TIMEOUT,
        [FAILURE_RATE_LIMITED] = GITFS_BUS_ERROR_RATE_LIMITED,
        [FAILURE_BUSY] = GITFS_BUS_ERROR_BUSY,
        [FAILURE_TOO_LARGE] = GITFS_BUS_ERROR_TOO_LARGE,
        [FAILURE_SERVER] = GITFS_BUS_ERROR_SERVER,
        [FAILURE_CORRUPT] = GITFS_BUS_ERROR_CORRUPT,
        [FAILURE_UNSUPPORTED] = GITFS_BUS_ERROR_UNSUPPORTED,
        [FAILURE_CANCELLED] = GITFS_BUS_ERROR_CANCELLED,
        /* The errno tells more: out of memory, no permission, wrong argument. */
        [FAILURE_LOCAL] = NULL,
};

static const struct {
        int error;
        bool wins; /* over the class: it speaks about the caller's arguments */
        const char *name;
} names_by_errno[] = {
        {-EINVAL, true, GITFS_BUS_ERROR_INVALID},
        {-EEXIST, true, GITFS_BUS_ERROR_EXISTS},
        {-EXDEV, true, GITFS_BUS_ERROR_OUTSIDE},
        {-ENOENT, false, GITFS_BUS_ERROR_NOT_FOUND},
        {-ENOTDIR, false, GITFS_BUS_ERROR_NOT_FOUND},
        {-EACCES, false, GITFS_BUS_ERROR_AUTH},
        {-EPERM, false, GITFS_BUS_ERROR_AUTH},
        {-EHOSTDOWN, false, GITFS_BUS_ERROR_OFFLINE},
        {-ETIMEDOUT, false, GITFS_BUS_ERROR_TIMEOUT},
        {-EAGAIN, false, GITFS_BUS_ERROR_RATE_LIMITED},
        {-EFBIG, false, GITFS_BUS_ERROR_TOO_LARGE},
        {-EOPNOTSUPP, false, GITFS_BUS_ERROR_UNSUPPORTED},
        {-EINTR, false, GITFS_BUS_ERROR_CANCELLED},
        {-ECANCELED, false, GITFS_BUS_ERROR_CANCELLED},
        {-EBUSY, false, GITFS_BUS_ERROR_BUSY},
        {-ENOBUFS, false, GITFS_BUS_ERROR_BUSY},
        {-ENOMEM, false, SD_BUS_ERROR_NO_MEMORY},
};

static const char *name_by_errno(int r, bool winning) {
        for (size_t i = 0; i < ELEMENTSOF(names_by_errno); i++)
                if (names_by_errno[i].error == r && (names_by_errno[i].wins || !winning))
                        return names_by_errno[i].name;
        return NULL;
}

const char *bus_error_name(int r, const Failure *f) {
        const char *name = name_by_errno(r, true);

        if (!name && f)
                name = names_by_class[f->class];
        if (!name)
                name = name_by_errno(r, false);
        return name ? name : GITFS_BUS_ERROR_FAILED;
}

int bus_error_set(sd_bus_error *ret, int r, const Failure *f) {
        char message[sizeof((Failure){0}.text) + 64];
        const char *text = f && f->text[0] ? f->text : strerrordesc_np(-r);
        uint64_t now = now_usec();

        if (f && f->retry_at_usec > now)
                (void) snprintf(
                        message,
                        sizeof(message),
                        "%s (can be tried again in %" PRIu64 " s)",
                        text,
                        (f->retry_at_usec - now) / USEC_PER_SEC + 1);
        else
                (void) snprintf(message, sizeof(message), "%s", text ? text : "Unknown error");
        text_sanitize(message);
        return sd_bus_error_set(ret, bus_error_name(r, f), message);
}
