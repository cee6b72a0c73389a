/* A Link header from a server: whatever stands in it, it leads to that server only. */

#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#include "forge/api-link.h"
#include "forge/api-private.h"
#include "fuzz.h"

#define URL "https://api.example.org/orgs/acme/repos?page=1"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *header = calloc(size + 1, 1);
        _cleanup_free_ char *next = NULL;

        FUZZ_CHECK(header);
        if (size > 0)
                memcpy(header, data, size);
        FUZZ_CHECK(api_link_next(header, URL, &next) == 0);
        FUZZ_CHECK(!next[0] || api_url_same_server(URL, next));
        FUZZ_CHECK(!next[0] || api_link_has_next(header));
        return 0;
}
