#pragma once

#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "tree/namespace.h"

/* A process that gives the kernel our notifications: see herald.c. One thread uses it. */
typedef struct Herald Herald;

/* Starts the process. fuse_fd is borrowed; data_max: bytes of the largest file in
 * herald_add_store(). */
int herald_new(int fuse_fd, size_t data_max, Herald **ret);
/* Whoever waits in one of the functions below returns, from now on all of them fail with -ENOTCONN,
 * and the process ends as soon as the kernel lets it. For the thread that frees it. NULL-safe. */
void herald_dismiss(Herald *h);
/* Waits for the process, unless it was dismissed. NULL-safe, returns NULL. */
Herald *herald_free(Herald *h);
DEFINE_CLEANUP(Herald *, herald_free)

/* All return when the kernel has been told: 0 or what it said. -ENOENT: it knows no such thing.
 * -EAGAIN: it has not been told, as the process has ended and no other can be started now. */

/* Drops a name, with what lies below it and is not in use. */
int herald_drop_entry(Herald *h, uint64_t parent, const char *name);
/* Has it look a name up again before it believes it; kernels before 6.2 drop it. */
int herald_expire_entry(Herald *h, uint64_t parent, const char *name);
/* Drops attributes and content, or a listing. */
int herald_drop_inode(Herald *h, uint64_t id);

typedef struct HeraldStored {
        uint64_t files, bytes;
} HeraldStored;

/* Has a whole file put into the page cache by the next herald_flush(), and nothing else be told
 * before that. -ENOBUFS: no room before it; -EIO where its bytes cannot be read. */
int herald_add_store(Herald *h, uint64_t id, const ObjectRef *content);
/* Returns when the kernel has been told of them; `ret` is what it has taken. Errors as above, but
 * for those of a single file: a kernel that has forgotten it is as good as told. */
int herald_flush(Herald *h, HeraldStored *ret);
