#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "forge/http.h"
#include "store/store.h"
#include "util/failure.h"
#include "util/ref.h"
#include "work/pool.h"

/* The one interface behind which the kinds of org differ. A Forge stands for one configured org: it
 * lists repositories and finds one by name. A Source stands for one repository: it resolves refs
 * and brings objects into the store. Everything above sees only these; adding a kind of forge is
 * one file that fills the two tables.
 *
 * All operations are asynchronous: they return at once and call back on a pool thread, exactly
 * once. A callback may come before the starting call has returned. Callbacks hold no locks. Nothing
 * here caches names or refs (the tree layer does); what a server can do is cached here. */

typedef struct Forge Forge;
typedef struct Source Source;

/* What is asked of a server, and for what: the gates admit in this order. */
typedef enum FetchPriority {
        FETCH_WAITING,   /* somebody waits */
        FETCH_READAHEAD, /* files that are likely to be wanted next */
        FETCH_PREFETCH,  /* what a job was ordered to fetch; repositories that are wanted next */
        FETCH_REFRESH,   /* whether there is news of what is known; what was kept does not do */
} FetchPriority;

/* What all forges share; owned by the manager, outlives every forge. */
typedef struct ForgeContext {
        Pool *pool;
        HttpClient *http;
        Store *store;
        const Config *config; /* never changes while forges exist */
        struct HostGates *gates;
        struct Helpers *helpers; /* NULL: no program is asked for secrets */
        struct Credentials *credentials;
        struct Documents *documents; /* listings that are kept; NULL: none are */
        struct GitHosts *git_hosts;  /* what git servers can do */
        struct SshClient *ssh;       /* NULL: no org is reached over ssh */
        const char *config_home;     /* below it: credentials/ORG */
} ForgeContext;

/* How long a request may be held back by what a server allows: as long as somebody waits for it; 0:
 * until its deadline. */
static inline uint64_t forge_patience(const ForgeContext *context, FetchPriority priority) {
        return priority == FETCH_WAITING ? context->config->request_timeout_usec : 0;
}

/* --- org level --- */

typedef enum ForgeEntryKind {
        FORGE_REPO,
        FORGE_OWNER, /* holds repositories, and perhaps further owners: a user or an org in an org
                        that stands for a whole forge, a subgroup of GitLab */
} ForgeEntryKind;

typedef struct ForgeEntry {
        const char *name; /* one component of a path; as the server spells it, unchecked */
        ForgeEntryKind kind;
} ForgeEntry;

/* The listing of one directory above repositories, in the order of the server. What the org's
 * configuration leaves out (Include=, Exclude=, Archived=, Forks=) is left out.
 *
 * done(0) with a failure that has a class means: this is the list, but. FAILURE_SSO: what the token
 * is not authorized for is not in it. FAILURE_RENAMED: the owner has another name by now. */
typedef struct ForgeList ForgeList;
struct ForgeList {
        const char *owner; /* "" the org's own directory, else "torvalds", "group/subgroup";
                              borrowed until done */
        _Atomic(FetchPriority) priority; /* may be raised while it is under way */
        /* Asks nobody: what an earlier listing left on this machine. -ENODATA where there is
         * nothing. */
        bool kept;
        /* Pool threads, never two at a time. Returning false stops the listing. */
        bool (*found)(ForgeList *list, const ForgeEntry *entry);
        /* The end of a page: what was found so far can be shown. May be NULL. */
        void (*page)(ForgeList *list);
        void (*done)(ForgeList *list, int result, const Failure *failure);
};

typedef struct ForgeFound {
        ForgeEntryKind kind;
        Source *source; /* FORGE_REPO: a reference for the callback to keep; else NULL */
        bool unproven;  /* an owner that could not be asked for just now, and may not exist: not to
                           be believed for long */
} ForgeFound;

/* found is NULL unless result is 0. -ENOENT: no such repository or owner. */
typedef struct ForgeLookup ForgeLookup;
struct ForgeLookup {
        const char *owner, *name; /* borrowed from the caller until done; owner as in ForgeList */
        bool listed; /* a listing says that it is a repository: it need not be asked for
                        again */
        /* Source.url of the repository when it was found before: that is believed, and nobody is
         * asked. NULL: it was not, or that does not do. */
        const char *found_at;
        void (*done)(
                ForgeLookup *lookup, int result, const ForgeFound *found, const Failure *failure);
};

typedef struct ForgeOps ForgeOps;
struct ForgeOps {
        /* A listing takes long and is kept: one that is out of date is shown while it is asked for
         * again. */
        bool revalidates;
        /* ops: this table, which may be part of a larger one. */
        int (*open)(
                const ForgeOps *ops,
                const OrgConfig *org,
                const ForgeContext *context,
                Forge **ret,
                Failure *ret_failure);
        void (*close)(Forge *forge);
        void (*list)(Forge *forge, ForgeList *list);
        void (*lookup)(Forge *forge, ForgeLookup *lookup);
        void (*expect)(Forge *forge); /* NULL: there is nothing to prepare */
};

struct Forge {
        const ForgeOps *ops;
        Ref ref;
};

/* 0, or a negative errno with the reason (for a local org: the directory does not exist). Does not
 * touch the network. */
int forge_open(
        const OrgConfig *org, const ForgeContext *context, Forge **ret, Failure *ret_failure);
Forge *forge_ref(Forge *forge);
Forge *forge_unref(Forge *forge);
DEFINE_CLEANUP(Forge *, forge_unref)
void forge_list(Forge *forge, ForgeList *list);
void forge_lookup(Forge *forge, ForgeLookup *lookup);
/* Somebody looks at names there: a look-up may come. Asks nothing. Never blocks. */
void forge_expect(Forge *forge);

