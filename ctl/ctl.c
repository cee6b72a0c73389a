#include "ctl/ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/text.h"

_printf_(1, 0) static void complain(const char *fmt, va_list ap) {
        char text[2048];

        (void) vsnprintf(text, sizeof(text), fmt, ap); /* cut short is fine */
        text_sanitize(text);
        (void) fprintf(stderr, "gitfsctl: %s\n", text); /* nowhere left to complain to */
}

void ctl_error(const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        complain(fmt, ap);
        va_end(ap);
}

int ctl_usage_error(const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        complain(fmt, ap);
        va_end(ap);
        (void) fputs("Try `gitfsctl --help`.\n", stderr); /* as above */
        return EXIT_USAGE;
}

int ctl_flush(int status) {
        if (fflush(stdout) == 0 && !ferror(stdout))
                return status;
        ctl_error("cannot write the output: %m");
        return EXIT_FAILURE;
}
