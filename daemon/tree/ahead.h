#pragma once

#include <stdbool.h>

#include "object/oid.h"

/* The ledger of what was fetched ahead: which policy asked for an object, until somebody uses it.
 * Every policy so has three counters (util/stats.h): useful, wasted, dropped. Any thread; no locks,
 * no allocation: looking up reads one cache line. It forgets at random when it is full. */

typedef enum AheadPolicy {
        AHEAD_NONE,     /* not fetched ahead, but followed like that: counts nothing */
        AHEAD_CHILDREN, /* sizes after a listing; the object is the tree */
        AHEAD_SIBLINGS, /* small files next to one that was read */
        AHEAD_WALK,     /* what a walk reads next */
        AHEAD_REPOS,    /* repositories that a walk enters next; the object is the commit */
        _AHEAD_POLICY_MAX,
} AheadPolicy;

/* Up to this a policy may remember with the object, for itself. */
#define AHEAD_TAG_MAX 0xfff

/* It was asked for. */
void ahead_note(AheadPolicy policy, const Oid *oid);
void ahead_note_tagged(AheadPolicy policy, const Oid *oid, unsigned tag);
/* Somebody uses it: counted as useful the first time. True, the policy and its tag if it was noted.
 */
bool ahead_take(const Oid *oid, AheadPolicy *ret_policy, unsigned *ret_tag);
void ahead_used(const Oid *oid);
/* It was asked for, and is not here (any more). */
void ahead_lost(const Oid *oid);
/* Somebody might have wanted n more, but a limit said no. */
void ahead_dropped(AheadPolicy policy, size_t n);
