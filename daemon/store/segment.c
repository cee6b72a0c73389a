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
 *      index (segment-index.c), Trailer                once sealed, at the very end of the file
 *
 * The file is allocated in full before anything is written: a full disk is an error of the call
 * that makes the segment, never a SIGBUS of the thread that fills it. The payload is written first
 * and the header last. A crash leaves whatever pages the kernel got around to writing; a start
 * after it finds no trailer and looks for record headers, stepping over what is none and over what
 * was never written. How many bytes that may read is the caller's decision; records behind that are
 * given up. A segment that was made for one large record is looked at in one place. Payloads are
 * not looked at then: nothing that is loaded is handed out before it was checked against its id.
 *
 * All checksums start from a salt that is drawn per file. Payloads are foreign bytes, and may
 * contain something that looks like a record header; without the salt the scan of a damaged segment
 * could be made to believe it. An object would then still have to match its id, but what is kept
 * beside objects (StoreKind) has nothing but the checksum.
 *
 * The disk may fail under the mapping later than that, and files may be cut: map-guard.h. Then the
 * segment is given up as a whole.
 *
 * The version is part of the file's magic number. A file of another version is no segment of ours:
 * the cache is filled anew. */

#define FILE_MAGIC UINT64_C(0x3230676573736667)     /* "gfsseg02" */
#define TRAILER_MAGIC UINT64_C(0x3230646e65736667)  /* "gfsend02" */
#define FILE_MAGIC_ANY UINT64_C(0x0000676573736667) /* "gfsseg" and a version */
#define VERSION_MASK UINT64_C(0xffff000000000000)
#define RECORD_MAGIC UINT32_C(0x63657267) /* "grec" */
#define ALIGNMENT 16
#define PAGE UINT64_C(4096)
#define FILE_SIZE_MAX (INT64_C(1) << 41) /* a hole of that size takes no disk, but addresses */

