#include "forge/retry.h"

#include <errno.h>
#include <sys/random.h>

#include "gitfs/macro.h"

#include "util/clock.h"
#include "util/stats.h"

#define BACKOFF_USEC (250 * USEC_PER_MSEC)

/* Half of the time, and up to as much again. */
static uint64_t backoff(unsigned n) {
        uint64_t usec = BACKOFF_USEC << MIN(n, 6u);
        uint32_t random = UINT32_MAX / 2;

        (void) getrandom(&random, sizeof(random), GRND_NONBLOCK); /* the middle will do */
        return usec / 2 + usec * random / UINT32_MAX;
}

static bool worth_another_try(int result, const Failure *failure) {
        switch (failure->class) {
        case FAILURE_RATE_LIMITED:
        case FAILURE_CORRUPT:
                return true;
        case FAILURE_SERVER:
                return result == -ECONNRESET || result == -ENODATA || failure->http_code >= 500;
        default:
                return false;
        }
}

bool retry_again(Retry *retry, int result, const Failure *failure, uint64_t *ret_when) {
        if (!worth_another_try(result, failure) || retry->n >= retry->max)
                return false;
        uint64_t now = now_usec();
        uint64_t when = MAX(now + backoff(retry->n), failure->retry_at_usec);
        if (when >= retry->deadline_usec)
                return false;
        if (retry->patience_usec > 0 && when - now > retry->patience_usec)
                return false;
        retry->n++;
        stat_add(STAT_HTTP_RETRIES, 1);
        *ret_when = when;
        return true;
}
