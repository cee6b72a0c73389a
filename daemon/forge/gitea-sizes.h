#pragma once

#include "forge/api-forge.h"
#include "forge/json.h"

/* Sizes by Gitea's recursive trees. */

/* For ApiForgeOps.sizes. */
void gitea_sizes(ApiSource *source, Fetch *fetch);

/* A page of a tree. 1: there are more; 0: this was the last. */
int gitea_sizes_read(const Json *json, ApiSizes *sizes);
