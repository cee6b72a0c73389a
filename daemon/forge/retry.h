#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/failure.h"

/* Whether and when a request that failed is sent again, the same for git and for APIs: after a lost
 * connection, an incomplete or damaged answer, a 5xx, or when the server said when to come back. */
typedef struct Retry {
        unsigned max;           /* repetitions */
        uint64_t deadline_usec; /* monotonic; not to be waited for any longer than until then */
        uint64_t patience_usec; /* nor longer than this at a time; 0: as long as that */
        unsigned n;             /* repetitions so far; counted here */
} Retry;

/* True: send it again, not before *ret_when (monotonic). */
bool retry_again(Retry *retry, int result, const Failure *failure, uint64_t *ret_when);
