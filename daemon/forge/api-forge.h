#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "config/config.h"
#include "forge/api.h"
#include "forge/forge.h"
#include "forge/json.h"
#include "forge/secret.h"
#include "util/failure.h"
#include "util/mutex.h"
#include "work/flight.h"

/* What all forges with an HTTP API have in common: listings that come in pages, are kept and asked
 * for again on condition; look-ups that go to git, and to the API for the reason when git refuses;
 * repositories that are git's, with sizes from the API. What differs is ApiForgeOps: URLs on the
 * way there, JSON on the way back. Filling it in takes no state, no threads and no request.
 *
 * Owners, as the functions below see them, are paths on the forge: Owner= of the org, and what
 * stands below it in the mount: "acme", "group/subgroup". "" is the whole forge, "@me" the owner of
 * the token (in listings only: everywhere else it has got its real name). They come from a user or
 * a server, and hold anything but NUL and empty components; api_path() makes URLs of them.
 *
 * All functions but sizes() and ref() return at once, on any thread, and several may run for one
 * forge at the same time. A negative return is an errno; of answers, -EBADMSG for what makes no
 * sense. Members that are missing, null or of the wrong type make an entry unusable, not the page:
 * it is left out. */

typedef struct ApiForge ApiForge;
typedef struct ApiSource ApiSource;

/* --- listings --- */

/* One page of a listing. A listing is the first of its alternatives (an org, else a user) that is
 * not answered 404 in its first part; the parts of an alternative (projects, then subgroups) follow
 * each other, each of any number of pages. All count from 0. */
typedef struct ApiListing {
        const char *owner;
        unsigned alternative, part;
        unsigned page;   /* within the part */
        const char *url; /* what was asked for; NULL in list_url() */
} ApiListing;
/* Its owner is "@me". */
bool api_listing_is_own(const ApiListing *listing);

enum {
        API_ENTRY_ARCHIVED = 1 << 0,
        API_ENTRY_FORK = 1 << 1,
        API_ENTRY_DISABLED = 1 << 2, /* by the forge: it refuses access */
        API_ENTRY_EMPTY = 1 << 3,    /* no commit yet */
        _API_ENTRY_ALL = (1 << 4) - 1,
};

/* What list_page() fills; see api-listing.h. */
typedef struct ApiPage ApiPage;
/* Copies the name, which is the last component of the repository's path. What cannot be a name in a
 * directory ("..", with a slash, too long) is left out here. 0, -ENOMEM, -E2BIG. */
int api_page_add(ApiPage *page, ForgeEntryKind kind, const char *name, unsigned flags);
/* Where the next page is: "/path" below the API's base, or a URL that leads to the same server; ""
 * or NULL: this was the last one. Unless called, rel="next" of the Link header says. */
int api_page_set_next(ApiPage *page, const char *path);

/* --- repositories --- */

/* What the API says of one repository. */
typedef struct ApiRepo {
        char *owner, *name; /* as the server spells them; owned */
        unsigned flags;     /* API_ENTRY_* */
} ApiRepo;
void api_repo_done(ApiRepo *repo);
#define _cleanup_api_repo_ _cleanup_(api_repo_done)

/* --- what differs --- */

typedef struct ApiForgeOps {
        ForgeOps forge; /* API_FORGE_OPS */
        size_t size;    /* of the struct that begins with ApiForge; what is behind that is zeroed */
        const ApiDialect *dialect;
        /* An owner may hold owners: a name of which nothing is known can be either. */
        bool nests;
        /* A repository that no listing names is looked for through the API before git. */
        bool api_first;
        /* Source.sizes_per_fetch. */
        size_t sizes_per_fetch;
        /* Whose budget questions take, apart from that of git; NULL: "rest". */
        const char *resource;

        /* The base of the API and the one below which repositories are, both without a slash at the
         * end. org->url is "" for the public instance, and has no slash at the end either. ApiUrl=
         * is none of its business: it replaces *ret_api_base. Owned by the caller. */
        int (*place)(
                const OrgConfig *org, char **ret_api_base, char **ret_git_base, Failure *failure);
        /* After the rest is there, and before it goes: for what a forge adds to ApiForge. NULL:
         * nothing. */
        int (*opened)(ApiForge *forge);
        void (*closing)(ApiForge *forge);

        /* Who "@me" is; NULL: there are no own repositories. The name is borrowed from json. */
        const char *identity_path;
        const char *(*identity)(const Json *json);

        /* The first page of a part. 1 and *ret; 0: there is no such part, or alternative. No part 0
         * of alternative 0: the forge does not list this (the whole of github.com). */
        int (*list_url)(const ApiForge *forge, const ApiListing *listing, char **ret);
        int (*list_page)(
                const ApiForge *forge,
                const ApiListing *listing,
                const ApiAnswer *answer,
                ApiPage *page);

        /* Whether there is such an owner. Alternatives are asked while they are answered 404, or
         * owner() says 0. owner(): 1 there is; 0 not. */
        int (*owner_url)(
                const ApiForge *forge, const char *owner, unsigned alternative, char **ret);
        int (*owner)(const ApiForge *forge, const char *owner, const ApiAnswer *answer);

        /* What the API says of a repository; alternatives as above. repo(): 1 and *ret (zeroed
         * before); 0: it is not there after all; or negative with the failure: not to be had now
         * (Mesa: still syncing). */
        int (*repo_url)(
                const ApiForge *forge,
                const char *owner,
                const char *name,
                unsigned alternative,
                char **ret);
        int (*repo)(const ApiForge *forge, const ApiAnswer *answer, ApiRepo *ret, Failure *failure);

        /* NULL: <git base>/<owner>/<name>.git. */
        int (*git_url)(const ApiForge *forge, const char *owner, const char *name, char **ret);

        /* FETCH_SIZES, as SourceOps.fetch: reports what it finds through fetch->size(), only of
         * fetch->oids and each once (ApiSizes helps), and ends with fetch->done() on a pool thread.
         * Not called where git tells sizes itself. NULL: the API does not tell. */
        void (*sizes)(ApiSource *source, Fetch *fetch);

        /* FETCH_REF, if the API is the better one to ask: true, and fetch->done() will come; false:
         * git is asked, as it is if api_source_fetch_git() is called later. What the API does not
         * have is for git to say. NULL: never. */
        bool (*ref)(ApiSource *source, Fetch *fetch);

        /* Where one blob is to be had as it is, for when git fails; and the Accept: that says so.
         * NULL: nowhere. May read the store. */
        int (*blob_path)(const ApiSource *source, const Oid *oid, char **ret);
        const char *blob_accept;
        /* The answer is JSON, and this finds the blob in it. NULL: the answer is the blob. */
        int (*blob_read)(const Json *json, Buf *ret);
} ApiForgeOps;

