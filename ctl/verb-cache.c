/* flush and refresh. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "ctl/bus-client.h"
#include "ctl/verbs.h"

/* PATH is optional: without it everything is meant, wherever the caller is. */
static int optional_path(Ctl *ctl, const char *arg, char **ret) {
        if (arg)
                return client_path(ctl, arg, ret);
        *ret = strdup("");
        return *ret ? 0 : client_report(ctl, -ENOMEM, NULL);
}

int verb_flush(Ctl *ctl, char **args) {
        _cleanup_free_ char *path = NULL;
        uint64_t flags = 0;

        if (ctl_has(ctl, OPTION_KERNEL))
                flags |= GITFS_BUS_FLUSH_KERNEL;
        if (ctl_has(ctl, OPTION_MEMORY))
                flags |= GITFS_BUS_FLUSH_MEMORY;
        if (ctl_has(ctl, OPTION_DISK))
                flags |= GITFS_BUS_FLUSH_DISK;
        if (flags == 0)
                flags = GITFS_BUS_FLUSH_KERNEL | GITFS_BUS_FLUSH_MEMORY;

        if (optional_path(ctl, args[0], &path) < 0 ||
            client_call(ctl, NULL, "Flush", "ts", flags, path) < 0)
                return EXIT_FAILURE;
        return EXIT_SUCCESS;
}

int verb_refresh(Ctl *ctl, char **args) {
        _cleanup_free_ char *path = NULL;

        if (optional_path(ctl, args[0], &path) < 0 ||
            client_call(ctl, NULL, "Refresh", "s", path) < 0)
                return EXIT_FAILURE;
        return EXIT_SUCCESS;
}
