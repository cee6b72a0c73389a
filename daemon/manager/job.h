#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "manager/manager.h"
#include "util/mutex.h"
#include "work/mailbox.h"

/* Long work that somebody watches, of any kind. A job belongs to the main thread; what does its
 * work reports from any thread. Embedded in what the kind needs besides. */

typedef struct Job Job;

typedef struct JobOps {
        const char *kind;  /* "prefetch" */
        const char *title; /* "Prefetch": for the log */
        /* Ends the work soon, after which job_end() is called with -ECANCELED. Main thread; also
         * when it has ended, and more than once. */
        void (*cancel)(Job *job);
        /* It has ended, and job->state says how. Main thread, once; not after the loop has ended.
         * May be NULL. */
        void (*ended)(Job *job);
        /* Frees what the kind added, and the job itself. No thread works for it any more. */
        void (*free)(Job *job);
} JobOps;

struct Job {
        const JobOps *ops;
        Manager *manager;
        uint32_t id;
        char *path;
        TAILQ_ENTRY(Job) entry;
        uint64_t expires_usec; /* 0 while it runs */
        JobState state;
        bool background; /* nobody asked for it: its failure is not logged */

        MailboxItem item;
        Mutex lock; /* guards what follows */
        bool posted, ended, cancelled;
        uint64_t reported_usec;
        uint64_t done, total, bytes, damaged;
        int result;
        Failure failure;
};

/* Prepares a job of this path: -EBUSY with the reason where there are too many. Nobody sees it
 * before job_add(), after which it is freed by ops->free; before that by job_done() and the caller.
 */
int job_init(Job *job, Manager *m, const JobOps *ops, const char *path, Failure *ret_failure);
void job_add(Job *job);
void job_done(Job *job);

/* As it is now. Main thread. */
void job_get_info(Job *job, JobInfo *ret);

/* Any thread. */
bool job_is_cancelled(Job *job);
void job_report(Job *job, uint64_t done, uint64_t total, uint64_t bytes);
/* How many objects were found damaged so far; goes out with the next report, or the end. */
void job_set_damaged(Job *job, uint64_t n);
/* Once, last: the work is over. */
void job_end(Job *job, int result, const Failure *failure);
