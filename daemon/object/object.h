#pragma once

#include <stddef.h>
#include <stdint.h>

#include "object/oid.h"

/* The four kinds of git object, with the numbers they have in packs. */
typedef enum ObjectType {
        OBJECT_COMMIT = 1,
        OBJECT_TREE = 2,
        OBJECT_BLOB = 3,
        OBJECT_TAG = 4,
} ObjectType;

const char *object_type_name(ObjectType type);
/* "commit" ... "tag" to ObjectType; -EINVAL otherwise. */
int object_type_from_name(const char *name, size_t len);

/* Computes the id of an object, SHA-1 with collision detection (libgit2's). Any thread.
 * 0; -EBADMSG where the content is a SHA-1 collision attack; -EOPNOTSUPP for SHA-256; -ENOMEM. */
int object_hash(OidAlgo algo, ObjectType type, const void *data, size_t len, Oid *ret);

/* Sets up the library behind this layer, once, which takes some milliseconds; what needs it does so
 * by itself. Any thread. 0 or -ENOMEM. */
int object_library_init(void);
/* After all threads that used this layer have ended. It may be set up again. */
void object_library_done(void);
