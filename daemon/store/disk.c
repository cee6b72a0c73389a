#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/disk-internal.h"
#include "util/fd.h"
#include "util/stats.h"

/* Small objects share the active segment; a large one gets a segment of exactly its size. Either
 * way the life of an object's bytes is the same: reserve (room in a segment, under the lock), fill
 * (the mapping, without), commit (record header, then index entry). A reservation holds its segment
 * open: n_writers counts them, plus one while the segment is the active one, and whoever gives back
 * the last hold seals it, or drops it where nothing in it is wanted (`doomed`). So a segment is
 * sealed when all its records are complete, and entries appear only in segments that cannot be
 * evicted yet. How a record is found before and after that is disk-find.c's part.
 *
 * One thread at a time makes the next active segment, without the lock; others that need it wait
 * for that.
 *
 * Segments are no larger than an eighth of the limit, so that eviction has a choice, and no more
 * than a few hundred of them share it, because each is searched for what is not here. */

#define SEGMENT_SIZE_MAX (UINT64_C(64) << 20)
#define SEGMENT_SIZE_MIN (UINT64_C(1) << 20)
#define SEGMENTS_WANTED 8  /* at least, where the limit allows segments of that size */
#define SEGMENTS_FEWEST 4  /* at least, however small the limit */
#define SEGMENTS_MOST 256  /* at most, however large the limit */
#define LARGE_FRACTION 8   /* of a segment: larger objects get their own */
#define NUMBERS_TRIED 1000 /* for a new file */
#define PAGE UINT64_C(4096)

static void apply_limits(DiskTier *tier, const StoreConfig *config) {
        uint64_t size = MIN(config->disk_limit / SEGMENTS_WANTED, SEGMENT_SIZE_MAX);

        size = MAX(size, SEGMENT_SIZE_MIN);
        size = MAX(size, config->disk_limit / SEGMENTS_MOST);
        size = MIN(size, config->disk_limit / SEGMENTS_FEWEST);
        tier->limit = config->disk_limit;
        tier->free_space_floor = config->free_space_floor;
        size &= ~(PAGE - 1);
        /* With what the file system notes about it. */
        tier->segment_size = size - MIN(size, segment_space(size) - size);
}

char *disk_segment_path(const DiskTier *tier, uint64_t number) {
        char *path;

        if (asprintf(&path, "%s/%016" PRIx64 ".seg", tier->directory, number) < 0)
                return NULL;
        return path;
}

void disk_tier_add_segment_locked(DiskTier *tier, Segment *segment) {
        uint64_t tick = atomic_fetch_add(&tier->clock, 1) + 1;

        atomic_store(&segment->last_use, tick);
        TAILQ_INSERT_TAIL(&tier->segments, segment, entry);
        tier->n_segments++;
}

int disk_tier_open(const StoreConfig *config, DiskTier **ret) {
        DiskTier *new = calloc(1, sizeof(*new));
        if (!new)
                return -ENOMEM;
        mutex_init(&new->lock, LOCK_RANK_STORE);
        (void) pthread_cond_init(&new->changed, NULL); /* cannot fail on Linux */
        TAILQ_INIT(&new->segments);
        index_init(&new->index);
        catalog_init(&new->catalog);
        new->lock_fd = -1;
        _cleanup_(disk_tier_closep) DiskTier *tier = new;

        tier->directory = strdup(config->directory);
        if (!tier->directory)
                return -ENOMEM;
        apply_limits(tier, config);
        tier->scan_limit = config->scan_limit;
        int r = disk_tier_lock_directory(tier);
        if (r < 0)
                return r;
        r = disk_tier_recover(tier);
        if (r < 0)
                return r;
        disk_tier_keep_free(tier, 0);
        *ret = TAKE_PTR(tier);
        return 0;
}

