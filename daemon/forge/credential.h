#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "util/failure.h"

/* User names and passwords for servers, from `git credential`, kept in memory per server and path.
 * Blocking (a helper may take seconds): workers only. Secrets are in secret memory and never
 * logged. */
typedef struct Credentials Credentials;

typedef struct Credential {
        char *username, *password; /* owned, in secret memory */
        char *url;                 /* what it was asked for */
} Credential;

int credentials_new(bool use_helper, Credentials **ret);
Credentials *credentials_free(Credentials *c);
DEFINE_CLEANUP(Credentials *, credentials_free)

/* What is known already, without asking anybody. 1 or 0. */
int credentials_peek(Credentials *c, const char *url, Credential *ret);
/* Asks `git credential fill`, at most once at a time per server; a refusal is remembered for a
 * while. 1, 0 none to be had, < 0 errno. */
int credentials_fill(Credentials *c, const char *url, uint64_t deadline_usec, Credential *ret);
/* Forgets everything: the next request asks git again. Begins a new generation, by which those who
 * keep secrets of their own know that they are to be forgotten, too. */
void credentials_flush(Credentials *c);
uint64_t credentials_generation(Credentials *c);
/* The server took it / refused it with a clean 401: tells git, keeps or forgets it. */
void credentials_approve(Credentials *c, const Credential *credential);
void credentials_reject(Credentials *c, const Credential *credential);
/* The process ends: whoever waits for a helper's answer gets -ECANCELED, now and from now on; any
 * thread. The descriptor is readable from then on; it lives as long as this. */
void credentials_stop(Credentials *c);
int credentials_stop_fd(const Credentials *c);
void credential_done(Credential *credential);
