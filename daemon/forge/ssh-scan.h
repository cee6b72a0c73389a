#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Finds where an answer ends without looking at what it says: with the first flush packet. Embedded
 * by value; zeroed is the start of a packet. */
typedef struct SshScan {
        uint8_t header[4];
        unsigned n_header;
        uint32_t left; /* of the payload */
} SshScan;

/* How many of these bytes belong to the answer; *ret_end tells whether it ends behind them.
 * -EBADMSG for what are no packets. */
int64_t ssh_scan(SshScan *scan, const uint8_t *data, size_t len, bool *ret_end);
