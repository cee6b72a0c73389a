/* Mounts for gitfsd and unmounts after it, so that gitfsd itself needs no set-uid helper and can be
 * shut in. Run by gitfsd.service before the daemon starts and after it has ended, without its
 * restrictions; what it opens is handed over through the service manager.
 *
 * It runs at every restart, also after a crash: what is kept for the daemon must stay then. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/service.h"
#include "config/config.h"
#include "fuse/mount-open.h"
#include "fuse/mount.h"
#include "manager/fd-store.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/path.h"
#include "version.h"

static int find_mount_point(char **ret) {
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *home = NULL;
        ConfigError error;

        int r = path_config("gitfs", &home);
        if (r >= 0)
                r = config_load(GITFS_SYSCONFDIR "/gitfs", home, &config, &error);
        if (r >= 0)
                r = mount_canonical(config->mount_point, ret);
        if (r < 0)
                log_error("Configuration: %s", r == -EINVAL ? error.text : strerrordesc_np(-r));
        return r;
}

static int mount_unless_kept(const char *path) {
        unsigned connection;
        Failure failure = {0};

        int r = service_keeps_mount();
        if (r != 0 && mount_connection(path, &connection) >= 0) {
                if (r < 0) /* it may be served again in a moment: to be tried again */
                        log_error("Cannot ask for what is kept: %s", strerrordesc_np(-r));
                return MIN(r, 0);
        }
        fd_store_clear();
        _cleanup_close_ int fd = mount_open(path, &failure);
        if (fd < 0) {
                log_error("Cannot mount \"%s\": %s", path, failure.text);
                return fd;
        }
        const MountFds fds = {.fuse = fd, .session = -1, .nodes = -1};
        fd_store_put(&fds);
        return 0;
}

static int unmount_unless_kept(const char *path) {
        unsigned connection;

        if (!service_has_stopped() || mount_connection(path, &connection) < 0)
                return 0;
        /* The daemon is gone. Whoever waits for it, its heralds among them, ends with this. */
        int r = mount_abort(path, connection);
        if (r < 0)
                log_debug("Cannot abort the connection: %s", strerrordesc_np(-r));
        r = mount_remove(path, connection);
        if (r < 0)
                log_error("Cannot unmount \"%s\": %s", path, strerrordesc_np(-r));
        return r;
}

int main(int argc, char **argv) {
        _cleanup_free_ char *path = NULL;
        bool unmount = argc == 2 && strcmp(argv[1], "--unmount") == 0;

        if (argc > 1 && !unmount) {
                (void) fputs("Usage: gitfs-mount [--unmount]\nFor gitfsd.service.\n", stderr);
                return 2;
        }
        int r = find_mount_point(&path);
        if (r >= 0)
                r = unmount ? unmount_unless_kept(path) : mount_unless_kept(path);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
