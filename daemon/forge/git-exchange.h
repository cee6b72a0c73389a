#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/credential.h"
#include "forge/forge.h"
#include "forge/host-gate.h"
#include "forge/http.h"
#include "util/buf.h"
#include "util/failure.h"

/* One question to a git server and its answer, however many requests that takes: it waits for its
 * turn at the gate, gets credentials when the server wants them, obeys "come back later", and tries
 * again after a lost connection, a 5xx or a damaged answer. Embedded in the operation that asks. */
typedef struct GitExchange GitExchange;

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
        bool advertisement; /* GET info/refs, instead of POST git-upload-pack */
        bool v2;            /* ask for protocol v2 */
        FetchPriority priority;
        uint64_t deadline_usec;
        Buf body; /* owned; filled by prepare() */

        /* For the operation to read. The URL of the repository, without credentials; it changes
         * when an advertisement was redirected. Owned, NULL before the start. */
        char *base;
        int http_code; /* of the last answer */

        /* private */
        char *origin, *url;  /* made from base */
        char *effective_url; /* where redirects led */
        size_t dropped;      /* bytes of an answer that is of no use */
        GateTicket ticket;
        Credential credential; /* what the request under way was sent with */
        unsigned attempts;     /* repetitions so far */
        unsigned refusals;     /* answers 401 so far */
        Failure failure;       /* of the response's status */
};

/* Asks the repository at this URL. Never blocks. done() may come before this returns. -ENOMEM,
 * -EINVAL: done() will not be called. */
int git_exchange_start(GitExchange *x, const char *base);
/* Frees what it owns, for done(). */
void git_exchange_done(GitExchange *x);
