#pragma once

#include "tree/owner.h"

/* Walks over the repositories of an owner: see owner-walk.c. */

/* Somebody has entered this repository, or waits for it: if he goes from one to the next, asks for
 * those that come next. Never blocks. */
void owner_walk_entered(Namespace *ns, Owner *owner, const char *name);
