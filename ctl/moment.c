#include "ctl/moment.h"

#include <stdio.h>

#include "util/clock.h"

#define DAY (24 * 60 * 60)

Moment moment_now(void) {
        return (Moment){.monotonic_usec = now_usec(), .wall = time(NULL)};
}

void moment_format(uint64_t at_usec, Moment now, char ret[MOMENT_TEXT_MAX]) {
        struct tm tm;

        if (at_usec <= now.monotonic_usec) {
                (void) snprintf(ret, MOMENT_TEXT_MAX, "now"); /* fits */
                return;
        }
        /* Rounded up: whoever comes at the time told does not come too early. */
        uint64_t left = (at_usec - now.monotonic_usec + USEC_PER_SEC - 1) / USEC_PER_SEC;
        time_t at = now.wall + (time_t) left;
        size_t n = 0;
        if (localtime_r(&at, &tm))
                n = left < DAY ? strftime(ret, MOMENT_TEXT_MAX, "%H:%M:%S", &tm)
                               : strftime(ret, MOMENT_TEXT_MAX, "%Y-%m-%d %H:%M", &tm);
        if (n == 0)
                (void) snprintf(ret, MOMENT_TEXT_MAX, "?"); /* a year that nobody can tell */
}
