#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

#include "util/failure.h"
#include "work/pool.h"

/* Single flight: any number of waiters for one key cause one piece of work. The first to join is
 * told to start it; the others wait; whoever does the work lands the flight and all waiters run,
 * each as a task of its own on the pool, with the same result. A result is not kept: it says only
 * that the work ended and how, and waiters look again in the caches. A failure is therefore never
 * cached here. */
typedef struct FlightTable FlightTable;
typedef struct FlightWaiter FlightWaiter;
typedef struct FlightKey FlightKey;

struct FlightKey {
        const void *scope; /* identity of what the key belongs to, for example a repository */
        uint32_t kind;
        uint8_t id[36]; /* zero padded */
};

/* Embedded in whatever waits, zeroed but for landed() and scope. At most one flight at a time. */
struct FlightWaiter {
        /* Runs on a pool thread exactly once per join that was not left: result is 0 or a negative
         * errno, failure is valid during the call. */
        void (*landed)(FlightWaiter *waiter, int result, const Failure *failure);
        /* Where the scope of the flight that it waits in is noted; NULL: nowhere. */
        atomic_uintptr_t *scope;

        /* private to flight.c */
        Task task;
        struct Flight *flight;  /* set while waiting: protected by the table's lock */
        struct Flight *outcome; /* set from landing until landed() runs */
        TAILQ_ENTRY(FlightWaiter) entry;
};

int flight_table_new(Pool *pool, FlightTable **ret);
/* All flights must have landed. */
FlightTable *flight_table_free(FlightTable *table);
DEFINE_CLEANUP(FlightTable *, flight_table_free)

/* Adds the waiter to the flight of this key. 1: the flight is new and the caller must see to it
 * that flight_land() is called for it; 0: joined one that is under way; -ENOMEM. Once this returned
 * 0 or 1 the waiter may already be running on another thread. waiter may be NULL: start if nobody
 * has (prefetch). */
int flight_join(FlightTable *table, const FlightKey *key, FlightWaiter *waiter);
/* Takes the waiter out before it runs: true if landed() will not be called any more, false if it
 * has been or will be (the caller sees to it that the waiter is still there). The flight goes on
 * for the others. */
bool flight_leave(FlightTable *table, FlightWaiter *waiter);
/* Ends the flight of this key; no-op when there is none (an object may arrive that nobody asked
 * for). Without a failure the waiters of one that went wrong get the text of the errno. */
void flight_land(FlightTable *table, const FlightKey *key, int result, const Failure *failure);
/* True while there is a flight for this key. */
bool flight_exists(FlightTable *table, const FlightKey *key);
size_t flight_count(FlightTable *table);
