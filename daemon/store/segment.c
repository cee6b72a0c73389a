#include "store/segment.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "util/fd.h"
#include "util/stats.h"

/* The format, all numbers little-endian:
 *
 *      FileHeader
 *      RecordHeader, payload, padding to 16 bytes      for each record
 *      FooterEntry[n], Trailer                         once sealed, at the very end of the file
 *
 * The file is allocated in full before anything is written: a full disk is an error of the call
 * that makes the segment, never a SIGBUS of the thread that fills it. The payload is written first
 * and the header last. A crash leaves whatever pages the kernel got around to writing; a start
 * after it finds no trailer and looks for record headers, stepping over what is none. Payloads are
 * not looked at then: nothing that is loaded is handed out before it was checked against its id.
 *
 * All checksums start from a salt that is drawn per file. Payloads are foreign bytes, and may
 * contain something that looks like a record header; without the salt the scan of a damaged segment
 * could be made to believe it. An object would then still have to match its id, but what is kept
 * beside objects (StoreKind) has nothing but the checksum. */

#define FILE_MAGIC UINT64_C(0x3130676573736667)    /* "gfsseg01" */
#define TRAILER_MAGIC UINT64_C(0x3130646e65736667) /* "gfsend01" */
#define RECORD_MAGIC UINT32_C(0x63657267)          /* "grec" */
#define ALIGNMENT 16

typedef struct FileHeader {
        uint64_t magic;
        uint64_t number;
        uint64_t salt;
        uint32_t crc; /* of the above */
        uint8_t reserved[36];
} FileHeader;

typedef struct RecordHeader {
        uint32_t magic;
        uint32_t crc; /* of all below */
        uint32_t payload_crc;
        uint8_t kind, type, algo, reserved;
        uint64_t size;
        uint8_t id[OID_RAW_MAX];
        uint64_t reserved2;
} RecordHeader;

typedef struct FooterEntry {
        uint64_t offset; /* of the payload */
        uint64_t size;
        uint8_t kind, type, algo, reserved;
        uint32_t reserved2;
        uint8_t id[OID_RAW_MAX];
} FooterEntry;

typedef struct Trailer {
        uint64_t magic;
        uint64_t offset; /* of the first entry */
        uint32_t n_entries;
        uint32_t entries_crc;
        uint32_t crc; /* of the above */
        uint32_t reserved;
} Trailer;

static_assert(sizeof(FileHeader) == 64, "on-disk format");
static_assert(sizeof(RecordHeader) == 64, "on-disk format");
static_assert(sizeof(FooterEntry) == 56, "on-disk format");
static_assert(sizeof(Trailer) == 32, "on-disk format");

static uint64_t align_up(uint64_t n) {
        return (n + ALIGNMENT - 1) & ~(uint64_t) (ALIGNMENT - 1);
}

static uint32_t checksum(uint32_t start, const void *data, size_t len) {
        return (uint32_t) crc32_z(start, data, len);
}

/* Headers and payloads take different halves of the salt: knowing one tells nothing of the other.
 */
static uint32_t header_salt(const Segment *segment) {
        return (uint32_t) segment->salt;
}

static uint32_t payload_salt(const Segment *segment) {
        return (uint32_t) (segment->salt >> 32);
}

static uint32_t record_crc(const Segment *segment, const RecordHeader *h) {
        const size_t skip = offsetof(RecordHeader, payload_crc);
        return checksum(header_salt(segment), (const uint8_t *) h + skip, sizeof(*h) - skip);
}

uint64_t segment_size_for(uint64_t payload, uint32_t n) {
        uint64_t per_record = sizeof(RecordHeader) + ALIGNMENT + sizeof(FooterEntry);
        return sizeof(FileHeader) + align_up(payload) + n * per_record + sizeof(Trailer);
}

static void segment_owner_unref(StoreOwner *owner) {
        segment_unref(container_of(owner, Segment, owner));
}

