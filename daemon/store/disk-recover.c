#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/disk-internal.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/stats.h"

/* A start maps each segment and reads the summary of its index, and trusts it for where things are,
 * and for nothing else: everything is unverified until its first use. Files of other names are not
 * ours and stay. A file of our name that is no segment, or of another version, or holds nothing, is
 * removed. */

int disk_tier_lock_directory(DiskTier *tier) {
        _cleanup_free_ char *path = NULL;

        int r = mkdir_parents(tier->directory, 0700);
        if (r < 0)
                return r;
        if (asprintf(&path, "%s/lock", tier->directory) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        const int flags = O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
        _cleanup_close_ int fd = open(path, flags, 0600); /* not blocking, where it is a FIFO */
        if (fd < 0)
                return -errno;
        /* Also busy for the second of two threads that find the directory deleted at the same time:
         * one object more that is not cached on disk. */
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EBUSY : -errno;

        mutex_lock(&tier->lock);
        int old = tier->lock_fd;
        tier->lock_fd = TAKE_FD(fd);
        mutex_unlock(&tier->lock);
        safe_close(old);
        return 0;
}

static bool parse_name(const char *name, uint64_t *ret) {
        char check[32];
        uint64_t number;

        if (sscanf(name, "%16" SCNx64 ".seg", &number) != 1)
                return false;
        (void) snprintf(check, sizeof(check), "%016" PRIx64 ".seg", number); /* always fits */
        if (strcmp(check, name) != 0)
                return false;
        *ret = number;
        return true;
}

static int is_segment(const struct dirent *entry) {
        uint64_t number;
        return parse_name(entry->d_name, &number);
}

/* Takes the segment over. They come in the order of their numbers. */
static int load_segment(DiskTier *tier, Segment *segment) {
        mutex_lock(&tier->lock);
        disk_tier_add_segment_locked(tier, segment);
        tier->next_number = segment->number + 1;
        mutex_unlock(&tier->lock);
        return catalog_add(&tier->catalog, segment);
}

static int open_segment(DiskTier *tier, uint64_t number) {
        Segment *segment = NULL;

        _cleanup_free_ char *path = disk_segment_path(tier, number);
        if (!path)
                return -ENOMEM;
        const int flags = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
        int fd = open(path, O_RDWR | flags);
        if (fd < 0 && errno == EROFS)
                fd = open(path, O_RDONLY | flags);
        int r = fd < 0 ? -errno : segment_open(fd, number, &segment);
        if (r == -ENOMEM)
                return r;
        if (!segment) {
                if (r != -ENOTSUP)
                        stat_add(STAT_STORE_CORRUPT, 1);
                log_debug("\"%s\" is no usable segment: %s", path, strerrorname_np(-r));
                if (unlink(path) < 0)
                        log_debug("cannot remove \"%s\": %m, ignoring", path);
                return 0;
        }
        segment->charged = segment_space(segment->map_size);
        segment->account = &tier->bytes;
        (void) atomic_fetch_add(&tier->bytes, segment->charged);
        stat_add(STAT_STORE_DISK_BYTES, (int64_t) segment->charged);
        return load_segment(tier, segment);
}

static void drop_empty(DiskTier *tier) {
        for (Segment *segment = TAILQ_FIRST(&tier->segments), *next; segment; segment = next) {
                next = TAILQ_NEXT(segment, entry);
                if (segment_n_live(segment) > 0)
                        continue;
                mutex_lock(&tier->lock);
                disk_tier_take_segment_locked(tier, segment);
                mutex_unlock(&tier->lock);
                /* What cannot be removed is tried again by the next start. */
                (void) disk_tier_drop_segment(tier, segment, /* keep_hot= */ false);
        }
}

int disk_tier_recover(DiskTier *tier) {
        struct dirent **entries;
        int r = 0;

        /* Names are numbers with leading zeros: sorted, the oldest is first. */
        int n = scandir(tier->directory, &entries, is_segment, alphasort);
        if (n < 0)
                return -errno;
        for (int i = 0; i < n; i++) {
                uint64_t number;
                if (r >= 0 && parse_name(entries[i]->d_name, &number))
                        r = open_segment(tier, number);
                free(entries[i]);
        }
        free(entries);
        if (r >= 0)
                drop_empty(tier);
        return r;
}
