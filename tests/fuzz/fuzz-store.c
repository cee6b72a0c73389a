/* A store of which a disk, a crash or somebody else has changed files: no wrong byte comes out of
 * it, and what is put into it again is there, and right.
 *
 * The input changes what a real store has written, so that most of what is tried is nearly right:
 * its first byte says whether checksums are made right afterwards and whether the file is cut, then
 * three bytes are a place and one what to put there. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "fuzz.h"
#include "lib/store-fixture.h"
#include "segment-bytes.h"
#include "store/store.h"
#include "util/buf.h"
#include "util/fd.h"

#define KIB UINT64_C(1024)
#define N_SAMPLES 12u
#define CHANGES_MAX 64u

static char *directory, *file;
static StoreConfig config;
static Sample samples[N_SAMPLES];
static Buf image; /* what a store with all of them has written */

static void remove_directory(void) {
        scratch_remove(directory);
        for (size_t i = 0; i < N_SAMPLES; i++)
                sample_done(&samples[i]);
        buf_done(&image);
        free(directory);
        free(file);
        object_library_done();
}

static Store *open_store(void) {
        Store *store = NULL;

        FUZZ_CHECK(store_open(&config, &store) == 0);
        return store;
}

static void put_all(Store *store) {
        for (size_t i = 0; i < N_SAMPLES; i++)
                FUZZ_CHECK(sample_put(store, STORE_DISK, &samples[i]) == 0);
}

/* Returns how many are there. */
static size_t count(Store *store) {
        size_t n = 0;

        for (size_t i = 0; i < N_SAMPLES; i++) {
                int r = sample_check(store, &samples[i]);
                FUZZ_CHECK(r >= 0);
                n += (size_t) r;
        }
        return n;
}

static int make_image(void) {
        const uint64_t sizes[] = {1, 2, 3};
        _cleanup_free_ char *first = NULL;
        Store *store = open_store();

        put_all(store);
        FUZZ_CHECK(
                store_put(
                        store,
                        STORE_DISK,
                        STORE_SIZES,
                        &samples[0].oid,
                        OBJECT_TREE,
                        sizes,
                        sizeof(sizes)) == 0);
        store_close(store);
        if (asprintf(&first, "%s/%016x.seg", directory, 0) < 0)
                return -ENOMEM;
        int r = read_file(first, 1 << 20, &image);
        return r < 0 || unlink(first) < 0 ? -EIO : 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        if (object_library_init() < 0)
                abort();
        directory = scratch_new();
        if (atexit(remove_directory) != 0 ||
            asprintf(&file, "%s/%016x.seg", directory, SEGMENT_BYTES_NUMBER) < 0)
                abort();
        config = (StoreConfig){
                .directory = directory, .disk_limit = 1024 * KIB, .memory_limit = 64 * KIB};
        for (size_t i = 0; i < N_SAMPLES; i++)
                sample_make(&samples[i], i, i * i * i);
        if (make_image() < 0)
                abort();
        segment_bytes_mend(image.data, image.len); /* it has another number now */
        return 0;
}

static void change(const uint8_t *data, size_t size, Buf *bytes) {
        FUZZ_CHECK(buf_append(bytes, image.data, image.len) == 0);
        for (unsigned i = 0; i < CHANGES_MAX && 1 + 4 * i + 4 <= size; i++) {
                const uint8_t *p = data + 1 + (size_t) 4 * i;
                size_t place = (size_t) p[0] << 16 | (size_t) p[1] << 8 | p[2];
                bytes->data[place % bytes->len] = p[3];
        }
        if (data[0] & 2)
                bytes->len -= MIN(bytes->len, (size_t) (data[0] >> 2) * 32);
        if (data[0] & 1)
                segment_bytes_mend(bytes->data, bytes->len);
}

static void write_segment(const uint8_t *data, size_t size) {
        _cleanup_close_ int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        _cleanup_buf_ Buf bytes = {0};

        change(data, size, &bytes);
        FUZZ_CHECK(fd >= 0 && write_all(fd, bytes.data, bytes.len) == 0);
}

static void verify(Store *store) {
        StoreVerification v;
        int r;

        store_verify_start(store, &v);
        while ((r = store_verify_step(store, &v)) == 1)
                FUZZ_CHECK(v.damaged <= v.checked);
        FUZZ_CHECK(r == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size == 0)
                return 0;
        write_segment(data, size);
        Store *store = open_store();
        size_t n = count(store);
        verify(store);
        FUZZ_CHECK(count(store) >= n); /* what a damaged index hid is found again */
        put_all(store);
        FUZZ_CHECK(count(store) == N_SAMPLES);
        store_close(store);

        store = open_store();
        (void) count(store); /* an older, damaged copy of one may hide the better one */
        verify(store);
        FUZZ_CHECK(store_flush_disk(store) == 0);
        store_close(store);
        return 0;
}
