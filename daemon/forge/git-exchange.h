#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "forge/git-auth.h"
#include "forge/host-gate.h"
#include "forge/retry.h"
#include "util/buf.h"
#include "util/failure.h"

/* One question to a git server and its answer, however many requests that takes: it waits for its
 * turn at the gate, gets credentials when the server wants them, obeys "come back later", and tries
 * again after a lost connection, a 5xx or a damaged answer. Embedded in the operation that asks. */
typedef struct GitExchange GitExchange;
struct GitTransport;

typedef struct GitExchangeOps {
        /* Builds x->body for the next attempt, and gets ready to read its answer. 0 or an errno. */
        int (*prepare)(GitExchange *x);
        /* Bytes of an answer with status 200 and the right content type. A negative return ends the
         * attempt; verdict() is asked why. */
        int (*data)(GitExchange *x, const uint8_t *data, size_t len);
        /* The answer has ended, with what data() returned or 0: whether it was a good one. May set
         * *failure. -EBADMSG and -ENODATA, for damaged and for incomplete, are worth another try.
         */
        int (*verdict)(GitExchange *x, int result, Failure *failure);
        /* True if all that was asked for is here: then an answer that ends badly is good. NULL:
         * an answer counts as a whole. */
        bool (*satisfied)(const GitExchange *x);
        /* Exactly once, last; may free the exchange. */
        void (*done)(GitExchange *x, int result, const Failure *failure);
} GitExchangeOps;

struct GitExchange {
        /* Set by the operation: */
        const GitExchangeOps *ops;
        const ForgeContext *context;
        bool advertisement; /* asks what the server can do (over HTTP: GET info/refs), instead of
                               sending it a body */
        bool v2;            /* ask for protocol v2 */
        bool doubtful; /* made from what is believed of the server: an answer that makes no sense is
                          not asked for again */
        /* One attempt: nothing is tried again, asked for or followed. */
        bool once;
        /* Runs beside another exchange with the same host, which tells the gate whether that can be
         * reached. */
        bool aside;
        GitAuth auth; /* owned */
        FetchPriority priority;
        const atomic_bool *waited, *cancelled; /* as in Fetch */
        uint64_t deadline_usec;
        atomic_uint_least64_t *rtt_usec; /* kept up to date: Source.rtt_usec; NULL: nobody's */
        atomic_bool *held;               /* likewise: Fetch.held */
        const void *scope;               /* for whom (work/blame.h); NULL: not known */
        Buf body;                        /* owned; filled by prepare() */

        /* For the operation to read. The URL of the repository, without credentials; it changes
         * when an advertisement was redirected. Owned, NULL before the start. */
        char *base;
        int http_code; /* of the last answer; 0 where it has none */
        bool answered; /* git took the last request: what failed then, failed on its part */
        uint64_t first_byte_usec; /* what that took; 0 where it is not measured */

        /* private */
        const struct GitTransport *transport;
        char *origin;        /* made from base */
        char *effective_url; /* HTTP: where redirects led */
        size_t dropped;      /* bytes of an answer that is of no use */
        GateTicket ticket;
        Retry retry;
        Failure failure; /* why the transport has no use for the answer */
};

/* Asks the repository at this URL. Never blocks. done() may come before this returns. -ENOMEM,
 * -EINVAL: done() will not be called. */
int git_exchange_start(GitExchange *x, const char *base);
/* Frees what it owns, for done(). */
void git_exchange_done(GitExchange *x);
