#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "tree/name-list.h"
#include "tree/tree-forward.h"
#include "util/htable.h"
#include "util/mutex.h"
#include "util/ref.h"

/* One directory above repositories, and what is known of the names in it: the org's own directory,
 * with the path "", or what a forge calls a user, an org or a group, with the path "torvalds" or
 * "group/subgroup". Any thread; nothing here blocks or asks the network. */

#define OWNER_PATH_MAX 1024
#define OWNER_N_PAST_LISTS 4
#define OWNER_DOUBTED 1               /* usec: a time long ago */
#define OWNER_MAX_UNUSED 4096         /* owners in one */
#define OWNER_MAX_UNUSED_REPOS 10000u /* repositories in one */

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
        /* Was in the list of the owner above. */
        atomic_bool listed;
        /* 0: it exists. Else until when that is believed though the forge could not tell, or does
         * not list it any more. */
        atomic_uint_least64_t doubted_until_usec;

        Mutex lock;       /* guards what follows; never held together with another owner's */
        HTable repos;     /* Repo by name; references, as their owners refer back, until
                             owner_close() */
        size_t n_swept;   /* how many of them were used when the unused ones were last dropped */
        HTable owners;    /* Owner by name; references, likewise */
        HTable negatives; /* names that do not exist, until a time */
        size_t n_negatives;
        NameList *list; /* what a listing shows now: a reference; NULL before the first */
        NameList *past[OWNER_N_PAST_LISTS]; /* shown before, so that who began on one can end on
                                               it; references */
        unsigned next_past;
        ForgeList *listing;     /* under way; NULL: none. Valid until owner_end_listing() */
        uint64_t listed_usec;   /* when the forge last told the whole list, 0 never */
        uint64_t relisted_usec; /* when it was last asked, whatever came of it */
        bool expiry_told;       /* owner_expire() was true since */

        /* A walk over its repositories (owner-walk.c). */
        char *walk_last;      /* the one entered last; owned */
        uint64_t walk_usec;   /* when */
        unsigned walk_window; /* how many were asked for ahead */
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
 * new, 0 was known, -ENOENT in a closed owner, -ENOMEM. From OWNER_MAX_UNUSED_REPOS on, those that
 * nobody uses make room. */
int owner_add_repo(Owner *owner, const char *name, Source *source, Repo **ret);
/* The same for an owner in this one. -ENAMETOOLONG over OWNER_PATH_MAX. From OWNER_MAX_UNUSED on,
 * those that nobody uses make room. */
Owner *owner_find_owner(Owner *owner, const char *name);
int owner_add_owner(Owner *owner, const char *name, Owner **ret);

/* False where it has to be asked for again. */
bool owner_is_believed(const Owner *owner);

/* Remembers that `name` (a repository or owner, or "repo@ref") does not exist, for a while.
 * Bounded: when too many are remembered all are forgotten. */
void owner_add_negative(Owner *owner, const char *name, uint64_t until_usec);
bool owner_is_negative(Owner *owner, const char *name);
/* Forgets all of them, or those that are listed, and calls fn (which may be NULL) with each,
 * without the lock. */
void owner_drop_negatives(
        Owner *owner,
        bool only_listed,
        void (*fn)(const char *name, void *userdata),
        void *userdata);

/* --- the listing --- */

/* The list that is shown now; the one of this tag that is, or was before. References, or NULL. */
NameList *owner_list(Owner *owner);
NameList *owner_list_of(Owner *owner, uint32_t tag);
/* Notes what is under way, and when it began; the end must be noted before the memory goes. */
void owner_begin_listing(Owner *owner, ForgeList *listing, uint64_t now);
void owner_end_listing(Owner *owner);
/* Somebody waits for what is under way, if anything is. */
void owner_hurry_listing(Owner *owner);
/* Shows a list that is still growing, unless a complete one is shown. True if it is shown. */
bool owner_show_list(Owner *owner, NameList *list);
/* The list is complete: it is shown from now on, unless it says what the one before says. now: when
 * the forge told it; 0: it was kept. True if another one was shown before. */
bool owner_set_list(Owner *owner, NameList *list, uint64_t now);
/* A complete list is shown. */
bool owner_has_list(Owner *owner);
/* True if the forge told the list after `since`. */
bool owner_was_listed(Owner *owner, uint64_t since);
/* True where a complete list is shown that is due: neither was it told, nor was it asked for, after
 * `since`. owner_relist_due() notes that it is asked for; owner_expire() is true once for each time
 * that happened. */
bool owner_relist_due(Owner *owner, uint64_t since, uint64_t now);
bool owner_expire(Owner *owner, uint64_t since);
/* True if the list that is shown has this name. */
bool owner_lists(Owner *owner, const char *name, ForgeEntryKind *ret_kind);
/* True if a list is shown, and has not. */
bool owner_lacks(Owner *owner, const char *name);

/* What look-ups found, and this list lacks: allocated copies. 0 or -ENOMEM. */
typedef struct FoundName {
        ForgeEntryKind kind;
        char *name;
} FoundName;
int owner_get_found(Owner *owner, NameList *list, FoundName **ret, size_t *ret_n);
void owner_found_free(FoundName *found, size_t n);
/* Repositories known by name: listed, or found by look-up. */
size_t owner_n_repos(Owner *owner);

/* Compares what is known by name with a new list. What was listed before and is not any more is
 * doubted: look-ups ask for it again. fn is called with the name of each, and of each repository's
 * checkouts ("repo@ref"), without the lock; those that nobody uses are dropped. */
void owner_follow_list(
        Owner *owner, NameList *list, void (*fn)(const char *name, void *userdata), void *userdata);
/* The forge says that it is no repository, or no owner: drops the one of this name if it was
 * doubted. */
void owner_forget_repo(Owner *owner, const char *name);
void owner_forget_owner(Owner *owner, const char *name);

/* Forgets listing, negatives, and the repositories and owners that nobody uses, here and below. */
void owner_flush(Owner *owner);
/* Calls fn with each repository, with this owner and each below it, or with each that is directly
 * in it; referenced during the call, without the lock. */
void owner_each_repo(Owner *owner, void (*fn)(Repo *repo, void *userdata), void *userdata);
void owner_each(Owner *owner, void (*fn)(Owner *owner, void *userdata), void *userdata);
void owner_each_child(Owner *owner, void (*fn)(Owner *owner, void *userdata), void *userdata);
/* Lets go of what nobody uses. The repository is one that the caller has a reference to. */
void owner_drop_unused_repo(Owner *owner, Repo *repo);
void owner_drop_unused_owners(Owner *owner, bool only_doubted);
