#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "manager/manager.h"

/* What the files of the manager in memory share: see fake-manager.c. */

typedef struct FakeOrg {
        OrgConfig *config; /* owned */
        OrgState state;
        Failure failure;
        TAILQ_ENTRY(FakeOrg) link;
} FakeOrg;

typedef struct FakeJob {
        JobInfo info; /* path is owned */
        TAILQ_ENTRY(FakeJob) link;
} FakeJob;

typedef struct FakePin {
        char *path; /* owned */
        TAILQ_ENTRY(FakePin) link;
} FakePin;

/* A call that was accepted and is not done. */
typedef struct Pending {
        ManagerDone done;
        ManagerWhichDone which_done; /* instead of done */
        char *path;                  /* owned */
        void *userdata;
        int result;
        Failure failure;
        bool held;
        TAILQ_ENTRY(Pending) link;
} Pending;

struct Manager {
        char *mount_point, *runtime_directory;
        bool ready, knows_hosts, cache_full;
        ManagerObserver observer;
        sd_event_source *work; /* defer: one step of everything */
        TAILQ_HEAD(, FakeOrg) orgs;
        TAILQ_HEAD(, FakeJob) jobs;
        TAILQ_HEAD(, FakePin) pins;
        TAILQ_HEAD(, Pending) pending;
        uint32_t last_job;
};

FailureClass class_from_name(const char *name);
bool starts_with(const char *s, const char *prefix, const char **ret_rest);

/* fake-jobs.c: jobs, and the pins that they complete. */
void fake_jobs_done(Manager *m);
/* One step of each; false when none has more to do. */
bool fake_jobs_step(Manager *m);
/* Those whose minute is over. */
void fake_jobs_forget(Manager *m);
