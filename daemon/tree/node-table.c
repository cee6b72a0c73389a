/* Nodes live while referenced. The table itself owns nothing: a node that lost its last reference
 * is found by nobody any more (ref_get_unless_zero() under the shard's lock fails), takes itself
 * out and is freed. Between these two steps a successor with the same id may already stand beside
 * it in the shard. */

#include "tree/node-table.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "tree/checkout.h"
#include "tree/node-arena.h"
#include "tree/node-recover.h"
#include "tree/owner.h"
#include "util/mutex.h"
#include "util/stats.h"

#define N_SHARDS NODE_N_POOLS
#define N_BUCKETS_MIN 16

typedef struct Shard {
        Mutex lock;
        uint32_t *buckets; /* of slots; owned */
        size_t n_buckets;  /* a power of two */
        size_t n_nodes;
        NodePool pool;
} Shard;

struct NodeTable {
        NodeArena *arena;
        Node *root; /* a reference */
        atomic_bool keep;
        Shard shards[N_SHARDS];
};

static Shard *shard_of(NodeTable *t, uint64_t id) {
        return &t->shards[node_pool_of(id)];
}

static Node *node_at(const NodeTable *t, uint32_t slot) {
        return slot == 0 ? NULL : node_arena_at(t->arena, slot);
}

/* --- the index of a shard: chains through the nodes --- */

static uint32_t *bucket_of(const Shard *s, uint64_t id) {
        return &s->buckets[(id >> 14) & (s->n_buckets - 1)];
}

#define SHARD_FOREACH(node, t, s, wanted)                                                          \
        for (Node *node = node_at((t), *bucket_of((s), (wanted))); node;                           \
             node = node_at((t), node->next))                                                      \
                if (node->id == (wanted))

static void index_insert(const NodeTable *t, const Shard *s, Node *node) {
        uint32_t *bucket = bucket_of(s, node->id);

        node->next = *bucket;
        *bucket = node_arena_slot(t->arena, node);
}

/* An index that cannot grow stays correct. */
static void index_grow(const NodeTable *t, Shard *s) {
        Shard bigger = {.n_buckets = s->n_buckets * 2};

        bigger.buckets = calloc(bigger.n_buckets, sizeof(*bigger.buckets));
        if (!bigger.buckets)
                return;
        for (size_t i = 0; i < s->n_buckets; i++)
                for (Node *node = node_at(t, s->buckets[i]), *next; node; node = next) {
                        next = node_at(t, node->next);
                        index_insert(t, &bigger, node);
                }
        free(s->buckets);
        s->buckets = bigger.buckets;
        s->n_buckets = bigger.n_buckets;
}

static void index_add(const NodeTable *t, Shard *s, Node *node) {
        if (s->n_nodes++ == s->n_buckets)
                index_grow(t, s);
        index_insert(t, s, node);
}

static void index_remove(const NodeTable *t, Shard *s, const Node *node) {
        uint32_t slot = node_arena_slot(t->arena, node), *p = bucket_of(s, node->id);

        while (*p != slot)
                p = &node_at(t, *p)->next;
        *p = node->next;
        s->n_nodes--;
}

/* --- nodes --- */

static int add_locked(NodeTable *t, Shard *s, const NodeSpec *spec, uint64_t id, Node **ret) {
        Node *node = node_pool_alloc(t->arena, &s->pool, node_memory(spec));
        if (!node)
                return -ENOMEM;
        node_init(node, spec, id);
        index_add(t, s, node);
        stat_add(STAT_NODES_NOW, 1);
        stat_add(STAT_NODES_CREATED, 1);
        *ret = node;
        return 0;
}

/* Takes out and frees a node that lost its last reference, and returns the one above, to which the
 * caller has its reference now. What a directory held is let go of without the lock. */
