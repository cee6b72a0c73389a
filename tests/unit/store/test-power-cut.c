/* A power cut at any write. What the store does to its files is recorded, sector by sector: before
 * and after each call that changes a file, and between the payload of each record and its header,
 * which are stores to a mapping (the linker wraps those calls for this test). The disk as it was
 * after any number of these writes is then built again and opened.
 *
 * The store never syncs, so the disk may have done the writes in any order, and lost any of those
 * since its start: the second half builds disks where each sector has any of its contents so far,
 * and each file any of its lengths, or is not there, or is there still.
 *
 * Every object that is read is right; what was written in order is there; a start reads no more
 * than it may. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "lib/store-fixture.h"
#include "store/segment.h"
#include "util/fd.h"
#include "util/path.h"
#include "util/stats.h"

#define MIB (UINT64_C(1) << 20)
#define SECTOR 512u
#define MAX_FILES 64
#define MAX_SAMPLES 300
#define MAX_EVENTS 60000
#define SCAN_LIMIT (4 * MIB)

/* --- the log --- */

typedef enum EventKind {
        EVENT_LENGTH, /* of the file from now on; the first makes it */
        EVENT_SECTOR,
        EVENT_GONE,
} EventKind;

typedef struct Event {
        EventKind kind;
        unsigned file, sector;
        uint64_t length;
        uint8_t *data; /* owned; of a sector */
} Event;

typedef struct File {
        char name[NAME_MAX + 1];
        uint8_t *content; /* owned; as it was when we looked last */
        uint64_t length;
        bool gone;
} File;

static char *directory, *copy;
static File files[MAX_FILES];
static unsigned n_files;
static Event events[MAX_EVENTS];
static unsigned n_events;
static bool recording, log_is_broken;
static unsigned n_calls[4];

static Event *add_event(EventKind kind, unsigned file) {
        if (n_events == MAX_EVENTS) {
                log_is_broken = true;
                n_events--;
        }
        Event *e = &events[n_events++];
        *e = (Event){.kind = kind, .file = file};
        return e;
}

static unsigned file_number(const char *name) {
        for (unsigned i = 0; i < n_files; i++)
                if (strcmp(files[i].name, name) == 0)
                        return i;
        if (n_files == MAX_FILES) {
                log_is_broken = true;
                return 0;
        }
        (void) snprintf(files[n_files].name, sizeof(files[n_files].name), "%s", name);
        files[n_files].length = UINT64_MAX;
        return n_files++;
}

static void record_length(unsigned number, uint64_t length) {
        File *f = &files[number];
        uint64_t sectors = (length + SECTOR - 1) / SECTOR;
        uint64_t before = f->length == UINT64_MAX ? 0 : (f->length + SECTOR - 1) / SECTOR;

        if (f->length == length)
                return;
        add_event(EVENT_LENGTH, number)->length = length;
        f->content = realloc(f->content, MAX(sectors * SECTOR, UINT64_C(1)));
        if (sectors > before)
                memset(f->content + before * SECTOR, 0, (sectors - before) * SECTOR);
        f->length = length;
}

static void record_sectors(unsigned number, const uint8_t *now, uint64_t length) {
        File *f = &files[number];

        for (unsigned s = 0; (uint64_t) s * SECTOR < length; s++) {
                uint64_t at = (uint64_t) s * SECTOR, n = MIN(length - at, (uint64_t) SECTOR);
                if (memcmp(f->content + at, now + at, n) == 0)
                        continue;
                memcpy(f->content + at, now + at, n);
                Event *e = add_event(EVENT_SECTOR, number);
                e->sector = s;
                e->data = calloc(1, SECTOR);
                if (e->data)
                        memcpy(e->data, now + at, n);
                else
                        log_is_broken = true;
        }
}

/* Compared where it lies: this is done a thousand times. */
static int look_at_content(unsigned number, int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        uint64_t length = (uint64_t) st.st_size;
        record_length(number, length);
        if (length == 0)
                return 0;
        void *content = mmap(NULL, length, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
        if (content == MAP_FAILED)
                return -errno;
        record_sectors(number, content, length);
        return munmap(content, length) < 0 ? -errno : 0;
}

static void look_at_file(const char *name, bool seen[MAX_FILES]) {
        _cleanup_free_ char *path = path_join(directory, name, NULL);
        unsigned number = file_number(name);

        seen[number] = true;
        _cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0 || look_at_content(number, fd) < 0)
                log_is_broken = true;
}

