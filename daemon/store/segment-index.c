#include "store/segment-index.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "util/stats.h"

/* In the file, all numbers little-endian:
 *
 *      Entry[n]                       sorted by id
 *      uint32_t starts[slots + 1]     the first entry of each slot: the upper bits of the id
 *      uint32_t checksums[blocks]     of 64 entries each
 *      uint8_t tags[n]                another byte of each entry's id
 *
 * A store of a million objects is opened without reading a million entries: they stay in the file,
 * mapped, and cost no memory of the process. What is copied, and checked as a whole when the
 * segment is opened, is what comes behind them, one and a half bytes for each. It answers most
 * questions for objects that are not here, in two cache lines and without touching the file; eight
 * entries share a slot, and one in 256 of those that are somebody else's has the same tag. Entries
 * are checked a block at a time, when one of it is first looked at. A damaged block hides its
 * records: they are counted, not found, and fetched again.
 *
 * Ids that a server chose to fall into one slot cost the length of that slot in tags, which is what
 * memchr() does in two microseconds for a full segment. */

#define SLOT_ENTRIES 8
#define BLOCK_ENTRIES 64

typedef struct Entry {
        uint64_t offset; /* of the payload */
        uint64_t size;
        uint8_t kind, type, algo, reserved;
        uint32_t reserved2;
        uint8_t id[OID_RAW_MAX];
} Entry;

static_assert(sizeof(Entry) == 56, "on-disk format");

typedef enum BlockState {
        BLOCK_UNKNOWN,
        BLOCK_GOOD,
        BLOCK_BAD,
} BlockState;

/* How many upper bits of an id lead to a slot, so that one has up to SLOT_ENTRIES on average. */
static unsigned slot_bits(uint32_t n) {
        unsigned bits = 0;

        while (bits < 24 && n >> bits > SLOT_ENTRIES)
                bits++;
        return bits;
}

static size_t n_starts(uint32_t n) {
        return ((size_t) 1 << slot_bits(n)) + 1;
}

static uint32_t n_blocks(uint32_t n) {
        return n / BLOCK_ENTRIES + (n % BLOCK_ENTRIES > 0);
}

static size_t summary_size(uint32_t n) {
        return (n_starts(n) + n_blocks(n)) * sizeof(uint32_t) + n;
}

uint64_t segment_index_size(uint32_t n) {
        return (uint64_t) n * sizeof(Entry) + summary_size(n);
}

static uint32_t slot_of(unsigned bits, const uint8_t id[OID_RAW_MAX]) {
        uint32_t prefix = (uint32_t) id[0] << 24 | (uint32_t) id[1] << 16 | (uint32_t) id[2] << 8;
        return bits > 0 ? prefix >> (32 - bits) : 0;
}

static uint8_t tag_of(unsigned kind, const uint8_t id[OID_RAW_MAX]) {
        return (uint8_t) (id[4] + 85 * kind);
}

/* The number of entries that block has. */
static uint32_t block_length(uint32_t n, uint32_t block) {
        return MIN(n - block * BLOCK_ENTRIES, (uint32_t) BLOCK_ENTRIES);
}

static uint32_t block_checksum(const uint8_t *entries, uint32_t n, uint32_t block, uint32_t salt) {
        const uint8_t *start = entries + (size_t) block * BLOCK_ENTRIES * sizeof(Entry);
        return (uint32_t) crc32_z(salt, start, block_length(n, block) * sizeof(Entry));
}

/* --- writing --- */

static int compare(const void *pa, const void *pb) {
        const SegmentRecord *a = pa, *b = pb;

        int c = memcmp(a->oid.id, b->oid.id, sizeof(a->oid.id));
        if (c != 0)
                return c;
        /* The newest of several first. */
        return a->offset > b->offset ? -1 : a->offset < b->offset;
}

static void encode_entry(const SegmentRecord *record, uint8_t *to) {
        Entry e = {
                .offset = htole64(record->offset),
                .size = htole64(record->size),
                .kind = (uint8_t) record->kind,
                .type = (uint8_t) record->type,
                .algo = record->oid.algo,
        };

        memcpy(e.id, record->oid.id, sizeof(e.id));
        memcpy(to, &e, sizeof(e));
}

