#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

/* Runs argv (found in $PATH), writes `input` to its standard input and collects at most
 * `max_output` bytes of its standard output; standard error is discarded. Blocks the calling thread
 * for at most timeout_usec, then kills the process. extra_env is a NULL-terminated list of
 * "KEY=VALUE" that replaces or extends our own environment; it may be NULL. Returns the exit status
 * (0..255), -ETIMEDOUT, -EFBIG, -EINTR when it died by a signal, or the errno of starting it. */
int subprocess_run(
        const char *const *argv,
        const char *const *extra_env,
        const void *input,
        size_t input_len,
        size_t max_output,
        uint64_t timeout_usec,
        Buf *ret_output);

/* The same, but kills the process and returns -ECANCELED once stop_fd (-1: none), which is not read
 * from, is readable. */
int subprocess_run_until(
        const char *const *argv,
        const char *const *extra_env,
        const void *input,
        size_t input_len,
        size_t max_output,
        uint64_t timeout_usec,
        int stop_fd,
        Buf *ret_output);
