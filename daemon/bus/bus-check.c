#include "bus/bus-check.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "util/path.h"
#include "util/text.h"

static int refuse(Failure *ret_failure, const char *text, const char *why) {
        (void) failure_set(/* the errno is ours to choose */
                           ret_failure,
                           FAILURE_LOCAL,
                           "\"%.200s\" %s",
                           text,
                           why);
        return -EINVAL;
}

int bus_check_bytes(const char *text, char **ret, Failure *ret_failure) {
        _cleanup_free_ char *bytes = strdup(text);
        if (!bytes)
                return -ENOMEM;
        if (text_unescape(bytes) < 0)
                return refuse(ret_failure, text, "stands for a NUL byte");
        /* Names, paths and URLs: none is longer, and much of it is kept. */
        if (strlen(bytes) >= PATH_MAX)
                return refuse(ret_failure, text, "is too long");
        *ret = TAKE_PTR(bytes);
        return 0;
}

int bus_check_path(const char *text, const char *mount_point, char **ret, Failure *ret_failure) {
        _cleanup_free_ char *typed = NULL;

        int r = bus_check_bytes(text, &typed, ret_failure);
        if (r < 0)
                return r;
        r = path_below(mount_point, typed, ret, ret_failure);
        return r == -EINVAL ? -EXDEV : r;
}

int bus_check_flags(uint64_t flags, uint64_t known, Failure *ret_failure) {
        if ((flags & ~known) == 0)
                return 0;
        (void) failure_set(ret_failure, FAILURE_LOCAL, "Unknown flags 0x%" PRIx64, flags);
        return -EINVAL; /* the errno is ours to choose */
}

int bus_job_id(const char *object, uint32_t *ret) {
        const size_t prefix = strlen(GITFS_BUS_JOB_PREFIX "/");
        char *end;

        if (strncmp(object, GITFS_BUS_JOB_PREFIX "/", prefix) != 0 || object[prefix] < '1' ||
            object[prefix] > '9')
                return 0; /* also refuses other spellings of the same number: one path per job */
        errno = 0;
        unsigned long long id = strtoull(object + prefix, &end, 10);
        if (errno != 0 || *end != '\0' || id > UINT32_MAX)
                return 0;
        *ret = (uint32_t) id;
        return 1;
}
