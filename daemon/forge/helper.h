#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

#include "work/pool.h"

/* Programs that know secrets (gh, glab, git credential) take seconds, and some hang. They are
 * waited for on a few threads of their own, so that no worker ever is; of one server only a part
 * runs at a time, so that one that hangs leaves room for the others. */
typedef struct Helpers Helpers;
typedef struct HelperJob HelperJob;

#define HELPERS_MAX 4u
/* Of one server, where nothing speaks for less. */
#define HELPERS_PER_SERVER (HELPERS_MAX / 2)

/* Embedded in whatever waits. */
struct HelperJob {
        /* Runs the program, on a thread of the helpers. */
        void (*run)(HelperJob *job);
        /* Exactly once, on a pool thread, after run(), or instead of it: when the daemon stops
         * before it began. May free the job. NULL: nobody waits, run() is called in any case, and
         * frees the job. */
        void (*done)(HelperJob *job, bool cancelled);
        uint64_t server; /* a hash of it */
        unsigned limit;  /* no more of this server at a time; those of limit 1 run in order */

        /* private to helper.c */
        Helpers *helpers;
        Task task;
        bool cancelled;
        TAILQ_ENTRY(HelperJob) entry;
};

/* The pool is where done() is called; it must be there until helpers_stop() has returned, and
 * longer while its own tasks submit jobs. */
int helpers_new(Pool *pool, Helpers **ret);
/* Waits until all jobs have run. */
Helpers *helpers_free(Helpers *h);
DEFINE_CLEANUP(Helpers *, helpers_free)

/* Never blocks; any thread. */
void helpers_submit(Helpers *h, HelperJob *job);
/* The process ends: jobs that somebody waits for are cancelled, now and from now on. Those that run
 * must end soon, because the descriptor, which lives as long as this, is readable; they are waited
 * for. */
void helpers_stop(Helpers *h);
int helpers_stop_fd(const Helpers *h);
