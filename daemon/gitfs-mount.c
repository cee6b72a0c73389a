/* Mounts for gitfsd and unmounts after it, so that gitfsd itself needs no set-uid helper and can be
 * shut in. Run by gitfsd.service before the daemon starts and after it has ended, without its
 * restrictions; what it opens is handed over through the service manager.
 *
 * It runs at every restart, also after a crash: what is kept for the daemon must stay then. */

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/service.h"
#include "config/config.h"
#include "fuse/mount-open.h"
#include "fuse/mount.h"
#include "manager/fd-store.h"
#include "util/buf.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/path.h"
#include "version.h"

#define RECORD_MAX (PATH_MAX + 32)

/* What this program has mounted; a record of it lies in the runtime directory for the next run,
 * when the configuration may name another place. */
typedef struct Mounted {
        unsigned connection;
        char *path;
        bool recorded;
} Mounted;

static void mounted_done(Mounted *m) {
        free(m->path);
}

static int configured_path(char **ret) {
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

/* --- the record --- */

static int record_path(char **ret) {
        return path_runtime("gitfsd/mounted", ret);
}

static void make_record(const char *path) {
        _cleanup_free_ char *file = NULL;
        char text[RECORD_MAX];
        unsigned connection;

        int r = mount_connection(path, &connection);
        if (r >= 0)
                r = record_path(&file);
        if (r >= 0) {
                int n = snprintf(text, sizeof(text), "%u %s", connection, path);
                r = n < 0 || (size_t) n >= sizeof(text)
                            ? -ENAMETOOLONG
                            : write_file_atomic(file, text, (size_t) n, 0600);
        }
        if (r < 0)
                log_warning(
                        "Cannot note where it is mounted: %s: to be unmounted by hand if the "
                        "configuration changes",
                        strerrordesc_np(-r));
}

/* 1 if it is still mounted there, 0, or a negative errno. */
static int recorded(Mounted *ret) {
        _cleanup_free_ char *file = NULL;
        _cleanup_buf_ Buf text = {0};
        unsigned there;
        char *end;

        int r = record_path(&file);
        if (r >= 0)
                r = read_file(file, RECORD_MAX, &text);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        const char *record = buf_str(&text);
        if (!record)
                return -ENOMEM;
        errno = 0;
        unsigned long connection = strtoul(record, &end, 10);
        if (errno != 0 || connection > UINT_MAX || end[0] != ' ' || end[1] != '/')
                return -EBADMSG;
        r = mount_connection(end + 1, &there);
        if (r < 0 || there != connection)
                return r == -ENOENT || r >= 0 ? 0 : r;
        char *path = strdup(end + 1);
        if (!path)
                return -ENOMEM;
        *ret = (Mounted){.connection = there, .path = path, .recorded = true};
        return 1;
}

/* What is mounted: as it was recorded, or where the configuration has it. Likewise. */
static int find_mounted(Mounted *ret) {
        _cleanup_free_ char *path = NULL;
        unsigned connection;

        int r = recorded(ret);
        if (r > 0)
                return r;
        if (r < 0)
                log_debug("There is no record of what is mounted: %s", strerrordesc_np(-r));
        r = configured_path(&path);
        if (r < 0)
                return r;
        r = mount_connection(path, &connection);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        *ret = (Mounted){.connection = connection, .path = TAKE_PTR(path)};
        return 1;
}

/* --- what it does --- */

/* The daemon is gone. Whoever waits for it, its heralds among them, ends with this. */
static int unmount(const Mounted *m) {
        int r = mount_abort(m->path, m->connection);
        if (r < 0)
                log_debug("Cannot abort the connection: %s", strerrordesc_np(-r));
        r = mount_remove(m->path, m->connection);
        if (r < 0)
                log_error("Cannot unmount \"%s\": %s", m->path, strerrordesc_np(-r));
        return r;
}

static int mount_anew(const char *path) {
        Failure failure = {0};

        _cleanup_close_ int fd = mount_open(path, &failure);
        if (fd < 0) {
                log_error("Cannot mount \"%s\": %s", path, failure.text);
                return fd;
        }
        const MountFds fds = {.fuse = fd, .session = -1, .nodes = -1};
        fd_store_put(&fds);
        make_record(path);
        log_info("Mounted \"%s\"", path);
        return 0;
}

static int mount_unless_kept(void) {
        _cleanup_(mounted_done) Mounted there = {0};
        _cleanup_free_ char *path = NULL;

        int r = configured_path(&path);
        if (r >= 0)
                r = find_mounted(&there);
        if (r < 0)
                return r;
        int kept = service_keeps_mount();
        if (r > 0 && kept < 0) { /* it may be served again in a moment: to be tried again */
                log_error("Cannot ask for what is kept: %s", strerrordesc_np(-kept));
                return kept;
        }
        bool moved = r > 0 && strcmp(there.path, path) != 0;
        if (r > 0 && kept > 0 && !moved)
                return 0;
        if (moved)
                log_notice("Mounting \"%s\" instead of \"%s\"", path, there.path);
        fd_store_clear();
        /* Ours, and of no use any more, whoever has its connection open. */
        if (r > 0 && there.recorded)
                (void) unmount(&there); /* has logged it */
        return mount_anew(path);
}

static int unmount_unless_kept(void) {
        _cleanup_(mounted_done) Mounted there = {0};
        bool stale = service_is_stale();

        if (!stale && !service_has_stopped())
                return 0;
        int r = find_mounted(&there);
        if (r <= 0)
                return r;
        if (stale) {
                log_warning("Nobody can take over \"%s\": unmounting it", there.path);
                fd_store_clear();
        }
        return unmount(&there);
}

int main(int argc, char **argv) {
        bool away = argc == 2 && strcmp(argv[1], "--unmount") == 0;

        if (argc > 1 && !away) {
                (void) fputs("Usage: gitfs-mount [--unmount]\nFor gitfsd.service.\n", stderr);
                return 2;
        }
        int r = away ? unmount_unless_kept() : mount_unless_kept();
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
