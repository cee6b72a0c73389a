#pragma once

#include "forge/forge.h"
#include "forge/git-capabilities.h"
#include "forge/git-early-refs.h"
#include "forge/git-exchange.h"
#include "forge/git-response.h"

/* Asks a repository for its advertisement: whether it is there, and what its server can do.
 * Embedded in what asks, zeroed but for what is named here. */
typedef struct GitInquiry GitInquiry;
struct GitInquiry {
        GitExchange exchange; /* context, auth, priority, deadline_usec: set by whoever asks */
        /* Exactly once per start, on a pool thread; may start it again or free it. A SHA-256
         * repository is a failure. */
        void (*done)(GitInquiry *inquiry, int result, const Failure *failure);
        /* Asks for the refs that refname can mean in the same breath (git-early-refs.h), if it can.
         * When that works out they are in the advertisement as if it had told them. */
        bool with_refs;
        const char *refname;            /* borrowed until done(); NULL: the default branch */
        GitAdvertisement advertisement; /* complete in done(0); may be taken over */
        /* private */
        GitResponse response;
        GitEarlyRefs *early;
};

/* As git_exchange_start(). */
int git_inquiry_start(GitInquiry *inquiry, const char *base);
void git_inquiry_done(GitInquiry *inquiry);
