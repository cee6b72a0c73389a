#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

#include "config/config.h"
#include "forge/forge.h"
#include "util/failure.h"
#include "work/pool.h"

/* Where the token of one org comes from. In this order, the first that has one wins:
 *
 *      $CREDENTIALS_DIRECTORY/gitfs.ORG    a systemd credential (systemd.exec(5))
 *      CONFIGHOME/credentials/ORG          a file of mode 0600, written by `gitfsctl token set`
 *      gh auth token, glab config get      for GitHub and GitLab over https, by the host's name
 *      git credential fill                 credential.h; user name and password
 *
 * A token is read when it is first needed, kept in memory that is wiped and left out of core dumps,
 * and read again after it was refused, and when the file has changed, so that it can be rotated
 * without a restart. Nothing here blocks, any thread may call it: files are read on workers, and
 * programs run on threads of their own (helper.h), at most one for each secret. */
typedef struct Secrets Secrets;

typedef enum SecretOrigin {
        SECRET_NONE,
        SECRET_SYSTEMD,
        SECRET_FILE,
        SECRET_TOOL, /* gh or glab */
        SECRET_GIT,  /* git credential */
} SecretOrigin;

typedef struct Secret {
        SecretOrigin origin;
        char *username;  /* owned; for git over HTTP, where git told it: NULL: whatever the forge
                            wants beside a token */
        char *token;     /* owned; NULL: there is none */
        uint64_t serial; /* the same for the same token, another for another; never 0; names a
                            budget of requests */
} Secret;

/* url: what `git credential` and gh are asked about, "https://host/owner"; ask_git: git is asked at
 * all. The context's pool, helpers (NULL: no program is asked), credentials and config_home are
 * used, as long as anybody waits; credentials may be NULL unless git is to be asked. */
int secrets_new(
        const OrgConfig *org,
        const char *url,
        const ForgeContext *context,
        bool ask_git,
        Secrets **ret);
Secrets *secrets_ref(Secrets *s);
Secrets *secrets_unref(Secrets *s);
DEFINE_CLEANUP(Secrets *, secrets_unref)

/* Embedded in whatever waits; one of its holders keeps a reference to the secrets meanwhile. */
typedef struct SecretWaiter SecretWaiter;
struct SecretWaiter {
        /* Set by the caller: */
        uint64_t deadline_usec;
        TaskPriority priority; /* of what is done on workers */
        /* On a pool thread, exactly once: 1 and the secret, which may be taken; 0 there is none
         * (remembered for a while); -EKEYREJECTED there is only one that was refused; -EPERM or
         * -EINVAL there is a file that cannot be used; or another errno. May free the waiter. */
        void (*done)(SecretWaiter *waiter, int result, Secret *secret);

        /* private to secret.c */
        Secrets *secrets;
        Task task;
        STAILQ_ENTRY(SecretWaiter) entry;
};

/* done() may come before this returns. */
void secrets_get(Secrets *s, SecretWaiter *waiter);
/* The same where that need not block: 1, or 0 where it would have to read, or to look whether the
 * file has changed. */
int secrets_get_at_once(Secrets *s, Secret *ret);
/* Why the last secrets_get() gave no token: fills the failure (TOKEN_MISSING, TOKEN_REFUSED, LOCAL)
 * and returns its errno; 0 where nothing is known. */
int secrets_explain(Secrets *s, Failure *ret);
/* What is in memory already: 1 and a copy; 0 nothing, or nothing was asked for yet. */
int secrets_peek(Secrets *s, Secret *ret);
/* The server answered 401 to it. True: another one may be had now, ask once more. It is not given
 * out again before it has changed, or a while has passed; servers lock accounts. `git credential
 * reject` is told where it came from there, and had never been accepted. */
bool secrets_refused(Secrets *s, const Secret *secret);
void secrets_accepted(Secrets *s, const Secret *secret);
/* Forgets what was read, of this org only; credentials_flush() does so for all of them. */
void secrets_flush(Secrets *s);
void secret_done(Secret *secret);
#define _cleanup_secret_ _cleanup_(secret_done)

/* CONFIGHOME/credentials/ORG: writes it, 0600 in a directory of 0700, as a whole. -EINVAL for what
 * is no token: empty, over 16 KiB, with blanks or control characters. */
int secret_file_write(const char *config_home, const char *org, const char *token);
/* 0, also where there is none. */
int secret_file_remove(const char *config_home, const char *org);
