#pragma once

#include <stddef.h>

#include "forge/api-forge.h"
#include "util/buf.h"

/* FETCH_SIZES where it takes questions to an API, one after the other, until all sizes are known or
 * there is nothing left to ask. What is particular to a forge begins with SizeQuery. */
typedef struct SizeQuery SizeQuery;

typedef struct SizeQueryOps {
        size_t size;           /* of the struct that begins with SizeQuery; the rest is zeroed */
        unsigned max_requests; /* more are not sent for one fetch */
        unsigned max_beyond;   /* of those, when the directory that somebody looks at is told */
        /* Once, first, on a worker; may read the store. NULL: nothing. 0 or an errno. */
        int (*prepare)(SizeQuery *q);
        /* The next question: 1 with *ret_path as for api_call_start(), owned by the caller, and a
         * body if it is a POST; 0: there is none; or an errno. */
        int (*ask)(SizeQuery *q, char **ret_path, Buf *ret_body);
        /* Its answer: reports what it tells to q->sizes. 0 or an errno; -EOPNOTSUPP: this server
         * does not tell sizes this way. */
        int (*read)(SizeQuery *q, const ApiAnswer *answer);
        /* Frees what prepare() and the others made. NULL: nothing. */
        void (*done)(SizeQuery *q);
} SizeQueryOps;

struct SizeQuery {
        const SizeQueryOps *ops;
        ApiSource *source; /* a reference */
        Fetch *fetch;
        ApiSizes *sizes; /* owned */

        /* private */
        Task task;
        char *path; /* of the question under way; owned, as the body is */
        Buf body;
        size_t n_wanted;
        unsigned n_requests, n_beyond;
};

/* For ApiForgeOps.sizes. Where nothing is told, though all could be asked, it ends as -EOPNOTSUPP:
 * the blobs themselves are to be fetched then. */
void size_query_start(const SizeQueryOps *ops, ApiSource *source, Fetch *fetch);
