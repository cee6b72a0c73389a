#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "config/config.h"
#include "forge/host-gate.h"
#include "manager/fd-store.h"
#include "util/failure.h"

/* Owns every long-lived object and wires the layers together: start, reload, stop. The bus layer
 * calls it and is told about changes through an observer, so that the arrow between the two points
 * one way.
 *
 * Everything here is called on the main thread, never blocks, and reports long work through
 * callbacks that run on the main thread too. */
typedef struct Manager Manager;

typedef struct ManagerOptions {
        const char *mount_point;       /* NULL: from the configuration */
        const char *runtime_directory; /* NULL: $XDG_RUNTIME_DIR/gitfsd */
        const char *system_config;     /* NULL: SYSCONFDIR/gitfs */
        const char *config_home;       /* NULL: $XDG_CONFIG_HOME/gitfs */
        const char *cache_directory;   /* NULL: from the configuration */
        int log_level;                 /* -1: from the configuration */
        MountFds inherited;            /* taken */
} ManagerOptions;

/* Reads the configuration, opens the store, mounts or takes over what was inherited, starts
 * threads. Fails with the reason logged; -ESTALE: with nothing inherited it may succeed. */
int manager_new(sd_event *event, const ManagerOptions *options, Manager **ret);
/* To be followed by manager_free(), which then leaves the mount, and whoever waits in it, to a
 * successor. */
void manager_leave(Manager *m);
/* Answers or fails every request, unmounts, joins all threads. */
Manager *manager_free(Manager *m);
DEFINE_CLEANUP(Manager *, manager_free)

const char *manager_mount_point(const Manager *m);
const char *manager_runtime_directory(const Manager *m);
bool manager_ready(const Manager *m); /* the mount has answered */

/* Re-reads all configuration: 0, or -EINVAL with the reason (the old one stays in force). What
 * cannot change while mounted is logged. */
int manager_reload(Manager *m, Failure *ret_failure);

/* --- orgs --- */

typedef enum OrgState {
        ORG_STATE_IDLE, /* nothing asked of it yet */
        ORG_STATE_OK,
        ORG_STATE_NOTICE,  /* it works, but: failure says what is missing */
        ORG_STATE_FAILING, /* the last request failed: failure says why */
} OrgState;

typedef struct OrgInfo {
        const OrgConfig *config;     /* valid during the call */
        uint64_t poll_interval_usec; /* in force: the daemon's where the org sets none */
        OrgState state;
        Failure failure;      /* while FAILING or NOTICE */
        unsigned n_repos;     /* seen so far */
        unsigned n_checkouts; /* open now */
} OrgInfo;

/* Calls fn for each org, sorted by name. A negative return ends it and is returned. */
int manager_each_org(Manager *m, int (*fn)(const OrgInfo *info, void *userdata), void *userdata);
/* 1 or 0. */
int manager_get_org(Manager *m, const char *name, OrgInfo *ret);
/* Writes orgs.d/NAME.conf and shows the org in the mount. -EEXIST, -EINVAL (bad name, URL,
 * directory) with the reason. */
int manager_add_org(Manager *m, const OrgConfig *config, Failure *ret_failure);
/* Removes orgs.d/NAME.conf, or hides the system's file of that name. -ENOENT. Paths below it are
 * gone at once; open descriptors keep working. */
int manager_remove_org(Manager *m, const char *name, Failure *ret_failure);

/* --- paths; relative to the mount, as of path_below(): "org/repo/dir" --- */

typedef void (*ManagerDone)(int result, const Failure *failure, void *userdata);

typedef struct WhichInfo {
        /* "" where it does not apply; owner: between org and repo */
        const char *org, *owner, *repo, *ref, *commit, *url, *oid, *type, *path;
        uint64_t size;
        bool resident; /* the content (or listing) needs no network */
} WhichInfo;
typedef void (*ManagerWhichDone)(
        int result, const WhichInfo *info, const Failure *failure, void *userdata);
int manager_which(Manager *m, const char *path, ManagerWhichDone done, void *userdata);

/* Ends when the kernel has been told of every change made so far, so that whoever was told that it
 * is done sees it in the mount. The other calls that end with ManagerDone include this. */
int manager_settle(Manager *m, ManagerDone done, void *userdata);

