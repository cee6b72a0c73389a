#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tree/fetch-queue.h"

/* What the files of the queue and demand-blob.c share, and nobody else uses. */

/* So many wants a reader who has caught up takes along. */
#define FETCH_CAUGHT_UP_MAX 500

/* --- with the lock of the repository --- */

/* Into another batch, at its end. The one it was in is freed if it was queued, and holds nothing to
 * send any more. */
void fetch_want_move_locked(FetchQueue *q, Want *want, FetchBatch *to);
/* Among what readers wait for, to go out with it, alone; where there is no memory for that it stays
 * where it is. */
void fetch_queue_overtake_locked(FetchQueue *q, Want *want);
/* A queued batch leaves its lane. */
void fetch_queue_unqueue_locked(FetchQueue *q, FetchBatch *b);
/* A batch that is in no lane counts as on the wire from now on. */
void fetch_queue_sent_locked(FetchQueue *q, FetchBatch *b, uint64_t now);
/* Batches may be taken of it. */
bool fetch_feed_has_more(const FetchFeed *feed);

/* --- without it --- */

/* Sends what is queued, as far as it is its turn. */
void fetch_queue_kick(Namespace *ns, Repo *repo);
/* How far away the server is; 0: not known. */
uint64_t fetch_queue_rtt_usec(const Repo *repo);
/* Whoever waits for this blob, or follows it, goes on. */
void fetch_queue_land(
        Namespace *ns, Repo *repo, const Oid *oid, int result, const Failure *failure);
