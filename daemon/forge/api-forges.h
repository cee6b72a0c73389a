#pragma once

#include "forge/api-forge.h"

/* The forges with an API, for the table in forge.c, and for tests that ask and answer without a
 * server. */
extern const ApiForgeOps github_api_ops;
extern const ApiForgeOps gitlab_api_ops;
extern const ApiForgeOps gitea_api_ops;
extern const ApiForgeOps mesa_api_ops;
