/* The input is a pack. What it amounts to must not depend on how it is cut. */

#include "gitfs/macro.h"

#include "fuzz.h"
#include "lib/memory-sink.h"
#include "object/object.h"

#define MEMORY_MAX ((uint64_t) 32 << 20)

static int run(const uint8_t *data, size_t size, size_t piece, MemorySink *sink) {
        static const PackLimits limits = {
                .max_object_size = 1 << 20,
                .max_objects = 4096,
                .max_pending_bytes = 64 << 10,
        };
        _cleanup_(pack_reader_freep) PackReader *r = NULL;
        int q = 0;

        sink->bytes_max = MEMORY_MAX;
        FUZZ_CHECK(pack_reader_new(OID_SHA1, &limits, &memory_sink_ops, sink, &r) == 0);
        for (size_t at = 0; q == 0 && at < size; at += piece)
                q = pack_reader_feed(r, data + at, MIN(piece, size - at));
        int f = pack_reader_finish(r);
        FUZZ_CHECK(q == 0 || f == q);
        FUZZ_CHECK(f < 0 || pack_reader_committed(r) == pack_reader_expected(r));
        FUZZ_CHECK(pack_reader_committed(r) == sink->n_commits);
        return f;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return object_library_init();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        MemorySink whole = {0}, pieces = {0};

        int a = run(data, size, SIZE_MAX / 2, &whole);
        int b = run(data, size, 7, &pieces);
        FUZZ_CHECK(a == b && whole.n_commits == pieces.n_commits);
        FUZZ_CHECK(whole.n_begun == 0 && whole.n_held == 0);
        FUZZ_CHECK(pieces.n_begun == 0 && pieces.n_held == 0);
        memory_sink_done(&whole);
        memory_sink_done(&pieces);
        return 0;
}
