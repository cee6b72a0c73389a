/* The manager drops the descriptor of a connection that has ended by itself, but not what belongs
 * to it: so what is there is removed by name before anything is stored.
 *
 * What is kept has to make sense at every moment, as a process may end between two messages: the
 * connection alone, from which nobody has read, or all three. So a connection that is kept stays,
 * and the other two come in one message, by one name; they are told apart by what they are. */

#include "manager/fd-store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

#define BARRIER_USEC (5 * USEC_PER_SEC)

#define NAME_FUSE "fuse"
#define NAME_MEMORY "session"
#define NAME_NODES "nodes" /* by that of older versions */

static bool is_memory(int fd, const char *link) {
        char path[32], target[64];

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof(target));
        return n >= (ssize_t) strlen(link) && memcmp(target, link, strlen(link)) == 0;
}

/* NULL for what is nothing of ours. */
static int *place_of(MountFds *fds, int fd, const char *name) {
        if (strcmp(name, NAME_FUSE) == 0)
                return &fds->fuse;
        if (is_memory(fd, "/memfd:gitfs-session"))
                return &fds->session;
        return is_memory(fd, "/memfd:gitfs-nodes") ? &fds->nodes : NULL;
}

static void keep(MountFds *fds, int fd, const char *name) {
        int flags = fcntl(fd, F_GETFD), *place = place_of(fds, fd, name);

        if (place && *place < 0 && flags >= 0 && fcntl(fd, F_SETFD, flags | FD_CLOEXEC) >= 0)
                *place = fd;
        else
                (void) safe_close(fd);
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
        fds.kept = fds.fuse >= 0;
        if (!fds.kept)
                mount_fds_close(&fds);
        return fds;
}

void mount_fds_close(MountFds *fds) {
        fds->fuse = safe_close(fds->fuse);
        fds->session = safe_close(fds->session);
        fds->nodes = safe_close(fds->nodes);
}

static void await_manager(void) {
        int r = sd_notify_barrier(false, BARRIER_USEC);
        if (r < 0)
                log_warning(
                        "The service manager did not answer: %s, ignoring", strerrordesc_np(-r));
}

static int forget(const char *name) {
        return sd_notifyf(false, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

static int forget_memory(void) {
        int r = forget(NAME_MEMORY);

        return r < 0 ? r : forget(NAME_NODES);
}

void fd_store_clear(void) {
        int r = forget_memory();

        if (r >= 0)
                r = forget(NAME_FUSE);
        if (r > 0)
                await_manager();
}

static int put(const char *name, const int *fds, unsigned n) {
        char text[64];

        (void) snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
        return sd_pid_notify_with_fds(0, false, text, fds, n);
}

void fd_store_put(const MountFds *fds) {
        const int memory[] = {fds->session, fds->nodes};

        int r = forget_memory();
        if (r > 0 && fds->fuse >= 0)
                r = forget(NAME_FUSE);
        if (r > 0 && fds->fuse >= 0)
                r = put(NAME_FUSE, &fds->fuse, 1);
        if (r > 0 && fds->session >= 0)
                r = put(NAME_MEMORY, memory, ELEMENTSOF(memory));
        if (r > 0)
                await_manager();
        else if (r < 0)
                log_warning("A restart will not keep the mount: %s, ignoring", strerrordesc_np(-r));
}
