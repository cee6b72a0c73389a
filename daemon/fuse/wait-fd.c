#include "fuse/wait-fd.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "gitfs/macro.h"

#include "util/clock.h"

bool wait_readable(int fd, uint64_t deadline_usec) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};

        for (;;) {
                uint64_t now = now_usec();
                /* Rounded up, so that the last round does not spin. */
                uint64_t left_msec =
                        now >= deadline_usec ? 0 : (deadline_usec - now - 1) / USEC_PER_MSEC + 1;
                int n = poll(&pfd, 1, (int) MIN(left_msec, (uint64_t) INT_MAX));
                if (n > 0)
                        return true;
                if ((n == 0 && now >= deadline_usec) || (n < 0 && errno != EINTR))
                        return false;
        }
}
