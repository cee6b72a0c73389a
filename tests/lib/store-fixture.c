#include "lib/store-fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/buf.h"
#include "util/fd.h"

static void must(bool ok, const char *what) {
        if (ok)
                return;
        perror(what);
        abort();
}

uint64_t random_next(uint64_t *state) {
        /* splitmix64, public domain */
        uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

void sample_make(Sample *sample, uint64_t number, uint64_t size) {
        uint64_t state = number * UINT64_C(1000003) + size;

        *sample = (Sample){.size = size};
        if (size > 0) {
                sample->data = malloc(size + 8);
                must(sample->data, "malloc");
                for (uint64_t i = 0; i < size; i += 8) {
                        uint64_t word = random_next(&state);
                        memcpy(sample->data + i, &word, 8);
                }
        }
        must(object_hash(OID_SHA1, OBJECT_BLOB, sample->data, size, &sample->oid) == 0, "hash");
}

void sample_done(Sample *sample) {
        free(sample->data);
        *sample = (Sample){0};
}

int sample_check(Store *store, const Sample *sample) {
        _cleanup_object_ref_ ObjectRef ref = {0};

        int r = store_get(store, STORE_OBJECT, &sample->oid, &ref);
        if (r <= 0)
                return r;
        if (ref.type != OBJECT_BLOB || ref.size != sample->size)
                return -1;
        if (ref.size > 0 && memcmp(ref.data, sample->data, ref.size) != 0)
                return object_ref_is_torn(&ref) ? 0 : -1;
        return 1;
}

int sample_put(Store *store, StoreTier tier, const Sample *sample) {
        return store_put(
                store, tier, STORE_OBJECT, &sample->oid, OBJECT_BLOB, sample->data, sample->size);
}

void samples_make(Sample *samples, size_t n, uint64_t size, uint64_t step) {
        for (size_t i = 0; i < n; i++)
                sample_make(&samples[i], i, size + i * step);
}

void samples_done(Sample *samples, size_t n) {
        for (size_t i = 0; i < n; i++)
                sample_done(&samples[i]);
}

void samples_put(Store *store, const Sample *samples, size_t n) {
        for (size_t i = 0; i < n; i++)
                must(sample_put(store, STORE_DISK, &samples[i]) == 0, "sample_put");
}

size_t samples_count(Store *store, const Sample *samples, size_t n) {
        size_t n_here = 0;

        for (size_t i = 0; i < n; i++) {
                int r = sample_check(store, &samples[i]);
                must(r >= 0, "sample_check");
                n_here += (size_t) r;
        }
        return n_here;
}

char *scratch_new(void) {
        const char *base = getenv("TMPDIR"); // NOLINT(concurrency-mt-unsafe): nobody calls setenv
        char *path;

        must(asprintf(&path, "%s/gitfs-store-XXXXXX", base ? base : "/tmp") > 0, "asprintf");
        must(mkdtemp(path), "mkdtemp");
        return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        return remove(path);
}

void scratch_remove(const char *path) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): it is in glibc as long as the cwd stays
        must(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT, "nftw");
}

static void each_file(
        const char *path,
        void (*fn)(const char *name, const struct stat *st, void *userdata),
        void *userdata) {
        struct stat st;

        DIR *dir = opendir(path);
        if (!dir)
                return;
        // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone
        for (struct dirent *e; (e = readdir(dir));)
                if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISREG(st.st_mode))
                        fn(e->d_name, &st, userdata);
        closedir(dir);
}

static void add_usage(const char *name, const struct stat *st, void *userdata) {
        *(uint64_t *) userdata += (uint64_t) st->st_blocks * 512;
}

uint64_t scratch_usage(const char *path) {
        uint64_t bytes = 0;
        each_file(path, add_usage, &bytes);
        return bytes;
}

typedef struct Copy {
        const char *from, *to;
} Copy;

static void copy_file(const char *name, const struct stat *st, void *userdata) {
        const Copy *copy = userdata;
        _cleanup_free_ char *from = NULL, *to = NULL;
        _cleanup_buf_ Buf buf = {0};

        must(asprintf(&from, "%s/%s", copy->from, name) > 0, "asprintf");
        must(asprintf(&to, "%s/%s", copy->to, name) > 0, "asprintf");
        must(read_file(from, SIZE_MAX / 2, &buf) == 0, from);
        _cleanup_close_ int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        must(fd >= 0 && write_all(fd, buf.data, buf.len) == 0, to);
}

void scratch_copy(const char *from, const char *to) {
        Copy copy = {from, to};
        each_file(from, copy_file, &copy);
}

char *scratch_segment(const char *directory, unsigned number) {
        char *path;

        must(asprintf(&path, "%s/%016x.seg", directory, number) > 0, "asprintf");
        return path;
}

void scratch_store_init(StoreConfig *ret, uint64_t disk_limit, uint64_t memory_limit) {
        must(object_library_init() == 0, "object_library_init");
        *ret = (StoreConfig){
                .directory = scratch_new(),
                .disk_limit = disk_limit,
                .memory_limit = memory_limit,
        };
}

void scratch_store_done(StoreConfig *config) {
        scratch_remove(config->directory);
        free((char *) config->directory);
        *config = (StoreConfig){0};
        object_library_done();
}

Store *scratch_store_open(const StoreConfig *config) {
        Store *store;

        must(store_open(config, &store) == 0, "store_open");
        return store;
}
