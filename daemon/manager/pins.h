#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "manager/job.h"
#include "manager/manager.h"
#include "store/pinned.h"
#include "tree/tree-forward.h"

/* What is pinned: kept complete by jobs of kind "pin", which start again when the branch moved,
 * something was lost or damaged, or the last one failed, and exempt from eviction. Belongs to the
 * main thread but for pins_job_listed(). */
typedef struct Pins Pins;

#define PINS_MAX 1000u

/* Reads the list of pins, and what was pinned when the last process ended, which is kept from the
 * first moment. Fetching begins with the first pins_tick(). 0 or -ENOMEM: what cannot be read is
 * logged. */
int pins_new(Manager *m, Pins **ret);
/* When the pool and the jobs are gone. */
Pins *pins_free(Pins *p);

/* About once a second. */
void pins_tick(Pins *p, uint64_t now);
/* Orgs or the cache changed: all pins are looked at again, at once. */
void pins_check(Pins *p);
/* What failed is tried at once. */
void pins_retry(Pins *p);
/* The list may have been edited. */
void pins_reload(Pins *p);

/* Of a pin's job: what it needs (any thread), and how it ended. */
int pins_job_listed(Job *job, const Pinned *objects, uint64_t bytes, Failure *ret_failure);
void pins_job_ended(Job *job, Checkout *checkout, const Oid *commit);

/* job-prefetch.c: background: nobody waits for it. */
int manager_start_pin_job(
        Manager *m, const char *path, bool background, uint32_t *ret_job, Failure *ret_failure);
