#pragma once

#include <systemd/sd-bus.h>

#include "ctl/ctl.h"
#include "ctl/json.h"

/* The connection to gitfsd. Every function returns 0 or a negative errno, and has told the person
 * what went wrong and what to do about it when it fails. */

/* The private socket of the runtime directory; where nobody listens, the session bus, which starts
 * the service. A runtime directory that was asked for by name is the only place to look. */
int client_connect(Ctl *ctl);

/* Calls a method of the manager. The reply is for sd_bus_message_unref(); ret may be NULL. */
int client_call(Ctl *ctl, sd_bus_message **ret, const char *member, const char *types, ...);
/* The same with the answer as JSON. */
int client_call_json(Ctl *ctl, json_object **ret, const char *member, const char *types, ...);
/* All properties of an object as a JSON object. */
int client_get_all(Ctl *ctl, const char *path, const char *interface, json_object **ret);
/* Calls a method without arguments or answer of any object. */
int client_poke(Ctl *ctl, const char *path, const char *interface, const char *member);

/* Asks for the mount point, once; sets ctl->mount_point. */
int client_mount_point(Ctl *ctl);
/* Turns PATH as typed into the spelling in which it goes over the bus, relative to the mount, by
 * the rules of path-argument.h with the process's working directory, or with `cwd`. *ret is
 * allocated. */
int client_path(Ctl *ctl, const char *arg, char **ret);
int client_path_from(Ctl *ctl, const char *cwd, const char *arg, char **ret);

/* Reports `r`, or the D-Bus error where it is set; returns r. */
int client_report(const Ctl *ctl, int r, const sd_bus_error *error);
