/* A tree and the sizes that were kept beside it: the first byte says how many of the last bytes are
 * sizes, in units of four. What is shown is what the tree says, every name of it is found, and the
 * sizes that were read are written again. */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#include "fuzz.h"
#include "object/tree-object.h"
#include "tree/listing.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

static void check_entries(const Listing *l, const uint8_t *tree, size_t size) {
        TreeIter it;
        TreeEntry e;
        size_t n = 0;

        tree_iter_init(&it, l->oid.algo, tree, size);
        while (tree_iter_next(&it, &e) > 0) {
                ListingEntry *found = listing_find(l, e.name, e.name_len);
                FUZZ_CHECK(n < l->n_entries);
                if (e.name_len > NAME_MAX)
                        FUZZ_CHECK(!found);
                else {
                        FUZZ_CHECK(found == &l->entries[n]);
                        FUZZ_CHECK(strcmp(listing_name(l, found), e.name) == 0);
                        FUZZ_CHECK(found->kind == e.kind && oid_equal(&found->oid, &e.oid));
                }
                n++;
        }
        FUZZ_CHECK(n == l->n_entries);
}

static void check_sizes(Listing *l, const uint8_t *sizes, size_t len) {
        size_t n_blobs = 0;

        for (size_t i = 0; i < l->n_entries; i++)
                n_blobs += entry_is_blob(&l->entries[i]);
        size_t missing = listing_apply_sizes(l, sizes, len);
        FUZZ_CHECK(missing <= n_blobs);
        if (len != l->n_entries * sizeof(uint64_t))
                FUZZ_CHECK(missing == n_blobs);
        _cleanup_free_ uint8_t *kept = listing_format_sizes(l);
        FUZZ_CHECK(kept);
        /* Once known a size stays, so these are the only ones that may come of it. */
        FUZZ_CHECK(listing_apply_sizes(l, kept, l->n_entries * sizeof(uint64_t)) == missing);
        _cleanup_free_ uint8_t *twice = listing_format_sizes(l);
        FUZZ_CHECK(twice && memcmp(kept, twice, l->n_entries * sizeof(uint64_t)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        for (OidAlgo algo = OID_SHA1; size > 0 && algo <= OID_SHA256; algo++) {
                const Oid oid = {.algo = algo};
                size_t n_sizes = MIN((size_t) data[0] * 4, size - 1);
                size_t n_tree = size - 1 - n_sizes;
                _cleanup_(listing_unrefp) Listing *l = NULL;

                int r = listing_new(&oid, data + 1, n_tree, &l);
                FUZZ_CHECK(r == 0 || r == -EBADMSG);
                if (r < 0)
                        continue;
                check_entries(l, data + 1, n_tree);
                check_sizes(l, data + 1 + n_tree, n_sizes);
        }
        return 0;
}
