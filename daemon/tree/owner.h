#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "tree/tree-forward.h"
#include "util/htable.h"
#include "util/mutex.h"
#include "util/ref.h"

/* One directory above repositories, and what is known of the names in it: the org's own directory,
 * with the path "", or what a forge calls a user, an org or a group, with the path "torvalds" or
 * "group/subgroup". Any thread; nothing here blocks or asks the network. */

#define OWNER_PATH_MAX 1024

struct Owner {
        HTableLink link;  /* in the owner above */
        Ref ref;          /* the org's own directory counts with its org instead */
        Org *org;         /* lives as long as this */
        Owner *parent;    /* a reference; NULL: the org's own directory */
        char *path;       /* constant; below the org, without slashes around it */
        const char *name; /* constant: the last component of path */
        /* Belongs to an org that is configured no longer, or does not exist any more: look-ups in
         * it fail, and its tables keep nothing. */
        atomic_bool closed;
        /* Until when it is believed to exist though the forge could not tell; 0: it exists. */
        atomic_uint_least64_t unproven_until_usec;

        Mutex lock;       /* guards what follows; never held together with another owner's */
        HTable repos;     /* Repo by name; references, as their owners refer back, until
                             owner_close() */
        HTable owners;    /* Owner by name; references, likewise */
        HTable negatives; /* names that do not exist, until a time */
        size_t n_negatives;
        char **names; /* the listing, sorted; NULL before the first */
        size_t n_names;
        uint64_t listed_usec;   /* when, 0 never */
        uint64_t relisted_usec; /* when the poll last asked, whatever came of it */
};

/* The org's own directory, which is a part of the org. */
int owner_init(Owner *owner, Org *org);
void owner_done(Owner *owner);

Owner *owner_ref(Owner *owner);
Owner *owner_unref(Owner *owner);
DEFINE_CLEANUP(Owner *, owner_unref)
/* Look-ups in it and below fail from now on, and its tables let go of what refers back. What is
 * open lives on until it is closed. */
void owner_close(Owner *owner);

/* A reference to the repository, or NULL when it is not known (yet). */
Repo *owner_find_repo(Owner *owner, const char *name);
/* Makes the repository known; of two that find it at once the first wins. *ret is a reference. 1
 * new, 0 was known, -ENOENT in a closed owner, -ENOMEM. */
int owner_add_repo(Owner *owner, const char *name, Source *source, Repo **ret);
/* The same for an owner in this one. -ENAMETOOLONG over OWNER_PATH_MAX. */
Owner *owner_find_owner(Owner *owner, const char *name);
int owner_add_owner(Owner *owner, const char *name, Owner **ret);

/* Found by the forge, and if it could not tell, not long ago. */
bool owner_is_believed(const Owner *owner);

/* Remembers that `name` (a repository or owner, or "repo@ref") does not exist, for a while.
 * Bounded: when too many are remembered all are forgotten. */
void owner_add_negative(Owner *owner, const char *name, uint64_t until_usec);
bool owner_is_negative(Owner *owner, const char *name);
/* Forgets all of them, or those that the listing holds, and calls fn (which may be NULL) with each,
 * without the lock. */
void owner_drop_negatives(
        Owner *owner,
        bool only_listed,
        void (*fn)(const char *name, void *userdata),
        void *userdata);

/* Replaces the listing; takes the names over (also on failure), in any order, duplicates allowed.
 * Returns true if it differs from one before. */
bool owner_set_names(Owner *owner, char **names, size_t n, uint64_t now);
/* True if it was listed after `since`. */
bool owner_was_listed(Owner *owner, uint64_t since);
/* True where the poll must ask for the listing again: it was listed, but neither that nor the last
 * attempt of the poll is after `since`. Notes the attempt. */
bool owner_relist_due(Owner *owner, uint64_t since, uint64_t now);
/* False if it was listed, and this name was not in the listing. */
bool owner_lists(Owner *owner, const char *name);
/* What a listing shows: the server's names and those found by look-up, sorted. Allocated array of
 * allocated strings; free with owner_names_free(). */
int owner_get_names(Owner *owner, char ***ret, size_t *ret_n);
void owner_names_free(char **names, size_t n);

/* Forgets listing, negatives, and the repositories and owners that nobody uses, here and below. */
void owner_flush(Owner *owner);
/* Calls fn with each repository, or with this owner and each below it; referenced during the call,
 * without the lock. */
void owner_each_repo(Owner *owner, void (*fn)(Repo *repo, void *userdata), void *userdata);
void owner_each(Owner *owner, void (*fn)(Owner *owner, void *userdata), void *userdata);
