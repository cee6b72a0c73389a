#include "ctl/progress.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "gitfs/macro.h"

#define BAR_WIDTH 30

void bytes_format(char *buf, size_t size, uint64_t bytes) {
        static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
        double value = (double) bytes;
        size_t unit = 0;

        while (value >= 1024 && unit + 1 < ELEMENTSOF(units)) {
                value /= 1024;
                unit++;
        }
        /* Always fits, or is cut short, which is fine. */
        (void) snprintf(
                buf, size, unit > 0 && value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

void progress_format(char *buf, size_t size, uint64_t done, uint64_t total, uint64_t bytes) {
        char amount[32], bar[BAR_WIDTH + 1];

        bytes_format(amount, sizeof(amount), bytes);
        if (total == 0) { /* cut short is fine, here and below */
                (void) snprintf(buf, size, "%" PRIu64 " objects, %s", done, amount);
                return;
        }
        done = MIN(done, total);
        size_t filled = (size_t) ((double) done / (double) total * BAR_WIDTH);
        memset(bar, '#', filled);
        memset(bar + filled, '.', BAR_WIDTH - filled);
        bar[BAR_WIDTH] = '\0';
        (void) snprintf(
                buf, size, "[%s] %" PRIu64 "/%" PRIu64 " objects, %s", bar, done, total, amount);
}

void progress_draw(FILE *f, uint64_t done, uint64_t total, uint64_t bytes) {
        char line[160];

        if (!isatty(fileno(f)))
                return;
        progress_format(line, sizeof(line), done, total, bytes);
        (void) fprintf(f, "\r%s\x1b[K", line); /* only decoration */
        (void) fflush(f);
}

void progress_clear(FILE *f) {
        if (!isatty(fileno(f)))
                return;
        (void) fputs("\r\x1b[K", f); /* only decoration */
        (void) fflush(f);
}
