#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/disk-internal.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/path.h"
#include "util/stats.h"

/* A start maps each segment and reads the summary of its index, and trusts it for where things are,
 * and for nothing else: everything is unverified until its first use. Files of other names are not
 * ours and stay. A file of our name that is no segment, or of another version, or holds nothing, is
 * removed. One that cannot be opened now, because there is no memory or no descriptor left, is left
 * to the next start.
 *
 * Only what was not sealed is searched for records: after the end of a process the segment that was
 * active then, after a power cut those whose last pages never reached the disk, which may be many.
 * A start reads up to SCAN_SIZE for that, or SCAN_SEGMENTS where segments are large, the newest
 * first; what is found nowhere then is not there, and is fetched again. */

#define SCAN_SIZE (UINT64_C(256) << 20)
#define SCAN_SEGMENTS 2

#define LOCK_NAME "lock"

static char *lock_path(const DiskTier *tier) {
        return path_join(tier->directory, LOCK_NAME, NULL);
}

static int open_lock(const char *path) {
        /* For writing, because NFS wants it so of who locks for himself alone; not blocking, where
         * it is a FIFO. */
        const int flags = O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
        int fd = open(path, O_RDWR | flags, 0600);
        if (fd < 0 && (errno == EROFS || errno == EACCES))
                fd = open(path, O_RDONLY | flags, 0600);
        return fd >= 0 ? fd : -errno;
}

int disk_tier_lock_directory(DiskTier *tier) {
        int r = mkdir_parents(tier->directory, 0700);
        if (r < 0)
                return r;
        _cleanup_free_ char *path = lock_path(tier);
        if (!path)
                return -ENOMEM;
        _cleanup_close_ int fd = open_lock(path);
        if ((fd == -EISDIR || fd == -ELOOP) && remove(path) == 0)
                fd = open_lock(path); /* it had our name, and was no lock of anybody */
        if (fd < 0)
                return fd;
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

bool disk_tier_has_lock(DiskTier *tier) {
        _cleanup_free_ char *path = lock_path(tier);
        struct stat ours, there;

        mutex_lock(&tier->lock);
        int fd = tier->lock_fd;
        mutex_unlock(&tier->lock);
        return path && fstat(fd, &ours) == 0 && lstat(path, &there) == 0 &&
               ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
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

/* Takes the segment over. They come with the newest first, and `age` falls. */
static int load_segment(DiskTier *tier, Segment *segment, uint64_t age) {
        segment->charged = segment_space(segment->map_size);
        segment->account = &tier->bytes;
        (void) atomic_fetch_add(&tier->bytes, segment->charged);
        stat_add(STAT_STORE_DISK_BYTES, (int64_t) segment->charged);
        atomic_store(&segment->last_use, age);

        mutex_lock(&tier->lock);
        TAILQ_INSERT_HEAD(&tier->segments, segment, entry);
        tier->n_segments++;
        tier->next_number = MAX(tier->next_number, segment->number + 1);
        mutex_unlock(&tier->lock);
        return catalog_add(&tier->catalog, segment);
}

/* What is no segment, whatever it is. */
static void remove_file(const char *path, int why) {
        if (why == -EBADMSG)
                stat_add(STAT_STORE_CORRUPT, 1);
        log_debug("\"%s\" is no usable segment: %s", path, strerrordesc_np(-why));
        if (remove(path) < 0)
                log_debug("cannot remove \"%s\": %m, ignoring", path);
}

static int open_segment_file(const char *path) {
        const int flags = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
        int fd = open(path, O_RDWR | flags);
        if (fd < 0 && (errno == EROFS || errno == EACCES))
                fd = open(path, O_RDONLY | flags);
        if (fd < 0) /* a link, a directory, a socket or a device */
                return errno == ELOOP || errno == EISDIR || errno == ENXIO || errno == ENODEV
                               ? -EBADMSG
                               : -errno;
        return fd;
}

static int open_segment(DiskTier *tier, uint64_t number, uint64_t age, uint64_t *scan_left) {
        Segment *segment = NULL;

        _cleanup_free_ char *path = disk_segment_path(tier, number);
        if (!path)
                return -ENOMEM;
        int fd = open_segment_file(path);
        int r = fd < 0 ? fd : segment_open(fd, number, scan_left, &segment);
        if (segment)
                return load_segment(tier, segment, age);
        if (r == -EBADMSG || r == -ENOTSUP)
                remove_file(path, r);
        else
                log_debug("cannot open \"%s\": %s, ignoring", path, strerrordesc_np(-r));
        return 0;
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

static void free_entries(struct dirent **entries, int n) {
        for (int i = 0; i < n; i++)
                free(entries[i]);
        free(entries);
}

int disk_tier_recover(DiskTier *tier) {
        uint64_t usual = MAX(SCAN_SIZE, SCAN_SEGMENTS * tier->segment_size);
        uint64_t scan_limit = tier->scan_limit > 0 ? tier->scan_limit : usual;
        uint64_t scan_left = scan_limit, number;
        struct dirent **entries;
        int r = 0;

        /* Names are numbers with leading zeros: sorted, the oldest is first. */
        int n = scandir(tier->directory, &entries, is_segment, alphasort);
        if (n < 0)
                return -errno;
        for (int i = n; i > 0 && r >= 0; i--)
                if (parse_name(entries[i - 1]->d_name, &number))
                        r = open_segment(tier, number, (uint64_t) i, &scan_left);
        free_entries(entries, n);
        atomic_store(&tier->clock, (uint64_t) n);
        stat_add(STAT_STORE_SCANNED, (int64_t) (scan_limit - scan_left));
        if (r >= 0)
                drop_empty(tier);
        return r;
}
