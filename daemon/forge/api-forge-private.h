#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "forge/api-forge.h"
#include "forge/git-wants.h"
#include "work/flight.h"

/* What the files of the engine share: api-forge*.c and api-source.c. */

/* One question to the API of a forge. Strings are borrowed until done(); as in ApiCall. */
typedef struct ApiAsk {
        const char *path, *json_body;
        const char *what;
        const char *if_none_match, *if_modified_since;
        const char *accept, *resource;
        bool raw;
        size_t max_size;
        FetchPriority priority;
        bool (*is_waited)(const void *userdata);
        uint64_t deadline_usec;
        void (*done)(void *userdata, int result, const ApiAnswer *answer, const Failure *failure);
        void *userdata;
} ApiAsk;
/* done() comes exactly once, on a pool thread, whatever happens; perhaps before this returns. */
void api_ask(ApiForge *forge, const ApiAsk *ask);

/* "acme" and "group" make "acme/group"; where the org has no owner, "group". 0; -EAGAIN: the org
 * has "@me", and nobody knows who that is yet; -ENOMEM. for_listing: "@me" itself will do. */
int api_forge_owner(ApiForge *forge, const char *owner, bool for_listing, char **ret);
/* Finds out who "@me" is: the waiter runs when that is known, or cannot be. -ENOMEM: it will not.
 */
int api_forge_identify(ApiForge *forge, FlightWaiter *waiter);

/* How long a question may take that nobody set a deadline for. */
uint64_t api_forge_deadline(const ApiForge *forge);

/* Asks the API about a repository. done(): 1 and what it says; 0: there is none; or the failure. */
typedef struct ApiRepoQuery ApiRepoQuery;
struct ApiRepoQuery {
        const char *owner, *name; /* borrowed */
        FetchPriority priority;
        uint64_t deadline_usec;
        /* repo is NULL unless result is 1; what it holds may be taken. Frees the query. */
        void (*done)(ApiRepoQuery *query, int result, ApiRepo *repo, const Failure *failure);
        /* private */
        ApiForge *forge;
        unsigned alternative;
        char *what, *path;
};
void api_repo_query_start(ApiForge *forge, ApiRepoQuery *query);

/* The API cannot be asked just now, which says nothing about what was asked for. */
bool api_failure_is_passing(const Failure *failure);
/* True for refusals of git's of which the API may know more: no such repository, no access. */
bool api_failure_needs_reason(const Failure *failure);
/* A FETCH_REF of the default branch, to find out whether there is such a repository: a refusal of
 * git's is passed on as it is. Until it was proven nobody else knows of the source. */
void api_source_probe(ApiSource *source, Fetch *fetch);
/* It was answered: there is, and the next one need not ask, if it comes soon. */
void api_source_proven(ApiSource *source, const Fetch *probe);
/* Another place of the same repository's git. */
int api_forge_git_source(ApiForge *forge, const char *owner, const char *name, Source **ret);

/* Blobs that git did not bring, from the API, one after the other. wants are those of fetch->oids
 * that have not arrived, at most API_BLOBS_MAX; they are taken over. Ends the fetch: with git's
 * result where the API is of no help. */
#define API_BLOBS_MAX 64
void api_blobs_fetch(
        ApiSource *source, Fetch *fetch, GitWants *wants, int result, const Failure *failure);

/* The wants that are open and stand directly in this tree; a duplicate may be there twice. The
 * array is the caller's. -ENOENT: the tree is not in the store. Blocks: workers only. */
int api_wants_in_tree(
        const GitWants *wants, Store *store, const Oid *tree, Oid **ret, size_t *ret_n);