static void put_le32(uint8_t *array, size_t i, uint32_t value) {
        value = htole32(value);
        memcpy(array + i * sizeof(value), &value, sizeof(value));
}

static void encode_starts(const SegmentRecord *records, uint32_t n, uint8_t *to) {
        unsigned bits = slot_bits(n);
        uint32_t i = 0;

        for (size_t slot = 0; slot < n_starts(n); slot++) {
                while (i < n && slot_of(bits, records[i].oid.id) < slot)
                        i++;
                put_le32(to, slot, i);
        }
}

int segment_index_encode(
        SegmentRecord *records, uint32_t n, uint32_t salt, Buf *ret, uint32_t *ret_checksum) {
        int r = buf_reserve(ret, segment_index_size(n));
        if (r < 0)
                return r;
        uint8_t *entries = ret->data + ret->len;
        uint8_t *summary = entries + (size_t) n * sizeof(Entry);
        uint8_t *checksums = summary + n_starts(n) * sizeof(uint32_t);
        uint8_t *tags = checksums + n_blocks(n) * sizeof(uint32_t);

        if (n > 0)
                qsort(records, n, sizeof(*records), compare);
        for (uint32_t i = 0; i < n; i++) {
                encode_entry(&records[i], entries + i * sizeof(Entry));
                tags[i] = tag_of(records[i].kind, records[i].oid.id);
        }
        encode_starts(records, n, summary);
        for (uint32_t b = 0; b < n_blocks(n); b++)
                put_le32(checksums, b, block_checksum(entries, n, b, salt));
        *ret_checksum = (uint32_t) crc32_z(salt, summary, summary_size(n));
        ret->len += segment_index_size(n);
        return 0;
}

/* --- reading --- */

static bool starts_ascend(const SegmentIndex *index) {
        size_t last = n_starts(index->n) - 1;

        for (size_t i = 0; i < last; i++)
                if (index->starts[i] > index->starts[i + 1])
                        return false;
        return index->starts[last] == index->n;
}

int segment_index_open(
        SegmentIndex *index,
        const uint8_t *data,
        uint32_t n,
        uint64_t end,
        uint32_t salt,
        uint32_t checksum) {
        const uint8_t *summary = data + (size_t) n * sizeof(Entry);
        const size_t n_numbers = n_starts(n) + n_blocks(n);

        if (crc32_z(salt, summary, summary_size(n)) != checksum)
                return -EBADMSG;
        uint32_t *copy = malloc(summary_size(n));
        atomic_uchar *blocks = calloc(MAX(n_blocks(n), 1u), sizeof(*blocks));
        if (!copy || !blocks) {
                free(copy);
                free(blocks);
                return -ENOMEM;
        }
        memcpy(copy, summary, summary_size(n));
        for (size_t i = 0; i < n_numbers; i++)
                copy[i] = le32toh(copy[i]);
        *index = (SegmentIndex){
                .n = n,
                .end = end,
                .salt = salt,
                .entries = data,
                .bits = slot_bits(n),
                .starts = copy,
                .checksums = copy + n_starts(n),
                .tags = (uint8_t *) (copy + n_numbers),
                .blocks = blocks,
        };
        if (starts_ascend(index))
                return 0;
        segment_index_done(index);
        return -EBADMSG;
}

void segment_index_done(SegmentIndex *index) {
        free(index->starts);
        free(index->blocks);
        free(atomic_load(&index->marks));
        *index = (SegmentIndex){0};
}

/* The next entry from `from` on that has the tag; `to` where there is none. */
static uint32_t next_with_tag(const SegmentIndex *index, uint8_t tag, uint32_t from, uint32_t to) {
        const uint8_t *found = from < to ? memchr(index->tags + from, tag, to - from) : NULL;
        return found ? (uint32_t) (found - index->tags) : to;
}