/* --- forges --- */

/* Constant after opening, but for what is guarded. */
struct ApiForge {
        Forge forge;
        const ApiForgeOps *ops;
        const ForgeContext *context;
        OrgConfig *org;   /* owned */
        Secrets *secrets; /* a reference; of git, too */
        ApiServer api;
        char *git_base; /* owned */

        FlightTable *flights; /* of the question below */
        Mutex mutex;
        char *identity; /* who "@me" is; NULL until asked; owned; guarded by mutex */
};

/* What all of them are to the layers above. */
#define API_FORGE_OPS                                                                              \
        {                                                                                          \
                .revalidates = true, .open = api_forge_open, .close = api_forge_close,             \
                .list = api_forge_list, .lookup = api_forge_lookup,                                \
        }
int api_forge_open(
        const ForgeOps *ops,
        const OrgConfig *org,
        const ForgeContext *context,
        Forge **ret,
        Failure *ret_failure);
void api_forge_close(Forge *forge);
void api_forge_list(Forge *forge, ForgeList *list);
void api_forge_lookup(Forge *forge, ForgeLookup *lookup);

/* "/orgs/%/repos?per_page=100" with a string for each %, in which everything is escaped that is not
 * unreserved, slashes too. *ret is the caller's. 0, -ENOMEM. */
int api_path(char **ret, const char *format, ...);
/* Likewise, but slashes stay: for "https://host/group/project.git". */
int api_path_append(char **ret, const char *base, const char *path, const char *suffix);

/* --- sources --- */

/* A repository of git's, with the API beside it. Constant but for what is guarded. */
struct ApiSource {
        Source source;
        ApiForge *forge;    /* a reference */
        char *owner, *name; /* owned */
        atomic_uint notes;  /* for the forge, 0 at first: what it has found out. Relaxed */
        bool probing;       /* a look-up finds out whether it exists, and has it for itself */

        Mutex mutex;
        /* Guarded by mutex: */
        Source *git;           /* a reference; another one once the repository was renamed */
        uint64_t primed_until; /* monotonic; 0: what follows is nothing */
        Oid head;              /* the answer to the first FETCH_REF of the default branch */
        char head_name[256];
        Oid commit; /* whose objects were asked for last */
};

int api_source_new(ApiForge *forge, const char *owner, const char *name, Source **ret);
/* The commit whose objects were asked for last, where what is wanted now lies most likely; may be
 * none. */
Oid api_source_commit(const ApiSource *source);
/* Hands a fetch on to git; when git refuses, the API tells why, or where the repository is by now.
 */
void api_source_fetch_git(ApiSource *source, Fetch *fetch);

/* Which sizes were asked for, and are still open. One thread at a time. */
typedef struct ApiSizes ApiSizes;
int api_sizes_new(Fetch *fetch, ApiSizes **ret);
ApiSizes *api_sizes_free(ApiSizes *sizes);
DEFINE_CLEANUP(ApiSizes *, api_sizes_free)
/* Reports it if it was asked for, and not reported yet. hex: what the API calls the blob. What is
 * no id, or no size a file can have, is nothing. */
void api_sizes_found(ApiSizes *sizes, const char *hex, uint64_t size);
bool api_sizes_wanted(const ApiSizes *sizes, const Oid *oid); /* and not reported yet */
size_t api_sizes_open(const ApiSizes *sizes);                 /* how many are missing */
/* True if one of those stands directly in this tree, or the tree is not in the store. A fetch whose
 * own directory is told may end well, see FETCH_SIZES. Blocks: workers only. */
bool api_sizes_lacks(const ApiSizes *sizes, Store *store, const Oid *tree);
