#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int safe_close(int fd) {
        if (fd >= 0) {
                int saved = errno;
                /* Linux releases the descriptor whatever close() returns; nothing is written
                 * through these descriptors whose loss only close() would report. */
                (void) close(fd);
                errno = saved;
        }
        return -1;
}

int write_all(int fd, const void *data, size_t len) {
        const uint8_t *p = data;

        while (len > 0) {
                ssize_t n = write(fd, p, len);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += n;
                len -= (size_t) n;
        }
        return 0;
}

int read_file(const char *path, size_t max, Buf *ret) {
        _cleanup_buf_ Buf b = {0};
        /* Not blocking: a FIFO reads as empty, instead of waiting for somebody to write to it. */
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        for (;;) {
                int r = buf_reserve(&b, 4096);
                if (r < 0)
                        return r;
                ssize_t n = read(fd, b.data + b.len, b.cap - b.len);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                b.len += (size_t) n;
                if (b.len > max)
                        return -EFBIG;
        }
        return buf_append(ret, b.data, b.len);
}

int write_file_atomic(const char *path, const void *data, size_t len, mode_t mode) {
        _cleanup_free_ char *tmp = NULL;

        if (asprintf(&tmp, "%s.XXXXXX", path) < 0) {
                tmp = NULL;
                return -ENOMEM;
        }
        _cleanup_close_ int fd = mkostemp(tmp, O_CLOEXEC);
        if (fd < 0)
                return -errno;

        int r = fchmod(fd, mode) < 0 ? -errno : 0;
        if (r >= 0)
                r = write_all(fd, data, len);
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        if (r >= 0 && rename(tmp, path) < 0)
                r = -errno;
        if (r < 0)
                (void) unlink(tmp);
        return r;
}

static int mkdir_one(const char *path, mode_t mode) {
        struct stat st;

        if (mkdir(path, mode) == 0)
                return 0;
        if (errno != EEXIST)
                return -errno;
        if (stat(path, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int mkdir_above(const char *path, mode_t mode) {
        char copy[PATH_MAX];

        size_t len = strlen(path);
        if (len == 0 || len >= sizeof(copy))
                return -ENAMETOOLONG;
        memcpy(copy, path, len + 1);

        for (char *p = copy + 1; *p; p++)
                if (*p == '/') {
                        *p = '\0';
                        int r = mkdir_one(copy, mode);
                        if (r < 0)
                                return r;
                        *p = '/';
                }
        return 0;
}

int mkdir_parents(const char *path, mode_t mode) {
        int r = mkdir_above(path, mode);

        return r < 0 ? r : mkdir_one(path, mode);
}

int write_own_file(const char *path, const void *data, size_t len, Failure *ret_failure) {
        int r = mkdir_above(path, 0700);

        if (r >= 0)
                r = write_file_atomic(path, data, len, 0600);
        if (r < 0)
                (void) failure_set(/* r says the same */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "cannot write \"%s\": %s",
                                   path,
                                   strerrordesc_np(-r));
        return r;
}