/* What has changed since the last look becomes events. */
static void look(void) {
        bool seen[MAX_FILES] = {0};

        DIR *dir = recording ? opendir(directory) : NULL;
        if (!dir)
                return;
        for (const struct dirent *e; (e = readdir(dir));) // NOLINT(concurrency-mt-unsafe)
                if (strstr(e->d_name, ".seg"))
                        look_at_file(e->d_name, seen);
        (void) closedir(dir);
        for (unsigned i = 0; i < n_files; i++)
                if (!seen[i] && !files[i].gone) {
                        files[i].gone = true;
                        (void) add_event(EVENT_GONE, i);
                }
}

ssize_t __real_pwrite64(int fd, const void *data, size_t len, off64_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off64_t offset);
int __real_ftruncate64(int fd, off64_t length);
int __wrap_ftruncate64(int fd, off64_t length);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
void __real_segment_write_header(Segment *segment, const SegmentRecord *record);
void __wrap_segment_write_header(Segment *segment, const SegmentRecord *record);

ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off64_t offset) {
        look();
        n_calls[0]++;
        ssize_t n = __real_pwrite64(fd, data, len, offset);
        look();
        return n;
}

int __wrap_ftruncate64(int fd, off64_t length) {
        look();
        n_calls[1]++;
        int r = __real_ftruncate64(fd, length);
        look();
        return r;
}

int __wrap_unlink(const char *path) {
        look();
        n_calls[2]++;
        int r = __real_unlink(path);
        look();
        return r;
}

void __wrap_segment_write_header(Segment *segment, const SegmentRecord *record) {
        look();
        n_calls[3]++;
        __real_segment_write_header(segment, record);
        look();
}

/* --- what is done --- */

static Sample samples[MAX_SAMPLES];
static unsigned n_samples;
static unsigned stored_at[MAX_SAMPLES]; /* how many events there were when the put returned */

static void record_run(uint64_t disk_limit, unsigned n) {
        StoreConfig config = {
                .directory = directory, .disk_limit = disk_limit, .memory_limit = MIB};
        Store *store = NULL;
        uint64_t state = 5;

        n_samples = n;
        for (unsigned i = 0; i < n; i++)
                sample_make(&samples[i], i, random_next(&state) % (i % 50 == 7 ? 400000 : 9000));
        recording = true;
        ck_assert_int_eq(store_open(&config, &store), 0);
        for (unsigned i = 0; i < n; i++) {
                ck_assert_int_eq(sample_put(store, STORE_DISK, &samples[i]), 0);
                look();
                stored_at[i] = n_events;
        }
        store_close(store);
        look();
        recording = false;
        ck_assert(!log_is_broken);
        for (unsigned i = 0; i < ELEMENTSOF(n_calls); i++)
                ck_assert_msg(i == 2 || n_calls[i] > 0, "call %u was not seen", i);
}

/* --- disks --- */

static void write_file_of_disk(const File *f) {
        _cleanup_free_ char *path = path_join(copy, f->name, NULL);

        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write_all(fd, f->content, f->length), 0);
}

static void write_disk(File disk[MAX_FILES]) {
        scratch_remove(copy);
        ck_assert_int_eq(mkdir_parents(copy, 0700), 0);
        for (unsigned i = 0; i < n_files; i++) {
                if (disk[i].content && !disk[i].gone)
                        write_file_of_disk(&disk[i]);
                free(disk[i].content);
        }
}

static void set_length(File *f, uint64_t length) {
        uint8_t *content = calloc(1, MAX(length + SECTOR, UINT64_C(1)));

        ck_assert_ptr_nonnull(content);
        if (f->content)
                memcpy(content, f->content, MIN(length, f->length));
        free(f->content);
        f->content = content;
        f->length = length;
}

static void set_sector(File *f, const Event *e) {
        uint64_t at = (uint64_t) e->sector * SECTOR;

        if (f->content && at < f->length)
                memcpy(f->content + at, e->data, SECTOR);
}

/* The disk after the first `n` writes, in their order. */
static void build_in_order(unsigned n) {
        File disk[MAX_FILES] = {0};

        for (unsigned i = 0; i < n_files; i++)
                memcpy(disk[i].name, files[i].name, sizeof(disk[i].name));
        for (unsigned i = 0; i < n; i++) {
                const Event *e = &events[i];
                if (e->kind == EVENT_LENGTH)
                        set_length(&disk[e->file], e->length);
                else if (e->kind == EVENT_SECTOR)
                        set_sector(&disk[e->file], e);
                else
                        disk[e->file].gone = true;
        }
        write_disk(disk);
}

