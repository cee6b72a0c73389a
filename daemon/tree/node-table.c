/* Nodes live while referenced. The table itself owns nothing: a node that lost its last reference
 * is found by nobody any more (ref_get_unless_zero() under the shard's lock fails), takes itself
 * out and is freed. Between these two steps a successor with the same id may already stand beside
 * it in the shard. */

#include "tree/node-table.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tree/checkout.h"
#include "tree/owner.h"
#include "util/mutex.h"
#include "util/stats.h"

#define N_SHARDS 64

typedef struct Shard {
        Mutex lock;
        HTable nodes;
} Shard;

struct NodeTable {
        Shard shards[N_SHARDS];
        Node *root;
};

static Shard *shard_of(NodeTable *t, uint64_t id) {
        return &t->shards[(id >> 8) % N_SHARDS];
}

static uint64_t salted_id(const NodeSpec *spec, uint64_t salt) {
        bool by_content = spec->kind > NODE_SUBMODULE;
        uint64_t seed = spec->parent->id ^ (salt * UINT64_C(0x9e3779b97f4a7c15)) ^
                        (spec->generation * UINT64_C(0xd6e8feb86659fd93));

        if (spec->kind == NODE_OWNER) /* what was a repository once is another directory */
                seed ^= UINT64_C(0xa0761d6478bd642f);
        uint64_t h = hash_bytes_stable(spec->name, spec->name_len, seed);
        if (by_content) { /* object ids are hashes: the beginning of one is as good as all of it */
                const uint64_t key[] = {h, oid_prefix64(&spec->oid) ^ spec->kind};
                h = hash_bytes_stable(key, sizeof(key), seed);
        }
        /* 63 bits: some programs keep inode numbers in signed integers. 0 and the root's id are
         * taken. */
        h &= INT64_MAX;
        return h > 1 ? h : h + 2;
}

uint64_t node_id(const NodeSpec *spec) {
        return salted_id(spec, 0);
}

/* As a clone under the usual umask has them: it is the mount that is read-only, and programs that
 * compare or copy modes see what they would see of a clone. */
uint32_t node_mode(NodeKind kind) {
        switch (kind) {
        case NODE_FILE:
                return S_IFREG | 0644;
        case NODE_EXEC:
                return S_IFREG | 0755;
        case NODE_SYMLINK:
                return S_IFLNK | 0777;
        default:
                return S_IFDIR | 0755;
        }
}

NodeKind node_kind_of_entry(EntryKind kind) {
        switch (kind) {
        case ENTRY_FILE:
                return NODE_FILE;
        case ENTRY_EXEC:
                return NODE_EXEC;
        case ENTRY_SYMLINK:
                return NODE_SYMLINK;
        case ENTRY_SUBMODULE:
                return NODE_SUBMODULE;
        default:
                return NODE_DIR;
        }
}

static bool node_matches(const Node *node, const NodeSpec *spec) {
        return node->kind == spec->kind && node->parent == spec->parent &&
               node->name_len == spec->name_len &&
               memcmp(node->name, spec->name, spec->name_len) == 0 &&
               (node->kind != NODE_CHECKOUT || !spec->checkout ||
                node->checkout == spec->checkout) &&
               (!node_is_owner(node) || !spec->owner || node->owner == spec->owner) &&
               (node->kind <= NODE_SUBMODULE || oid_equal(&node->oid, &spec->oid));
}

static int node_new(NodeTable *t, const NodeSpec *spec, uint64_t id, Node **ret) {
        Node *node = malloc(sizeof(*node) + spec->name_len + 1);
        if (!node)
                return -ENOMEM;
        *node = (Node){
                .id = id,
                .ref = REF_INIT,
                .kind = (uint8_t) spec->kind,
                .name_len = (uint16_t) spec->name_len,
                .parent = spec->parent ? node_ref(spec->parent) : NULL,
                .oid = spec->oid,
                .mtime = spec->mtime,
        };
        memcpy(node->name, spec->name, spec->name_len);
        node->name[spec->name_len] = '\0';
        if (node_is_owner(node))
                node->owner = owner_ref(spec->owner);
        else if (spec->kind == NODE_CHECKOUT)
                node->checkout = checkout_ref(spec->checkout);
        else
                node->checkout = spec->checkout;
        if (spec->kind > NODE_SUBMODULE)
                node->size = spec->size;
        stat_add(STAT_NODES_NOW, 1);
        stat_add(STAT_NODES_CREATED, 1);
        *ret = node;
        return 0;
}

/* Frees one node and returns the parent, whose reference is now the caller's. */
static Node *node_destroy(Node *node) {
        Node *parent = node->parent;

        assert(node->n_lookup == 0);
        if (node_is_owner(node))
                owner_unref(node->owner);
        else if (node->kind == NODE_CHECKOUT)
                checkout_unref(node->checkout);
        if (node_is_dir(node))
                free(node->past);
        free(node);
        stat_add(STAT_NODES_NOW, -1);
        return parent;
}

