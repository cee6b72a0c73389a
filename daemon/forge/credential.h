#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "forge/helper.h"
#include "util/failure.h"

/* User names and passwords for servers, from `git credential`, kept in memory per server and path.
 * Nothing here blocks, any thread may call it. Secrets are in secret memory and never logged. */
typedef struct Credentials Credentials;

typedef struct Credential {
        char *username, *password; /* owned, in secret memory */
        char *url;                 /* what it was asked for */
} Credential;

/* What `git credential fill` has printed; the parts are NULL where it did not, and point into it.
 */
typedef struct CredentialAnswer {
        const char *username, *password;
        bool has_path;
} CredentialAnswer;

/* Splits the output into lines, in place. */
void credential_parse_answer(char *text, CredentialAnswer *ret);

/* Embedded in whatever waits. */
typedef struct CredentialFill CredentialFill;
struct CredentialFill {
        /* Set by the caller: */
        const char *url; /* borrowed until done() */
        uint64_t deadline_usec;
        /* Exactly once, on a pool thread or before credentials_fill() returns: 1 and the
         * credential, whose parts may be taken; 0 none to be had; < 0 errno. May free the fill. */
        void (*done)(CredentialFill *fill, int result, Credential *credential);

        /* private to credential.c */
        HelperJob job;
        Credentials *credentials;
        Credential found;
        int result;
};

/* The helpers must outlive it. */
int credentials_new(bool use_helper, Helpers *helpers, Credentials **ret);
Credentials *credentials_free(Credentials *c);
DEFINE_CLEANUP(Credentials *, credentials_free)

/* What is known already, without asking anybody. 1 or 0. */
int credentials_peek(Credentials *c, const char *url, Credential *ret);
/* Asks `git credential fill`, at most once at a time per server; a refusal is remembered for a
 * while. */
void credentials_fill(Credentials *c, CredentialFill *fill);
/* Forgets everything: the next request asks git again. Begins a new generation, by which those who
 * keep secrets of their own know that they are to be forgotten, too. */
void credentials_flush(Credentials *c);
uint64_t credentials_generation(Credentials *c);
/* The server took it / refused it with a clean 401: tells git in a while, keeps or forgets it. */
void credentials_approve(Credentials *c, const Credential *credential);
void credentials_reject(Credentials *c, const Credential *credential);
void credential_done(Credential *credential);
