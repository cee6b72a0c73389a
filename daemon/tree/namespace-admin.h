#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tree/namespace.h"
#include "tree/org.h"

/* The name space as the manager sees it: life cycle, orgs, refresh, flush, read-ahead. */

/* How much is fetched ahead. */
typedef struct NsAhead {
        bool children;          /* ask for sizes once a directory was listed */
        uint64_t sibling_limit; /* bytes of small files next to one that is read; 0 none */
        uint64_t walk_limit;    /* bytes ahead of a walk; 0 none */
        bool alone; /* no content is fetched for what else comes with it: only what is asked for */
} NsAhead;

typedef struct NsConfig {
        uint64_t request_timeout_usec;  /* for what is asked of forges */
        uint64_t negative_timeout_usec; /* "no such repository or ref" */
        uint64_t listing_limit;         /* bytes */
        uint64_t poll_interval_usec;    /* of orgs that set none; 0 never */
        NsAhead ahead;
} NsConfig;

int ns_new(
        const NsConfig *config, const ForgeContext *context, FlightTable *flights, Namespace **ret);
/* The same, taking over the nodes of another process, which must have ended. fd is the one that
 * ns_nodes_fd() gave there; taken on success. -EPROTO: it is of another version, or damaged: then
 * the kernel has to forget them all. Orgs are added as always, before the first call: what was of
 * an org that is not there any more is -ESTALE. */
int ns_new_from(
        const NsConfig *config,
        const ForgeContext *context,
        FlightTable *flights,
        int fd,
        Namespace **ret);
/* A memfd that holds at every moment what a successor has to know of the nodes. Borrowed; it never
 * changes. */
int ns_nodes_fd(const Namespace *ns);
/* How many nodes were taken over. */
size_t ns_n_recovered(const Namespace *ns);

/* How the kernel is told at once, on the calling thread. */
typedef struct NsTeller {
        /* It may take this name for something else, or believe that there is none: it shall look it
         * up again, and keep what it then hears is the same. */
        void (*expire)(uint64_t parent, const char *name, void *userdata);
        /* What it knows by this name has another one, or none. */
        void (*drop)(uint64_t parent, const char *name, void *userdata);
        /* It takes nothing more: what is left is a successor's to tell. */
        bool (*stopped)(void *userdata);
        void *userdata;
} NsTeller;
/* Tells it what the process before this one may not have told of branches that had moved; the first
 * time only. Of attributes and listings it does not speak: those of every directory that was taken
 * over are to be dropped in any case. Reads the disk, and waits for what is not there, as long as
 * it comes: five seconds without anything are the end of that. Before ns_stop(). */
void ns_retell(Namespace *ns, const NsTeller *teller);
/* The mount goes on with another process: ns_free() leaves the nodes as they are. No more calls of
 * the file system after this. */
void ns_keep_nodes(Namespace *ns);
/* Asks nothing of forges any more; waits until what was asked has been answered. Flights land with
 * -ECANCELED or their result. The forges' transports must be shut down by the caller at the same
 * time. */
void ns_stop(Namespace *ns);
/* After ns_stop(), when the kernel holds nothing any more. */
Namespace *ns_free(Namespace *ns);
DEFINE_CLEANUP(Namespace *, ns_free)
/* How often this org's branches are polled; 0 never. */
uint64_t ns_poll_interval(Namespace *ns, const Org *org);
void ns_set_config(Namespace *ns, const NsConfig *config);

#define NS_MAX_ORGS 1000u
/* -EEXIST, -E2BIG over NS_MAX_ORGS, or what forge_open() said. */
int ns_add_org(Namespace *ns, const OrgConfig *config, Failure *ret_failure);
/* -ENOENT. */
int ns_remove_org(Namespace *ns, const char *name);
/* Calls fn with each org, sorted by name, referenced, without locks; stops at a negative return. */
int ns_each_org(Namespace *ns, int (*fn)(Org *org, void *userdata), void *userdata);
Org *ns_get_org(Namespace *ns, const char *name);

typedef struct NsOrgObserver {
        void (*changed)(
                const char *org, void *userdata); /* pool threads; health or listing changed */
        void *userdata;
} NsOrgObserver;
void ns_set_org_observer(Namespace *ns, const NsOrgObserver *observer);

/* Starts the refresh of every branch that is in use and due. About once a second, from a pool
 * thread. */
void ns_poll(Namespace *ns);

/* Starts the listing of every org whose forge takes long for it. Does not wait. */
void ns_list_all(Namespace *ns);

/* --- walking to a path, which may need the network at every step --- */

typedef struct NsPath NsPath;

typedef struct NsTarget {
        Node *node; /* a reference, dropped after the callback */
        uint64_t id;
        uint32_t mode;
        uint64_t size;
        Org *org;           /* NULL at the root */
        Owner *owner;       /* the directory above repositories that it is, or is below; NULL at the
                               root */
        Checkout *checkout; /* NULL above repositories */
        Oid oid;            /* tree or blob; none above repositories */
} NsTarget;

/* Resolves "org/repo/dir/file" (relative to the root, "" is the root) and calls done exactly once,
 * on a pool thread: 0 with the target, or a negative errno. */
int ns_resolve(
        Namespace *ns,
        const char *path,
        void (*done)(int result, const NsTarget *target, const Failure *failure, void *userdata),
        void *userdata);

/* Keeps a target past its callback. */
void ns_target_ref(const NsTarget *target);
void ns_target_unref(Namespace *ns, const NsTarget *target);

/* Refreshes one checkout now, from what its server says after this call; done on a pool thread,
 * exactly once, unless it is NULL. */
int ns_refresh(
        Namespace *ns,
        Checkout *c,
        void (*done)(int result, const Failure *failure, void *userdata),
        void *userdata);

/* Looks names up again of which the server said, or the kernel believes, that they do not exist. */
void ns_forget_negatives(Namespace *ns, Org *org);
/* Asks for this listing again, likewise. Does nothing where it was never asked for. */
int ns_relist(
        Namespace *ns,
        Owner *owner,
        void (*done)(int result, const Failure *failure, void *userdata),
        void *userdata);

/* Whether the target's content (or listing) needs no network. */
bool ns_is_resident(Namespace *ns, const NsTarget *target);

/* Forgets parsed directories, negative answers, listings of orgs, repositories nobody uses. */
void ns_flush_memory(Namespace *ns);
/* Drops from the store what lies below the target, as far as it is known. Pool threads. */
void ns_flush_objects(Namespace *ns, const NsTarget *target);
/* Calls fn with the id, parent's id and name of every node the kernel knows below the target (all
 * of them for NULL). 0 or -ENOMEM. */
int ns_each_known(
        Namespace *ns,
        const NsTarget *below,
        void (*fn)(uint64_t id, uint64_t parent, const char *name, void *userdata),
        void *userdata);
