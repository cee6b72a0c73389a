#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fuse/lowlevel.h"
#include "tree/namespace.h"
#include "util/failure.h"

/* Every answer to the kernel goes out here, and only here does an error of the layers below become
 * the errno of a system call. Each function consumes the request. No lock may be held: a reply can
 * make the kernel send the FORGET of what it carries. */

typedef struct MountSession MountSession;
typedef struct Request Request;

typedef struct Reply {
        MountSession *session;
        fuse_req_t req;
        const char *what;   /* "lookup", "read", ...: for the log */
        uint64_t id;        /* the inode that was asked about */
        bool interruptible; /* an interrupt function is registered for req */
        Request *waiting;   /* has a place among those that wait; NULL: none */
} Reply;

/* What the caller of a system call sees for a negative errno of the tree or a forge: positive, and
 * always one that makes sense for a read-only file system. Never ENOSYS, which the kernel would
 * remember for the rest of the mount. */
int reply_errno(int error);

/* The entry carries one kernel reference, which is given back if the kernel does not take it.
 * id 0: a name that does not exist, for as long as entry_timeout_usec says. */
void reply_entry(Reply *reply, const NsAttr *attr);
void reply_attr(Reply *reply, const NsAttr *attr);
void reply_data(Reply *reply, const void *data, size_t len);
/* As reply_data(), telling whether the kernel took it: 0 or a negative errno. */
int reply_data_checked(Reply *reply, const void *data, size_t len);
/* The size-0 protocol of getxattr and listxattr: `size` is the caller's. */
void reply_xattr(Reply *reply, const void *data, size_t len, size_t size);
void reply_open(Reply *reply, const struct fuse_file_info *info);
void reply_statfs(Reply *reply, const struct statvfs *st);
/* To a request that wants no answer (FORGET). */
void reply_none(Reply *reply);
/* The kernel shall not ask this again: ENOSYS. */
void reply_not_needed(Reply *reply);
/* This file system has nothing of this kind, for any file: EOPNOTSUPP, which is no trouble. */
void reply_not_supported(Reply *reply);
/* A negative errno. failure says why and may be NULL. Causes that are not the caller's are logged,
 * a few lines a second for each. */
void reply_error(Reply *reply, int error, const Failure *failure);

/* As libfuse wants them. */
void reply_fill_stat(const MountSession *s, const NsAttr *attr, struct stat *ret);
void reply_fill_entry(const MountSession *s, const NsAttr *attr, struct fuse_entry_param *ret);
