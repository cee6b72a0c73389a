/* The kept form of a listing, from a disk that lies: what is read can be walked through, and is the
 * same bytes when it is written again. */

#include <errno.h>
#include <string.h>

#include "forge/api-listing.h"
#include "fuzz.h"
#include "util/path.h"

static bool look_at(const ApiEntry *entry, void *userdata) {
        size_t *n = userdata;

        FUZZ_CHECK(name_is_valid(entry->name));
        FUZZ_CHECK((entry->flags & ~(unsigned) _API_ENTRY_ALL) == 0);
        (*n)++;
        return true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_api_pages_ ApiPages pages = {0};
        _cleanup_buf_ Buf text = {0};
        size_t n = 0;

        int r = api_pages_parse(data, size, &pages);
        if (r < 0) {
                FUZZ_CHECK(r == -EBADMSG);
                return 0;
        }
        for (size_t i = 0; i < pages.n_pages; i++) {
                FUZZ_CHECK(api_page_each(&pages.pages[i], look_at, &n));
                FUZZ_CHECK(api_pages_find(&pages, pages.pages[i].url));
        }
        FUZZ_CHECK(n == pages.n_entries);
        FUZZ_CHECK(api_pages_format(&pages, &text) == 0);
        FUZZ_CHECK(text.len == size && memcmp(text.data, data, size) == 0);
        return 0;
}
