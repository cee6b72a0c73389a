#pragma once

#include <stdbool.h>

#include "forge/forge.h"
#include "forge/git-capabilities.h"
#include "forge/git-exchange.h"
#include "forge/secret.h"
#include "util/clock.h"
#include "util/mutex.h"

/* One repository on a git server, over smart HTTP or ssh. Private to the forges and git-*.c: the
 * three ways to fetch have a file each, and every fetch under way is an operation that holds a
 * reference here. */

/* In one object-info request: 46 bytes each, about 25 when compressed; below the usual limit of 1
 * MB for a request. */
#define GIT_SIZES_MAX 20000
/* For each, with what is told of it. */
#define GIT_SIZE_BYTES (46 + 49)

/* Refs that came unasked are the truth for that long. */
#define GIT_FIRST_REFS_USEC (2 * USEC_PER_SEC)

typedef enum GitKnowledge {
        GIT_UNKNOWN, /* nothing yet: the first fetch finds out (git-discovery.c) */
        GIT_KEPT,    /* another repository of the host told it: doubted when an answer is odd */
        GIT_PROVEN,  /* told by this repository */
} GitKnowledge;

typedef struct GitSource {
        Source source;
        const ForgeContext *context;
        Secrets *secrets; /* a reference; NULL: none */
        bool ask_git;     /* what the secrets lack, `git credential` may know */
        char *origin;     /* "scheme://host:port"; owned */

        Mutex mutex;
        /* Guarded by mutex: */
        GitKnowledge knowledge;
        GitCapabilities capabilities;
        bool object_info_failed; /* advertised, but it does not work */
        /* Told with the capabilities, and good for one FETCH_REF that follows: v0: all refs; v2:
         * what first_name can mean, NULL being the default branch. */
        GitRefs first_refs;
        char *first_name;    /* owned */
        uint64_t first_usec; /* when they came */
} GitSource;

/* Sends nothing: what the server can do is what another repository of the host told, else it is
 * found out when the first fetch needs it. secrets may be NULL; a token is sent at once, and to
 * this host only. -EINVAL where the URL has no host; -ENOMEM. */
int git_source_new(const ForgeContext *context, const char *url, Secrets *secrets, Source **ret);
/* After the repository was asked, and has told this, or is taken to be like others of the host; the
 * refs, all or those of the default branch, are taken over. Asks without a secret first, and `git
 * credential` for what the secrets lack. */
int git_source_new_known(
        const ForgeContext *context,
        const char *url,
        Secrets *secrets,
        GitKnowledge knowledge,
        const GitCapabilities *capabilities,
        GitRefs *refs,
        Source **ret);

/* What a fetch goes by from its beginning to its end, whatever is found out meanwhile. */
typedef struct GitBasis {
        GitCapabilities capabilities; /* object_info: only while it works */
        bool proven;
} GitBasis;
void git_source_basis(GitSource *source, GitBasis *ret);
/* Fills what is common to the exchanges of fetches. */
void git_source_exchange(
        GitSource *source,
        const GitBasis *basis,
        const Fetch *fetch,
        const GitExchangeOps *ops,
        GitExchange *ret);
/* True if an answer this odd may come of what was believed of the server. */
bool git_basis_is_doubted(const GitBasis *basis, const GitExchange *x, const Failure *failure);

/* True, and the fetch is over, if the name needs no server: a commit id, or what no ref can be. */
bool git_fetch_ref_by_name(GitSource *source, Fetch *fetch);
/* Each takes care that fetch->done() comes, on a pool thread. What the server can do is known. */
void git_fetch_ref(GitSource *source, Fetch *fetch);
void git_fetch_objects(GitSource *source, Fetch *fetch);
void git_fetch_sizes(GitSource *source, Fetch *fetch);
/* The one of these that the fetch is for. */
void git_source_dispatch(GitSource *source, Fetch *fetch);

/* Fetches once it is known what the server can do: what is kept of its host will do, or, when that
 * is doubted, only what this repository says. */
void git_source_discover(GitSource *source, Fetch *fetch, bool doubted);
/* What an advertisement, or the host's, says. refs: those that came with it, taken over; may be
 * NULL; from a v2 server those that refname (NULL: the default branch) can mean. */
void git_source_learn(
        GitSource *source,
        GitKnowledge knowledge,
        const GitCapabilities *capabilities,
        GitRefs *refs,
        const char *refname);