/* The last hold on a segment is gone. */
static void finish_segment(DiskTier *tier, Segment *segment, bool doomed) {
        if (!doomed && disk_tier_seal_segment(tier, segment) >= 0) {
                uint64_t charged = segment_space(segment_file_size(segment));
                assert(charged <= segment->charged);
                disk_tier_discharge(tier, segment->charged - charged);

                MUTEX_GUARD(&tier->lock);
                segment->charged = charged;
                segment->state = SEGMENT_SEALED;
                if (!segment->doomed)
                        return;
                disk_tier_take_segment_locked(tier, segment);
        } else if (!doomed) {
                MUTEX_GUARD(&tier->lock);
                disk_tier_take_segment_locked(tier, segment);
        }
        (void) disk_tier_drop_segment(
                tier, segment, /* keep_hot= */ false); /* flushing, aborting */
}

/* Gives back one hold. */
static void release_hold(DiskTier *tier, Segment *segment) {
        mutex_lock(&tier->lock);
        assert(segment->n_writers > 0);
        bool last = --segment->n_writers == 0;
        bool doomed = segment->doomed || atomic_load(&segment->n_open) == 0;
        if (last) {
                segment->state = SEGMENT_SEALING;
                if (doomed) {
                        disk_tier_take_segment_locked(tier, segment);
                }
        }
        mutex_unlock(&tier->lock);
        if (last)
                finish_segment(tier, segment, doomed);
}

void disk_tier_retire_active(DiskTier *tier) {
        mutex_lock(&tier->lock);
        Segment *active = TAKE_PTR(tier->active);
        mutex_unlock(&tier->lock);
        if (active)
                release_hold(tier, active);
}

DiskTier *disk_tier_close(DiskTier *tier) {
        Segment *segment;

        if (!tier)
                return NULL;
        disk_tier_retire_active(tier);
        while ((segment = TAILQ_FIRST(&tier->segments))) {
                assert(segment->state == SEGMENT_SEALED);
                TAILQ_REMOVE(&tier->segments, segment, entry);
                segment_unref(segment);
        }
        tier->pinned = pinned_set_unref(tier->pinned);
        index_done(&tier->index);
        catalog_done(&tier->catalog);
        /* Left is what files take that could not be removed. */
        disk_tier_discharge(tier, atomic_load(&tier->bytes));
        (void) pthread_cond_destroy(&tier->changed); /* nobody waits: cannot fail */
        mutex_destroy(&tier->lock);
        tier->lock_fd = safe_close(tier->lock_fd);
        free(tier->directory);
        free(tier);
        return NULL;
}

static int open_new_file(DiskTier *tier, const char *path) {
        if (!disk_tier_has_lock(tier)) {
                int r = disk_tier_lock_directory(tier);
                if (r < 0)
                        return r;
        }
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd >= 0 ? fd : -errno;
}

/* An empty file with a number that nothing has, which is something else's in the directory, or one
 * from before the directory was covered. */
static int make_file(DiskTier *tier, uint64_t *ret_number, char **ret_path) {
        for (unsigned tries = 0;; tries++) {
                mutex_lock(&tier->lock);
                uint64_t number = tier->next_number++;
                mutex_unlock(&tier->lock);

                _cleanup_free_ char *path = disk_segment_path(tier, number);
                if (!path)
                        return -ENOMEM;
                int fd = open_new_file(tier, path);
                if (fd == -EEXIST && tries < NUMBERS_TRIED)
                        continue;
                if (fd >= 0) {
                        *ret_number = number;
                        *ret_path = TAKE_PTR(path);
                }
                return fd;
        }
}