/* One of the disks that there may be after the first `n` writes when only some of them were done:
 * `often` out of 100. */
static void build_in_disorder(unsigned n, unsigned often, uint64_t *state) {
        File disk[MAX_FILES] = {0};

        for (unsigned i = 0; i < n_files; i++)
                memcpy(disk[i].name, files[i].name, sizeof(disk[i].name));
        for (unsigned i = 0; i < n; i++)
                if (events[i].kind == EVENT_LENGTH && random_next(state) % 100 < often)
                        set_length(&disk[events[i].file], events[i].length);
        for (unsigned i = 0; i < n; i++) {
                const Event *e = &events[i];
                if (e->kind == EVENT_LENGTH || random_next(state) % 100 >= often)
                        continue;
                if (e->kind == EVENT_SECTOR)
                        set_sector(&disk[e->file], e);
                else
                        disk[e->file].gone = true;
        }
        write_disk(disk);
}

/* --- what comes of it --- */

/* Opens the copy. How many objects are there; `must`: all that was stored by then has to be. */
static unsigned check_disk(unsigned n, bool must) {
        StoreConfig config = {
                .directory = copy,
                .disk_limit = 16 * MIB,
                .memory_limit = MIB,
                .scan_limit = SCAN_LIMIT,
        };
        int64_t scanned = stat_get(STAT_STORE_SCANNED);
        Store *store = NULL;
        unsigned found = 0;

        ck_assert_int_eq(store_open(&config, &store), 0);
        ck_assert_int_le(stat_get(STAT_STORE_SCANNED) - scanned, (int64_t) SCAN_LIMIT);
        for (unsigned i = 0; i < n_samples; i++) {
                int r = sample_check(store, &samples[i]);
                if (r < 0 || (must && r == 0 && stored_at[i] <= n))
                        ck_abort_msg("after %u writes object %u is %d", n, i, r);
                found += r > 0;
        }
        ck_assert_int_eq(sample_put(store, STORE_DISK, &samples[0]), 0);
        ck_assert_int_eq(sample_check(store, &samples[0]), 1);
        store_close(store);
        return found;
}

static void set_up(void) {
        ck_assert_int_eq(object_library_init(), 0);
        directory = scratch_new();
        copy = scratch_new();
}

static void tear_down(void) {
        for (unsigned i = 0; i < n_samples; i++)
                sample_done(&samples[i]);
        for (unsigned i = 0; i < n_events; i++)
                free(events[i].data);
        for (unsigned i = 0; i < n_files; i++)
                free(files[i].content);
        memset(files, 0, sizeof(files));
        n_samples = n_events = n_files = 0;
        scratch_remove(directory);
        scratch_remove(copy);
        free(directory);
        free(copy);
        object_library_done();
}

START_TEST(in_the_order_of_the_writes) {
        unsigned found = 0;

        record_run(16 * MIB, 150);
        for (unsigned n = 0; n < n_events; n += 1 + n_events / 80) {
                build_in_order(n);
                found = check_disk(n, /* must= */ true);
        }
        ck_assert_uint_gt(found, 140);
        build_in_order(n_events);
        ck_assert_uint_eq(check_disk(n_events, /* must= */ true), n_samples);
}
END_TEST

START_TEST(in_any_order) {
        uint64_t state = 17;
        unsigned found = 0;

        record_run(16 * MIB, 150);
        for (unsigned i = 0; i < 100; i++) {
                unsigned n = (unsigned) (random_next(&state) % (n_events + 1));
                build_in_disorder(n, 50 + i % 50, &state);
                found += check_disk(n, /* must= */ false);
        }
        ck_assert_uint_gt(found, 0);
}
END_TEST

/* With segments that are evicted meanwhile: some of them come back. */
START_TEST(in_any_order_while_the_cache_is_full_R35) {
        uint64_t state = 23;
        unsigned found = 0;

        record_run(2 * MIB, MAX_SAMPLES);
        ck_assert_uint_gt(n_calls[2], 0);
        for (unsigned i = 0; i < 60; i++) {
                unsigned n = (unsigned) (random_next(&state) % (n_events + 1));
                if (i % 3 == 0)
                        build_in_order(n);
                else
                        build_in_disorder(n, 60 + i % 40, &state);
                found += check_disk(n, /* must= */ false);
        }
        ck_assert_uint_gt(found, 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, in_the_order_of_the_writes);
        tcase_add_test(tc, in_any_order);
        tcase_add_test(tc, in_any_order_while_the_cache_is_full_R35);
}

CHECK_MAIN("store/power-cut", add_tests)
