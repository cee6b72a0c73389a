#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tree/tree-forward.h"
#include "tree/walk-cursor.h"

/* What a walker is to have fetched ahead, and having it fetched. How much that is, is decided in
 * walker.c, for which these are. All of them may read the disk; no lock is held. What there is no
 * memory for is left out. */

#define WALK_N_SLOTS 4 /* walkers of a checkout that the ledger tells apart */

typedef struct WalkPlan {
        Namespace *ns;
        Node *file;               /* that was missed, or is read now; borrowed */
        unsigned slot, window_id; /* of the walker, for the ledger */
        WalkPlace place;          /* where to begin: for a miss, that of the file */
        unsigned scope;           /* as in WalkCursor */
        uint64_t window;          /* cost; 0: nothing */
        bool backward;
        bool siblings; /* of the file, and itself; else a window that it is not a part of */
        bool first;    /* siblings: the file is the first of its directory */
        /* All of the rest is likely to be read: taken up to this cost; 0: not. */
        uint64_t all_limit;
} WalkPlan;

/* The file itself is not fetched ahead, but that it is read shows that the walk goes on. */
void walk_plan_note_file(const WalkPlan *plan);

/* The small files beside this one, and the file, into *g, which is the caller's to end. 0, 1 or
 * -ENOMEM. */
int walk_plan_gather_siblings(const WalkPlan *plan, WalkGather *g);
void walk_plan_send_siblings(const WalkPlan *plan, const WalkGather *g);

/* All of the rest, if that is not too much; else a window. Likewise. 1: that is all there is;
 * 0: *ret_next is where to go on. */
int walk_plan_gather_window(const WalkPlan *plan, WalkGather *g, WalkPlace *ret_next);
/* last: no other window follows. */
void walk_plan_send_window(const WalkPlan *plan, const WalkGather *g, bool last);

/* The file and all of the rest, where that is known to be little. False where it is not. */
bool walk_plan_fetch_rest(const WalkPlan *plan);

/* The targets of links are small, and whoever wants one (`ls -l`) wants all of them; he need not
 * want the files. */
void walk_fetch_links(Namespace *ns, Node *link, const WalkPlace *place);

/* What the ledger keeps with a file: the slot of its walker; whether it is of this window, unless
 * that is long ago; whether it is in the second half of that. */
unsigned walk_tag_slot(unsigned tag);
bool walk_tag_is_of(unsigned tag, unsigned window_id);
bool walk_tag_is_late(unsigned tag);
