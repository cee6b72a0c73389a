#include <string.h>

#include "fuzz.h"
#include "object/tree-object.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        for (OidAlgo algo = OID_SHA1; algo <= OID_SHA256; algo++) {
                size_t n = 0;
                TreeEntry e;
                TreeIter it;

                tree_iter_init(&it, algo, data, size);
                while (tree_iter_next(&it, &e) == 1) {
                        FUZZ_CHECK(e.name_len > 0 && e.name[e.name_len] == '\0');
                        FUZZ_CHECK(strlen(e.name) == e.name_len && !strchr(e.name, '/'));
                        FUZZ_CHECK(strcmp(e.name, ".") != 0 && strcmp(e.name, "..") != 0);
                        FUZZ_CHECK(e.kind < _ENTRY_KIND_MAX && e.oid.algo == algo);
                        FUZZ_CHECK(++n <= size / oid_raw_size(algo));
                }
        }
        return 0;
}