static int try_make_segment(DiskTier *tier, uint64_t size, bool single, Segment **ret) {
        _cleanup_free_ char *path = NULL;
        uint64_t space = segment_space(size), number;

        /* The file first: where none can be made, nothing is evicted for it. */
        int fd = make_file(tier, &number, &path);
        if (fd < 0)
                return fd;
        int r = disk_tier_charge(tier, space);
        if (r < 0) {
                safe_close(fd);
                (void) unlink(path); /* empty */
                return r;
        }
        r = segment_create(fd, number, size, single, ret);
        if (r < 0) {
                (void) unlink(path); /* a file that stays behind is removed by the next start */
                disk_tier_discharge(tier, space);
                return r;
        }
        (*ret)->charged = space;
        (*ret)->account = &tier->bytes;
        return 0;
}

/* Somebody else may have filled the disk: then the cache gives way. */
static int make_segment(DiskTier *tier, uint64_t size, bool single, Segment **ret) {
        int r;

        do
                r = try_make_segment(tier, size, single, ret);
        while (r == -ENOSPC && disk_tier_evict_one(tier));
        return r;
}

/* Puts the next active segment in place. Called with `growing` set by the caller. */
static int grow(DiskTier *tier, Segment *full) {
        Segment *segment = NULL;

        if (full)
                release_hold(tier, full);
        mutex_lock(&tier->lock);
        uint64_t size = tier->segment_size;
        mutex_unlock(&tier->lock);

        int r = make_segment(tier, size, /* single= */ false, &segment);

        mutex_lock(&tier->lock);
        if (r >= 0) {
                segment->n_writers = 1;
                tier->active = segment;
                disk_tier_add_segment_locked(tier, segment);
        }
        tier->growing = false;
        (void) pthread_cond_broadcast(&tier->changed); /* cannot fail */
        mutex_unlock(&tier->lock);

        if (r >= 0)
                disk_tier_keep_free(tier, segment_space(size));
        return r;
}

static bool reserve_active_locked(DiskTier *tier, uint64_t size, DiskReservation *ret) {
        uint64_t offset;

        if (!tier->active || !segment_reserve(tier->active, size, &offset))
                return false;
        tier->active->n_writers++;
        *ret = (DiskReservation){tier->active, offset, size};
        return true;
}

int disk_tier_reserve_active(DiskTier *tier, uint64_t size, DiskReservation *ret) {
        MUTEX_GUARD(&tier->lock);
        return reserve_active_locked(tier, size, ret) ? 0 : -ENOSPC;
}

static int reserve_shared(DiskTier *tier, uint64_t size, DiskReservation *ret) {
        for (;;) {
                mutex_lock(&tier->lock);
                bool done = reserve_active_locked(tier, size, ret);
                bool wait = !done && tier->growing;
                Segment *full = NULL;
                if (wait)
                        mutex_wait(&tier->lock, &tier->changed);
                else if (!done) {
                        tier->growing = true;
                        full = TAKE_PTR(tier->active);
                }
                mutex_unlock(&tier->lock);

                if (done)
                        return 0;
                int r = wait ? 0 : grow(tier, full);
                if (r < 0)
                        return r;
        }
}

static int reserve_own(DiskTier *tier, uint64_t size, uint64_t room, DiskReservation *ret) {
        Segment *segment = NULL;
        uint64_t offset;

        if (size > INDEX_MAX_SIZE || size > room)
                return -EFBIG;
        uint64_t file_size = segment_size_for(size, 1);
        if (segment_space(file_size) > room)
                return -EFBIG;
        int r = make_segment(tier, file_size, /* single= */ true, &segment);
        if (r < 0)
                return r;

        mutex_lock(&tier->lock);
        bool fits = segment_reserve(segment, size, &offset);
        assert(fits);
        (void) fits;
        segment->n_writers = 1;
        disk_tier_add_segment_locked(tier, segment);
        mutex_unlock(&tier->lock);
        *ret = (DiskReservation){segment, offset, size};
        return 0;
}

int disk_tier_reserve(DiskTier *tier, uint64_t size, DiskReservation *ret) {
        mutex_lock(&tier->lock);
        uint64_t shared = tier->segment_size, room = tier->limit - segment_space(shared);
        mutex_unlock(&tier->lock);

        if (shared < 2 * PAGE)
                return -EFBIG; /* the limit is too small for any segment */
        if (size > shared / LARGE_FRACTION)
                return reserve_own(tier, size, room, ret);
        return reserve_shared(tier, size, ret);
}

