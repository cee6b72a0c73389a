#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "forge/credential.h"
#include "forge/forge.h"
#include "forge/secret.h"

/* The places that an org's token may come from, asked one after the other (secret.h has them) until
 * one has it. Private to secret.c. */
typedef struct SecretChain SecretChain;
struct SecretChain {
        /* Set before the first start; owned unless said otherwise: */
        const ForgeContext *context; /* not owned */
        OrgKind kind;
        char *org, *url;
        char *host; /* for gh and glab; NULL: they are not asked */
        char *path; /* of the file */
        bool ask_git;
        /* On a pool thread, exactly once for each start: 1 and a secret, 0 there is none, or an
         * errno. The callee takes the secret. */
        void (*done)(SecretChain *chain, int result, Secret *secret, const Failure *why);

        /* private to secret-chain.c */
        uint64_t deadline_usec;
        int result;
        Secret secret;
        Failure why;
        HelperJob tool;
        CredentialFill git;
};

/* url as in secrets_new(). */
int secret_chain_init(
        SecretChain *chain,
        const OrgConfig *org,
        const char *url,
        const ForgeContext *context,
        bool ask_git);
void secret_chain_done(SecretChain *chain);
/* Workers only: it reads files. Not again before done(), which may come before this returns. */
void secret_chain_start(SecretChain *chain, uint64_t deadline_usec);
