#pragma once

#include <stddef.h>

#include "work/pool.h"

/* A serial executor on a pool: what is posted to one strand runs in order and never at the same
 * time, on whichever worker is free. It gives a transfer's body to a push parser without a thread
 * per transfer and without a lock held while parsing. */
typedef struct Strand Strand;

typedef struct StrandItem StrandItem;
struct StrandItem {
        void (*run)(StrandItem *item); /* may free the item */
        STAILQ_ENTRY(StrandItem) entry;
};

/* Reference counted: queued items keep their strand alive. */
int strand_new(Pool *pool, TaskPriority priority, Strand **ret);
Strand *strand_unref(Strand *strand);
DEFINE_CLEANUP(Strand *, strand_unref)

/* Never blocks; any thread. */
void strand_post(Strand *strand, StrandItem *item);
