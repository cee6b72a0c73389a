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
        ORG_HEALTH_NOTICE, /* works, but: see Org.failure */
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
        Failure failure; /* while NOTICE or FAILING */
        bool by_listing; /* a listing said so */
};

int org_new(const OrgConfig *config, const ForgeContext *context, Org **ret, Failure *ret_failure);
Org *org_ref(Org *org);
Org *org_unref(Org *org);
DEFINE_CLEANUP(Org *, org_unref)
/* The org is configured no longer, or the daemon stops: look-ups in it fail from now on. What is
 * open lives on until it is closed. */
void org_close(Org *org);

/* How one request for the org ended. */
typedef struct OrgReport {
        enum {
                ORG_REPORT_NAME,    /* about one name, or one repository */
                ORG_REPORT_LISTING, /* the listing of an owner in the org */
                ORG_REPORT_ROOT,    /* of the org's own directory */
        } from;
        int result;
        const Failure *failure; /* may be NULL */
} OrgReport;

/* Draws conclusions from it. Returns true if that changed what `gitfsctl org show` says.
 *
 * - A result below 0 without a failure is our own trouble and says nothing of the org.
 * - That something does not exist is no trouble, unless it is the org itself.
 * - What is particular to one repository (forbidden, blocked, renamed, damaged, too large) says
 *   nothing of the org; when a listing says it, it does.
 * - A result that is none, with a failure that has a class, is a notice: it works, but.
 * - What a listing said of permissions stays until a listing says otherwise: repositories that can
 *   be read do not make those appear that cannot be listed. All else ends with the next success. */
bool org_set_health(Org *org, const OrgReport *report);

/* Repositories that are known: listed, or found by look-up. */
size_t org_n_repos(Org *org);
/* Calls fn with each repository, referenced during the call, without locks. */
void org_each_repo(Org *org, void (*fn)(Repo *repo, void *userdata), void *userdata);
