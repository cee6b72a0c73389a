#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "forge/command-queue.h"
#include "forge/inbox.h"
#include "forge/ssh-command.h"
#include "forge/ssh-scan.h"
#include "forge/ssh.h"
#include "util/buf.h"
#include "util/failure.h"
#include "util/mutex.h"
#include "util/ref.h"

/* Private to ssh*.c. */

typedef struct SshTransfer SshTransfer;
typedef struct SshConnection SshConnection;

/* What the ssh thread is asked to do with a transfer; bits. */
typedef enum SshTransferCommand {
        SSH_TRANSFER_START = 1 << 0,
        SSH_TRANSFER_RESUME = 1 << 1, /* the inbox has room again */
        SSH_TRANSFER_CANCEL = 1 << 2,
} SshTransferCommand;

/* One request and its answer. Built by the caller of ssh_start(), then the ssh thread's. */
struct SshTransfer {
        Ref ref;           /* the ssh thread's until finished, a command's, the queued pump's */
        SshClient *client; /* a reference */
        SshHandler handler;
        void *userdata;
        Inbox inbox; /* from the ssh thread to the strand */

        char *repository; /* what connections are told apart by */
        char *origin;     /* for texts, and the limit per host */
        char **argv;
        bool advertisement, v2, waiting;
        Buf body;
        uint64_t deadline_usec;

        /* The ssh thread's: */
        bool active;               /* queued, or on a connection */
        bool repeated;             /* its first connection was dead */
        bool answered;             /* read by the strand once it is finished */
        uint64_t queued_usec;      /* since when it waits for a connection */
        SshConnection *connection; /* NULL: queued */
        TAILQ_ENTRY(SshTransfer) queue_entry;

        Command command; /* SshTransferCommand bits */
};

TAILQ_HEAD(SshTransferQueue, SshTransfer);

int ssh_transfer_new(
        SshClient *client,
        const SshProgram *program,
        const SshRequest *request,
        Pool *pool,
        TaskPriority priority,
        InboxBudget *budget,
        const SshHandler *handler,
        void *userdata,
        SshTransfer **ret);
SshTransfer *ssh_transfer_unref(SshTransfer *t);
DEFINE_CLEANUP(SshTransfer *, ssh_transfer_unref)
/* ssh thread, once: it has left the queue or its connection, and ended with this. */
void ssh_transfer_finish(SshTransfer *t, int result, const Failure *failure);

/* --- connections; the ssh thread only --- */

typedef enum SshConnectionState {
        SSH_STARTING, /* no advertisement yet */
        SSH_OPEN,     /* idle, or at work */
        SSH_ENDING,   /* of no use any more; the process is still there */
} SshConnectionState;

/* What an epoll event is about. */
typedef enum SshWatchKind {
        SSH_WATCH_STREAM,
        SSH_WATCH_ERRORS,
        SSH_WATCH_PROCESS,
} SshWatchKind;
typedef struct SshWatch {
        SshWatchKind kind;
        SshConnection *connection;
} SshWatch;

/* A process, and what it is doing. */
struct SshConnection {
        TAILQ_ENTRY(SshConnection) entry; /* in the client's list, until it is freed */
        SshConnectionState state;
        char *repository, *origin; /* as in SshTransfer */
        bool opened;               /* the server has introduced itself */
        bool is_v2;
        bool counted;

        pid_t pid;
        bool exited; /* and was waited for */
        int status;
        int epoll;                 /* borrowed */
        int pidfd, stream, errors; /* -1: closed */
        SshWatch watches[3];
        uint32_t events; /* that are wanted of the stream */

        SshTransfer *transfer;     /* at work on this, until it is finished */
        size_t n_sent, n_received; /* of the transfer: bytes of its body, and of the answer */
        bool paused;               /* its inbox is full */
        Buf held;                  /* what was read, but not handed on yet */
        SshScan scan;
        Buf advertisement;

        unsigned n_served;
        uint64_t opened_usec;
        uint64_t active_usec; /* the last byte, or when it fell idle */
        unsigned n_signals;   /* sent to end it */
        uint64_t signal_usec; /* ENDING: when the next is due */
        char said[2048];      /* the end of what came on standard error */
        size_t n_said;
};

TAILQ_HEAD(SshConnectionList, SshConnection);

/* Starts a process for the repository of this transfer. 0 or a negative errno. */
int ssh_connection_new(int epoll, const SshTransfer *t, SshConnection **ret);
/* Without a transfer. One that is over, unless it was never watched. */
SshConnection *ssh_connection_free(SshConnection *c);
DEFINE_CLEANUP(SshConnection *, ssh_connection_free)
/* It is for the same repository, and of use. */
bool ssh_connection_serves(const SshConnection *c, const SshTransfer *t);
bool ssh_connection_is_idle(const SshConnection *c);
/* Gives an idle one, or one that is starting and has nothing, something to do. */
void ssh_connection_assign(SshConnection *c, SshTransfer *t);
void ssh_connection_event(SshConnection *c, SshWatchKind kind, uint32_t events);
/* The inbox of its transfer has room again. */
void ssh_connection_resume(SshConnection *c);
/* Finishes its transfer, if it has one, and ends the process. */
void ssh_connection_abort(SshConnection *c, int result, const Failure *failure);
/* What is due by now. */
void ssh_connection_tick(SshConnection *c, uint64_t now, uint64_t stall_usec);
/* When ssh_connection_tick() has something to do next; USEC_INFINITY: never. */
uint64_t ssh_connection_due(const SshConnection *c, uint64_t stall_usec);
/* The process is gone, and nothing more comes: it can be concluded and freed. */
bool ssh_connection_is_over(const SshConnection *c);
/* Finishes its transfer, or gives it back: it is worth another connection. Else NULL. */
SshTransfer *ssh_connection_conclude(SshConnection *c);

/* In ssh.c. The way to the ssh thread. */
CommandQueue *ssh_client_queue(SshClient *client);
SshClient *ssh_client_ref(SshClient *client);
SshClient *ssh_client_unref(SshClient *client);

/* In ssh-process.c. Runs argv (found in $PATH) in a session of its own: *ret_stream is its standard
 * input and output, *ret_errors its standard error; neither blocks. 0 or a negative errno. */
int ssh_process_spawn(
        char *const *argv,
        bool v2,
        pid_t *ret_pid,
        int *ret_pidfd,
        int *ret_stream,
        int *ret_errors);
/* Waits for a process that has ended: its status as a shell tells it. What it has left running in
 * its group is killed. */
int ssh_process_reap(pid_t pid);
