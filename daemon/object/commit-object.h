#pragma once

#include <stddef.h>
#include <stdint.h>

#include "object/object.h"

/* The parts of commits and annotated tags that gitfs needs. Bytes may come from a hostile server.
 */

typedef struct CommitObject {
        Oid tree;
        int64_t commit_time; /* seconds since the epoch, as the committer's clock said; clamped to
                                >= 0 */
} CommitObject;

typedef struct TagObject {
        Oid target;
        ObjectType target_type;
} TagObject;

/* 0 or -EBADMSG. A missing or malformed date is not an error: commit_time is 0 then. */
int commit_parse(OidAlgo algo, const void *data, size_t len, CommitObject *ret);
int tag_parse(OidAlgo algo, const void *data, size_t len, TagObject *ret);
