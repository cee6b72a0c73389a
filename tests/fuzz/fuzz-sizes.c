/* What forges answer when they are asked for sizes and blobs: only sizes that a file can have, only
 * of what was asked for, each once; and nothing of a blob that cannot be read. */

#include "forge/api-forges.h"
#include "forge/gitea-sizes.h"
#include "forge/gitlab-sizes.h"
#include "forge/mesa-sizes.h"
#include "fuzz.h"

typedef struct Question {
        Fetch fetch;
        unsigned n_told;
} Question;

static void on_size(Fetch *fetch, const Oid *oid, uint64_t size) {
        FUZZ_CHECK(size <= INT64_MAX);
        FUZZ_CHECK(oid_equal(oid, fetch->oids));
        FUZZ_CHECK(container_of(fetch, Question, fetch)->n_told++ == 0);
}

static void read_sizes(const Json *json) {
        static const Oid asked = {.algo = OID_SHA1};
        Question q = {.fetch = {.oids = &asked, .n_oids = 1, .size = on_size}};
        _cleanup_(api_sizes_freep) ApiSizes *sizes = NULL;

        FUZZ_CHECK(api_sizes_new(&q.fetch, &sizes) == 0);
        (void) gitlab_sizes_read(json, sizes); /* whether it makes sense does not matter here */
        (void) gitea_sizes_read(json, sizes);  /* nor that there are more pages */
        mesa_sizes_read(json, sizes);
        FUZZ_CHECK(api_sizes_open(sizes) + q.n_told == 1);
}

static void read_blob(const Json *json) {
        _cleanup_buf_ Buf blob = {0};

        if (gitea_api_ops.blob_read(json, &blob) < 0)
                FUZZ_CHECK(blob.len == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(json_freep) Json *json = NULL;

        if (json_parse(data, size, &json) < 0)
                return 0;
        read_sizes(json);
        read_blob(json);
        return 0;
}
