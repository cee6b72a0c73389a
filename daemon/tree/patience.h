#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "tree/tree-forward.h"
#include "util/failure.h"
#include "util/ref.h"
#include "work/flight.h"
#include "work/timer.h"

/* A question to a server that nobody waits for long: when DEMAND_PATIENCE_USEC are over, or the
 * question fails in a way that says nothing, what is remembered is shown instead.
 *
 * So there are two who may land the flight; the first one does. And there are two references to the
 * operation, in which this is embedded: that of the question, and that of the timer until it was
 * stopped or has run. A failure that says nothing is landed by the last of them, unless what is
 * remembered was shown. Any thread. */
typedef struct Patience Patience;
struct Patience {
        Namespace *ns;
        FlightKey key;
        /* Shows what is remembered, if anything is. Takes a reference. */
        void (*recall)(Patience *p);
        /* Frees the operation, of which nothing is left but memory. */
        void (*free)(Patience *p);

        /* private */
        Ref ref;
        Timer timer;
        bool stopped; /* the timer was, and its reference is the question's */
        atomic_bool landed, answering, recalled, denied;
        int result; /* what to land with in the end */
        Failure failure;
};

/* Of an operation of demand_start(), with one reference. */
void patience_init(Patience *p, Namespace *ns, const FlightKey *key);
/* From now on patience can end; takes another reference. Not a must. */
void patience_begin(Patience *p);
/* The server has begun to answer: it is worth waiting for, for as long as it does not fail. */
void patience_answering(Patience *p);

/* What is remembered is shown: lands the flight. True if it was denied meanwhile. */
bool patience_show(Patience *p);
/* The server says that it is not there, and then whether it was shown meanwhile: of the two at
 * least one sees what the other one did. */
void patience_deny(Patience *p);
bool patience_has_shown(Patience *p);
/* Lands the flight if nobody has. */
void patience_land(Patience *p, int result, const Failure *failure);

/* The question has its answer: first this, */
void patience_stop(Patience *p);
/* then patience_land(), or this where the answer is a failure that says nothing, */
void patience_fail(Patience *p, int result, const Failure *failure);
/* and last this, which may recall. Takes the reference of the question. */
void patience_end(Patience *p);
void patience_unref(Patience *p);
