#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "forge/forge.h"
#include "tree/owner.h"
#include "tree/tree-forward.h"
#include "util/mutex.h"

/* One configured org: its forge, and how that is doing. What is known of its names is its owners'.
 * Any thread; nothing here blocks or asks the network. */

typedef enum OrgHealth {
        ORG_HEALTH_IDLE,
        ORG_HEALTH_OK,
        ORG_HEALTH_FAILING,
} OrgHealth;

struct Org {
        Ref ref;
        OrgConfig *config; /* constant */
        Forge *forge;      /* constant */
        /* Constant once it is shown: 0, but where the directory of a removed org of this name is
         * still in use, which this one's must not be taken for. */
        uint64_t generation;
        Owner root; /* its own directory */

        Mutex lock; /* guards what follows */
        OrgHealth health;
        Failure failure; /* while FAILING */
};

int org_new(const OrgConfig *config, const ForgeContext *context, Org **ret, Failure *ret_failure);
Org *org_ref(Org *org);
Org *org_unref(Org *org);
DEFINE_CLEANUP(Org *, org_unref)
/* The org is configured no longer, or the daemon stops: look-ups in it fail from now on. What is
 * open lives on until it is closed. */
void org_close(Org *org);

/* Notes how the last request for this org ended. Being told that something does not exist is no
 * trouble; an error without a failure is not the org's. Returns true if that changed what `gitfsctl
 * org show` says. */
bool org_set_health(Org *org, int result, const Failure *failure);

/* Repositories that are known: listed, or found by look-up. */
size_t org_n_repos(Org *org);
/* Calls fn with each repository, referenced during the call, without locks. */
void org_each_repo(Org *org, void (*fn)(Repo *repo, void *userdata), void *userdata);
