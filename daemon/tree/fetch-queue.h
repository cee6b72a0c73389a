#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "tree/listing.h"
#include "tree/tree-forward.h"

/* The queue in which wants for blobs of one repository are merged into requests. Embedded in its
 * Repo, and guarded by its lock. */
typedef struct FetchQueue {
        Oid *wants[2]; /* waiting, read-ahead; rings would save a move, but queues are short */
        size_t n[2], cap[2];
        unsigned n_active; /* requests on their way */
        bool caught_up;    /* somebody waits for one of the read-ahead wants: the first of them */
} FetchQueue;

void fetch_queue_done(FetchQueue *q);

typedef struct BlobWant {
        Oid oid;
        uint64_t size; /* bytes; SIZE_UNKNOWN where nobody knows */
} BlobWant;

/* Fetches these blobs ahead, in this order, sending at once. Each gets a flight of its own, so that
 * a reader who comes joins it. `tree` says that these are nearly all blobs below that tree which
 * are not here, so that a request may name the tree instead; NULL: they are of no tree in
 * particular. Nothing waits: what the queue has no room for is dropped and counted. Any thread that
 * may block; no lock held. */
void fetch_queue_ahead(
        Namespace *ns,
        Repo *repo,
        const Oid *tree,
        const BlobWant *wants,
        size_t n,
        FetchPriority priority);
