#include <errno.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/disk-internal.h"
#include "util/log.h"
#include "util/stats.h"

/* The limit. `bytes` counts every segment file from before it is allocated until its blocks are
 * free: an evicted segment that somebody still reads takes its room until the last reference is
 * gone, which is why eviction prefers segments nobody reads and why a limit that is full of readers
 * is -ENOSPC.
 *
 * A segment goes as a whole, the least recently used first. What in it was used recently (within
 * half a turnover of the cache, in ticks: one per segment made) is copied into the active segment,
 * up to a quarter of a segment each time, so that every eviction frees more than it fills. To have
 * somewhere to copy to, one segment's worth of the limit is kept free beside the active one.
 *
 * What is pinned is carried over, too, however old. A segment that holds little else is not worth
 * that: it stays while it is so. What that wastes is a third of what is pinned at most, and that is
 * half of the limit at most (store_pin_limit()), so there are always others. How much of a segment
 * is pinned is counted when it is about to go, once for each set. Segments whose pinned records
 * find room in the active one go before those that would lose them.
 *
 * More than that is pinned after the limit was lowered, and where nobody knew how large it is. Then
 * segments that stay would leave no room for anything: the oldest goes, and with it what is pinned.
 * None of that is carried over, or they would do nothing but fill each other. */

#define CARRY_FRACTION 4 /* of a segment that hot objects may carry over */
/* From this share on that is pinned, a segment stays: 3/4. */
#define KEEP_NUMERATOR 3
#define KEEP_DENOMINATOR 4
/* Of the limit, what may stay: more than two thirds. */
#define STAY_NUMERATOR 3
#define STAY_DENOMINATOR 4

void disk_tier_discharge(DiskTier *tier, uint64_t bytes) {
        (void) atomic_fetch_sub(&tier->bytes, bytes);
        stat_add(STAT_STORE_DISK_BYTES, -(int64_t) bytes);
}

static bool worse(const Segment *a, const Segment *b) {
        bool a_dead = segment_n_live(a) == 0, b_dead = segment_n_live(b) == 0;
        if (a_dead != b_dead)
                return a_dead;
        uint64_t a_use = atomic_load(&a->last_use), b_use = atomic_load(&b->last_use);
        return a_use != b_use ? a_use < b_use : a->number < b->number;
}

void disk_tier_take_segment_locked(DiskTier *tier, Segment *segment) {
        TAILQ_REMOVE(&tier->segments, segment, entry);
        tier->n_segments--;
        tier->n_evicting++;
}

/* --- what is pinned --- */

PinnedSet *pinned_set_unref(PinnedSet *set) {
        if (!set || !ref_put(&set->ref))
                return NULL;
        pinned_done(&set->pinned);
        free(set);
        return NULL;
}
DEFINE_CLEANUP(PinnedSet *, pinned_set_unref)

int disk_tier_set_pinned(DiskTier *tier, Pinned *pinned) {
        PinnedSet *set = calloc(1, sizeof(*set));
        if (!set)
                return -ENOMEM;
        set->ref = REF_INIT;
        set->pinned = *pinned;
        *pinned = (Pinned){0};

        mutex_lock(&tier->lock);
        PinnedSet *before = tier->pinned;
        tier->pinned = set;
        tier->pinned_round++;
        mutex_unlock(&tier->lock);
        pinned_set_unref(before);
        /* What stayed above a lowered limit may go now. */
        disk_tier_keep_free(tier, 0);
        return 0;
}

static PinnedSet *get_pinned(DiskTier *tier, uint64_t *ret_round) {
        MUTEX_GUARD(&tier->lock);
        *ret_round = tier->pinned_round;
        if (tier->pinned)
                ref_get(&tier->pinned->ref);
        return tier->pinned;
}

/* The record of that number, if it is there and pinned. */
static bool
pinned_record(Segment *segment, uint32_t number, const PinnedSet *set, SegmentRecord *ret) {
        return segment_index_at(&segment->index, number, ret) &&
               pinned_has(&set->pinned, &ret->oid) &&
               !(segment_index_marks(&segment->index, number) & MARK_DEAD);
}

/* Room that its pinned records take elsewhere. Reads its index: without the lock. */
static uint64_t pinned_room(Segment *segment, const PinnedSet *set) {
        SegmentRecord record;
        uint64_t bytes = 0;
        uint32_t n = 0;

        for (uint32_t i = 0; i < segment->index.n; i++)
                if (pinned_record(segment, i, set, &record)) {
                        bytes += record.size;
                        n++;
                }
        /* Nothing is found in one whose disk failed: it is not worth keeping. */
        return n > 0 && !segment_is_torn(segment) ? segment_size_for(bytes, n) : 0;
}

static bool is_counted(const DiskTier *tier, const Segment *segment) {
        return segment->pinned_round == tier->pinned_round;
}

