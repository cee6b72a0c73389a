#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "forge/credential.h"
#include "forge/forge.h"
#include "forge/secret.h"

/* What the requests of one exchange are sent with, and what is done when the server refuses it. The
 * org's token goes to the host it was meant for and nowhere else. Nothing here blocks. Zeroed is
 * the start. */
typedef struct GitAuth GitAuth;
struct GitAuth {
        Secrets *secrets; /* a reference; NULL: none */
        bool ask_git;     /* what the secrets lack, `git credential` may know; nobody is asked
                             before the server wants to know */
        /* private; one of the first two at most holds something: */
        Secret secret;
        Credential credential;
        unsigned refusals; /* answers 401 so far */
        bool strayed;      /* a redirect led to another host */

        const ForgeContext *context; /* of the question under way, like what follows */
        void (*ready)(GitAuth *a, bool again);
        SecretWaiter waiter;
        CredentialFill fill;
};

/* secrets may be NULL; takes a reference of its own. */
void git_auth_init(GitAuth *a, Secrets *secrets, bool ask_git);
/* What is in memory already. */
void git_auth_peek(GitAuth *a, const ForgeContext *context, const char *base);
/* Before a request is sent: whether the token must be read first, because it is the first who needs
 * it. True: ready() is called, perhaps before this returns, on a pool thread, when there is nothing
 * to wait for any more. */
bool git_auth_prepare(
        GitAuth *a,
        const ForgeContext *context,
        const char *base,
        uint64_t deadline_usec,
        void (*ready)(GitAuth *a, bool again));
/* A 401. `refused`: what was sent, by the server that it is for. ready() is called, perhaps before
 * this returns, on a pool thread if this was, with true if there is something else to try;
 * otherwise what was refused, if anything, is still there. base is borrowed until then. */
void git_auth_refused(
        GitAuth *a,
        const ForgeContext *context,
        const char *base,
        bool refused,
        uint64_t deadline_usec,
        void (*ready)(GitAuth *a, bool again));
/* After that: says more of the failure where more is known of the org's token. */
void git_auth_explain(const GitAuth *a, Failure *failure);
/* The server took what was sent. */
void git_auth_accepted(GitAuth *a, const ForgeContext *context);
/* Forgets what was sent: the next request starts anew. */
void git_auth_forget(GitAuth *a);

/* NULL: the request is anonymous. */
const char *git_auth_username(const GitAuth *a);
const char *git_auth_password(const GitAuth *a);
/* Whose budget the request takes. */
uint64_t git_auth_account(const GitAuth *a);
/* The exchange is with another host from now on. */
void git_auth_stray(GitAuth *a);
void git_auth_done(GitAuth *a);
