#pragma once

#include <stddef.h>
#include <stdint.h>

#define SEGMENT_BYTES_NUMBER 7u /* that the file is of */

/* Puts right what a change of the bytes of a segment file has made wrong, as far as there is
 * something to be put right: its name and the checksums of the header, of each record, of the index
 * and of the trailer. So what a fuzzer changes is looked at, and not just refused. */
void segment_bytes_mend(uint8_t *data, size_t size);
