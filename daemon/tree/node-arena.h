#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

/* The memory of the inode table: a memfd, mapped as a whole and filled from the front, that another
 * process can take over. It is cut into pages, each for slots of one size and of one pool; a slot
 * is known by its address, or by a number of 32 bits, which is the same in every process.
 *
 * A pool belongs to whoever locks it; the arena may be used by any number of threads. What is free
 * is zero but for the first 8 bytes of a slot, and empty pages go back to the kernel. */

#define NODE_SLOT_MAX 1024u /* bytes */

typedef struct NodeArena NodeArena;

typedef struct NodePool {
        uint8_t number;
        uint32_t pages[NODE_SLOT_MAX / 8]; /* of each size, the first with room; 0: none */
} NodePool;

/* 0 or a negative errno. */
int node_arena_new(NodeArena **ret);
/* The arena of another process, which must have ended: fd is the one that node_arena_fd() gave
 * there. Taken on success. Then node_arena_rebuild() before anything is allocated. -EPROTO: none of
 * this version. */
int node_arena_open(int fd, NodeArena **ret);
/* What is in it stays for whoever has the descriptor. */
NodeArena *node_arena_free(NodeArena *a);
DEFINE_CLEANUP(NodeArena *, node_arena_free)

/* Zeroed memory, aligned to 8 bytes, of 1 to NODE_SLOT_MAX bytes; NULL when there is none. */
void *node_pool_alloc(NodeArena *a, NodePool *pool, size_t size);
/* Returns the page that became empty with it, or 0: for node_arena_give_back(), with no lock
 * held. */
uint32_t node_pool_free(NodeArena *a, NodePool *pool, void *slot);
void node_arena_give_back(NodeArena *a, uint32_t page);

int node_arena_fd(const NodeArena *a); /* borrowed */
/* The descriptor is the caller's again. */
void node_arena_disown(NodeArena *a);

/* Calls fn with every slot there may be, in use or not: of an arena that was opened. */
void node_arena_each(
        NodeArena *a,
        void (*fn)(void *slot, size_t size, unsigned pool, void *userdata),
        void *userdata);
/* True if there is a slot at this address, which may be any. */
bool node_arena_has(const NodeArena *a, uintptr_t address);
/* Finds out what is free: all slots that keep() does not want, and the pages with none of the
 * others. One pool for each number below n_pools. */
void node_arena_rebuild(
        NodeArena *a, bool (*keep)(const void *slot), NodePool **pools, size_t n_pools);

uint32_t node_arena_slot(const NodeArena *a, const void *p); /* its number, not 0 */
void *node_arena_at(const NodeArena *a, uint32_t slot);
