#pragma once

#include <stdbool.h>

#include "tree/checkout.h"
#include "tree/namespace-admin.h"
#include "tree/tree-forward.h"

/* What servers told of names and refs, kept across restarts in small documents, for the time when
 * they do not answer. Only what a server said is written; nothing is read while it answers.
 *
 * Calls read and write the disk: workers only. Without documents nothing is remembered. What cannot
 * be written is not remembered, either: it is advice, no more. */

/* True for a failure that says nothing of what was asked for: no connection, no answer, or one that
 * makes no sense. */
bool remembered_will_do(int result, const Failure *failure);

/* Of a name in an owner: a repository at this URL, or another owner. */
void remember_repo(Namespace *ns, Owner *owner, const char *name, const Source *source);
void remember_owner(Namespace *ns, Owner *owner, const char *name);
void remember_no_name(Namespace *ns, Owner *owner, const char *name);
/* 1; 0: unknown; < 0. *ret_url is allocated, and NULL for an owner. */
int remembered_name(Namespace *ns, Owner *owner, const char *name, char **ret_url);

typedef struct RememberedRef {
        Oid commit;
        bool moves;
        char resolved[256];
} RememberedRef;

/* Of a repository at a ref. What names a commit itself is not remembered. */
void remember_ref(Namespace *ns, Repo *repo, const char *refspec, const RememberedRef *ref);
void remember_no_ref(Namespace *ns, Repo *repo, const char *refspec);
/* 1, 0 or < 0. */
int remembered_ref(Namespace *ns, Repo *repo, const char *refspec, RememberedRef *ret);
