#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tree/checkout.h"
#include "tree/fetch-queue.h"
#include "tree/listing.h"

/* A place in a repository's tree, and going on from it in the order of a walk: the entries of a
 * directory one after the other, those of a directory in it where that stands. */

#define WALK_DEPTH_MAX 64 /* what is deeper is not walked ahead */

/* Which entry it is in the root, in the directory that this is, and so on. Says nothing about
 * another commit, and does no harm there. */
typedef struct WalkPlace {
        unsigned depth; /* at least 1 */
        uint32_t at[WALK_DEPTH_MAX];
} WalkPlace;

/* By which of the two a walk comes first; how many components they share; how many are to be gone
 * up and down between them. */
int walk_place_compare(const WalkPlace *a, const WalkPlace *b);
unsigned walk_place_common(const WalkPlace *a, const WalkPlace *b);
unsigned walk_place_distance(const WalkPlace *a, const WalkPlace *b);

/* Where a file is. *ret_listed: of the directories from the root to its own, how many at the end
 * were listed, without a gap; *ret_first: of how many at the end it is the first file, its own and
 * those in which nothing stands before the next. 1, or 0 where the place cannot be told (the branch
 * has moved, a tree is not here, too deep). May read the disk. */
int walk_place_find(
        Namespace *ns, const Node *file, WalkPlace *ret, unsigned *ret_listed, unsigned *ret_first);

/* What had been gathered when a directory was entered. */
typedef struct WalkMark {
        bool entered; /* at its beginning, and all that is below it is here */
        size_t n_names;
        uint64_t new_cost, all_cost;
} WalkMark;

typedef struct WalkCursor {
        Namespace *ns;
        Repo *repo;                     /* borrowed */
        unsigned depth;                 /* of the stack */
        unsigned scope;                 /* of it, those that are not left: at least 1 */
        Listing *stack[WALK_DEPTH_MAX]; /* references */
        uint32_t at[WALK_DEPTH_MAX];    /* forward: the next entry; backward: the one behind it */
        WalkMark marks[WALK_DEPTH_MAX];
        bool backward;
        bool flat; /* does not enter directories */
} WalkCursor;

/* Stands at `place`, which comes next if `inclusive`; goes through all of the directory that the
 * first scope - 1 components name. 1, or 0 where the place is not there any more. */
int walk_cursor_init(
        WalkCursor *cursor,
        Namespace *ns,
        Checkout *c,
        const WalkPlace *place,
        unsigned scope,
        bool backward,
        bool inclusive);
void walk_cursor_done(WalkCursor *cursor);
/* Where it stands. False at the end. */
bool walk_cursor_place(const WalkCursor *cursor, WalkPlace *ret);

typedef struct WalkGather {
        uint64_t max_cost;        /* 0: no limit */
        uint64_t max_object_size; /* larger ones are left out; 0: no limit */
        size_t max_looked;        /* entries */
        uint64_t guess;           /* for the size of a file that nobody knows; 0: none */
        bool symlinks_only;

        BlobWant *wants; /* owned; not here */
        size_t n, cap;
        FetchName *names; /* owned: what is to be asked for, as in BlobWants */
        size_t n_names, cap_names;
        size_t n_new;               /* of the wants, those that are not on their way, either */
        uint64_t cost;              /* of them */
        uint64_t new_cost;          /* of the new ones */
        uint64_t all_cost;          /* of all that were looked at, here or not */
        size_t n_looked, n_skipped; /* skipped: too large */
} WalkGather;

/* What a file counts: its bytes and what each costs besides. */
uint64_t walk_cost(uint64_t size);
/* Adds a file that is wanted in any case. 0 or -ENOMEM. */
int walk_gather_add(WalkGather *g, const Oid *oid, uint64_t size);
/* Gathers what comes next and is not here, until a limit is met or `stop` is reached (if not NULL).
 * 1: came to the end; 0: a limit; -ENOMEM. May read the disk. */
int walk_gather(WalkGather *g, WalkCursor *cursor, const WalkPlace *stop);
void walk_gather_done(WalkGather *g);
#define _cleanup_walk_gather_ _cleanup_(walk_gather_done)
