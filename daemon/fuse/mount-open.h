#pragma once

#include "util/failure.h"

/* The options of each of our mounts, for libfuse. */
#define MOUNT_OPTIONS "ro,nosuid,nodev,default_permissions,fsname=gitfs,subtype=gitfs"

/* Prepares the mount point (mount_prepare()) and mounts, for another process: the descriptor of
 * /dev/fuse, from which nothing was read, or a negative errno with the reason. Once in a process,
 * which has a descriptor of its own, too, until it ends. */
int mount_open(const char *path, Failure *ret_failure);
