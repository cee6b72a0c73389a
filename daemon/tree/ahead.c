/* A table of atomic words, each with a part of an object's id, the policy and its tag. The id says
 * in which row of four it is, a cache line holds two of them. Where a fifth comes one is forgotten,
 * and counted as wasted, as nobody will see it used: up to half full, more files than two of the
 * largest windows have, that is rare.
 *
 * Readers call this for every file: where nothing is noted they see zeros and go on. Two threads
 * that note or use one object at the same time may both be right, or one of them may be missed. */

#include "tree/ahead.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "util/stats.h"

#define N_ROWS (1u << 14)
#define ROW_SIZE 4

/* A word: a name made of the id; the policy plus one, as an empty word is 0; the tag. */
#define TAG_BITS 12
#define POLICY_BITS 4
#define NAME_SHIFT (TAG_BITS + POLICY_BITS)
#define NAME_MASK (UINT64_MAX << NAME_SHIFT)

static_assert(AHEAD_TAG_MAX == (1u << TAG_BITS) - 1, "a tag fits");
static_assert(_AHEAD_POLICY_MAX < 1u << POLICY_BITS, "a policy fits");

typedef atomic_uint_least64_t Row[ROW_SIZE];

static Row rows[N_ROWS];

typedef struct PolicyStats {
        Stat useful, wasted, dropped;
} PolicyStats;

static const PolicyStats policy_stats[_AHEAD_POLICY_MAX] = {
#define ROW(policy)                                                                                \
        [AHEAD_##policy] = {                                                                       \
                STAT_PREFETCH_##policy##_USEFUL,                                                   \
                STAT_PREFETCH_##policy##_WASTED,                                                   \
                STAT_PREFETCH_##policy##_DROPPED,                                                  \
        }
        ROW(CHILDREN),
        ROW(SIBLINGS),
        ROW(WALK),
        ROW(REPOS),
#undef ROW
};

static AheadPolicy policy_of(uint64_t word) {
        return (AheadPolicy) (((word >> TAG_BITS) & ((1u << POLICY_BITS) - 1)) - 1);
}

static void count_useful(uint64_t word) {
        if (word != 0 && policy_of(word) != AHEAD_NONE)
                stat_add(policy_stats[policy_of(word)].useful, 1);
}

static void count_wasted(uint64_t word) {
        if (word != 0 && policy_of(word) != AHEAD_NONE)
                stat_add(policy_stats[policy_of(word)].wasted, 1);
}

/* Ids are hashes: any bits of them are as good as any others. The row says most of those that the
 * name leaves out. */
static Row *row_of(const Oid *oid, uint64_t *ret_name) {
        uint64_t id;

        memcpy(&id, oid->id + 4, sizeof(id));
        *ret_name = id & NAME_MASK;
        return &rows[id % N_ROWS];
}

static bool is_named(uint64_t word, uint64_t name) {
        return word != 0 && (word & NAME_MASK) == name;
}

/* Where the word of this name is, or else could be. */
static atomic_uint_least64_t *place_for(Row *row, uint64_t name) {
        atomic_uint_least64_t *empty = NULL;

        for (size_t i = 0; i < ROW_SIZE; i++) {
                uint64_t word = atomic_load_explicit(&(*row)[i], memory_order_relaxed);
                if (is_named(word, name))
                        return &(*row)[i];
                if (word == 0)
                        empty = &(*row)[i];
        }
        return empty ? empty : &(*row)[(name >> NAME_SHIFT) % ROW_SIZE];
}

void ahead_note_tagged(AheadPolicy policy, const Oid *oid, unsigned tag) {
        uint64_t name;
        Row *row = row_of(oid, &name);
        uint64_t word = name | (uint64_t) (policy + 1) << TAG_BITS | (tag & AHEAD_TAG_MAX);

        uint64_t before =
                atomic_exchange_explicit(place_for(row, name), word, memory_order_relaxed);
        if (!is_named(before, name))
                count_wasted(before);
}

void ahead_note(AheadPolicy policy, const Oid *oid) {
        ahead_note_tagged(policy, oid, 0);
}

/* Takes the word of this object out; 0 where there is none. */
static uint64_t take(const Oid *oid) {
        uint64_t name;
        Row *row = row_of(oid, &name);

        for (size_t i = 0; i < ROW_SIZE; i++) {
                uint64_t word = atomic_load_explicit(&(*row)[i], memory_order_relaxed);
                if (is_named(word, name) &&
                    atomic_compare_exchange_strong_explicit(
                            &(*row)[i], &word, 0, memory_order_relaxed, memory_order_relaxed))
                        return word;
        }
        return 0;
}

bool ahead_take(const Oid *oid, AheadPolicy *ret_policy, unsigned *ret_tag) {
        uint64_t word = take(oid);

        if (word == 0)
                return false;
        count_useful(word);
        *ret_policy = policy_of(word);
        *ret_tag = word & AHEAD_TAG_MAX;
        return true;
}

void ahead_used(const Oid *oid) {
        count_useful(take(oid));
}

void ahead_lost(const Oid *oid) {
        count_wasted(take(oid));
}

void ahead_dropped(AheadPolicy policy, size_t n) {
        stat_add(policy_stats[policy].dropped, (int64_t) n);
}
