#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "gitfs/macro.h"

/* gitfsctl: one run, one verb. Short-lived and single-threaded. */

/* Beside EXIT_SUCCESS and EXIT_FAILURE: the command line makes no sense. */
#define EXIT_USAGE 2

/* Options, as bits: a verb lists those that mean something to it. */
typedef enum CtlOption {
        OPTION_JSON = 1 << 0,
        OPTION_RUNTIME_DIRECTORY = 1 << 1,
        OPTION_FORGE = 1 << 2,
        OPTION_URL = 1 << 3,
        OPTION_REPO = 1 << 4,
        OPTION_POLL_INTERVAL = 1 << 5,
        OPTION_CONTENTS = 1 << 6,
        OPTION_WAIT = 1 << 7,
        OPTION_KERNEL = 1 << 8,
        OPTION_MEMORY = 1 << 9,
        OPTION_DISK = 1 << 10,
        OPTION_OWNER = 1 << 11,
        OPTION_API_URL = 1 << 12,
        OPTION_INCLUDE = 1 << 13,
        OPTION_EXCLUDE = 1 << 14,
        OPTION_ARCHIVED = 1 << 15,
        OPTION_FORKS = 1 << 16,
        OPTION_CLIENT_ID = 1 << 17,
        OPTION_TOKEN_STDIN = 1 << 18,
} CtlOption;

/* The values of an option that may be repeated. */
typedef struct CtlList {
        const char **items; /* owned array of n borrowed strings */
        size_t n, n_allocated;
} CtlList;

typedef struct Ctl {
        unsigned given; /* CtlOption */
        const char *runtime_directory;
        const char *forge;
        const char *url, *api_url;
        const char *owner;
        CtlList repos, include, exclude;
        bool archived, forks;
        const char *client_id;
        uint64_t poll_interval_usec;
        sd_bus *bus;       /* NULL until client_connect() */
        char *mount_point; /* NULL until client_mount_point() */
} Ctl;

static inline bool ctl_has(const Ctl *ctl, CtlOption option) {
        return (ctl->given & option) != 0;
}

/* Says what went wrong, on stderr; the text ends without a newline. */
void ctl_error(const char *fmt, ...) _printf_(1, 2);
/* The same for a command line that makes no sense; returns EXIT_USAGE. */
int ctl_usage_error(const char *fmt, ...) _printf_(1, 2);
/* Ends a verb: flushes stdout, so that a full disk behind a redirection is a failure. */
int ctl_flush(int status);
