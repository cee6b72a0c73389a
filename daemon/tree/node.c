#include "tree/node.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tree/checkout.h"
#include "tree/owner.h"
#include "tree/repo.h"
#include "util/htable.h"

/* So that every checkout finds room in a slot. */
#define CHECKOUT_URL_MAX 256u
#define MTIME_MAX ((INT64_C(1) << 39) - 1)

uint64_t node_salted_id(const NodeSpec *spec, uint64_t salt) {
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
        return node_salted_id(spec, 0);
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

/* Without it the forge is asked again where the repository is. */
static const char *url_of(const NodeSpec *spec) {
        const char *url = spec->checkout->repo->source->url;

        return strlen(url) < CHECKOUT_URL_MAX ? url : "";
}

size_t node_memory(const NodeSpec *spec) {
        size_t rest = spec->kind <= NODE_SUBMODULE ? offsetof(NodeDir, name)
                                                   : oid_raw_size((OidAlgo) spec->oid.algo);

        if (spec->kind == NODE_CHECKOUT)
                rest += strlen(spec->checkout->resolved) + 1 + strlen(url_of(spec)) + 1;
        return offsetof(Node, rest) + rest + spec->name_len + 1;
}

NodeCheckout node_checkout_record(Node *node) {
        const NodeDir *dir = node_dir(node);
        const char *resolved = dir->name + node->name_len + 1;

        return (NodeCheckout){
                .resolved = resolved,
                .url = resolved + strlen(resolved) + 1,
                .shown = *node_shown(node),
                .follows = dir->follows,
        };
}

static void init_dir(Node *node, const NodeSpec *spec) {
        NodeDir *dir = node_dir(node);

        dir->shown[0] = (NodeShown){.tree = spec->oid, .mtime = spec->mtime};
        if (node_is_owner(node))
                node->has.owner = owner_ref(spec->owner);
        else if (node->kind == NODE_CHECKOUT) {
                const Checkout *c = node->has.checkout = checkout_ref(spec->checkout);
                char *end = stpcpy(dir->name + spec->name_len + 1, c->resolved);
                const char *url = url_of(spec);
                memcpy(end + 1, url, strlen(url) + 1);
                dir->shown[0].commit = c->commit;
                dir->follows = c->moves;
        } else
                node->has.checkout = spec->checkout;
}

static void init_file(Node *node, const NodeSpec *spec) {
        int64_t mtime = MIN(spec->mtime, MTIME_MAX);

        mtime = MAX(mtime, -MTIME_MAX);
        node->has.size = spec->size;
        node->mtime_low = (uint32_t) mtime;
        node->mtime_high = (int8_t) (mtime >> 32);
        node->algo = spec->oid.algo & 0xf;
        memcpy(node->rest, spec->oid.id, oid_raw_size((OidAlgo) spec->oid.algo));
}

void node_init(Node *node, const NodeSpec *spec, uint64_t id) {
        node->id = id;
        node->ref = REF_INIT;
        node->kind = spec->kind & 0xf;
        node->name_len = (uint8_t) spec->name_len;
        if (spec->parent)
                node->up = (int32_t) (((intptr_t) node_ref(spec->parent) - (intptr_t) node) / 8);
        if (node_is_dir(node))
                init_dir(node, spec);
        else
                init_file(node, spec);
        memcpy((char *) node_name(node), spec->name, spec->name_len);
        atomic_store_explicit(&node->state, NODE_LIVE, memory_order_release);
}

static bool same_oid(const Node *file, const Oid *oid) {
        return file->algo == oid->algo &&
               memcmp(file->rest, oid->id, oid_raw_size(file->algo)) == 0;
}

bool node_matches(const Node *node, const NodeSpec *spec) {
        return node->kind == spec->kind && node_parent(node) == spec->parent &&
               node->name_len == spec->name_len &&
               memcmp(node_name(node), spec->name, spec->name_len) == 0 &&
               (node->kind != NODE_CHECKOUT || !spec->checkout || !node->has.checkout ||
                node->has.checkout == spec->checkout) &&
               (!node_is_owner(node) || !spec->owner || !node->has.owner ||
                node->has.owner == spec->owner) &&
               (node_is_dir(node) || same_oid(node, &spec->oid));
}

static void remember_past(NodeDir *dir, const Oid *tree) {
        if (oid_is_none(tree))
                return;
        if (!dir->past)
                dir->past = calloc(1, sizeof(*dir->past));
        if (dir->past) /* else a listing in progress ends in ESTALE */
                dir->past->trees[dir->past->next++ % NODE_N_PAST_TREES] = *tree;
}

void node_show_locked(Node *dir, const NodeShown *shown) {
        NodeDir *d = node_dir(dir);
        unsigned other = !atomic_load_explicit(&d->current, memory_order_relaxed);

        remember_past(d, &node_shown(dir)->tree);
        d->shown[other] = *shown;
        atomic_store_explicit(&d->current, (unsigned char) other, memory_order_release);
}

Node *node_root_of(Node *dir) {
        while (dir && dir->kind != NODE_CHECKOUT)
                dir = node_parent(dir);
        return dir;
}

void node_told(Node *checkout, uint32_t move) {
        atomic_uint_least32_t *told = &node_dir(checkout)->told;
        uint32_t before = atomic_load(told);

        while (before < move && !atomic_compare_exchange_weak(told, &before, move))
                ;
}
