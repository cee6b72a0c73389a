#include "manager/fd-store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "gitfs/macro.h"

#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

/* The manager drops the descriptor of a connection that has ended by itself, but not what belongs
 * to it: so what is there is removed by name before anything is stored. */

#define BARRIER_USEC (5 * USEC_PER_SEC)

static const char *const names[] = {"fuse", "session", "nodes"};

static int *fd_of(MountFds *fds, size_t i) {
        return i == 0 ? &fds->fuse : i == 1 ? &fds->session : &fds->nodes;
}

static void keep(MountFds *fds, int fd, const char *name) {
        int flags = fcntl(fd, F_GETFD);

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strcmp(name, names[i]) == 0 && *fd_of(fds, i) < 0 && flags >= 0 &&
                    fcntl(fd, F_SETFD, flags | FD_CLOEXEC) >= 0) {
                        *fd_of(fds, i) = fd;
                        return;
                }
        (void) safe_close(fd); /* nothing of ours */
}

MountFds fd_store_take(void) {
        MountFds fds = MOUNT_FDS_NONE;
        char **list = NULL;

        int n = sd_listen_fds_with_names(/* unset_environment= */ true, &list);
        for (int i = 0; i < n; i++) {
                keep(&fds, SD_LISTEN_FDS_START + i, list[i]);
                free(list[i]);
        }
        free(list);
        if (fds.fuse < 0)
                mount_fds_close(&fds);
        return fds;
}

void mount_fds_close(MountFds *fds) {
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                *fd_of(fds, i) = safe_close(*fd_of(fds, i));
}

static void await_manager(void) {
        int r = sd_notify_barrier(false, BARRIER_USEC);
        if (r < 0)
                log_warning(
                        "The service manager did not answer: %s, ignoring", strerrordesc_np(-r));
}

static int forget(void) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(names); i++)
                r = sd_notifyf(false, "FDSTOREREMOVE=1\nFDNAME=%s", names[i]);
        return r;
}

void fd_store_clear(void) {
        if (forget() > 0)
                await_manager();
}

void fd_store_put(const MountFds *fds) {
        MountFds copy = *fds;
        char text[64];

        int r = forget();
        for (size_t i = 0; r > 0 && i < ELEMENTSOF(names); i++) {
                if (*fd_of(&copy, i) < 0)
                        continue;
                (void) snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", names[i]);
                r = sd_pid_notify_with_fds(0, false, text, fd_of(&copy, i), 1);
        }
        if (r > 0)
                await_manager();
        else if (r < 0)
                log_warning("A restart will not keep the mount: %s, ignoring", strerrordesc_np(-r));
}