static bool is_kept(const DiskTier *tier, const Segment *segment) {
        return is_counted(tier, segment) &&
               segment->pinned_room > segment->charged / KEEP_DENOMINATOR * KEEP_NUMERATOR;
}

static bool finds_room(const DiskTier *tier, const Segment *segment) {
        const Segment *active = tier->active;

        if (!is_counted(tier, segment) || segment->pinned_room == 0)
                return true;
        return active && segment->pinned_room <= active->map_size - active->used;
}

/* --- victims --- */

/* *ret_kept: it is one that would stay, but they are too many. */
static Segment *take_victim_locked(DiskTier *tier, bool *ret_kept) {
        Segment *segment, *victim = NULL, *kept = NULL;
        uint64_t staying = 0;

        TAILQ_FOREACH (segment, &tier->segments, entry) {
                bool stays = is_kept(tier, segment);
                if (stays)
                        staying += segment->charged;
                if (segment->state != SEGMENT_SEALED || atomic_load(&segment->owner.ref.n) > 1)
                        continue;
                if (stays) {
                        if (!kept || worse(segment, kept))
                                kept = segment;
                        continue;
                }
                bool better = !victim || worse(segment, victim);
                if (victim && finds_room(tier, segment) != finds_room(tier, victim))
                        better = finds_room(tier, segment);
                if (better)
                        victim = segment;
        }
        *ret_kept = !victim && tier->n_evicting == 0 &&
                    staying > tier->limit / STAY_DENOMINATOR * STAY_NUMERATOR;
        if (*ret_kept)
                victim = kept;
        if (victim)
                disk_tier_take_segment_locked(tier, victim);
        return victim;
}

/* True if the segment may go; false where that has to be looked at again, knowing how much of it is
 * pinned: then it is in the list again. */
static bool confirm_victim(DiskTier *tier, Segment *segment) {
        uint64_t round;
        _cleanup_(pinned_set_unrefp) PinnedSet *set = get_pinned(tier, &round);

        if (!set || segment->pinned_round == round)
                return true; /* nobody else touches it while it is out of the list */
        uint64_t room = pinned_room(segment, set);

        MUTEX_GUARD(&tier->lock);
        segment->pinned_room = room;
        segment->pinned_round = round;
        if (room == 0 && round == tier->pinned_round)
                return true;
        tier->n_segments++;
        tier->n_evicting--;
        TAILQ_INSERT_TAIL(&tier->segments, segment, entry);
        (void) pthread_cond_broadcast(&tier->changed); /* cannot fail */
        return false;
}

typedef struct Carry {
        DiskTier *tier;
        Segment *segment;
        uint64_t left; /* bytes that may still be carried */
        uint16_t now;
        uint32_t half_turnover;
} Carry;

static bool is_hot(const Carry *carry, uint32_t number, const SegmentRecord *record) {
        uint16_t marks = segment_index_marks(&carry->segment->index, number);

        return marks & MARK_VERIFIED && !(marks & MARK_DEAD) && record->size <= carry->left &&
               ((carry->now - marks) & MARK_CLOCK) < carry->half_turnover;
}

int disk_tier_move_record(DiskTier *tier, Segment *from, uint32_t number, DiskReserve reserve) {
        DiskReservation to;
        SegmentRecord record;

        if (!segment_index_at(&from->index, number, &record))
                return -EBADMSG;
        int r = reserve(tier, record.size, &to);
        if (r < 0)
                return r;
        if (record.size > 0)
                memcpy(disk_reservation_data(&to), segment_bytes(from, record.offset), record.size);
        if (segment_is_torn(from)) {
                disk_tier_abort(tier, &to);
                return -EIO;
        }
        r = disk_tier_publish(tier, &to, record.kind, &record.oid, record.type);
        if (r >= 0)
                disk_tier_moved(tier, from, number);
        return r;
}

static int carry_over(Carry *carry, uint32_t number, const SegmentRecord *record) {
        int r = disk_tier_move_record(
                carry->tier, carry->segment, number, disk_tier_reserve_active);
        if (r >= 0)
                carry->left -= MIN(carry->left, record->size);
        return r;
}

static void keep_hot_objects(Carry *carry) {
        Segment *segment = carry->segment;
        SegmentRecord record;

        for (uint32_t i = 0; i < segment->index.n; i++)
                if (segment_index_at(&segment->index, i, &record) && is_hot(carry, i, &record))
                        /* Without room or memory for it, it is dropped like the others. */
                        (void) carry_over(carry, i, &record);
}

/* Nobody has looked at most of it in this process, and what is written anew counts as checked. */
static void keep_pinned_objects(Carry *carry, const PinnedSet *set) {
        Segment *segment = carry->segment;
        SegmentRecord record;

        for (uint32_t i = 0; i < segment->index.n; i++) {
                if (!pinned_record(segment, i, set, &record))
                        continue;
                bool good = segment_index_marks(&segment->index, i) & MARK_VERIFIED ||
                            disk_record_verify(segment, &record) > 0;
                if (!good || carry_over(carry, i, &record) < 0)
                        stat_add(STAT_STORE_PINNED_LOST, 1);
        }
}

