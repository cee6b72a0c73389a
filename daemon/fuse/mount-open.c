#include "fuse/mount-open.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "fuse/lowlevel.h"
#include "fuse/mount.h"

/* libfuse frees the copy of the path that it makes only when it unmounts, so what is mounted stays
 * a session for as long as this process. */
static struct fuse_session *mounted;

int mount_open(const char *path, Failure *ret_failure) {
        static const struct fuse_lowlevel_ops none;
        _cleanup_free_ char *canonical = NULL;
        char *argv[] = {(char *) "gitfsd", (char *) "-o", (char *) MOUNT_OPTIONS, NULL};
        struct fuse_args args = FUSE_ARGS_INIT(3, argv);

        assert(!mounted);
        int r = mount_prepare(path, &canonical, ret_failure);
        if (r < 0)
                return r;
        struct fuse_session *se = fuse_session_new(&args, &none, sizeof(none), NULL);
        fuse_opt_free_args(&args);
        if (!se)
                return -EINVAL;
        if (fuse_session_mount(se, canonical) < 0) {
                fuse_session_destroy(se);
                (void) failure_set(ret_failure, FAILURE_LOCAL, "fusermount3 failed");
                return -EIO;
        }
        mounted = se;
        int fd = fcntl(fuse_session_fd(se), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        return fd < 0 ? -errno : fd;
}
