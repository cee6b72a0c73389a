#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "forge/git-capabilities.h"
#include "forge/git-wants.h"
#include "util/buf.h"

/* Bodies of requests to git-upload-pack. Only what the server advertised is sent: it answers
 * anything else with silence. All append to *ret and return 0, -ENOMEM, or -E2BIG. */

/* v2: the default branch (NULL), or what the name can mean. The name was checked with
 * git_refname_is_valid(). */
int git_request_ls_refs(const GitCapabilities *c, const char *refname, Buf *ret);

typedef struct GitFetchShape {
        bool shallow;       /* one commit, without its history */
        const char *filter; /* a filter-spec, only where the server can filter; NULL: none */
        const Oid *have;    /* a tree that need not be sent; NULL or none: nothing. v2 only */
} GitFetchShape;

/* v2 and v0: the open wants from *position on, at most max, and moves *position behind them. */
int git_request_fetch(
        const GitCapabilities *c,
        const GitFetchShape *shape,
        const GitWants *wants,
        size_t max,
        size_t *position,
        Buf *ret);
/* v2: sizes, likewise. */
int git_request_object_info(
        const GitCapabilities *c, const GitWants *wants, size_t max, size_t *position, Buf *ret);
