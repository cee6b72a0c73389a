#pragma once

#include "forge/api-forge.h"
#include "forge/json.h"
#include "forge/tree-paths.h"
#include "util/buf.h"

/* Sizes by GitLab's GraphQL, which wants to be asked by path. */

/* Paths in one question: it charges for each, and gives more than that in pages. */
#define GITLAB_SIZES_MAX 100

/* For ApiForgeOps.sizes. */
void gitlab_sizes(ApiSource *source, Fetch *fetch);

/* The question for the blobs at these paths of a project, "group/sub/name"; ref NULL: in its
 * default branch. 0 or -ENOMEM. */
int gitlab_sizes_format(
        const char *project, const char *ref, const TreePath *paths, size_t n, Buf *ret);
/* The answer. 0; -E2BIG: too many paths for one question; -EOPNOTSUPP: there is no such project, or
 * this server does not understand the question. */
int gitlab_sizes_read(const Json *json, ApiSizes *sizes);