typedef struct FileHeader {
        uint64_t magic;
        uint64_t number;
        uint64_t salt;
        uint32_t single; /* one record, right behind this header */
        uint32_t crc;    /* of the above */
        uint8_t reserved[32];
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

typedef struct Trailer {
        uint64_t magic;
        uint64_t offset; /* of the index */
        uint32_t n_records;
        uint32_t index_crc;
        uint32_t crc; /* of the above */
        uint32_t reserved;
} Trailer;

static_assert(sizeof(FileHeader) == 64, "on-disk format");
static_assert(sizeof(RecordHeader) == 64, "on-disk format");
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

static uint64_t footer_size(uint32_t n) {
        return segment_index_size(n) + sizeof(Trailer);
}

uint64_t segment_size_for(uint64_t payload, uint32_t n) {
        return sizeof(FileHeader) + align_up(payload) +
               n * (sizeof(RecordHeader) + (uint64_t) ALIGNMENT) + footer_size(n);
}

/* ext4 keeps 340 extents in a block, and in the worst case every other page is an extent. */
uint64_t segment_space(uint64_t file_size) {
        uint64_t pages = (file_size + PAGE - 1) / PAGE;
        uint64_t extent_blocks = pages / 2 / 340 + 2;
        return (pages + extent_blocks) * PAGE;
}

static void segment_owner_unref(StoreOwner *owner) {
        segment_unref(container_of(owner, Segment, owner));
}

static bool segment_owner_is_torn(const StoreOwner *owner) {
        return segment_is_torn(container_of(owner, const Segment, owner));
}

static void segment_owner_give_up(StoreOwner *owner) {
        map_guard_trip(container_of(owner, Segment, owner)->guard);
}

static int segment_map(Segment *segment, size_t size, int prot) {
        void *map = mmap(NULL, size, prot, MAP_SHARED, segment->fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        segment->map = map;
        segment->map_size = size;
        map = mmap(NULL, size, PROT_READ, MAP_SHARED, segment->fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        segment->out = map;
        return map_guard_add(segment->map, size, &segment->guard);
}

/* Our own mapping: cannot fail. */
static void unmap(uint8_t *map, size_t size) {
        if (map)
                (void) munmap(map, size);
}

static void segment_unmap(Segment *segment) {
        map_guard_remove(TAKE_PTR(segment->guard));
        unmap(TAKE_PTR(segment->map), segment->map_size);
        unmap(TAKE_PTR(segment->out), segment->map_size);
        segment->map_size = 0;
}

static int segment_alloc(int fd, uint64_t number, Segment **ret) {
        Segment *segment = calloc(1, sizeof(*segment));
        if (!segment) {
                safe_close(fd);
                return -ENOMEM;
        }
        segment->owner = (StoreOwner){
                .ref = REF_INIT,
                .unref = segment_owner_unref,
                .is_torn = segment_owner_is_torn,
                .give_up = segment_owner_give_up,
        };
        segment->number = number;
        segment->fd = fd;
        *ret = segment;
        return 0;
}

Segment *segment_unref(Segment *segment) {
        if (!segment || !ref_put(&segment->owner.ref))
                return NULL;
        assert(segment->n_writers == 0);
        segment_index_done(&segment->index);
        free(segment->unwritten);
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

/* A quota that is used up is a disk that is full: what goes from the cache makes room. Not so for
 * files that may not be so large (RLIMIT_FSIZE), and nobody is to think that the object is. */
static int no_room(int error) {
        return error == -EDQUOT ? -ENOSPC : error == -EFBIG ? -EDQUOT : error;
}

int segment_create(int fd, uint64_t number, uint64_t size, bool single, Segment **ret) {
        _cleanup_(segment_unrefp) Segment *segment = NULL;

        int r = segment_alloc(fd, number, &segment);
        if (r < 0)
                return r;
        r = -posix_fallocate(fd, 0, (off_t) size);
        if (r < 0)
                return no_room(r);
        r = segment_map(segment, size, PROT_READ | PROT_WRITE);
        if (r < 0)
                return r;
        if (getrandom(&segment->salt, sizeof(segment->salt), 0) < 0)
                return -errno;

        FileHeader h = {
                .magic = htole64(FILE_MAGIC),
                .number = htole64(number),
                .salt = htole64(segment->salt),
                .single = htole32(single),
        };
        segment->single = single;
        h.crc = htole32(checksum(0, &h, offsetof(FileHeader, crc)));
        memcpy(segment->map, &h, sizeof(h));
        segment->used = sizeof(h);
        *ret = TAKE_PTR(segment);
        return 0;
}

bool segment_reserve(Segment *segment, uint64_t size, uint64_t *ret_offset) {
        uint64_t offset = segment->used + sizeof(RecordHeader);
        uint64_t footer = footer_size(segment->n_records + 1);

        if (segment->n_records == SEGMENT_MAX_RECORDS || size > segment->map_size ||
            align_up(offset + size) + footer > segment->map_size)
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

/* The next byte from `offset` on that was ever written. */
static uint64_t next_data(const Segment *segment, uint64_t offset, uint64_t end) {
        off_t data = lseek(segment->fd, (off_t) offset, SEEK_DATA);
        if (data < 0)
                return errno == ENXIO ? end : offset;
        return (uint64_t) data;
}

/* True if the page at `offset` may be read, and takes it from *left; *last is the one before. */
static bool take_page(uint64_t offset, uint64_t *last, uint64_t *left) {
        uint64_t page = offset / PAGE;

        if (page == *last)
                return true;
        if (*left < PAGE)
                return false;
        *left -= PAGE;
        *last = page;
        return true;
}

/* Collects the records between the file header and `end`; returns through ret_end where the last
 * one ends. Reads no more than *left bytes, in pages, and lowers that. */
static int
scan(const Segment *segment, uint64_t end, uint64_t *left, Buf *ret_records, uint64_t *ret_end) {
        uint64_t used = sizeof(FileHeader), offset = used, last_page = UINT64_MAX;
        RecordHeader h;

        while (offset + sizeof(h) <= end && take_page(offset, &last_page, left)) {
                if (!read_record(segment, offset, end, &h)) {
                        offset += ALIGNMENT;
                        if (offset % PAGE == 0)
                                offset = next_data(segment, offset, end);
                        if (segment->single)
                                break;
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
                int r = buf_append(ret_records, &record, sizeof(record));
                if (r < 0)
                        return r;
                used = offset = align_up(record.offset + record.size);
        }
        *ret_end = used;
        return 0;
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

/* The index of all records up to `end`, and the trailer, as they follow the records. */
static int
make_footer(Segment *segment, uint64_t end, uint64_t *left, Buf *ret, Trailer *ret_trailer) {
        _cleanup_buf_ Buf found = {0};
        uint64_t offset;
        uint32_t checksum_of_index;

        int r = scan(segment, end, left, &found, &offset);
        if (r < 0)
                return r;
        SegmentRecord *records = (SegmentRecord *) (void *) found.data;
        uint32_t n = (uint32_t) (found.len / sizeof(*records));
        r = segment_index_encode(records, n, header_salt(segment), ret, &checksum_of_index);
        if (r < 0)
                return r;
        Trailer t = {
                .magic = htole64(TRAILER_MAGIC),
                .offset = htole64(offset),
                .n_records = htole32(n),
                .index_crc = htole32(checksum_of_index),
        };
        t.crc = htole32(checksum(header_salt(segment), &t, offsetof(Trailer, crc)));
        *ret_trailer = t;
        return buf_append(ret, &t, sizeof(t));
}

static int open_index(Segment *segment, const uint8_t *data, const Trailer *t) {
        int r = segment_index_open(
                &segment->index,
                data,
                le32toh(t->n_records),
                le64toh(t->offset),
                header_salt(segment),
                le32toh(t->index_crc));
        if (r >= 0) {
                segment->n_records = segment->index.n;
                segment->used = segment->index.end;
        }
        return r;
}

/* Gives the segment its index and cuts the file to `*ret_size`. Where that fails the index is in
 * memory, and *ret_size is 0. */
static int write_footer(Segment *segment, uint64_t end, uint64_t *left, uint64_t *ret_size) {
        _cleanup_buf_ Buf footer = {0};
        Trailer t;

        int r = make_footer(segment, end, left, &footer, &t);
        if (r < 0)
                return r;
        uint64_t offset = le64toh(t.offset);
        r = pwrite_all(segment->fd, footer.data, footer.len, offset);
        if (r >= 0 && ftruncate(segment->fd, (off_t) (offset + footer.len)) < 0)
                r = -errno;
        if (r >= 0) {
                *ret_size = offset + footer.len;
                if (*ret_size > segment->map_size) {
                        segment_unmap(segment);
                        r = segment_map(segment, *ret_size, PROT_READ);
                        if (r < 0)
                                return r;
                }
                return open_index(segment, segment->map + offset, &t);
        }
        *ret_size = 0;
        r = open_index(segment, footer.data, &t);
        if (r >= 0)
                segment->unwritten = TAKE_PTR(footer.data);
        return r;
}

int segment_seal(Segment *segment) {
        uint64_t size, left = UINT64_MAX;
        struct stat st;

        /* What is written behind the end of a file that was cut would make zeros of what is gone.
         */
        if (fstat(segment->fd, &st) < 0 || st.st_size != (off_t) segment->map_size)
                return -EIO;
        int r = write_footer(segment, segment->used, &left, &size);
        if (r < 0)
                return r;
        assert(size <= segment->map_size);
        if (segment_is_torn(segment)) {
                segment_index_done(&segment->index);
                return -EIO;
        }
        /* Against stray writes of our own; without it the segment works as well. */
        (void) mprotect(segment->map, segment->map_size, PROT_READ);
        segment->fd = safe_close(segment->fd);
        return 0;
}

uint64_t segment_file_size(const Segment *segment) {
        return segment->unwritten ? segment->map_size
                                  : segment->index.end + footer_size(segment->index.n);
}

static int read_file_header(Segment *segment) {
        FileHeader h;

        if (segment->map_size < sizeof(h))
                return -EBADMSG;
        memcpy(&h, segment->map, sizeof(h));
        if (le64toh(h.magic) != FILE_MAGIC)
                return (le64toh(h.magic) & ~VERSION_MASK) == FILE_MAGIC_ANY ? -ENOTSUP : -EBADMSG;
        if (le64toh(h.number) != segment->number ||
            le32toh(h.crc) != checksum(0, &h, offsetof(FileHeader, crc)))
                return -EBADMSG;
        segment->salt = le64toh(h.salt);
        segment->single = le32toh(h.single) != 0;
        return 0;
}

/* -EBADMSG where there is none that is intact. */
static int read_trailer(Segment *segment) {
        Trailer t;

        if (segment->map_size < sizeof(FileHeader) + sizeof(t))
                return -EBADMSG;
        uint64_t end = segment->map_size - sizeof(t);
        memcpy(&t, segment->map + end, sizeof(t));
        uint64_t offset = le64toh(t.offset);
        if (le64toh(t.magic) != TRAILER_MAGIC ||
            le32toh(t.crc) != checksum(header_salt(segment), &t, offsetof(Trailer, crc)))
                return -EBADMSG;
        if (offset < sizeof(FileHeader) || offset > end ||
            end - offset != segment_index_size(le32toh(t.n_records)))
                return -EBADMSG;
        return open_index(segment, segment->map + offset, &t);
}

/* Of what a crash left, everything that has an intact header is kept. Where it cannot be sealed, on
 * a file system that is full or read-only, it is used as it is. */
static int recover(Segment *segment, uint64_t *left) {
        uint64_t size, one = PAGE;

        int r = write_footer(segment, segment->map_size, segment->single ? &one : left, &size);
        if (r < 0 || size == 0 || size == segment->map_size)
                return r;
        /* Not beyond the end of the file. */
        segment_index_done(&segment->index);
        segment_unmap(segment);
        r = segment_map(segment, size, PROT_READ);
        return r < 0 ? r : read_trailer(segment);
}

int segment_open(int fd, uint64_t number, uint64_t *scan_left, Segment **ret) {
        _cleanup_(segment_unrefp) Segment *segment = NULL;
        struct stat st;

        int r = segment_alloc(fd, number, &segment);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size < (off_t) sizeof(FileHeader) ||
            st.st_size > FILE_SIZE_MAX)
                return -EBADMSG;
        r = segment_map(segment, (size_t) st.st_size, PROT_READ);
        if (r >= 0)
                r = read_file_header(segment);
        if (r < 0)
                return r;
        r = read_trailer(segment);
        if (r == -EBADMSG)
                r = recover(segment, scan_left);
        if (r < 0)
                return r;
        if (segment_is_torn(segment))
                return -EBADMSG;
        segment->state = SEGMENT_SEALED;
        segment->fd = safe_close(segment->fd);
        *ret = TAKE_PTR(segment);
        return 0;
}
