#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "forge/forge.h"
#include "object/oid.h"
#include "util/failure.h"

/* The refs that a server told, and what a name means among them. Embedded by value; zeroed is
 * empty. Not thread-safe. */
typedef struct GitRef {
        char *name;   /* owned: "HEAD", "refs/..." */
        Oid oid;      /* none: an unborn branch, only for HEAD */
        Oid peeled;   /* of an annotated tag; none otherwise */
        char *target; /* owned; what a symbolic ref points to, NULL otherwise */
} GitRef;

typedef struct GitRefs {
        GitRef *refs; /* owned */
        size_t n, cap;
        size_t n_bytes; /* that names and targets take, about */
} GitRefs;

/* Takes name and target over in no case; target may be NULL. 0, -ENOMEM, -EFBIG when a server tells
 * too many. */
int git_refs_add(
        GitRefs *refs, const char *name, size_t name_len, const Oid *oid, const char *target);
void git_refs_done(GitRefs *refs);

/* Parses a line of a v2 ls-refs answer and adds it. 0, -EBADMSG, -ENOMEM, -EFBIG. */
int git_refs_add_line(GitRefs *refs, const char *line, size_t len);

/* True for all hex digits of a commit id: it needs no resolving. */
bool git_refname_is_oid(const char *refname, Oid *ret);
/* True if a ref of this name, as the user wrote it, could exist: it is safe to send. */
bool git_refname_is_valid(const char *refname);
/* What fetch->refname means among these refs: sets commit, resolved and moves. 0, or -ENOENT with
 * the failure. */
int git_refs_resolve(const GitRefs *refs, Fetch *fetch, Failure *ret_failure);