static int segment_map(Segment *segment, size_t size, int prot) {
        void *map = mmap(NULL, size, prot, MAP_SHARED, segment->fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        segment->map = map;
        segment->map_size = size;
        return 0;
}

static void segment_unmap(Segment *segment) {
        if (segment->map)
                (void) munmap(segment->map, segment->map_size); /* our own mapping: cannot fail */
        segment->map = NULL;
        segment->map_size = 0;
}

static int segment_alloc(int fd, uint64_t number, Segment **ret) {
        Segment *segment = calloc(1, sizeof(*segment));
        if (!segment) {
                safe_close(fd);
                return -ENOMEM;
        }
        segment->owner = (StoreOwner){.ref = REF_INIT, .unref = segment_owner_unref};
        segment->number = number;
        segment->fd = fd;
        *ret = segment;
        return 0;
}

Segment *segment_unref(Segment *segment) {
        if (!segment || !ref_put(&segment->owner.ref))
                return NULL;
        assert(segment->n_writers == 0);
        segment_unmap(segment);
        segment->fd = safe_close(segment->fd);
        /* Only now are the blocks free, if the file was unlinked. */
        if (segment->account) {
                (void) atomic_fetch_sub(segment->account, segment->charged);
                stat_add(STAT_STORE_DISK_BYTES, -(int64_t) segment->charged);
        }
        free(segment);
        return NULL;
}

int segment_create(int fd, uint64_t number, uint64_t size, Segment **ret) {
        _cleanup_(segment_unrefp) Segment *segment = NULL;

        int r = segment_alloc(fd, number, &segment);
        if (r < 0)
                return r;
        r = -posix_fallocate(fd, 0, (off_t) size);
        if (r < 0)
                return r;
        r = segment_map(segment, size, PROT_READ | PROT_WRITE);
        if (r < 0)
                return r;
        if (getrandom(&segment->salt, sizeof(segment->salt), 0) < 0)
                return -errno;

        FileHeader h = {
                .magic = htole64(FILE_MAGIC),
                .number = htole64(number),
                .salt = htole64(segment->salt),
        };
        h.crc = htole32(checksum(0, &h, offsetof(FileHeader, crc)));
        memcpy(segment->map, &h, sizeof(h));
        segment->used = sizeof(h);
        *ret = TAKE_PTR(segment);
        return 0;
}

bool segment_reserve(Segment *segment, uint64_t size, uint64_t *ret_offset) {
        uint64_t offset = segment->used + sizeof(RecordHeader);
        uint64_t footer =
                (segment->n_records + UINT64_C(1)) * sizeof(FooterEntry) + sizeof(Trailer);

        if (size > segment->map_size || align_up(offset + size) + footer > segment->map_size)
                return false;
        segment->used = align_up(offset + size);
        segment->n_records++;
        *ret_offset = offset;
        return true;
}

void segment_write_header(Segment *segment, const SegmentRecord *record) {
        RecordHeader h = {
                .magic = htole32(RECORD_MAGIC),
                .kind = (uint8_t) record->kind,
                .type = (uint8_t) record->type,
                .algo = record->oid.algo,
                .size = htole64(record->size),
        };

        /* The id of an object is its checksum. */
        if (record->kind != STORE_OBJECT)
                h.payload_crc = htole32(checksum(
                        payload_salt(segment), segment->map + record->offset, record->size));
        memcpy(h.id, record->oid.id, sizeof(h.id));
        h.crc = htole32(record_crc(segment, &h));
        memcpy(segment->map + record->offset - sizeof(h), &h, sizeof(h));
}

/* Reads the record whose header stands at `offset`; false where there is none that is intact and
 * ends before `end`. */
static bool
read_record(const Segment *segment, uint64_t offset, uint64_t end, RecordHeader *ret_header) {
        RecordHeader h;

        if (offset > end || end - offset < sizeof(h))
                return false;
        memcpy(&h, segment->map + offset, sizeof(h));
        if (le32toh(h.magic) != RECORD_MAGIC || le32toh(h.crc) != record_crc(segment, &h))
                return false;
        if (le64toh(h.size) > end - offset - sizeof(h))
                return false;
        *ret_header = h;
        return true;
}

bool segment_check(const Segment *segment, const SegmentRecord *record) {
        RecordHeader h;

        if (record->offset < sizeof(FileHeader) + sizeof(h) ||
            !read_record(segment, record->offset - sizeof(h), segment->map_size, &h))
                return false;
        if (h.kind != record->kind || h.type != record->type || h.algo != record->oid.algo ||
            le64toh(h.size) != record->size || memcmp(h.id, record->oid.id, sizeof(h.id)) != 0)
                return false;
        return record->kind == STORE_OBJECT ||
               le32toh(h.payload_crc) ==
                       checksum(payload_salt(segment), segment->map + record->offset, record->size);
}

typedef void (*RecordFn)(const SegmentRecord *record, void *userdata);

/* Visits the records between the file header and `end`; returns where the last one ends. */
static uint64_t scan(const Segment *segment, uint64_t end, RecordFn fn, void *userdata) {
        uint64_t used = sizeof(FileHeader), offset = used;
        RecordHeader h;

        while (offset + sizeof(h) <= end) {
                if (!read_record(segment, offset, end, &h)) {
                        offset += ALIGNMENT;
                        continue;
                }
                SegmentRecord record = {
                        .kind = h.kind,
                        .oid.algo = h.algo,
                        .type = h.type,
                        .offset = offset + sizeof(h),
                        .size = le64toh(h.size),
                };
                memcpy(record.oid.id, h.id, sizeof(h.id));
                fn(&record, userdata);
                used = offset = align_up(record.offset + record.size);
        }
        return used;
}

static int each_in_footer(const Segment *segment, RecordFn fn, void *userdata) {
        for (uint32_t i = 0; i < segment->n_footer; i++) {
                FooterEntry e;
                memcpy(&e, segment->map + segment->footer + i * sizeof(e), sizeof(e));
                SegmentRecord record = {
                        .kind = e.kind,
                        .oid.algo = e.algo,
                        .type = e.type,
                        .offset = le64toh(e.offset),
                        .size = le64toh(e.size),
                };
                memcpy(record.oid.id, e.id, sizeof(e.id));
                if (record.offset > segment->footer ||
                    record.size > segment->footer - record.offset)
                        return -EBADMSG;
                fn(&record, userdata);
        }
        return 0;
}

int segment_each(Segment *segment, RecordFn fn, void *userdata) {
        if (segment->footer > 0)
                return each_in_footer(segment, fn, userdata);
        (void) scan(segment, segment->used, fn, userdata);
        return 0;
}

typedef struct FooterBuilder {
        Buf buf;
        uint32_t n;
        int error;
} FooterBuilder;

static void footer_add(const SegmentRecord *record, void *userdata) {
        FooterBuilder *b = userdata;
        FooterEntry e = {
                .offset = htole64(record->offset),
                .size = htole64(record->size),
                .kind = (uint8_t) record->kind,
                .type = (uint8_t) record->type,
                .algo = record->oid.algo,
        };

        memcpy(e.id, record->oid.id, sizeof(e.id));
        int r = buf_append(&b->buf, &e, sizeof(e));
        if (r < 0)
                b->error = r;
        else
                b->n++;
}

/* Writes through the descriptor, not the mapping: a recovered file may end right behind its last
 * record, and growing it may fail. */
static int pwrite_all(int fd, const uint8_t *data, size_t len, uint64_t offset) {
        while (len > 0) {
                ssize_t n = pwrite(fd, data, len, (off_t) offset);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                data += n;
                offset += (size_t) n;
                len -= (size_t) n;
        }
        return 0;
}

/* Collects the records up to `end` and writes the footer behind the last; returns through ret_size
 * what the file must be cut to. */
static int write_footer(Segment *segment, uint64_t end, uint64_t *ret_size) {
        FooterBuilder b = {0};
        Trailer t = {.magic = htole64(TRAILER_MAGIC)};

        uint64_t offset = scan(segment, end, footer_add, &b);
        _cleanup_buf_ Buf buf = b.buf;
        if (b.error < 0)
                return b.error;

        t.offset = htole64(offset);
        t.n_entries = htole32(b.n);
        t.entries_crc = htole32(checksum(header_salt(segment), buf.data, buf.len));
        t.crc = htole32(checksum(header_salt(segment), &t, offsetof(Trailer, crc)));
        int r = buf_append(&buf, &t, sizeof(t));
        if (r < 0)
                return r;
        r = pwrite_all(segment->fd, buf.data, buf.len, offset);
        if (r < 0)
                return r;

        segment->footer = offset;
        segment->n_footer = b.n;
        segment->n_records = b.n;
        segment->used = offset;
        *ret_size = offset + buf.len;
        return 0;
}

int segment_seal(Segment *segment) {
        uint64_t size;

        int r = write_footer(segment, segment->used, &size);
        if (r < 0)
                return r;
        assert(size <= segment->map_size);
        r = ftruncate(segment->fd, (off_t) size) < 0 ? -errno : 0;
        if (r < 0)
                return r;

        /* Against stray writes of our own; without it the segment works as well. */
        (void) mprotect(segment->map, segment->map_size, PROT_READ);
        segment->fd = safe_close(segment->fd);
        return 0;
}

uint64_t segment_file_size(const Segment *segment) {
        assert(segment->footer > 0);
        return segment->footer + segment->n_footer * sizeof(FooterEntry) + sizeof(Trailer);
}

static bool read_file_header(Segment *segment) {
        FileHeader h;

        if (segment->map_size < sizeof(h))
                return false;
        memcpy(&h, segment->map, sizeof(h));
        segment->salt = le64toh(h.salt);
        return le64toh(h.magic) == FILE_MAGIC && le64toh(h.number) == segment->number &&
               le32toh(h.crc) == checksum(0, &h, offsetof(FileHeader, crc));
}

static bool read_trailer(Segment *segment) {
        Trailer t;

        if (segment->map_size < sizeof(FileHeader) + sizeof(t))
                return false;
        uint64_t end = segment->map_size - sizeof(t);
        memcpy(&t, segment->map + end, sizeof(t));
        uint64_t offset = le64toh(t.offset), n = le32toh(t.n_entries);
        if (le64toh(t.magic) != TRAILER_MAGIC ||
            le32toh(t.crc) != checksum(header_salt(segment), &t, offsetof(Trailer, crc)))
                return false;
        if (offset < sizeof(FileHeader) || offset > end || end - offset != n * sizeof(FooterEntry))
                return false;
        if (le32toh(t.entries_crc) !=
            checksum(header_salt(segment), segment->map + offset, end - offset))
                return false;
        segment->footer = segment->used = offset;
        segment->n_footer = segment->n_records = (uint32_t) n;
        return true;
}

/* Of what a crash left, everything that has an intact header is kept. Where it cannot be sealed, on
 * a file system that is full or read-only, it is used as it is. */
static int recover(Segment *segment) {
        uint64_t size;

        int r = write_footer(segment, segment->map_size, &size);
        if (r >= 0 && ftruncate(segment->fd, (off_t) size) < 0)
                r = -errno;
        if (r < 0) {
                segment->footer = 0;
                segment->used = segment->map_size;
                return r == -ENOMEM ? r : 0;
        }
        segment_unmap(segment);
        return segment_map(segment, size, PROT_READ);
}

int segment_open(int fd, uint64_t number, Segment **ret) {
        _cleanup_(segment_unrefp) Segment *segment = NULL;
        struct stat st;

        int r = segment_alloc(fd, number, &segment);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size < (off_t) sizeof(FileHeader))
                return -EBADMSG;
        r = segment_map(segment, (size_t) st.st_size, PROT_READ);
        if (r < 0)
                return r;
        if (!read_file_header(segment))
                return -EBADMSG;
        if (!read_trailer(segment)) {
                r = recover(segment);
                if (r < 0)
                        return r;
        }
        segment->state = SEGMENT_SEALED;
        segment->fd = safe_close(segment->fd);
        *ret = TAKE_PTR(segment);
        return 0;
}