bool segment_index_may_have(const SegmentIndex *index, StoreKind kind, const Oid *oid) {
        uint32_t slot = slot_of(index->bits, oid->id);
        uint32_t end = index->starts[slot + 1];
        return next_with_tag(index, tag_of(kind, oid->id), index->starts[slot], end) < end;
}

static bool block_is_good(SegmentIndex *index, uint32_t block) {
        unsigned char state = atomic_load_explicit(&index->blocks[block], memory_order_acquire);

        if (state != BLOCK_UNKNOWN)
                return state == BLOCK_GOOD;
        bool good = block_checksum(index->entries, index->n, block, index->salt) ==
                    index->checksums[block];
        /* One of those who find it at the same time counts it. */
        if (atomic_compare_exchange_strong(
                    &index->blocks[block], &state, good ? BLOCK_GOOD : BLOCK_BAD) &&
            !good)
                stat_add(STAT_STORE_CORRUPT, 1);
        return good;
}

static bool plausible(const SegmentIndex *index, const SegmentRecord *record) {
        return (record->kind == STORE_OBJECT || record->kind == STORE_SIZES) &&
               oid_raw_size(record->oid.algo) > 0 && record->type >= OBJECT_COMMIT &&
               record->type <= OBJECT_TAG && record->offset <= index->end &&
               record->size <= index->end - record->offset;
}

bool segment_index_at(SegmentIndex *index, uint32_t number, SegmentRecord *ret) {
        Entry e;

        if (!block_is_good(index, number / BLOCK_ENTRIES))
                return false;
        memcpy(&e, index->entries + (size_t) number * sizeof(e), sizeof(e));
        *ret = (SegmentRecord){
                .kind = e.kind,
                .oid.algo = e.algo,
                .type = e.type,
                .offset = le64toh(e.offset),
                .size = le64toh(e.size),
        };
        memcpy(ret->oid.id, e.id, sizeof(e.id));
        return plausible(index, ret);
}

bool segment_index_find(
        SegmentIndex *index,
        StoreKind kind,
        const Oid *oid,
        uint32_t *ret_number,
        SegmentRecord *ret) {
        uint32_t slot = slot_of(index->bits, oid->id), end = index->starts[slot + 1];
        uint8_t tag = tag_of(kind, oid->id);
        SegmentRecord record;

        for (uint32_t i = next_with_tag(index, tag, index->starts[slot], end); i < end;
             i = next_with_tag(index, tag, i + 1, end)) {
                if (!segment_index_at(index, i, &record) || record.kind != kind ||
                    !oid_equal(&record.oid, oid) || segment_index_marks(index, i) & MARK_DEAD)
                        continue;
                *ret_number = i;
                *ret = record;
                return true;
        }
        return false;
}

/* --- marks --- */

uint16_t segment_index_marks(const SegmentIndex *index, uint32_t number) {
        atomic_ushort *marks = atomic_load_explicit(&index->marks, memory_order_acquire);
        return marks ? atomic_load_explicit(&marks[number], memory_order_acquire) : 0;
}

static atomic_ushort *make_marks(SegmentIndex *index) {
        atomic_ushort *none = NULL, *marks = atomic_load(&index->marks);

        if (marks)
                return marks;
        marks = calloc(index->n, sizeof(*marks));
        if (!marks || atomic_compare_exchange_strong(&index->marks, &none, marks))
                return marks;
        free(marks); /* somebody else was faster */
        return none;
}

bool segment_index_mark(SegmentIndex *index, uint32_t number, uint16_t flags, int clock) {
        atomic_ushort *marks = make_marks(index);
        if (!marks)
                return false;
        unsigned short old = atomic_load(&marks[number]), next;
        do {
                next = (unsigned short) (old | flags);
                if (clock >= 0)
                        next = (unsigned short) ((next & ~MARK_CLOCK) | ((unsigned) clock & MARK_CLOCK));
                if (next == old)
                        return false;
        } while (!atomic_compare_exchange_weak(&marks[number], &old, next));
        if (~old & flags & MARK_DEAD)
                (void) atomic_fetch_add(&index->n_dead, 1);
        return (~old & flags) != 0;
}