bool disk_tier_is_large(DiskTier *tier, uint64_t size) {
        MUTEX_GUARD(&tier->lock);
        return size > tier->segment_size / LARGE_FRACTION;
}

uint8_t *disk_reservation_data(const DiskReservation *reservation) {
        return reservation->segment->map + reservation->offset;
}

int disk_tier_publish(
        DiskTier *tier,
        const DiskReservation *reservation,
        StoreKind kind,
        const Oid *oid,
        ObjectType type) {
        Segment *segment = reservation->segment;
        const SegmentRecord record = {
                .kind = kind,
                .oid = *oid,
                .type = type,
                .offset = reservation->offset,
                .size = reservation->size,
        };
        const IndexValue value = {
                .segment = segment,
                .offset = reservation->offset,
                .size = reservation->size,
                .type = type,
                .clock = (uint16_t) atomic_load(&tier->clock),
        };

        segment_write_header(segment, &record);
        int r = index_put(&tier->index, kind, oid, &value);
        release_hold(tier, segment);
        return MIN(r, 0);
}

int disk_tier_commit(
        DiskTier *tier,
        const DiskReservation *reservation,
        StoreKind kind,
        const Oid *oid,
        ObjectType type) {
        _cleanup_object_ref_ ObjectRef have = {0};

        if (disk_tier_get(tier, kind, oid, /* verify= */ true, &have) > 0) {
                release_hold(tier, reservation->segment);
                return 0;
        }
        return disk_tier_publish(tier, reservation, kind, oid, type);
}

void disk_tier_abort(DiskTier *tier, const DiskReservation *reservation) {
        release_hold(tier, reservation->segment);
}

int disk_tier_flush(DiskTier *tier) {
        SegmentList all = TAILQ_HEAD_INITIALIZER(all);
        int first_error = 0;

        disk_tier_retire_active(tier);

        mutex_lock(&tier->lock);
        for (Segment *segment = TAILQ_FIRST(&tier->segments), *next; segment; segment = next) {
                next = TAILQ_NEXT(segment, entry);
                if (segment->state != SEGMENT_SEALED) {
                        segment->doomed = true; /* its last writer drops it */
                        continue;
                }
                disk_tier_take_segment_locked(tier, segment);
                TAILQ_INSERT_TAIL(&all, segment, entry);
        }
        mutex_unlock(&tier->lock);

        while (!TAILQ_EMPTY(&all)) {
                Segment *segment = TAILQ_FIRST(&all);
                TAILQ_REMOVE(&all, segment, entry);
                int r = disk_tier_drop_segment(tier, segment, /* keep_hot= */ false);
                if (r < 0 && first_error == 0)
                        first_error = r;
        }
        return first_error;
}

void disk_tier_set_limits(DiskTier *tier, const StoreConfig *config) {
        mutex_lock(&tier->lock);
        apply_limits(tier, config);
        mutex_unlock(&tier->lock);
}

void disk_tier_make_room(DiskTier *tier) {
        mutex_lock(&tier->lock);
        bool over = atomic_load(&tier->bytes) > tier->limit;
        mutex_unlock(&tier->lock);

        /* The active segment has the old size. */
        if (over)
                disk_tier_retire_active(tier);
        disk_tier_keep_free(tier, 0);
}

void disk_tier_usage(DiskTier *tier, StoreUsage *ret) {
        ret->n_objects += index_count(&tier->index) + catalog_count(&tier->catalog);

        MUTEX_GUARD(&tier->lock);
        ret->disk_bytes = atomic_load(&tier->bytes);
        ret->disk_limit = tier->limit;
        ret->n_segments = tier->n_segments;
}
