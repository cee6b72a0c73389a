#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "object/oid.h"

/* The objects one fetch asks for, and what has become of each. A server may send them in any order,
 * leave some out and send others: this is how we know what to ask for again. Embedded by value; not
 * thread-safe. */
typedef struct GitWants {
        const Oid *oids; /* borrowed */
        size_t n;
        size_t n_open;    /* still wanted */
        size_t n_missing; /* the server said, or showed, that it does not have them */
        uint8_t *states;  /* owned; per oid, see git-wants.c */
        uint32_t *slots;  /* owned; an open-addressing table of index + 1; 0 is free */
        size_t n_slots;
} GitWants;

int git_wants_init(GitWants *w, const Oid *oids, size_t n);
void git_wants_done(GitWants *w);

/* The object is here: true if it was still wanted. */
bool git_wants_arrived(GitWants *w, const Oid *oid);
/* The server does not have it: true if it was still wanted. */
bool git_wants_give_up(GitWants *w, const Oid *oid);
/* All that is still wanted between two positions is here. */
void git_wants_settle(GitWants *w, size_t from, size_t to);
bool git_wants_is_open(const GitWants *w, const Oid *oid);
/* The next id at or behind *position that is still wanted, and moves *position behind it; NULL at
 * the end. */
const Oid *git_wants_next(const GitWants *w, size_t *position);
/* Wants again what arrived, of the ids at or behind position: the answer they came with was cut
 * off, so what lies below them may not be here. */
void git_wants_reopen(GitWants *w, size_t position);
