#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tree/namespace.h"
#include "work/flight.h"

#define FAKE_NODES_MAX 20000

/* A name space in memory that does what a test tells it: tree/namespace.h without a forge, a store
 * or a cache. Any thread. */

typedef enum FakeMode {
        FAKE_RESIDENT,      /* answers */
        FAKE_PARKS,         /* waits for fake_land() */
        FAKE_BLOCKS,        /* answers only where it may block */
        FAKE_FAILS,         /* fails with the error it was given */
        FAKE_ABORTS,        /* ends the process */
        FAKE_ABORTS_BEHIND, /* waits, and what it waits for ends the process, on another thread */
        FAKE_BOUNCES,       /* lands at once and is never there: a cache that is too small */
} FakeMode;

Namespace *fake_new(FlightTable *flights);
Namespace *fake_free(Namespace *ns);
/* From now on the kernel's references are counted in counts[id], which starts as a predecessor left
 * it: FAKE_NODES_MAX of them, not owned. Before the first call. */
void fake_share_counts(Namespace *ns, uint64_t *counts);

/* Return the new node's id. New nodes are resident. A name that exists is replaced. */
uint64_t fake_add_dir(Namespace *ns, uint64_t parent, const char *name);
uint64_t fake_add_file(Namespace *ns, uint64_t parent, const char *name, const char *content);
uint64_t fake_add_link(Namespace *ns, uint64_t parent, const char *name, const char *target);

/* What asking for this node's content, its listing, or a name in it does from now on. */
void fake_set_mode(Namespace *ns, uint64_t id, FakeMode mode, int error);
/* Answers those that wait for a node. With 0 it is resident from then on, with an error it fails:
 * the kernel reads a page again by itself when reading ahead has failed. */
void fake_land(Namespace *ns, uint64_t id, int result, const Failure *failure);

/* Lands what is still in the air with ECANCELED. */
void fake_land_all(Namespace *ns);

/* Returns when at least n calls have parked since the name space was made. */
void fake_wait_parked(Namespace *ns, unsigned n);
/* Returns when the kernel holds no more than n references altogether. */
void fake_wait_kernel_refs(Namespace *ns, uint64_t n);

/* References that the kernel ever got. */
uint64_t fake_refs_given(Namespace *ns);
/* ObjectRefs handed out and not given back. */
unsigned fake_contents_in_use(Namespace *ns);
/* Calls that were allowed to block. */
unsigned fake_n_blocking(Namespace *ns);