static void keep_objects(DiskTier *tier, Segment *segment) {
        Carry carry = {.tier = tier, .segment = segment};
        uint64_t round;
        _cleanup_(pinned_set_unrefp) PinnedSet *set = get_pinned(tier, &round);

        carry.now = (uint16_t) atomic_load(&tier->clock);
        mutex_lock(&tier->lock);
        carry.left = tier->segment_size / CARRY_FRACTION;
        carry.half_turnover = MIN(tier->n_segments / 2, (uint32_t) MARK_CLOCK / 2);
        mutex_unlock(&tier->lock);

        if (set && set->pinned.n > 0)
                keep_pinned_objects(&carry, set);
        if (atomic_load(&segment->index.marks))
                keep_hot_objects(&carry);
}

int disk_tier_drop_segment(DiskTier *tier, Segment *segment, bool keep_hot) {
        int r = 0;

        if (keep_hot)
                keep_objects(tier, segment);
        stat_add(STAT_STORE_EVICTED, segment_n_live(segment));
        catalog_remove(&tier->catalog, segment);
        /* Of one that was never sealed. */
        if (atomic_load(&segment->n_open) > 0)
                index_sweep(&tier->index, segment);

        _cleanup_free_ char *path = disk_segment_path(tier, segment->number);
        if (!path)
                r = -ENOMEM;
        else if (unlink(path) < 0 && errno != ENOENT)
                r = -errno;
        if (r < 0) {
                /* It takes its room until the next start removes it. */
                log_debug("cannot remove a segment: %s, ignoring", strerrorname_np(-r));
                segment->charged = 0;
        }
        segment_unref(segment);

        MUTEX_GUARD(&tier->lock);
        tier->n_evicting--;
        (void) pthread_cond_broadcast(&tier->changed); /* cannot fail */
        return r;
}

void disk_tier_give_up(DiskTier *tier, Segment *wanted) {
        Segment *segment;
        bool found = false;

        /* At once, whoever else may be about to drop it. */
        catalog_remove(&tier->catalog, wanted);
        mutex_lock(&tier->lock);
        TAILQ_FOREACH (segment, &tier->segments, entry)
                if (segment == wanted) {
                        found = segment->state == SEGMENT_SEALED;
                        segment->doomed = true; /* or by its last writer */
                        break;
                }
        bool active = tier->active == wanted;
        if (found)
                disk_tier_take_segment_locked(tier, wanted);
        mutex_unlock(&tier->lock);

        if (found) {
                /* A file that cannot be removed is found again by the next start. */
                (void) disk_tier_drop_segment(tier, wanted, /* keep_hot= */ false);
                return;
        }
        index_sweep(&tier->index, wanted);
        if (active)
                disk_tier_retire_active(tier);
}

bool disk_tier_evict_one(DiskTier *tier) {
        bool kept;

        mutex_lock(&tier->lock);
        Segment *victim = take_victim_locked(tier, &kept);
        bool wait = !victim && tier->n_evicting > 0;
        if (wait)
                mutex_wait(&tier->lock, &tier->changed);
        mutex_unlock(&tier->lock);
        if (!victim)
                return wait;
        if (kept)
                stat_add(STAT_STORE_PINNED_LOST, 1);
        else if (!confirm_victim(tier, victim))
                return true;
        (void) disk_tier_drop_segment(
                tier, victim, /* keep_hot= */ !kept); /* accounted for there */
        return true;
}

/* True where the file system cannot tell: then the limit alone holds. */
static bool above_floor(const DiskTier *tier, uint64_t floor, uint64_t bytes) {
        struct statvfs st;

        if (floor == 0 || statvfs(tier->directory, &st) < 0)
                return true;
        return (uint64_t) st.f_bavail * st.f_frsize >= floor + bytes;
}

int disk_tier_charge(DiskTier *tier, uint64_t bytes) {
        mutex_lock(&tier->lock);
        uint64_t floor = tier->free_space_floor;
        mutex_unlock(&tier->lock);

        for (;;) {
                if (above_floor(tier, floor, bytes)) {
                        MUTEX_GUARD(&tier->lock);
                        if (atomic_load(&tier->bytes) + bytes <= tier->limit) {
                                (void) atomic_fetch_add(&tier->bytes, bytes);
                                stat_add(STAT_STORE_DISK_BYTES, (int64_t) bytes);
                                return 0;
                        }
                }
                if (!disk_tier_evict_one(tier))
                        return -ENOSPC;
        }
}

void disk_tier_keep_free(DiskTier *tier, uint64_t spare) {
        for (;;) {
                mutex_lock(&tier->lock);
                bool free_enough = atomic_load(&tier->bytes) + spare <= tier->limit;
                mutex_unlock(&tier->lock);
                if (free_enough || !disk_tier_evict_one(tier))
                        return;
        }
}
