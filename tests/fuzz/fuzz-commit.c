/* Commits and tags. */

#include "fuzz.h"
#include "object/commit-object.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        for (OidAlgo algo = OID_SHA1; algo <= OID_SHA256; algo++) {
                CommitObject c;
                TagObject t;

                if (commit_parse(algo, data, size, &c) == 0)
                        FUZZ_CHECK(c.commit_time >= 0 && c.tree.algo == algo);
                if (tag_parse(algo, data, size, &t) == 0)
                        FUZZ_CHECK(
                                t.target_type >= OBJECT_COMMIT && t.target_type <= OBJECT_TAG &&
                                t.target.algo == algo);
        }
        return 0;
}
