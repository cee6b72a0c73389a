#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Waits until fd is readable (or broken): true, or false when deadline_usec, on the monotonic
 * clock, has passed. */
bool wait_readable(int fd, uint64_t deadline_usec);
