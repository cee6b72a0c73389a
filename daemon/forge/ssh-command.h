#pragma once

#include <stdbool.h>

#include "gitfs/macro.h"

#include "config/ssh-url.h"

/* The ssh that git would run, with the user's own keys, agent and configuration. */
typedef struct SshProgram {
        char *command; /* owned */
        bool shell;    /* it is for a shell to read */
        bool simple;   /* takes a host and a command, and no options */
        char *config;  /* owned; a configuration to be used for its own; NULL: none */
} SshProgram;

/* $GIT_SSH_COMMAND, else core.sshCommand, else $GIT_SSH, else "ssh". Runs git: workers only. 0 or a
 * negative errno. */
int ssh_program_find(SshProgram *ret);
void ssh_program_done(SshProgram *p);
#define _cleanup_ssh_program_ _cleanup_(ssh_program_done)

/* What to run for git-upload-pack on the other side: a NULL-terminated list for
 * ssh_argv_free(). No prompt can come of it. 0; -EINVAL: a simple program cannot be told a port;
 * -ENOMEM. */
int ssh_program_argv(const SshProgram *p, const SshUrl *url, bool v2, char ***ret);
char **ssh_argv_free(char **argv);
DEFINE_CLEANUP(char **, ssh_argv_free)