static Node *destroy(NodeTable *t, Node *node) {
        Shard *s = shard_of(t, node->id);
        Node *parent = node_parent(node);
        Owner *owner = node_is_owner(node) ? node->has.owner : NULL;
        Checkout *checkout = node->kind == NODE_CHECKOUT ? node->has.checkout : NULL;
        NodePast *past = node_is_dir(node) ? node_dir(node)->past : NULL;

        mutex_lock(&s->lock);
        assert(node->n_lookup == 0);
        index_remove(t, s, node);
        atomic_store(&node->state, NODE_FREE);
        uint32_t page = node_pool_free(t->arena, &s->pool, node);
        mutex_unlock(&s->lock);

        node_arena_give_back(t->arena, page);
        owner_unref(owner);
        checkout_unref(checkout);
        free(past);
        stat_add(STAT_NODES_NOW, -1);
        return parent;
}

static int table_new(NodeTable **ret) {
        bool out_of_memory = false;

        NodeTable *t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        for (size_t i = 0; i < N_SHARDS; i++) {
                Shard *s = &t->shards[i];
                mutex_init(&s->lock, LOCK_RANK_NODE_TABLE);
                s->pool.number = (uint8_t) i;
                s->buckets = calloc(N_BUCKETS_MIN, sizeof(*s->buckets));
                s->n_buckets = s->buckets ? N_BUCKETS_MIN : 0;
                out_of_memory |= !s->buckets;
        }
        if (out_of_memory) {
                node_table_free(t);
                return -ENOMEM;
        }
        *ret = t;
        return 0;
}

int node_table_new(NodeTable **ret) {
        _cleanup_(node_table_freep) NodeTable *t = NULL;

        int r = table_new(&t);
        if (r >= 0)
                r = node_arena_new(&t->arena);
        if (r < 0)
                return r;
        const NodeSpec spec = {.kind = NODE_ROOT, .name = ""};
        r = add_locked(t, shard_of(t, 1), &spec, 1, &t->root);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}

static bool is_live(const void *slot) {
        return atomic_load_explicit(&((const Node *) slot)->state, memory_order_relaxed) ==
               NODE_LIVE;
}

typedef struct Filling {
        NodeTable *table;
        bool twice; /* an id: then no table can be made of it */
} Filling;

static void add_recovered(void *slot, size_t size, unsigned pool, void *userdata) {
        Filling *f = userdata;
        NodeTable *t = f->table;
        Node *node = slot;

        if (!is_live(node))
                return;
        Shard *s = shard_of(t, node->id);
        SHARD_FOREACH(other, t, s, node->id)
        f->twice = true;
        index_add(t, s, node);
        stat_add(STAT_NODES_NOW, 1);
}

int node_table_recover(int fd, NodeTable **ret) {
        _cleanup_(node_table_freep) NodeTable *t = NULL;
        NodePool *pools[N_SHARDS];

        int r = table_new(&t);
        if (r >= 0)
                r = node_arena_open(fd, &t->arena);
        if (r < 0)
                return r;
        t->keep = true; /* until it is known to be good */
        Node *root = node_recover(t->arena);
        for (size_t i = 0; i < N_SHARDS; i++)
                pools[i] = &t->shards[i].pool;
        Filling f = {.table = t};
        if (root) {
                node_arena_each(t->arena, add_recovered, &f);
                node_arena_rebuild(t->arena, is_live, pools, N_SHARDS);
        }
        if (!root || f.twice) {
                node_arena_disown(t->arena);
                return -EPROTO;
        }
        atomic_fetch_add_explicit(&root->ref.n, 1, memory_order_relaxed);
        t->root = root;
        t->keep = false;
        *ret = TAKE_PTR(t);
        return 0;
}

int node_table_fd(const NodeTable *t) {
        return node_arena_fd(t->arena);
}

void node_table_keep(NodeTable *t) {
        atomic_store(&t->keep, true);
}

bool node_table_is_kept(const NodeTable *t) {
        return atomic_load(&t->keep);
}

