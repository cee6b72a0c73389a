#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "forge/inbox.h"
#include "util/failure.h"
#include "work/pool.h"

/* git-upload-pack on other machines, by the user's own ssh: keys, agent, configuration and known
 * hosts are his, and no prompt ever waits for an answer. One thread owns all processes and pipes
 * and only moves bytes. Callbacks run on pool threads, serialised per transfer, and a handler that
 * is slower than the network pauses it (inbox.h).
 *
 * A connection serves one repository and many requests, one after the other; those that wait go
 * first. A second one is made when somebody has waited for a while behind a long answer. */
typedef struct SshClient SshClient;

#define SSH_MAX_PER_REPOSITORY 2
#define SSH_MAX_PER_HOST 4
#define SSH_MAX_TOTAL 16

typedef struct SshConfig {
        uint64_t stall_timeout_usec; /* no byte in either direction for that long */
        InboxBudget *budget;         /* outlives the client; NULL: no limit */
        const char *directory; /* for copies of configuration (ssh-config.h); copied; NULL: none */
} SshConfig;

int ssh_client_new(const SshConfig *config, Pool *pool, SshClient **ret);
/* Ends every process, delivers every on_done, joins the thread. The pool must still run. */
void ssh_client_stop(SshClient *client);
/* Ends connections that are idle now: the network is another one. Any thread. */
void ssh_client_renew(SshClient *client);
/* Stops if that was not done. NULL-safe, returns NULL. */
SshClient *ssh_client_free(SshClient *client);
DEFINE_CLEANUP(SshClient *, ssh_client_free)

typedef struct SshRequest {
        const char *url;    /* as ssh_url_parse() takes it; copied */
        bool advertisement; /* just what the other side says first */
        bool v2;            /* of the protocol; a server that does not speak it answers in v0 */
        const void *body;   /* copied; unless it is for the advertisement */
        size_t body_len;
        bool waiting;           /* somebody waits for the answer */
        uint64_t deadline_usec; /* monotonic */
} SshRequest;

typedef struct SshHandler {
        /* Bytes of the answer: packets up to the flush that ends it, or, in v0, all of them.
         * Negative ends the transfer and becomes its result. */
        int (*on_data)(const uint8_t *data, size_t len, void *userdata);
        /* Exactly once, last. `answered`: git took the request; what there is of its answer was
         * handed on, even if result is bad. -ECONNRESET: the connection was lost, which is worth
         * another try. */
        void (*on_done)(int result, bool answered, const Failure *failure, void *userdata);
} SshHandler;

/* Starts a transfer. Workers only: git may be asked how it is configured. The handler must live
 * until on_done. 0, -EINVAL, -ENOMEM, -ESHUTDOWN; on failure no callback is ever made. */
int ssh_start(
        SshClient *client,
        const SshRequest *request,
        TaskPriority priority,
        const SshHandler *handler,
        void *userdata);

/* "ssh://host[:port]"; owned by the caller. 0, -EINVAL, -ENOMEM. */
int ssh_url_origin(const char *url, char **ret);
