/* Which transfers read their sockets. The network thread's.
 *
 * While somebody waits for a transfer, others from the same host stand back: background ones from
 * the beginning, read-ahead while the answer is coming, because a walker waits for what was read
 * ahead most of the time. Of a transfer that stands back nothing is read, so that the server stops
 * when the window is full, and nothing is unpacked, because processors are shared as well. Where
 * somebody waits for a part of what comes, all of it is urgent: the part does not come alone.
 *
 * Nobody starves: who has stood back for HOLD_USEC goes on for GO_USEC, in turn. curl does not take
 * a paused transfer for a stalled one. */

#include <string.h>

#include "forge/http-transfer.h"
#include "util/clock.h"
#include "util/stats.h"

#define HOLD_USEC (900 * USEC_PER_MSEC)
#define GO_USEC (100 * USEC_PER_MSEC)
/* How often it is looked whether somebody waits by now, or whose turn it is. */
#define CHECK_MSEC 20

static HttpUrgency urgency(const HttpTransfer *t) {
        bool waited = t->waited && atomic_load_explicit(t->waited, memory_order_relaxed);

        return waited ? HTTP_WAITED_FOR : t->urgency;
}

static bool goes_before(const HttpTransfer *peer, const HttpTransfer *t, HttpUrgency u) {
        if (peer == t || urgency(peer) != HTTP_WAITED_FOR || strcmp(peer->origin, t->origin) != 0)
                return false;
        return u == HTTP_BACKGROUND || peer->head_ready; /* set by this thread only */
}

static bool must_stand_back(const HttpTransferList *active, const HttpTransfer *t) {
        const HttpTransfer *peer;
        HttpUrgency u = urgency(t);

        if (u == HTTP_WAITED_FOR)
                return false;
        LIST_FOREACH (peer, active, active_entry)
                if (goes_before(peer, t, u))
                        return true;
        return false;
}

static bool holds(const HttpTransferList *active, HttpTransfer *t) {
        if (!must_stand_back(active, t)) {
                t->back_since_usec = 0;
                return false;
        }
        uint64_t now = now_usec();
        if (t->back_since_usec == 0) {
                t->back_since_usec = now;
                stat_add(STAT_HTTP_HELD, 1);
        }
        return (now - t->back_since_usec) % (HOLD_USEC + GO_USEC) < HOLD_USEC;
}

int http_flow_run(const HttpTransferList *active) {
        HttpTransfer *t;
        bool any = false;

        LIST_FOREACH (t, active, active_entry) {
                if (urgency(t) == HTTP_WAITED_FOR && !t->held)
                        continue;
                bool hold = holds(active, t);
                if (hold != t->held)
                        http_transfer_hold(t, hold);
                any = true;
        }
        return any ? CHECK_MSEC : -1;
}
