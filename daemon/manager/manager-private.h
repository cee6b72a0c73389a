#pragma once

#include <stdatomic.h>
#include <sys/queue.h>

#include "forge/credential.h"
#include "forge/forge.h"
#include "forge/git-host.h"
#include "forge/host-gate.h"
#include "forge/ssh.h"
#include "fuse/session.h"
#include "manager/manager.h"
#include "store/documents.h"
#include "store/store.h"
#include "tree/namespace-admin.h"
#include "work/flight.h"
#include "work/mailbox.h"
#include "work/pool.h"

/* What the files of this layer share. Everything belongs to the main thread unless a comment says
 * otherwise. */

typedef struct Job Job;
typedef struct Probe Probe;
TAILQ_HEAD(JobList, Job);

struct Manager {
        sd_event *event; /* a reference */
        sd_event_source *mailbox_source, *tick_source;

        Config *config; /* what the forges were opened with: constant */
        char *system_config, *config_home, *runtime_directory, *mount_point;
        int log_level_override; /* -1: none */
        bool cache_override;    /* the cache directory was given on the command line */

        Pool *pool;
        FlightTable *flights;
        Mailbox *mailbox;
        Store *store;
        int cache_error;      /* negative errno: the store was opened without its directory; or 0 */
        Documents *documents; /* NULL where they cannot be kept */
        InboxBudget inbox_budget;
        HttpClient *http;
        HostGates *gates;
        Helpers *helpers;
        Credentials *credentials;
        GitHosts *git_hosts;
        SshClient *ssh;
        ForgeContext context;
        Namespace *ns;
        MountSession *session;

        struct JobList jobs;
        struct Pins *pins;
        Probe *probe; /* asks the mount whether it answers; NULL before */
        struct NetworkWatch *network;
        uint32_t next_job_id;
        unsigned n_token_calls;

        bool left; /* to a successor: the mount stays */
        bool ready;
        uint64_t careful_until_usec; /* 0: not */
        unsigned n_ticks;
        Task library_task; /* sets libgit2 up while the mount is made */
        Task poll_task;
        atomic_bool poll_queued; /* poll_task is on the pool */
        Task trim_task;          /* gives memory back to the system */
        atomic_bool trim_queued; /* trim_task is on the pool */
        Task room_task;          /* evicts what is over a lowered limit */
        atomic_uint room_wanted; /* how often since it was last done; 0: it is not on the pool */
        size_t heap_free;        /* bytes, and given back; trim_task only */
        ManagerObserver observer;
};

/* Runs `run` on the main thread soon. For pool threads: the only way back. The item is embedded in
 * what it is about. */
static inline void manager_post(Manager *m, MailboxItem *item) {
        mailbox_post(m->mailbox, item);
}

/* True in what runs once the loop has ended: there is no pool any more to start anything on. */
static inline bool manager_is_stopping(const Manager *m) {
        return !m->mailbox_source;
}

/* manager-config.c. Reads it all, and the options beside it: 0, or an error that is logged. */
int manager_load_config(Manager *m, const ManagerOptions *options);
/* What of the configuration is for whom. */
StoreConfig manager_store_config(const Config *c);
NsConfig manager_ns_config(const Manager *m, const Config *c);
uint64_t manager_documents_limit(const Config *c);

/* manager-mount.c. Mounts, or takes over what is inherited: -ESTALE where that cannot be done. */
int manager_start_mount(Manager *m, MountFds *inherited);
/* What the last process crashed on may be content that nobody has asked for, and nobody could be
 * told by an error: it is not fetched before this time, 0 for at once. */
void manager_be_careful(Manager *m, uint64_t until_usec);
static inline bool manager_is_careful(const Manager *m) {
        return m->careful_until_usec > 0;
}
/* Asks the mount something, and is ready once it has answered. */
int manager_start_probe(Manager *m);
/* Before the mount ends: nobody of ours asks it any more. NULL-safe. */
void probe_end(Probe *p);
/* When no thread runs any more. NULL-safe, returns NULL. */
Probe *probe_free(Probe *p);
DEFINE_CLEANUP(Probe *, probe_free)

/* manager-loop.c */
int manager_start_loop(Manager *m);

/* Reads orgs.d and shows every org in it; broken files are logged and left out. */
int manager_load_orgs(Manager *m);
/* Makes the orgs in the mount those of orgs.d. */
int manager_reload_orgs(Manager *m);
void manager_watch_orgs(Manager *m);

/* Writes the org's file and has it used: manager_set_token() for a token that is here already, and
 * is taken. */
int manager_store_token(
        Manager *m,
        const char *org,
        char *owned_token,
        ManagerDone done,
        void *userdata,
        Failure *ret_failure);
/* 0 with a reference to an org that can use a token. */
int manager_token_org(Manager *m, const char *name, Org **ret, Failure *ret_failure);

/* Jobs end by themselves after a cancel; they are freed when no thread runs any more. */
void manager_cancel_jobs(Manager *m);
void manager_free_jobs(Manager *m);
void manager_expire_jobs(Manager *m, uint64_t now);
