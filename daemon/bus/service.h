#pragma once

#include <stdbool.h>

/* True when this process was told to end because the service manager, which keeps descriptors for
 * it, is about to start it again: then what is mounted stays. False where nobody knows. Blocks for
 * a moment; asks the manager itself, which needs no bus. */
bool service_restarts(void);

/* For who mounts before the daemon starts and unmounts when it has ended (gitfs-mount.c). */

/* 1 when what is kept includes a connection: it was mounted, and may be served already; 0; < 0
 * where nobody knows. */
int service_keeps_mount(void);
/* The status of a gitfsd that could not take over what its predecessor left: it has dropped it, and
 * the next start mounts anew. */
#define SERVICE_EXIT_STALE 75
/* True when it ended with that. */
bool service_is_stale(void);
/* True when the service ends and nothing starts it again. */
bool service_has_stopped(void);
