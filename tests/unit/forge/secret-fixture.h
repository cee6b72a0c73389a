#pragma once

#include <semaphore.h>
#include <stdint.h>
#include <sys/types.h>

#include "forge/credential.h"
#include "forge/secret.h"
#include "lib/temp-dir.h"

/* The secrets of one org, on a pool of one worker, with programs named gh and glab of our own, and
 * the real `git credential` with a helper that is a shell function. Each writes a line to `log`,
 * and tells what is in the file gh-token, glab-token or git-token. */
typedef struct Fixture {
        TempDir dir; /* the home of the configuration */
        ForgeContext context;
        Secrets *secrets;
} Fixture;

void setup(Fixture *f, OrgKind kind, const char *url);
void teardown(Fixture *f);
/* Those of another org. */
Secrets *make(const Fixture *f, const char *name, OrgKind kind, const char *url);
char *in_dir(const Fixture *f, const char *name);
void write_text(const Fixture *f, const char *name, const char *text, mode_t mode);
uint64_t in_a_minute(void);

/* A question and its answer. */
typedef struct Asker {
        SecretWaiter waiter;
        sem_t ended;
        int result;
        Secret secret;
} Asker;

void ask(Secrets *secrets, uint64_t deadline_usec, Asker *ret);
/* Waits for it. */
int answer(Asker *asker, Secret *ret);
/* Both, of the org's. */
int get(const Fixture *f, Secret *ret);

void assert_token(const Fixture *f, SecretOrigin origin, const char *token);
void assert_result(const Fixture *f, int result);
/* The server answers 401 to the org's token, or takes it. */
void refuse(const Fixture *f, bool again);
void accept_it(const Fixture *f);
/* What the programs wrote, as soon as it is as much. */
void assert_log(const Fixture *f, const char *expected);
void assert_words(const Fixture *f, FailureClass class, const char *part);
/* Asks until it is this one: the file is looked at once a second. */
void await_token(const Fixture *f, const char *token);

#define GH "gh auth token --hostname github.test\n"
