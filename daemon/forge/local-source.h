#pragma once

#include "forge/forge.h"
#include "object/local-repo.h"

/* One repository on this machine, read through libgit2. Private to forge-local.c. Takes the
 * repository over on success. 0 or -ENOMEM. */
int local_source_new(const ForgeContext *context, const char *path, LocalRepo *repo, Source **ret);
