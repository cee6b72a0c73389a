#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/object.h"

/* A git repository on this machine, read in place through libgit2. Nothing is written to it. All
 * functions block on the disk: workers only. A LocalRepo may be used from several threads at once.
 */
typedef struct LocalRepo LocalRepo;

/* Opens a bare repository or one with a work tree (its .git directory or file). 0; -ENOENT where
 * there is none; -EOPNOTSUPP for a SHA-256 repository; -EACCES; -EIO otherwise. Repositories owned
 * by another user are opened like any other: we only read. */
int local_repo_open(const char *path, LocalRepo **ret);
LocalRepo *local_repo_free(LocalRepo *repo);
DEFINE_CLEANUP(LocalRepo *, local_repo_free)

/* True if path looks like a repository, without opening it: for listings. */
bool local_repo_probe(const char *path);

/* Resolves "HEAD" or a full reference name to a commit, tags peeled. 1, with the commit's id and,
 * for HEAD, the branch it points to ("refs/heads/main", allocated; NULL when detached; ret_target
 * may be NULL); 0 when there is no such reference, or it has no commit yet (unborn branch:
 * *ret_target is still set); < 0 errno. */
int local_repo_resolve(LocalRepo *repo, const char *refname, Oid *ret_commit, char **ret_target);
/* Completes an abbreviated commit id of >= 4 hex digits. 1, 0 not found, -EEXIST ambiguous. */
int local_repo_resolve_prefix(LocalRepo *repo, const char *hex, Oid *ret_commit);

/* Type and size without reading the content, where the format allows. 1, 0 no such object, < 0
 * errno. */
int local_repo_stat(LocalRepo *repo, const Oid *oid, ObjectType *ret_type, uint64_t *ret_size);
/* Reads an object whole and verifies it against its id. 1 with *ret_data (malloc'ed, owned by the
 * caller, NULL when empty), 0, -EBADMSG corrupt, -EFBIG over max_size, other errno. */
int local_repo_read(
        LocalRepo *repo,
        const Oid *oid,
        uint64_t max_size,
        ObjectType *ret_type,
        uint8_t **ret_data,
        uint64_t *ret_size);
/* Makes objects that were written since the last call visible (new packs). */
void local_repo_rescan(LocalRepo *repo);
