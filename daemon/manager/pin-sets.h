#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "store/documents.h"
#include "store/pinned.h"
#include "store/store.h"
#include "util/failure.h"
#include "util/mutex.h"
#include "work/pool.h"

/* Which objects each pin needs. The union goes to the store, which keeps them; each set into a
 * document of its own, so that the next process keeps them from its first moment. Sets are made and
 * dropped by one thread. */

/* What one pin needs; owned by the PinSets. */
typedef struct PinSet {
        TAILQ_ENTRY(PinSet) entry;
        char *key; /* of its document */

        /* guarded by PinSets.lock */
        uint32_t job;   /* that may tell what is needed; 0: none */
        bool told;      /* the last job has */
        Pinned objects; /* sealed */
        uint64_t bytes;
        bool noted;   /* the document says the same */
        bool dropped; /* nobody's any more: goes with its document */
} PinSet;

typedef struct PinSets {
        Store *store;
        Documents *documents; /* NULL where they cannot be kept */
        Pool *pool;
        Task task;

        Mutex lock;
        TAILQ_HEAD(PinSetList, PinSet) list;
        bool publishing; /* the task is on the pool */
        bool changed;    /* since it last began */
} PinSets;

void pin_sets_init(PinSets *s, Store *store, Documents *documents, Pool *pool);
/* When the pool is gone. */
void pin_sets_done(PinSets *s);

/* The set of the pin of this path, empty: 0 or -ENOMEM. */
int pin_set_new(PinSets *s, const char *path, PinSet **ret);
/* Tells the store what the documents of all sets say. Before there is traffic. */
void pin_sets_load(PinSets *s);
/* It needs nothing any more, and neither does the next process keep anything for it. */
void pin_set_drop(PinSets *s, PinSet *set);

/* The job whose word counts; 0: nobody's. */
void pin_set_expect(PinSets *s, PinSet *set, uint32_t job);
/* Of that job, on any thread: 0; -ECANCELED if it is no set's; -EFBIG with the reason if all sets
 * together would be too large: then this one is empty, or what it was where it would fit without
 * those whose own jobs have not told yet. */
int pin_sets_tell(
        PinSets *s, uint32_t job, const Pinned *objects, uint64_t bytes, Failure *ret_failure);
/* It needs nothing, for now, unless its last job has told otherwise. */
void pin_set_clear(PinSets *s, PinSet *set);
/* Of the cache; 0 while unknown. */
uint64_t pin_set_bytes(PinSets *s, PinSet *set);
