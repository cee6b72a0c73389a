#pragma once

#include "forge/api-forge.h"
#include "forge/json.h"

/* Sizes by Mesa's listings of content. */

/* For ApiForgeOps.sizes. */
void mesa_sizes(ApiSource *source, Fetch *fetch);

/* The content of a directory, nested or flat, in either dialect. */
void mesa_sizes_read(const Json *json, ApiSizes *sizes);
