#pragma once

#include <stdbool.h>

/* What the service manager keeps for a successor of this process: see systemd.service(5),
 * FileDescriptorStoreMax=. Without a service manager all of this does nothing. Main thread. */

typedef struct MountFds {
        int fuse;    /* of /dev/fuse, mounted; -1: there is none, and then nothing else */
        int session; /* fuse/journal.h; -1: nobody has read from it */
        int nodes;   /* ns_nodes_fd(); -1 likewise */
        bool kept;   /* the service manager keeps what is here */
} MountFds;

#define MOUNT_FDS_NONE ((MountFds){-1, -1, -1, false})

/* Takes what was handed to this process: the caller's from then on. Before the first thread. */
MountFds fd_store_take(void);
void mount_fds_close(MountFds *fds);

/* Has these kept, and of those that are not -1 no others, and returns when they are. Borrowed. */
void fd_store_put(const MountFds *fds);
/* Has nothing kept any more, and returns when it is closed there. */
void fd_store_clear(void);
