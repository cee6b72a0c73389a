#pragma once

/* Names of the D-Bus interface, shared by the daemon, gitfsctl and the tests.
 *
 * Paths and names that come from a repository may hold any bytes: on the bus they are spelled as
 * text_escape() does (util/text.h). */

#define GITFS_BUS_NAME "org.gitfs1"
#define GITFS_BUS_PATH "/org/gitfs1"
#define GITFS_BUS_MANAGER "org.gitfs1.Manager"
#define GITFS_BUS_ORG "org.gitfs1.Org"
#define GITFS_BUS_JOB "org.gitfs1.Job"

/* Object path prefixes; an org's name is escaped with sd_bus_path_encode(), a job's is its id. */
#define GITFS_BUS_ORG_PREFIX "/org/gitfs1/org"
#define GITFS_BUS_JOB_PREFIX "/org/gitfs1/job"

/* The private socket, in the runtime directory: the same objects without a bus. */
#define GITFS_BUS_SOCKET "control"

/* Flags of Flush() and Prefetch(). */
#define GITFS_BUS_FLUSH_KERNEL (1u << 0)
#define GITFS_BUS_FLUSH_MEMORY (1u << 1)
#define GITFS_BUS_FLUSH_DISK (1u << 2)
#define GITFS_BUS_PREFETCH_CONTENTS (1u << 0)

/* Options of AddOrg(), named as the properties of the org. */
#define GITFS_BUS_OPTION_POLL_INTERVAL "PollIntervalUSec" /* t; 0 never polls */
#define GITFS_BUS_OPTION_API_URL "ApiUrl"                 /* s */
#define GITFS_BUS_OPTION_OWNER "Owner"                    /* s */
#define GITFS_BUS_OPTION_INCLUDE "Include"                /* as */
#define GITFS_BUS_OPTION_EXCLUDE "Exclude"                /* as */
#define GITFS_BUS_OPTION_ARCHIVED "Archived"              /* b */
#define GITFS_BUS_OPTION_FORKS "Forks"                    /* b */
#define GITFS_BUS_OPTION_CLIENT_ID "ClientId"             /* s */

#define GITFS_BUS_ERROR_NOT_FOUND "org.gitfs1.Error.NotFound"
#define GITFS_BUS_ERROR_EXISTS "org.gitfs1.Error.Exists"
#define GITFS_BUS_ERROR_INVALID "org.gitfs1.Error.InvalidArgument"
#define GITFS_BUS_ERROR_OUTSIDE "org.gitfs1.Error.OutsideMount"
#define GITFS_BUS_ERROR_AUTH "org.gitfs1.Error.AccessDenied"
#define GITFS_BUS_ERROR_OFFLINE "org.gitfs1.Error.Offline"
#define GITFS_BUS_ERROR_TIMEOUT "org.gitfs1.Error.TimedOut"
#define GITFS_BUS_ERROR_RATE_LIMITED "org.gitfs1.Error.RateLimited"
#define GITFS_BUS_ERROR_TOO_LARGE "org.gitfs1.Error.TooLarge"
#define GITFS_BUS_ERROR_SERVER "org.gitfs1.Error.Server"
#define GITFS_BUS_ERROR_CORRUPT "org.gitfs1.Error.Corrupt"
#define GITFS_BUS_ERROR_UNSUPPORTED "org.gitfs1.Error.Unsupported"
#define GITFS_BUS_ERROR_CANCELLED "org.gitfs1.Error.Cancelled"
#define GITFS_BUS_ERROR_BUSY "org.gitfs1.Error.Busy"
#define GITFS_BUS_ERROR_FAILED "org.gitfs1.Error.Failed"