size_t node_table_size(NodeTable *t) {
        size_t n = 0;

        for (size_t i = 0; i < N_SHARDS; i++) {
                MUTEX_GUARD(&t->shards[i].lock);
                n += t->shards[i].n_nodes;
        }
        return n;
}

/* Lowers the kernel's count; returns the node if that was the last of it. */
static Node *take_back_locked(Node *node, uint64_t n) {
        if (node->n_lookup == 0)
                return NULL;
        node->n_lookup -= (uint32_t) MIN(n, node->n_lookup);
        return node->n_lookup == 0 ? node : NULL;
}

static void drop_known(Node *node, void *userdata) {
        NodeTable *t = userdata;
        Shard *s = shard_of(t, node->id);

        mutex_lock(&s->lock);
        Node *gone = take_back_locked(node, UINT32_MAX);
        mutex_unlock(&s->lock);
        node_table_put(t, gone);
}

/* What nodes have of this process. */
static void let_go(Node *node) {
        if (node_is_owner(node))
                owner_unref(node->has.owner);
        else if (node->kind == NODE_CHECKOUT)
                checkout_unref(node->has.checkout);
        if (node_is_dir(node))
                free(node_dir(node)->past);
}

static void abandon(NodeTable *t) {
        for (size_t i = 0; i < N_SHARDS; i++) {
                const Shard *s = &t->shards[i];
                for (size_t k = 0; k < s->n_buckets; k++)
                        for (Node *node = node_at(t, s->buckets[k]); node;
                             node = node_at(t, node->next))
                                let_go(node);
                stat_add(STAT_NODES_NOW, -(int64_t) s->n_nodes);
        }
}

NodeTable *node_table_free(NodeTable *t) {
        if (!t)
                return NULL;
        if (t->keep)
                abandon(t);
        else {
                (void) node_table_each(t, drop_known, t); /* at the end nothing is worth saving */
                node_table_put(t, t->root);
        }
        for (size_t i = 0; i < N_SHARDS; i++) {
                free(t->shards[i].buckets);
                mutex_destroy(&t->shards[i].lock);
        }
        node_arena_free(t->arena);
        free(t);
        return NULL;
}

Node *node_table_root(NodeTable *t) {
        return t->root;
}

Node *node_table_get(NodeTable *t, uint64_t id) {
        Shard *s = shard_of(t, id);

        MUTEX_GUARD(&s->lock);
        SHARD_FOREACH(node, t, s, id)
        if (ref_get_unless_zero(&node->ref))
                return node;
        return NULL;
}

/* A node that was recovered belongs to what the spec says. */
static void attach_locked(Node *node, const NodeSpec *spec) {
        if (!node_is_dir(node) || node->has.checkout)
                return;
        if (node_is_owner(node)) {
                if (spec->owner)
                        __atomic_store_n(
                                &node->has.owner, owner_ref(spec->owner), __ATOMIC_RELEASE);
        } else if (spec->checkout) {
                if (node->kind == NODE_CHECKOUT)
                        checkout_ref(spec->checkout);
                __atomic_store_n(&node->has.checkout, spec->checkout, __ATOMIC_RELEASE);
        }
}

typedef enum Occupant {
        OCCUPANT_NONE,
        OCCUPANT_MATCH,
        OCCUPANT_OTHER, /* another node has this id: a hash collision */
} Occupant;

static Occupant find_locked(NodeTable *t, Shard *s, uint64_t id, const NodeSpec *spec, Node **ret) {
        SHARD_FOREACH(node, t, s, id) {
                if (!ref_get_unless_zero(&node->ref))
                        continue;
                *ret = node;
                if (!node_matches(node, spec))
                        return OCCUPANT_OTHER;
                attach_locked(node, spec);
                return OCCUPANT_MATCH;
        }
        return OCCUPANT_NONE;
}

typedef enum ProbeFlags {
        PROBE_ADD = 1 << 0,  /* make it if it is not there */
        PROBE_GIVE = 1 << 1, /* to the kernel */
} ProbeFlags;

