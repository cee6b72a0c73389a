#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/pinned.h"
#include "tree/namespace-admin.h"

/* Bringing everything below a directory onto this machine: the trees, the sizes, and if asked the
 * files. */
typedef struct Prefetch Prefetch;

typedef struct PrefetchProgress {
        uint64_t done, total; /* files; total is 0 until the trees are known */
        uint64_t bytes;       /* of files that came so far */
} PrefetchProgress;

typedef struct PrefetchObserver {
        void (*progress)(const PrefetchProgress *progress, void *userdata);
        /* All trees are here: the objects that the target consists of, with the commit and the
         * trees that lead to it, and how many bytes they are as far as that is known. Before the
         * files are fetched, and again when they came. What it returns below 0 ends the prefetch,
         * with this failure. One at a time; may be NULL. */
        int (*listed)(const Pinned *objects, uint64_t bytes, Failure *ret_failure, void *userdata);
        /* Exactly once, last. -ECANCELED after prefetch_cancel(). */
        void (*done)(int result, const Failure *failure, void *userdata);
        void *userdata;
} PrefetchObserver;

/* Starts. Callbacks run on pool threads; progress() on several at a time, so that what it tells may
 * come out of order. *ret is a reference for prefetch_cancel(), to be dropped with
 * prefetch_unref(). -EINVAL where the path names no part of a repository. */
int prefetch_start(
        Namespace *ns,
        const NsTarget *target,
        bool contents,
        const PrefetchObserver *observer,
        Prefetch **ret);
/* Ends it soon, also in the middle of a transfer. Any thread; no lock held. */
void prefetch_cancel(Prefetch *p);
Prefetch *prefetch_unref(Prefetch *p);
DEFINE_CLEANUP(Prefetch *, prefetch_unref)
