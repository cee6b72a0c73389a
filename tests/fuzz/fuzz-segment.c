/* A file of the store, from a disk that lies: what is found in it lies in it, an object that is
 * good has the id under which it is found, and what was recovered once is there the next time. The
 * first byte says whether checksums are made right first, and how much may be read to recover. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "fuzz.h"
#include "segment-bytes.h"
#include "store/disk-internal.h"
#include "util/fd.h"

#define FILE_MAX ((size_t) 1 << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return object_library_init();
}

static int make_file(const uint8_t *data, size_t size) {
        int fd = memfd_create("segment", MFD_CLOEXEC);

        FUZZ_CHECK(fd >= 0 && write_all(fd, data, size) == 0);
        return fd;
}

/* All its bytes must be there. */
static void touch(const uint8_t *data, uint64_t size) {
        for (uint64_t i = 0; i < size; i++)
                (void) *(const volatile uint8_t *) &data[i];
}

/* Returns how many records are good. */
static uint32_t look_at(Segment *segment) {
        SegmentRecord record, found;
        uint32_t n = 0, number;

        for (uint32_t i = 0; i < segment->index.n; i++) {
                if (!segment_index_at(&segment->index, i, &record))
                        continue;
                FUZZ_CHECK(record.offset <= segment->map_size);
                FUZZ_CHECK(record.size <= segment->map_size - record.offset);
                touch(segment_bytes(segment, record.offset), record.size);
                if (segment_index_find(
                            &segment->index, record.kind, &record.oid, &number, &found)) {
                        FUZZ_CHECK(number < segment->index.n && found.kind == record.kind);
                        FUZZ_CHECK(oid_equal(&found.oid, &record.oid));
                        FUZZ_CHECK(
                                segment_index_may_have(&segment->index, record.kind, &record.oid));
                }
                int r = disk_record_verify(segment, &record);
                FUZZ_CHECK(r == 0 || r == 1);
                n += (uint32_t) r;
        }
        FUZZ_CHECK(segment_n_live(segment) == segment->index.n);
        return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ uint8_t *file = NULL;
        Segment *segment, *again;

        if (size < 1 || size > FILE_MAX)
                return 0;
        file = malloc(size);
        FUZZ_CHECK(file);
        memcpy(file, data + 1, size - 1);
        if (data[0] & 1)
                segment_bytes_mend(file, size - 1);
        uint64_t left = data[0] & 2 ? (uint64_t) (data[0] >> 2) * 4096 : UINT64_MAX;
        const uint64_t allowed = left;

        int fd = make_file(file, size - 1);
        _cleanup_close_ int next_fd = dup(fd);
        FUZZ_CHECK(next_fd >= 0);
        int r = segment_open(fd, SEGMENT_BYTES_NUMBER, &left, &segment);
        FUZZ_CHECK(left <= allowed);
        if (r < 0) {
                FUZZ_CHECK(r == -EBADMSG || r == -ENOTSUP);
                return 0;
        }
        uint32_t n = segment->index.n, n_good = look_at(segment);
        bool written = !segment->unwritten;
        segment_unref(segment);
        if (!written)
                return 0;
        left = 0; /* it is sealed by now: there is nothing to look for */
        FUZZ_CHECK(segment_open(TAKE_FD(next_fd), SEGMENT_BYTES_NUMBER, &left, &again) == 0);
        FUZZ_CHECK(again->index.n == n && look_at(again) == n_good);
        segment_unref(again);
        return 0;
}
