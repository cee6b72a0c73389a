#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fuse/session.h"
#include "mount/fake-namespace.h"
#include "mount/fixture.h"

/* A process that serves the fake name space and can be killed: what it needs to be succeeded is
 * kept by the test, as the service manager would. The functions assert with libcheck. */

/* Fills the name space; the same nodes in the same order in each process. */
typedef void (*ServerSetup)(Namespace *ns, void *userdata);

typedef struct Server {
        const char *mount_point;
        ServerSetup setup;
        void *userdata;
        uint64_t *counts;     /* shared: the kernel's references */
        uint64_t max_pending; /* of the next process; 0: as fixture_config() says */

        pid_t pid;
        int socket;
        int fuse_fd, journal_fd; /* kept; -1 before the first process */
} Server;

void server_init(Server *s, const char *mount_point, ServerSetup setup, void *userdata);
/* Starts a process, the first one or a successor, up to the point where it has the mount and has
 * talked to nobody. 0 or its error. */
int server_attach(Server *s);
/* Has it serve. 0 or its error. */
int server_serve(Server *s);
/* Both, and they must succeed. */
void server_start(Server *s);

/* Ends it with SIGKILL; it must not have died before. */
void server_kill(Server *s);
/* Returns when it has died by itself, with the number of the signal. */
int server_await_death(Server *s);
/* Waits for either: true if it has died by itself before this call ended. Then it is to be
 * succeeded. */
bool server_dies_before(Server *s, const Call *call);
/* Has it end and leave the mount to a successor. */
void server_leave(Server *s);
/* Has it unmount and end, and forgets what was kept. */
void server_stop(Server *s);
/* Forgets what was kept: the connection ends if no process is left. */
void server_forget(Server *s);

/* Returns when n calls have parked in it. */
void server_wait_parked(Server *s, unsigned n);
/* Has it tell the kernel to forget everything. */
void server_invalidate(Server *s);
/* Returns when it has told the kernel what a successor has to. */
void server_settle(Server *s);
/* Has it read what the kernel says first, as if it were to record it, and die. */
void server_die_with_init(Server *s);