int node_table_new(NodeTable **ret) {
        _cleanup_(node_table_freep) NodeTable *t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        for (size_t i = 0; i < N_SHARDS; i++)
                mutex_init(&t->shards[i].lock, LOCK_RANK_NODE_TABLE);

        const NodeSpec spec = {.kind = NODE_ROOT, .name = ""};
        int r = node_new(t, &spec, 1, &t->root);
        if (r < 0)
                return r;
        r = htable_add(&shard_of(t, 1)->nodes, &t->root->link, 1);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}

static void drop_known(Node *node, void *userdata) {
        node_table_kernel_put(userdata, node->id, UINT64_MAX);
}

NodeTable *node_table_free(NodeTable *t) {
        if (!t)
                return NULL;
        (void) node_table_each(t, drop_known, t); /* at the end nothing is worth saving */
        if (t->root)
                node_table_put(t, t->root);
        for (size_t i = 0; i < N_SHARDS; i++) {
                htable_done(&t->shards[i].nodes);
                mutex_destroy(&t->shards[i].lock);
        }
        free(t);
        return NULL;
}

Node *node_table_root(NodeTable *t) {
        return t->root;
}

Node *node_table_get(NodeTable *t, uint64_t id) {
        Shard *s = shard_of(t, id);

        MUTEX_GUARD(&s->lock);
        HTABLE_FOREACH (l, &s->nodes, id) {
                Node *node = container_of(l, Node, link);
                if (ref_get_unless_zero(&node->ref))
                        return node;
        }
        return NULL;
}

typedef enum Occupant {
        OCCUPANT_NONE,
        OCCUPANT_MATCH,
        OCCUPANT_OTHER, /* another node has this id: a hash collision */
} Occupant;

static Occupant find_locked(Shard *s, uint64_t id, const NodeSpec *spec, Node **ret) {
        HTABLE_FOREACH (l, &s->nodes, id) {
                Node *node = container_of(l, Node, link);
                if (!ref_get_unless_zero(&node->ref))
                        continue;
                *ret = node;
                return node_matches(node, spec) ? OCCUPANT_MATCH : OCCUPANT_OTHER;
        }
        return OCCUPANT_NONE;
}

typedef enum ProbeFlags {
        PROBE_ADD = 1 << 0,  /* make it if it is not there */
        PROBE_GIVE = 1 << 1, /* to the kernel */
} ProbeFlags;

static void give_locked(Node *node) {
        if (node->n_lookup++ == 0)
                node_ref(node);
}

static int probe(NodeTable *t, const NodeSpec *spec, unsigned flags, Node **ret) {
        for (uint64_t salt = 0;; salt++) {
                uint64_t id = salted_id(spec, salt);
                Shard *s = shard_of(t, id);
                Node *node = NULL;
                int r = 0;

                mutex_lock(&s->lock);
                Occupant o = find_locked(s, id, spec, &node);
                if (o == OCCUPANT_NONE && (flags & PROBE_ADD)) {
                        r = node_new(t, spec, id, &node);
                        if (r >= 0) {
                                r = htable_add(&s->nodes, &node->link, id);
                                if (r < 0) /* never the last reference: spec holds one */
                                        (void) ref_put(&node_destroy(node)->ref);
                        }
                }
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
        HTABLE_FOREACH (l, &s->nodes, id) {
                Node *node = container_of(l, Node, link);
                if (node->n_lookup == 0)
                        continue;
                node->n_lookup -= MIN(n, node->n_lookup);
                if (node->n_lookup == 0)
                        gone = node;
                break;
        }
        mutex_unlock(&s->lock);
        if (gone)
                node_table_put(t, gone);
}

void node_table_put(NodeTable *t, Node *node) {
        /* A loop, not recursion: the last reference to a deep directory frees the whole chain above
         * it. */
        while (node && ref_put(&node->ref)) {
                Shard *s = shard_of(t, node->id);

                mutex_lock(&s->lock);
                htable_remove(&s->nodes, &node->link);
                mutex_unlock(&s->lock);
                node = node_destroy(node);
        }
}

typedef struct Collected {
        Node **nodes;
        size_t n, cap;
} Collected;

static void collect_ref(HTableLink *link, void *userdata) {
        Node *node = container_of(link, Node, link);
        Collected *c = userdata;

        if (c->n < c->cap && ref_get_unless_zero(&node->ref))
                c->nodes[c->n++] = node;
}

int node_table_each(NodeTable *t, void (*fn)(Node *node, void *userdata), void *userdata) {
        for (size_t i = 0; i < N_SHARDS; i++) {
                Shard *s = &t->shards[i];

                mutex_lock(&s->lock);
                size_t cap = s->nodes.n_entries;
                mutex_unlock(&s->lock);

                /* Nodes made after the count are left out: they are newer than the call. */
                Collected c = {.nodes = calloc(cap + 1, sizeof(Node *)), .cap = cap};
                if (!c.nodes)
                        return -ENOMEM;
                mutex_lock(&s->lock);
                htable_each(&s->nodes, collect_ref, &c);
                mutex_unlock(&s->lock);

                for (size_t k = 0; k < c.n; k++) {
                        fn(c.nodes[k], userdata);
                        node_table_put(t, c.nodes[k]);
                }
                free(c.nodes);
        }
        return 0;
}
