#pragma once

#include <stdint.h>
#include <sys/queue.h>

#include "util/htable.h"

/* READs that have just failed: see failed-read.c. Embedded in the table of requests, whose lock
 * guards it. */

typedef TAILQ_HEAD(FailedReadList, FailedRead) FailedReadList;

typedef struct FailedReads {
        HTable by_node;
        FailedReadList list; /* the oldest first */
} FailedReads;

void failed_reads_init(FailedReads *f);
void failed_reads_done(FailedReads *f);

/* A READ of this node fails with this negative errno; before it is answered. Without memory that is
 * not noted. */
void failed_reads_add(FailedReads *f, uint64_t id, int error, uint64_t now);
/* What one has failed with a moment ago, or 0. */
int failed_reads_find(const FailedReads *f, uint64_t id, uint64_t now);
