#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* gitfsd tells moments on the monotonic clock; people read the one on the wall. */

typedef struct Moment {
        uint64_t monotonic_usec;
        time_t wall;
} Moment;
Moment moment_now(void);

#define MOMENT_TEXT_MAX 32
/* "14:03:20" in local time, with the date where it is more than a day ahead. Moments that are over
 * are "now". */
void moment_format(uint64_t at_usec, Moment now, char ret[MOMENT_TEXT_MAX]);
