#include "forge/git-wants.h"

#include <errno.h>
#include <stdlib.h>

#include "util/htable.h"

enum {
        WANT_OPEN,
        WANT_ARRIVED,
        WANT_MISSING,
        WANT_DUPLICATE, /* the first of the same id counts */
};

/* Index of the id, or n when it is not among the wants; *ret_slot is where it is or would be. */
static size_t find(const GitWants *w, const Oid *oid, size_t *ret_slot) {
        size_t mask = w->n_slots - 1;
        size_t slot = (size_t) hash_bytes(oid->id, sizeof(oid->id), oid->algo) & mask;

        while (w->slots[slot] != 0) {
                size_t i = w->slots[slot] - 1;
                if (oid_equal(&w->oids[i], oid)) {
                        *ret_slot = slot;
                        return i;
                }
                slot = (slot + 1) & mask;
        }
        *ret_slot = slot;
        return w->n;
}

int git_wants_init(GitWants *w, const Oid *oids, size_t n) {
        size_t n_slots = 16;

        if (n >= UINT32_MAX / 4)
                return -E2BIG;
        while (n_slots < n * 2)
                n_slots *= 2;
        *w = (GitWants){
                .oids = oids,
                .n = n,
                .states = calloc(n + 1, sizeof(*w->states)),
                .slots = calloc(n_slots, sizeof(*w->slots)),
                .n_slots = n_slots,
        };
        if (!w->states || !w->slots) {
                git_wants_done(w);
                return -ENOMEM;
        }
        for (size_t i = 0; i < n; i++) {
                size_t slot;
                if (find(w, &oids[i], &slot) < n)
                        w->states[i] = WANT_DUPLICATE;
                else {
                        w->slots[slot] = (uint32_t) i + 1;
                        w->n_open++;
                }
        }
        return 0;
}

void git_wants_done(GitWants *w) {
        free(w->states);
        free(w->slots);
        *w = (GitWants){0};
}

static bool close_want(GitWants *w, const Oid *oid, uint8_t state) {
        size_t slot;
        size_t i = find(w, oid, &slot);

        if (i == w->n || w->states[i] != WANT_OPEN)
                return false;
        w->states[i] = state;
        w->n_open--;
        return true;
}

bool git_wants_arrived(GitWants *w, const Oid *oid) {
        return close_want(w, oid, WANT_ARRIVED);
}

bool git_wants_give_up(GitWants *w, const Oid *oid) {
        bool open = close_want(w, oid, WANT_MISSING);
        if (open)
                w->n_missing++;
        return open;
}

void git_wants_settle(GitWants *w, size_t from, size_t to) {
        for (size_t i = from; i < to; i++)
                if (w->states[i] == WANT_OPEN) {
                        w->states[i] = WANT_ARRIVED;
                        w->n_open--;
                }
}

bool git_wants_is_open(const GitWants *w, const Oid *oid) {
        size_t slot;
        size_t i = find(w, oid, &slot);

        return i < w->n && w->states[i] == WANT_OPEN;
}

const Oid *git_wants_next(const GitWants *w, size_t *position) {
        while (*position < w->n) {
                size_t i = (*position)++;
                if (w->states[i] == WANT_OPEN)
                        return &w->oids[i];
        }
        return NULL;
}

void git_wants_reopen(GitWants *w, size_t position) {
        for (size_t i = position; i < w->n; i++)
                if (w->states[i] == WANT_ARRIVED) {
                        w->states[i] = WANT_OPEN;
                        w->n_open++;
                }
}