static void give_locked(Node *node) {
        if (node->n_lookup == 0)
                node_ref(node);
        if (node->n_lookup < NODE_N_LOOKUP_MAX)
                node->n_lookup++;
}

static int probe(NodeTable *t, const NodeSpec *spec, unsigned flags, Node **ret) {
        if (spec->name_len > NAME_MAX)
                return -ENAMETOOLONG;
        for (uint64_t salt = 0;; salt++) {
                uint64_t id = node_salted_id(spec, salt);
                Shard *s = shard_of(t, id);
                Node *node = NULL;
                int r = 0;

                mutex_lock(&s->lock);
                Occupant o = find_locked(t, s, id, spec, &node);
                if (o == OCCUPANT_NONE && (flags & PROBE_ADD))
                        r = add_locked(t, s, spec, id, &node);
                if ((flags & PROBE_GIVE) && r >= 0 && o != OCCUPANT_OTHER)
                        give_locked(node);
                mutex_unlock(&s->lock);

                if (o == OCCUPANT_OTHER) {
                        node_table_put(t, node);
                        continue;
                }
                if (r < 0)
                        return r;
                *ret = node;
                return o == OCCUPANT_NONE;
        }
}

int node_table_get_or_add(NodeTable *t, const NodeSpec *spec, Node **ret) {
        return probe(t, spec, PROBE_ADD, ret);
}

int node_table_give(NodeTable *t, const NodeSpec *spec, Node **ret) {
        return probe(t, spec, PROBE_ADD | PROBE_GIVE, ret);
}

Node *node_table_find(NodeTable *t, const NodeSpec *spec) {
        Node *node = NULL;

        (void) probe(t, spec, 0, &node); /* cannot fail when nothing is made */
        return node;
}

void node_table_kernel_get(NodeTable *t, Node *node) {
        Shard *s = shard_of(t, node->id);

        MUTEX_GUARD(&s->lock);
        give_locked(node);
}

void node_table_kernel_put(NodeTable *t, uint64_t id, uint64_t n) {
        Shard *s = shard_of(t, id);
        Node *gone = NULL;

        mutex_lock(&s->lock);
        SHARD_FOREACH(node, t, s, id) {
                if (node->n_lookup == 0)
                        continue; /* on its way out */
                if (node->n_lookup < NODE_N_LOOKUP_MAX)
                        gone = take_back_locked(node, n);
                break;
        }
        mutex_unlock(&s->lock);
        node_table_put(t, gone);
}

void node_table_put(NodeTable *t, Node *node) {
        /* A loop, not recursion: the last reference to a deep directory frees the whole chain above
         * it. */
        while (node && ref_put(&node->ref))
                node = destroy(t, node);
}

/* References to all nodes of a shard, up to `max`. */
static size_t collect_locked(const NodeTable *t, const Shard *s, Node **nodes, size_t max) {
        size_t n = 0;

        for (size_t i = 0; i < s->n_buckets; i++)
                for (Node *node = node_at(t, s->buckets[i]); node; node = node_at(t, node->next))
                        if (n < max && ref_get_unless_zero(&node->ref))
                                nodes[n++] = node;
        return n;
}

int node_table_each(NodeTable *t, void (*fn)(Node *node, void *userdata), void *userdata) {
        for (size_t i = 0; i < N_SHARDS; i++) {
                Shard *s = &t->shards[i];

                mutex_lock(&s->lock);
                size_t max = s->n_nodes;
                mutex_unlock(&s->lock);

                /* Nodes made after the count are left out: they are newer than the call. */
                _cleanup_free_ Node **nodes = calloc(max + 1, sizeof(*nodes));
                if (!nodes)
                        return -ENOMEM;
                mutex_lock(&s->lock);
                size_t n = collect_locked(t, s, nodes, max);
                mutex_unlock(&s->lock);

                for (size_t k = 0; k < n; k++) {
                        fn(nodes[k], userdata);
                        node_table_put(t, nodes[k]);
                }
        }
        return 0;
}
