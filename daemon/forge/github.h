#pragma once

#include <stdbool.h>

#include "gitfs/macro.h"

#include "forge/api-forge.h"

/* What the files of GitHub share: forge-github.c and github-*.c. */

typedef struct GithubHeads GithubHeads;

typedef struct GithubForge {
        ApiForge api;
        GithubHeads *heads; /* owned */
} GithubForge;

/* A name that an owner, or a repository, of GitHub's can have. */
bool github_owner_is_possible(const char *owner);
bool github_repo_is_possible(const char *name);

/* Entries that one recursive tree tells at most; documented. */
#define GITHUB_TREE_MAX 100000

/* SourceOps.fetch of FETCH_SIZES: from recursive trees. */
void github_fetch_sizes(ApiSource *source, Fetch *fetch);

/* Where default branches are, many at a time: GraphQL, which takes a token, tells of fifty
 * repositories in one answer. Whoever opens one repository of an org is likely to open the next. */
int github_heads_new(ApiForge *forge, GithubHeads **ret);
GithubHeads *github_heads_free(GithubHeads *heads);
/* What the answer's "data" says of the i-th repository: commit, resolved and moves of *ret, which
 * is zeroed otherwise. False where that is no branch. */
bool github_head_read(const Json *data, size_t i, Fetch *ret);
/* True: fetch->done() will come. False: this is for git. */
bool github_heads_fetch(GithubHeads *heads, ApiSource *source, Fetch *fetch);
