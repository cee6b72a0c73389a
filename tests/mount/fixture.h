#pragma once

#include <limits.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/types.h>

#include "fuse/session.h"
#include "mount/fake-namespace.h"

/* A real mount of the fake name space, and programs that use it. The functions assert with libcheck
 * and belong to the main thread. */

typedef struct Fixture {
        Pool *pool;
        FlightTable *flights;
        Namespace *ns;
        MountSession *session;
        sem_t ended;  /* posted by the session's callback */
        pid_t guard;  /* cleans up where the test cannot any more */
        char dir[64]; /* temporary; the mount point is in it */
        char mnt[80];
} Fixture;

/* With libcheck's main(): ends the program with 77 and a reason where nothing can be mounted. */
void skip_without_fuse(void);

/* What tests start from: three readers, timeouts that never come, the kernel keeps listings. */
MountConfig fixture_config(void);
/* Makes everything but the session. */
void fixture_init(Fixture *f);
/* Mounts and serves. */
void fixture_mount(Fixture *f, const MountConfig *config);
/* All that most tests begin with: as fixture_config() says. */
void fixture_start(Fixture *f);
/* Unmounts, checks that nothing leaked, removes the directory. */
void fixture_done(Fixture *f);
/* For tests whose mount is served by another process: only the directory, and who cleans it up when
 * the test has died. */
void fixture_make_dir(Fixture *f);
void fixture_remove_dir(Fixture *f);
void fixture_start_guard(Fixture *f);
void fixture_stop_guard(Fixture *f);
/* The path of a name in the mount; valid until the eighth next call. */
const char *fixture_path(Fixture *f, const char *name);
/* True while a gitfs is mounted there, by what /proc/self/mountinfo says. */
bool fixture_is_mounted(Fixture *f);

/* Another process that uses the mount. It holds nothing of ours: when the test dies it gets an
 * error, where a thread would keep /dev/fuse open and wait for ever. */
typedef enum CallKind {
        CALL_STAT,
        CALL_READ,     /* open, read to the end, close: text */
        CALL_READLINK, /* text */
        CALL_LIST,     /* text: the names, each with a blank behind */
} CallKind;

typedef struct CallResult {
        int error; /* 0 or the positive errno */
        uint64_t ino;
        char text[512];
} CallResult;

typedef struct Call {
        pid_t pid;
        CallResult *shared; /* with the process */
        CallResult result;  /* a copy, after call_join() */
} Call;

void call_start(Call *call, CallKind kind, const char *path);
/* Makes the call return EINTR, if it can. */
void call_interrupt(Call *call);
/* Returns the call's errno, EPROTO if it died. */
int call_join(Call *call);
/* Start and join. */
int call_now(Call *call, CallKind kind, const char *path);
