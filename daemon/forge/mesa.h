#pragma once

#include "forge/api-forge.h"
#include "object/oid.h"

/* What the files of forge/ that speak to Mesa have in common. */

/* Where the content at a path is listed, or to be had; "" the root. In the dialect that knows
 * commits, of this one, if it is not none. query: "&depth=1", or "". *ret is the caller's. 0 or
 * -ENOMEM. */
int mesa_content_path(
        const ApiSource *source,
        const Oid *commit,
        const char *path,
        const char *query,
        char **ret);

/* Mesa's org "github" mirrors GitHub: its repositories are called what Base64 makes of
 * "owner/name", and shown as such. */

/* What Mesa calls owner/name: 0 and both names, the caller's; -ENOMEM. */
int mesa_name_encode(const char *owner, const char *name, char **ret_org, char **ret_repo);
/* Back: what the mirror's repository is called on GitHub. 0; -EBADMSG for no such name; -ENOMEM. */
int mesa_name_decode(const char *repo, char **ret_owner, char **ret_name);
