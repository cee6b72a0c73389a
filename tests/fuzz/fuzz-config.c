/* The daemon's configuration. */

#include <errno.h>
#include <string.h>

#include "config/config.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(config_freep) Config *c = NULL;
        ConfigError e;

        FUZZ_CHECK(config_new(&c) == 0);
        int r = config_parse(c, (const char *) data, size, "fuzz", &e);
        if (r < 0)
                FUZZ_CHECK(r == -EINVAL && strncmp(e.text, "fuzz:", 5) == 0);
        FUZZ_CHECK(!c->mount_point || c->mount_point[0] == '/');
        FUZZ_CHECK(c->max_per_host > 0 && c->fuse_threads > 0 && c->request_timeout_usec > 0);
        return 0;
}
