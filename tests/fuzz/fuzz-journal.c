/* What a process has left of its session, with any bytes in it: it is refused, or each request in
 * it comes out once, in order, no larger than its slot, as are the names and items in it, and all
 * slots can be used again.
 *
 * The input changes what a real journal holds: its first byte says how many parked slots there are,
 * and whether the checksum is made right; then each four bytes are an area, a place in it and the
 * byte to put there. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "fuse/journal.h"
#include "fuzz.h"
#include "util/fd.h"
#include "util/htable.h"

#define HEADER_SIZE 8192
#define CHECKED_SIZE (24 + PATH_MAX) /* of the header; the checksum is behind it */
#define VERSION_AT 8
#define AREA 128u /* how much of each is changed */
#define N_PARKED_MAX 16u

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

/* As the kernel writes it. */
static void fill(JournalSlot *slot, uint64_t unique) {
        struct fuse_in_header in = {
                .len = sizeof(in) + 8, .opcode = FUSE_LOOKUP, .unique = unique, .nodeid = 1};

        memcpy(slot->data, &in, sizeof(in));
        memcpy(slot->data + sizeof(in), "name\0\0\0", 8);
}

static int make_file(unsigned n_parked) {
        static const JournalMount mount = {.mount_point = "/mnt", .connection = 7};
        const struct fuse_in_header init = {.len = sizeof(init), .opcode = FUSE_INIT};
        Journal *j;

        FUZZ_CHECK(journal_new(&mount, n_parked, &j) == 0);
        FUZZ_CHECK(journal_record_init(j, &init, sizeof(init)) == 0);
        journal_record_answer(j, 1, 4096);
        for (unsigned i = 0; i < 3; i++) {
                fill(journal_reader_slot(j, i), 100 + i);
                journal_slot_enter(journal_reader_slot(j, i));
        }
        for (unsigned i = 0; i < n_parked / 2; i++)
                fill(journal_take(j), 50 + 2 * i);
        int fd = fcntl(journal_fd(j), F_DUPFD_CLOEXEC, 3);
        FUZZ_CHECK(fd >= 0);
        journal_free(j);
        return fd;
}

/* Where its parts begin. */
static off_t area_of(unsigned n, unsigned n_parked) {
        const off_t parked = HEADER_SIZE + (off_t) JOURNAL_READERS * JOURNAL_READER_SIZE;

        n %= 2 + JOURNAL_READERS + n_parked;
        if (n == 0)
                return 0;
        if (n == 1)
                return CHECKED_SIZE + 8; /* the terms */
        if (n < 2 + JOURNAL_READERS)
                return HEADER_SIZE + (off_t) (n - 2) * JOURNAL_READER_SIZE;
        return parked + (off_t) (n - 2 - JOURNAL_READERS) * JOURNAL_PARKED_SIZE;
}

static void change(int fd, unsigned n_parked, const uint8_t *data, size_t size) {
        for (; size >= 4; data += 4, size -= 4) {
                off_t place = (data[1] << 8 | data[2]) % (data[0] == 1 ? 512 : AREA);
                FUZZ_CHECK(pwrite(fd, data + 3, 1, area_of(data[0], n_parked) + place) == 1);
        }
}

static void mend(int fd) {
        uint8_t header[CHECKED_SIZE];
        uint32_t version;

        FUZZ_CHECK(pread(fd, header, sizeof(header), 0) == sizeof(header));
        memcpy(&version, header + VERSION_AT, sizeof(version));
        uint64_t check = hash_bytes_stable(header, sizeof(header), version);
        FUZZ_CHECK(pwrite(fd, &check, sizeof(check), sizeof(header)) == sizeof(check));
}

/* What libfuse would read of it lies within it. */
static void check_arguments(const JournalSlot *slot) {
        const struct fuse_in_header *in = (const void *) slot->data;
        const char *at = (const char *) (in + 1), *end = (const char *) in + in->len;
        const struct fuse_batch_forget_in *forgets = (const void *) at;

        if (in->opcode == FUSE_LOOKUP)
                FUZZ_CHECK(strnlen(at, (size_t) (end - at)) < (size_t) (end - at));
        if (in->opcode == FUSE_BATCH_FORGET)
                FUZZ_CHECK(
                        (uint64_t) (end - at) >=
                        sizeof(*forgets) + forgets->count * sizeof(struct fuse_forget_one));
}

static void check_pending(Journal *j) {
        _cleanup_free_ JournalSlot **slots = NULL;
        uint64_t last = 0;
        size_t n;

        FUZZ_CHECK(journal_pending(j, &slots, &n) == 0);
        for (size_t i = 0; i < n; i++) {
                const struct fuse_in_header *in = (const void *) slots[i]->data;
                FUZZ_CHECK(i == 0 || in->unique > last);
                FUZZ_CHECK(journal_slot_size(slots[i]) >= sizeof(*in));
                FUZZ_CHECK(journal_slot_size(slots[i]) <= JOURNAL_READER_SIZE - JOURNAL_SLOT_HEAD);
                check_arguments(slots[i]);
                last = in->unique;
        }
        /* Each is answered, and its slot is free again. */
        for (size_t i = 0; i < n; i++) {
                journal_slot_clear(slots[i]);
                journal_give(j, slots[i]);
        }
}

static void check_free(Journal *j) {
        unsigned n = 0;

        for (JournalSlot *slot; (slot = journal_take(j)); n++) {
                FUZZ_CHECK(n < journal_n_parked(j));
                fill(slot, 1);
        }
        FUZZ_CHECK(n == journal_n_parked(j));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Failure failure = {0};
        JournalMount mount;
        Journal *j;

        if (size == 0)
                return 0;
        unsigned n_parked = 1 + data[0] % N_PARKED_MAX;
        int fd = make_file(n_parked);
        change(fd, n_parked, data + 1, size - 1);
        if (data[0] & 0x80)
                mend(fd);
        int r = journal_open(fd, &j, &failure);
        if (r < 0) {
                FUZZ_CHECK((r == -EBADMSG || r == -EPROTONOSUPPORT) && failure.text[0]);
                safe_close(fd);
                return 0;
        }
        journal_mount(j, &mount);
        FUZZ_CHECK(strlen(mount.mount_point) < PATH_MAX);
        FUZZ_CHECK(journal_terms(j)->init_size <= JOURNAL_INIT_MAX);
        check_pending(j);
        check_free(j);
        journal_free(j);
        return 0;
}
