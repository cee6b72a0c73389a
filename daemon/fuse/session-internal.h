#pragma once

#include <stdatomic.h>
#include <sys/types.h>

#include "fuse/journal.h"
#include "fuse/notify.h"
#include "fuse/push.h"
#include "fuse/reader.h"
#include "fuse/recovery.h"
#include "fuse/request.h"
#include "fuse/session.h"

struct fuse_session;

/* What the files of this layer share of a session. Fields without a remark are set before the first
 * thread starts and constant from then on. */
struct MountSession {
        MountConfig config;
        char *mount_point; /* owned; canonical */
        Namespace *ns;
        MountEnded ended;
        void *ended_userdata;
        struct fuse_session *se; /* owned */
        unsigned connection;     /* the kernel's number of it: minor device number of the mount; 0
                                    where that is not known */
        Journal *journal;        /* owned */
        bool passed;             /* mounted by somebody else, who also unmounts */
        bool succeeds;           /* goes on where a predecessor ended */
        uid_t uid;
        gid_t gid;

        /* what the kernel agreed to */
        bool negotiated;
        bool no_open;
        bool no_opendir;
        bool parallel_dirops;
        bool init_replied;

        RequestTable requests;
        Readers readers;
        Recovery recovery;
        Notifier *notifier; /* owned */
        Pusher *pusher;     /* owned; NULL: nothing is pushed */

        /* by the thread that stops and frees */
        bool stopped;
        bool left; /* to a successor: the mount stays */
        bool unmounted;
};
