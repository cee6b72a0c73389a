#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/failure.h"

/* Mount points, without ever touching one that may be dead: what is mounted where is read from
 * /proc/self/mountinfo. */

#define MOUNT_FSTYPE "fuse.gitfs"

/* Makes `path` a directory that can be mounted on: creates it (0700), detaches a dead mount of
 * ours. Refuses a directory with something in it, one where something else is mounted, and one that
 * a living gitfsd serves. Blocks for at most a few seconds. 0 and the canonical path, owned by the
 * caller; or a negative errno with the reason. */
int mount_prepare(const char *path, char **ret_path, Failure *ret_failure);

/* The absolute path of a mount point without looking at it: only what is above it is resolved, and
 * made where it is missing. 0 and the path, owned by the caller, or a negative errno. */
int mount_canonical(const char *path, char **ret);

/* The minor device number of what is mounted at this canonical path, which is also the kernel's
 * name for a FUSE connection. -ENOENT where it is not a mount of ours. */
int mount_connection(const char *path, unsigned *ret);

/* Unmounts our mount with that number, lazily when it is busy. 0 also when it is not there. Blocks
 * while a helper program runs. */
int mount_remove(const char *path, unsigned connection);

/* Detaches what is mounted there if it is a mount of ours with that number and nobody serves it:
 * for a connection that was aborted, whose number may already be a successor's. */
int mount_remove_dead(const char *path, unsigned connection);

/* How many requests in the background the kernel allows a connection (0: not known which), that is,
 * the user it is for. 0 or a negative errno. */
int mount_max_background(unsigned connection, unsigned *ret);

/* Ends a connection the hard way: everybody who waits in it gets an error. Where fusectl is not
 * mounted only root can, and only while the mount is still in its place. */
int mount_abort(const char *path, unsigned connection);
