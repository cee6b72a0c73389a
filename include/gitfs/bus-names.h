#pragma once

/* Names of the D-Bus interface, shared by the daemon, gitfsctl and the tests. */

#define GITFS_BUS_NAME "org.gitfs1"
#define GITFS_BUS_PATH "/org/gitfs1"
#define GITFS_BUS_MANAGER "org.gitfs1.Manager"
#define GITFS_BUS_ORG "org.gitfs1.Org"
#define GITFS_BUS_JOB "org.gitfs1.Job"

/* Object path prefixes; an org's name is escaped with sd_bus_path_encode(). */
#define GITFS_BUS_ORG_PREFIX "/org/gitfs1/org"
#define GITFS_BUS_JOB_PREFIX "/org/gitfs1/job"

#define GITFS_BUS_ERROR_NOT_FOUND "org.gitfs1.Error.NotFound"
#define GITFS_BUS_ERROR_EXISTS "org.gitfs1.Error.Exists"
#define GITFS_BUS_ERROR_INVALID "org.gitfs1.Error.InvalidArgument"
#define GITFS_BUS_ERROR_OUTSIDE "org.gitfs1.Error.OutsideMount"
#define GITFS_BUS_ERROR_AUTH "org.gitfs1.Error.AccessDenied"
#define GITFS_BUS_ERROR_OFFLINE "org.gitfs1.Error.Offline"
#define GITFS_BUS_ERROR_TIMEOUT "org.gitfs1.Error.TimedOut"
#define GITFS_BUS_ERROR_RATE_LIMITED "org.gitfs1.Error.RateLimited"
#define GITFS_BUS_ERROR_UNSUPPORTED "org.gitfs1.Error.Unsupported"
#define GITFS_BUS_ERROR_FAILED "org.gitfs1.Error.Failed"