/* Polls now: the checkout that the path lies in, all of an org, or everything for "". */
int manager_refresh(Manager *m, const char *path, ManagerDone done, void *userdata);

typedef enum FlushFlags {
        FLUSH_KERNEL = 1 << 0, /* dentries, attributes, page cache */
        FLUSH_MEMORY =
                1 << 1, /* parsed listings, memory tier, what is remembered of names and refs */
        FLUSH_DISK = 1 << 2, /* objects; of the whole mount: kept listings too */
} FlushFlags;
/* "" flushes everything. */
int manager_flush(Manager *m, unsigned flags, const char *path, ManagerDone done, void *userdata);

/* --- jobs --- */

typedef enum JobState {
        JOB_RUNNING,
        JOB_DONE,
        JOB_FAILED,
        JOB_CANCELLED,
} JobState;

typedef struct JobInfo {
        uint32_t id;
        const char *kind; /* "prefetch" */
        const char *path; /* of "verify": the cache's directory */
        JobState state;
        uint64_t done, total; /* objects; total grows while trees are walked, 0 while unknown */
        uint64_t bytes;
        uint64_t damaged; /* objects that "verify" has found so, and dropped */
        int result;
        Failure failure;
} JobInfo;

const char *job_state_name(JobState state);
/* Brings the listings below path, and with contents the files too, into the store. */
int manager_prefetch(
        Manager *m, const char *path, bool contents, uint32_t *ret_job, Failure *ret_failure);
/* Reads and hashes everything in the cache's directory, and drops what is damaged: it is fetched
 * again when it is wanted. -EBUSY while that is being done. */
int manager_verify(Manager *m, uint32_t *ret_job, Failure *ret_failure);
int manager_get_job(
        Manager *m, uint32_t id, JobInfo *ret); /* 1 or 0; finished jobs stay for a minute */
int manager_each_job(Manager *m, int (*fn)(const JobInfo *info, void *userdata), void *userdata);
int manager_cancel_job(Manager *m, uint32_t id); /* -ENOENT */

/* --- pins --- */

typedef enum PinState {
        PIN_WAITING, /* for its turn */
        PIN_FETCHING,
        PIN_COMPLETE,
        PIN_INCOMPLETE, /* failure says why; it is tried again */
} PinState;

typedef struct PinInfo {
        const char *path; /* valid during the call */
        PinState state;
        uint64_t done, total; /* files; total is 0 while unknown */
        uint64_t bytes;       /* of the cache that are kept for it; 0 while unknown */
        int result;           /* negative while PIN_INCOMPLETE */
        Failure failure;
} PinInfo;

const char *pin_state_name(PinState state);
/* Keeps the path complete from now on: trees, sizes and files, also where its branch moves and when
 * the daemon starts again. The job is the one that completes it, of kind "pin". What does not exist
 * or does not fit is pinned no longer when that has failed; anything else is tried again. -EINVAL
 * with the reason. */
int manager_pin(Manager *m, const char *path, uint32_t *ret_job, Failure *ret_failure);
/* -ENOENT where it is not pinned. */
int manager_unpin(Manager *m, const char *path, Failure *ret_failure);
int manager_each_pin(Manager *m, int (*fn)(const PinInfo *info, void *userdata), void *userdata);

/* --- state --- */

/* What is known of the servers; as host_gates_each(). */
int manager_each_host(Manager *m, int (*fn)(const GateInfo *info, void *userdata), void *userdata);

const char *manager_cache_directory(const Manager *m);
/* Why what is fetched now is kept in memory and not in that directory: a constant text, "" where
 * all is well. */
const char *manager_cache_error(Manager *m);

/* Refreshes the gauges that are computed on demand (store usage); then read util/stats.h. */
void manager_update_stats(Manager *m);

typedef struct ManagerObserver {
        void (*org_added)(const char *name, void *userdata);
        void (*org_removed)(const char *name, void *userdata);
        void (*org_changed)(const char *name, void *userdata); /* state; coalesced */
        void (*job_added)(uint32_t id, void *userdata);
        void (*job_changed)(
                uint32_t id, void *userdata); /* at most about 10 times a second per job */
        void (*job_removed)(uint32_t id, void *userdata);
        void (*ready)(void *userdata);
        void *userdata;
} ManagerObserver;
/* One observer, or NULL. */
void manager_set_observer(Manager *m, const ManagerObserver *observer);
