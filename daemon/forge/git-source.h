#pragma once

#include <stdbool.h>

#include "forge/forge.h"
#include "forge/git-capabilities.h"
#include "util/mutex.h"

/* One repository on a smart-HTTP git server. Private to forge-git.c and git-*.c: the three ways to
 * fetch have a file each, and every fetch under way is an operation that holds a reference here. */
typedef struct GitSource {
        Source source;
        const ForgeContext *context;
        GitCapabilities capabilities; /* constant, but for object_info */
        atomic_bool object_info;      /* advertised, and has not failed yet */

        Mutex mutex;
        GitRefs first_refs; /* v0: told on lookup, good for the first FETCH_REF; guarded by mutex */
} GitSource;

/* Takes the refs of a v0 advertisement over. */
int git_source_new(
        const ForgeContext *context,
        const char *url,
        GitAdvertisement *advertisement,
        Source **ret);

/* Each takes care that fetch->done() comes, on a pool thread. */
void git_fetch_ref(GitSource *source, Fetch *fetch);
void git_fetch_objects(GitSource *source, Fetch *fetch);
void git_fetch_sizes(GitSource *source, Fetch *fetch);

/* Ends a fetch from a task of its own, for results that are known at once. failure may be NULL. */
void git_fetch_end(GitSource *source, Fetch *fetch, int result, const Failure *failure);
