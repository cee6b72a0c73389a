#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "object/tree-object.h"
#include "store/store.h"
#include "util/buf.h"
#include "work/flight.h"

/* The file system as everything above sees it, without FUSE: a typed name space of nodes with
 * 64-bit ids.
 *
 *      /                           root
 *      /<org>                      org
 *      /<org>/<owner>              owner: a user, an org or a group of the forge, in an org that
 *                                  stands for more than one; may nest
 *      /<org>/.../<repo>[@<ref>]   checkout: a repository at a commit, follows its branch
 *      below it                    directories, files, symlinks, submodules of that commit
 *
 * Calls answer at once from what is resident. What is not, they ask for and say so:
 *
 * - NS_PARKED: the waiter has joined a flight. When it has landed well, call again with the same
 *   arguments; when it has not, answer its error.
 * - NS_BLOCKS: resident, but it takes a disk read or a hash. Call again with NS_MAY_BLOCK on a
 *   worker.
 *
 * Everything else is a result: >= 0, or a negative errno for the caller of the system call. Any
 * thread. */
typedef struct Namespace Namespace;

#define NS_PARKED (-4096)
#define NS_BLOCKS (-4097)
#define NS_ROOT_ID UINT64_C(1)

typedef enum NsFlags {
        NS_MAY_BLOCK = 1 << 0, /* this thread may read the disk, inflate and hash */
        NS_AHEAD = 1 << 1,     /* nobody waits: what is started gives way to others */
} NsFlags;

typedef struct NsCall {
        unsigned flags;       /* NsFlags */
        FlightWaiter *waiter; /* NULL: NS_PARKED means only "not resident", nothing is started */
} NsCall;

/* Attributes of a node. An id never changes what it stands for: for files all of this is constant.
 */
typedef struct NsAttr {
        uint64_t id;  /* what the kernel calls the node by; 0: no node was made */
        uint64_t ino; /* inode number: equal to id where there is one, known even where there is not
                       */
        uint32_t mode; /* st_mode, with the type */
        uint64_t size;
        int64_t mtime; /* seconds */
        /* How long the kernel may believe the name, and the attributes; USEC_INFINITY: until told
         * otherwise. */
        uint64_t entry_timeout_usec, attr_timeout_usec;
} NsAttr;

/* 0 or -ESTALE for an id that is not (or no longer) known. Never parks or blocks. */
int ns_getattr(Namespace *ns, uint64_t id, NsAttr *ret);
/* 1: found, and one kernel reference on it is the caller's (ns_forget()); 0: no such name, with
 * ret->id 0 and entry_timeout_usec set. -ENOTDIR, -ENAMETOOLONG, -ESTALE, or what the forge said.
 */
int ns_lookup(Namespace *ns, const NsCall *call, uint64_t parent, const char *name, NsAttr *ret);
/* Releases n kernel references. Never parks or blocks. */
void ns_forget(Namespace *ns, uint64_t id, uint64_t n);

/* One directory entry. With `plus` attr is complete and carries one kernel reference if fill()
 * returns true, unless attr->id is 0: then only the name, attr->ino and the type in attr->mode are
 * known, and the kernel will look it up when it cares. Without `plus` no references are taken and
 * attr->id is 0. Returns false when there is no room: the entry is offered again at that offset. */
typedef bool (*NsFill)(const char *name, const NsAttr *attr, uint64_t next_offset, void *userdata);
/* Streams entries from `offset` (0 or a next_offset). "." and ".." come first, without references.
 * 0 or errno. */
int ns_readdir(
        Namespace *ns,
        const NsCall *call,
        uint64_t id,
        uint64_t offset,
        bool plus,
        NsFill fill,
        void *userdata);
/* 0 and the bytes of a file or the target of a symlink. -EISDIR, -EINVAL for the wrong type. */
int ns_content(Namespace *ns, const NsCall *call, uint64_t id, ObjectRef *ret);

/* A file that the kernel knows; content is NULL where it is larger than was asked for. False:
 * enough.
 */
typedef bool (*NsFileFn)(uint64_t id, const ObjectRef *content, void *userdata);
/* Shows the contents of a directory's regular files, in the order of its listing, from the one
 * behind `after` on (0: from the first), up to the first that is not on this machine. Asks nobody
 * for anything; may read the disk. 1: up to the last one; 0: to one that is not here, that fn() did
 * not want, or none at all, as the listing is not here; -ESTALE and other errnos. */
int ns_resident_files(
        Namespace *ns,
        uint64_t dir,
        uint64_t after,
        uint64_t max_size,
        NsFileFn fn,
        void *userdata);
/* The id of the directory it is in; 0 for the root and for ids that are not known. */
uint64_t ns_parent(Namespace *ns, uint64_t id);

/* Appends the node's path, relative to the root, as it was looked up: for people. 0, -ESTALE,
 * -ENOMEM. */
int ns_path(Namespace *ns, uint64_t id, Buf *ret);

/* Extended attributes "user.gitfs.*": 0 and the value appended; -ENODATA. The list is names with
 * their NULs. */
int ns_getxattr(Namespace *ns, uint64_t id, const char *name, Buf *ret);
int ns_listxattr(Namespace *ns, uint64_t id, Buf *ret);

/* What the kernel must be told. Called after the new state is in place, from pool threads, without
 * locks; must not block (queue it). */
typedef struct NsObserver {
        /* The kernel may hold a dentry (or a negative one) for this name that is no longer true. */
        void (*entry_changed)(uint64_t parent, const char *name, void *userdata);
        /* The cached attributes and contents (a directory's listing) are no longer true. */
        void (*inode_changed)(uint64_t id, void *userdata);
        /* Calls told(told_userdata) once, from any thread, when the kernel has been told of all
         * that was said before. NULL: that is when the calls above return. */
        void (*when_told)(void (*told)(void *), void *told_userdata, void *userdata);
        void *userdata;
} NsObserver;
void ns_set_observer(Namespace *ns, const NsObserver *observer);
