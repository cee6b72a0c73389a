#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "forge/forge.h"
#include "forge/git-capabilities.h"
#include "forge/git-refs.h"
#include "forge/secret.h"

/* The refs that a name can mean, asked of a repository without asking first what its server can do:
 * one that speaks v2 answers, and a round trip is saved. It is a bet. There is one attempt, and a
 * redirect, a refusal or anything else that is not a clean answer just loses it: then info/refs
 * tells the truth. Over HTTP only. */
typedef struct GitEarlyRefs GitEarlyRefs;

typedef struct GitEarlyQuestion {
        const ForgeContext *context;
        Secrets *secrets; /* may be NULL */
        bool ask_git;     /* as in GitAuth; but no helper is run */
        const char *base;
        const char *refname;                 /* valid, or NULL for the default branch */
        const GitCapabilities *capabilities; /* what is believed of the server. NULL: nothing; then
                                                the host is asked for them meanwhile, and failures
                                                are for that exchange to report to the gate */
        uint64_t deadline_usec;
} GitEarlyQuestion;

/* Never blocks. 0: the caller ends it with take() or abandon(). -ENOMEM, -EINVAL. */
int git_early_refs_start(const GitEarlyQuestion *question, GitEarlyRefs **ret);
/* Calls then() once the bet is decided: from here, or on a pool thread. Once. */
void git_early_refs_then(GitEarlyRefs *early, void (*then)(void *userdata), void *userdata);
/* For then(), and frees it. 0 and the refs of the repository at `base`: at least one, no older than
 * GIT_FIRST_REFS_USEC. -EAGAIN when the bet is lost. Else a negative errno with the failure, when
 * asking otherwise would lead to the same. */
int git_early_refs_take(GitEarlyRefs *early, const char *base, GitRefs *ret, Failure *ret_failure);
/* Nobody wants to know any more. NULL-safe, returns NULL. */
GitEarlyRefs *git_early_refs_abandon(GitEarlyRefs *early);
