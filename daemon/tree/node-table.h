#pragma once

#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "tree/node.h"

/* The inode table: every live node by id, in shards with a lock each, so that nodes of different
 * directories are made without waiting for each other. Any thread; nothing here blocks. Memory that
 * nodes leave behind goes back to the system page by page.
 *
 * Order of locks: a checkout may be held; the shard is innermost. */

int node_table_new(NodeTable **ret);
/* The table of another process, which must have ended: fd is the one that node_table_fd() gave
 * there. All nodes that the kernel knows are in it, and those above them; their owners and
 * checkouts are NULL until node_table_find() meets them with a spec that has one. Taken on success.
 * -EPROTO: not of this version, or damaged. */
int node_table_recover(int fd, NodeTable **ret);
/* A memfd that holds at every moment what a successor has to know. Borrowed. */
int node_table_fd(const NodeTable *t);
/* From now on node_table_free() leaves all as it is, for a successor. */
void node_table_keep(NodeTable *t);
bool node_table_is_kept(const NodeTable *t);
size_t node_table_size(NodeTable *t);
/* Drops what the kernel still holds (it is gone), then frees. All our own references must be gone.
 */
NodeTable *node_table_free(NodeTable *t);
DEFINE_CLEANUP(NodeTable *, node_table_free)

Node *node_table_root(NodeTable *t); /* borrowed */

/* A reference to the node with this id, or NULL. */
Node *node_table_get(NodeTable *t, uint64_t id);
/* Finds the node or makes it, in one critical section: of any number of threads exactly one makes
 * it, and all get the same. 1 made, 0 found, -ENOMEM, -ENAMETOOLONG. */
int node_table_get_or_add(NodeTable *t, const NodeSpec *spec, Node **ret);
/* The same, and the kernel is given it once more. */
int node_table_give(NodeTable *t, const NodeSpec *spec, Node **ret);
/* The node that this spec would find, or NULL: does not make one. One that has no owner or checkout
 * yet, as it was recovered, takes that of the spec. */
Node *node_table_find(NodeTable *t, const NodeSpec *spec);

/* The kernel was given the node once more. */
void node_table_kernel_get(NodeTable *t, Node *node);
/* The kernel forgot it n times. An unknown id, or more than was given, is the kernel's error:
 * ignored. */
void node_table_kernel_put(NodeTable *t, uint64_t id, uint64_t n);

void node_table_put(NodeTable *t, Node *node);

/* Calls fn with every live node, referenced during the call, without locks. Nodes made meanwhile
 * may be left out. 0 or -ENOMEM, when others were left out, too. */
int node_table_each(NodeTable *t, void (*fn)(Node *node, void *userdata), void *userdata);