/* --- repository level --- */

typedef enum FetchKind {
        FETCH_REF,     /* resolve one name */
        FETCH_COMMIT,  /* oids[0] is a commit, or a tag that leads to one: it and all its trees
                          (blobs too where the server can't filter). A source on this machine brings
                          the root tree only */
        FETCH_TREES,   /* oids are trees: they and all trees below them; a source on this machine
                          brings just these */
        FETCH_BLOBS,   /* exactly these blobs */
        FETCH_CLOSURE, /* oids are trees, which need not be here: all blobs below them. The trees
                          come along where the server cannot leave them out. Also blobs, which then
                          share their request */
        FETCH_SIZES,   /* sizes of these blobs, without content where the server can, else
                          -EOPNOTSUPP. Ends well as soon as those are told that stand in Fetch.tree,
                          and when a server leaves some out of what it tells; or with -ENOENT when
                          it lacks some of those, and has told the others */
} FetchKind;

/* One request to a source. Owned by the caller, unchanged by it until done. */
typedef struct Fetch Fetch;
struct Fetch {
        FetchKind kind;
        FetchPriority priority;
        uint64_t deadline_usec; /* monotonic */
        /* Set by anybody while the fetch is under way: it ends soon, with -ECANCELED, and not
         * before its transfer has. NULL: nobody will. Must outlive the fetch. */
        const atomic_bool *cancelled;
        /* Set by anybody while the fetch is under way: somebody waits for it after all, or for a
         * part of it, so it is FETCH_WAITING, for its transfer as long as that is true. NULL:
         * nobody will. Must outlive the fetch. */
        const atomic_bool *waited;
        /* True while its request waits for its turn at its host, or to be tried again: the source
         * keeps it up to date. NULL: nobody asks. Relaxed: a hint. */
        atomic_bool *held;
        /* Of the flights that wait for it (work/blame.h); set by source_fetch(). */
        const void *scope;

        /* FETCH_REF: what to resolve, as the user wrote it: NULL for the default branch, "refs/..."
         * exactly, else a branch, tag or (abbreviated) commit id tried in that order: refs/heads/X,
         * refs/tags/X, 40 hex. */
        const char *refname;
        const Oid *oids; /* the other kinds */
        size_t n_oids;
        Oid have_tree; /* FETCH_COMMIT: a root tree that is in the store with all its trees; may be
                          none */
        /* FETCH_SIZES: the tree of the directory that somebody looks at, and the root tree above
         * it; both are in the store, and all oids lie below the root. Forges tell sizes by tree. */
        Oid tree, root;

        /* Each object that is now in the store; may be NULL. Pool threads, never two at a time. */
        void (*object)(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size);
        /* FETCH_SIZES: one known size. Pool threads, never two at a time. */
        void (*size)(Fetch *fetch, const Oid *oid, uint64_t size);
        /* Exactly once, last. 0: everything asked for is in the store (or reported through size).
         * Objects that arrived before a failure stay. May free the fetch. -EOPNOTSUPP means that
         * this server cannot do this kind: ask differently. */
        void (*done)(Fetch *fetch, int result, const Failure *failure);

        /* FETCH_REF, set before done(0); FETCH_COMMIT sets commit. For FETCH_SIZES the caller may
         * say which commit the root tree is of: */
        Oid commit;         /* peeled; none: the repository is empty (unborn branch) */
        char resolved[256]; /* the full name, "refs/heads/main"; the hex id for a commit; "" when
                               detached */
        bool moves;         /* a branch: it is worth polling. Tags and commits are not */
};

typedef struct SourceOps {
        void (*free)(Source *source);
        void (*fetch)(Source *source, Fetch *fetch);
} SourceOps;

struct Source {
        const SourceOps *ops;
        Ref ref;
        /* Set at construction, constant: */
        OidAlgo algo;
        char *url;              /* for people and user.gitfs.url; no credentials; owned */
        bool objects_in_memory; /* objects go to the store's memory tier: they are on this machine
                                   anyway */
        /* True once the server is known to answer FETCH_SIZES without content. Relaxed: a hint. */
        atomic_bool cheap_sizes;
        /* True once it is known that it does not: there is no need to ask. Likewise. */
        atomic_bool no_sizes;
        /* FETCH_SIZES is best asked for this many at a time; 0: for as many as there are.
         * Constant. */
        size_t sizes_per_fetch;
        /* What each of them takes on the wire, there and back; 0: that has little to do with how
         * many are asked for. Constant. */
        size_t bytes_per_size;
        /* How long the server takes to begin to answer, at best: a round trip, and little more.
         * The least of the last minutes, of all repositories of that host; 0: unknown, or no
         * network. Relaxed: a hint. */
        atomic_uint_least64_t rtt_usec;
        /* Of its fetches; NULL: not known. Set before the first one. */
        const void *scope;
};

Source *source_ref(Source *source);
Source *source_unref(Source *source);
DEFINE_CLEANUP(Source *, source_unref)
void source_fetch(Source *source, Fetch *fetch);
/* For sources: calls fetch->done() from a task of its own, with a result that is known at once.
 * failure may be NULL. Without memory for the task it is called here, with -ENOMEM. */
void source_fetch_end(Pool *pool, Fetch *fetch, int result, const Failure *failure);
static inline bool fetch_is_cancelled(const Fetch *fetch) {
        return fetch->cancelled && atomic_load_explicit(fetch->cancelled, memory_order_relaxed);
}

/* Rows of the table in forge.c; those with an API are in api-forges.h. */
extern const ForgeOps forge_local_ops;
extern const ForgeOps forge_git_ops;
