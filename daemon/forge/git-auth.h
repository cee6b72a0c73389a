#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "forge/credential.h"
#include "forge/forge.h"
#include "forge/secret.h"

/* What the requests of one exchange are sent with, and what is done when the server refuses it. The
 * org's token goes to the host it was meant for and nowhere else. Zeroed is the start. */
typedef struct GitAuth {
        Secrets *secrets; /* a reference; NULL: none */
        bool ask_git;     /* what the secrets lack, `git credential` may know; nobody is asked
                             before the server wants to know */
        /* private; one of the first two at most holds something: */
        Secret secret;
        Credential credential;
        unsigned refusals; /* answers 401 so far */
        bool strayed;      /* a redirect led to another host */
} GitAuth;

/* secrets may be NULL; takes a reference of its own. */
void git_auth_init(GitAuth *a, Secrets *secrets, bool ask_git);
/* Moves what was sent out of *a, for when the exchange is gone; the next request starts anew. */
GitAuth git_auth_take(GitAuth *a);
/* What is in memory already. Never blocks. */
void git_auth_peek(GitAuth *a, const ForgeContext *context, const char *base);
/* Before a request is sent. Workers only: reads the token when it is the first who needs it. 0 or
 * -ENOMEM. */
int git_auth_prepare(
        GitAuth *a, const ForgeContext *context, const char *base, uint64_t deadline_usec);
/* A 401. `refused`: what was sent, by the server that it is for. Workers only. True if there is
 * something else to try; otherwise what was refused, if anything, is still there. */
bool git_auth_refused(
        GitAuth *a,
        const ForgeContext *context,
        const char *base,
        bool refused,
        uint64_t deadline_usec);
/* After that: says more of the failure where more is known of the org's token. */
void git_auth_explain(const GitAuth *a, Failure *failure);
/* The server took what was sent. Workers only: it may run a helper. */
void git_auth_accepted(GitAuth *a, const ForgeContext *context);

/* NULL: the request is anonymous. */
const char *git_auth_username(const GitAuth *a);
const char *git_auth_password(const GitAuth *a);
/* Whose budget the request takes. */
uint64_t git_auth_account(const GitAuth *a);
/* The exchange is with another host from now on. */
void git_auth_stray(GitAuth *a);
void git_auth_done(GitAuth *a);
