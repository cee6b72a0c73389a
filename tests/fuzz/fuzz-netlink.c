/* What the kernel tells of addresses and routes. What a message says does not depend on what stands
 * behind it. */

#include <linux/netlink.h>
#include <string.h>

#include "gitfs/macro.h"

#include "fuzz.h"
#include "manager/network-watch.h"

#define MESSAGES_MAX 8192

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

static bool is_news(const uint8_t *data, size_t size) {
        /* An exact copy, so that ASan sees a read behind the end; malloc() aligns it. */
        _cleanup_free_ void *copy = malloc(MAX(size, (size_t) 1));

        FUZZ_CHECK(copy);
        if (size > 0)
                memcpy(copy, data, size);
        return network_watch_is_news(copy, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct nlmsghdr first;

        size = MIN(size, (size_t) MESSAGES_MAX);
        bool whole = is_news(data, size);
        if (size < sizeof(first)) {
                FUZZ_CHECK(!whole);
                return 0;
        }
        memcpy(&first, data, sizeof(first));
        if (first.nlmsg_len < sizeof(first) || first.nlmsg_len > size)
                FUZZ_CHECK(!whole);
        else if (is_news(data, first.nlmsg_len))
                FUZZ_CHECK(whole);
        else {
                size_t next = MIN((size_t) NLMSG_ALIGN(first.nlmsg_len), size);
                FUZZ_CHECK(whole == is_news(data + next, size - next));
        }
        return 0;
}
