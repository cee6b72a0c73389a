#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "config/config.h"
#include "forge/forge.h"
#include "tree/tree-forward.h"
#include "util/htable.h"
#include "util/mutex.h"

/* One configured org: what is known of its repositories. Any thread; nothing here blocks or asks
 * the network. */

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
        atomic_bool removed;

        Mutex lock;       /* guards what follows */
        HTable repos;     /* Repo by name; references */
        HTable negatives; /* names that do not exist, until a time */
        size_t n_negatives;
        char **names; /* the listing, sorted; NULL before the first */
        size_t n_names;
        uint64_t listed_usec;   /* when, 0 never */
        uint64_t relisted_usec; /* when the poll last asked, whatever came of it */
        OrgHealth health;
        Failure failure; /* while FAILING */
};

int org_new(const OrgConfig *config, const ForgeContext *context, Org **ret, Failure *ret_failure);
Org *org_ref(Org *org);
Org *org_unref(Org *org);
DEFINE_CLEANUP(Org *, org_unref)
/* The org is configured no longer, or the daemon stops: look-ups in it fail from now on, and its
 * tables let go of the repositories, which refer back. What is open lives on until it is closed. */
void org_close(Org *org);

/* A reference to the repository, or NULL when it is not known (yet). */
Repo *org_find_repo(Org *org, const char *name);
/* Makes the repository known; of two that find it at once the first wins. *ret is a reference. 1
 * new, 0 was known, -ENOMEM. */
int org_add_repo(Org *org, const char *name, Source *source, Repo **ret);

/* Remembers that `name` (a repository, or "repo@ref") does not exist, for a while. Bounded: when
 * too many are remembered all are forgotten. */
void org_add_negative(Org *org, const char *name, uint64_t until_usec);
bool org_is_negative(Org *org, const char *name);
/* Forgets all of them, or those that the listing holds, and calls fn (which may be NULL) with each,
 * without the lock. */
void org_drop_negatives(
        Org *org, bool only_listed, void (*fn)(const char *name, void *userdata), void *userdata);

/* Replaces the listing; takes the names over (also on failure), in any order, duplicates allowed.
 * Returns true if it differs from one before. */
bool org_set_names(Org *org, char **names, size_t n, uint64_t now);
/* True if the org was listed after `since`. */
bool org_was_listed(Org *org, uint64_t since);
/* True where the poll must ask for the listing again: it was listed, but neither that nor the last
 * attempt of the poll is after `since`. Notes the attempt. */
bool org_relist_due(Org *org, uint64_t since, uint64_t now);
/* False if the org was listed, and this name was not in the listing. */
bool org_lists(Org *org, const char *name);
/* What a listing of the org shows: the server's names and those found by look-up, sorted. Allocated
 * array of allocated strings; free with org_names_free(). */
int org_get_names(Org *org, char ***ret, size_t *ret_n);
void org_names_free(char **names, size_t n);

/* Notes how the last request for this org ended. Being told that something does not exist is no
 * trouble; an error without a failure is not the org's. Returns true if that changed what `gitfsctl
 * org show` says. */
bool org_set_health(Org *org, int result, const Failure *failure);

/* Forgets listing, negatives, and the repositories nobody uses. */
void org_flush(Org *org);
/* Calls fn with each repository, referenced during the call, without the lock. */
void org_each_repo(Org *org, void (*fn)(Repo *repo, void *userdata), void *userdata);
