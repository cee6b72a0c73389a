#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "gitfs/macro.h"

#include "manager/manager.h"

/* The control interface: one object tree, served on the session bus where there is one, and on a
 * private socket in the runtime directory, so that it works in containers and CI jobs too. Lives on
 * the main thread; nothing in it blocks once bus_new() has returned. */
typedef struct Bus Bus;

/* Starts serving, and makes itself the manager's observer. Both `event` and `m` must outlive the
 * Bus. Without a session bus, or where `session` is false, only the private socket is served; a
 * session bus that goes away later is reconnected to in the background. -EADDRINUSE when another
 * gitfsd serves this user, or an errno of the private socket: the reason has been logged. */
int bus_new(sd_event *event, Manager *m, bool session, Bus **ret);
/* Drops the name and all clients. Calls that wait for the manager are
 * answered with a cancellation now; manager_free() comes after this and ends their callbacks. */
Bus *bus_free(Bus *b);
DEFINE_CLEANUP(Bus *, bus_free)
