#pragma once

#include <stddef.h>
#include <stdint.h>

#include "object/oid.h"

/* Reads the raw content of a tree object: "<octal mode> <name>\0<raw oid>" repeated. Bytes in,
 * values out; every byte may come from a hostile server. */

typedef enum EntryKind {
        ENTRY_FILE,      /* 100644, and what old tools wrote for it (100664, 100640, ...) */
        ENTRY_EXEC,      /* 100755, or any file with the owner's x */
        ENTRY_SYMLINK,   /* 120000 */
        ENTRY_DIR,       /* 40000 */
        ENTRY_SUBMODULE, /* 160000: the oid names a commit of another repository, never fetch it */
        _ENTRY_KIND_MAX,
} EntryKind;

typedef struct TreeEntry {
        EntryKind kind;
        const char *name; /* points into the tree's content, not NUL-terminated by contract (it is
                             in fact) */
        size_t name_len;
        Oid oid;
} TreeEntry;

typedef struct TreeIter {
        const uint8_t *p, *end;
        OidAlgo algo;
} TreeIter;

/* The content must outlive the iterator and the entries it returns. */
void tree_iter_init(TreeIter *it, OidAlgo algo, const void *data, size_t len);
/* 1 and an entry, 0 at the end, or -EBADMSG: truncated, a mode of no kind above, a name that
 * is empty, ".", "..", or ".git" in any case, or holds '/'. Duplicate names are the caller's to
 * find (they need not be adjacent). A name may be longer than NAME_MAX. */
int tree_iter_next(TreeIter *it, TreeEntry *ret);
