#pragma once

#include <stdbool.h>

#include "forge/forge.h"
#include "tree/fetch-queue.h"
#include "tree/tree-forward.h"
#include "util/htable.h"
#include "util/mutex.h"

/* One repository, and what is to be fetched from it. */

#define REPO_MAX_UNUSED 256 /* checkouts */

struct Repo {
        HTableLink link; /* in its owner */
        Ref ref;
        Owner *owner; /* a reference; the owner's table refers back, until owner_close() */
        Org *org;     /* of the owner: borrowed */
        char *name;
        Source *source;            /* constant */
        atomic_bool listed;        /* was in the list of its owner */
        atomic_bool doubtful;      /* is not any more: look-ups ask whether it exists */
        atomic_bool sizes_refused; /* the server cannot tell sizes without content */
        atomic_bool sampled; /* the sizes of some of its files, to find out whether they are */
        atomic_bool tiny;    /* so small that content costs no more than sizes */
        atomic_bool waited;  /* somebody has waited for a checkout of it; relaxed */

        Mutex lock;       /* guards what follows */
        bool closed;      /* nothing is added to the table any more */
        HTable checkouts; /* Checkout by refspec; references, until repo_close() */
        FetchQueue queue;
};

int repo_new(Owner *owner, const char *name, Source *source, Repo **ret);
Repo *repo_ref(Repo *repo);
Repo *repo_unref(Repo *repo);
DEFINE_CLEANUP(Repo *, repo_unref)
/* Drops the table's references to its checkouts, which refer back: without this neither is ever
 * freed. Those in use live on. */
void repo_close(Repo *repo);

/* A reference, or NULL. refspec "" is the default branch. */
Checkout *repo_find_checkout(Repo *repo, const char *refspec);
/* Adds c unless there is one for that refspec already; returns a reference to the one that stays.
 * From REPO_MAX_UNUSED on, those that nobody uses make room. */
Checkout *repo_add_checkout(Repo *repo, Checkout *c);
/* No-op where it is not in the table any more. */
void repo_remove_checkout(Repo *repo, Checkout *c);
void repo_each_checkout(Repo *repo, void (*fn)(Checkout *c, void *userdata), void *userdata);
/* True where nobody has a reference to it but its owner's table, its own checkouts and the n_refs
 * that the caller knows of, nor to one of the checkouts, and nobody waits for blobs. That stays so
 * for as long as the caller holds the owner's lock, as others come by it in the table only. */
bool repo_is_unused(Repo *repo, unsigned n_refs);
size_t repo_n_checkouts(Repo *repo);
/* Sizes can be asked for without content, as far as anybody knows. */
bool repo_tells_sizes(const Repo *repo);
