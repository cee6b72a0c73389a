#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"

typedef enum XattrId {
        XATTR_ORG,
        XATTR_OWNER,
        XATTR_REPO,
        XATTR_REF,
        XATTR_COMMIT,
        XATTR_URL,
        XATTR_OID,
        _XATTR_MAX,
} XattrId;

static const char *const names[_XATTR_MAX] = {
        [XATTR_ORG] = "user.gitfs.org",
        [XATTR_OWNER] = "user.gitfs.owner",
        [XATTR_REPO] = "user.gitfs.repo",
        [XATTR_REF] = "user.gitfs.ref",
        [XATTR_COMMIT] = "user.gitfs.commit",
        [XATTR_URL] = "user.gitfs.url",
        [XATTR_OID] = "user.gitfs.oid",
};

static int append_oid(const Oid *oid, Buf *ret) {
        char hex[OID_HEX_MAX + 1];

        if (oid_is_none(oid))
                return -ENODATA;
        return buf_append_str(ret, oid_to_hex(oid, hex));
}

static int owner_value(const Owner *owner, XattrId id, Buf *ret) {
        switch (id) {
        case XATTR_ORG:
                return buf_append_str(ret, owner->org->config->name);
        case XATTR_OWNER:
                return owner->path[0] == '\0' ? -ENODATA : buf_append_str(ret, owner->path);
        default:
                return -ENODATA;
        }
}

static int checkout_value(Checkout *c, const Node *node, XattrId id, Buf *ret) {
        CheckoutState state;
        Oid oid;

        switch (id) {
        case XATTR_ORG:
        case XATTR_OWNER:
                return owner_value(c->repo->owner, id, ret);
        case XATTR_REPO:
                return buf_append_str(ret, c->repo->name);
        case XATTR_REF:
                return c->resolved[0] == '\0' ? -ENODATA : buf_append_str(ret, c->resolved);
        case XATTR_URL:
                return buf_append_str(ret, c->repo->source->url);
        case XATTR_COMMIT:
                checkout_get_state(c, &state);
                return append_oid(&state.commit, ret);
        case XATTR_OID:
                oid = node_is_dir(node) ? checkout_dir_tree(c, node) : node_oid(node);
                return append_oid(&oid, ret);
        default:
                return -ENODATA;
        }
}

static int node_value(const Node *node, XattrId id, Buf *ret) {
        if (!node_is_attached(node)) /* nor does anybody wait for that here */
                return -ENODATA;
        switch ((NodeKind) node->kind) {
        case NODE_ROOT:
                return -ENODATA;
        case NODE_ORG:
                if (id == XATTR_URL)
                        return buf_append_str(ret, node_owner(node)->org->config->url);
                return owner_value(node_owner(node), id, ret);
        case NODE_OWNER:
                return owner_value(node_owner(node), id, ret);
        default:
                return checkout_value(node_checkout(node), node, id, ret);
        }
}

int ns_getxattr(Namespace *ns, uint64_t id, const char *name, Buf *ret) {
        int r = -ENODATA;

        Node *node = node_table_get(ns->nodes, id);
        if (!node)
                return -ESTALE;
        for (size_t i = 0; i < _XATTR_MAX; i++)
                if (strcmp(name, names[i]) == 0)
                        r = node_value(node, (XattrId) i, ret);
        node_table_put(ns->nodes, node);
        return r;
}

int ns_listxattr(Namespace *ns, uint64_t id, Buf *ret) {
        int r = 0;

        Node *node = node_table_get(ns->nodes, id);
        if (!node)
                return -ESTALE;
        for (size_t i = 0; i < _XATTR_MAX && r >= 0; i++) {
                _cleanup_buf_ Buf value = {0};
                r = node_value(node, (XattrId) i, &value);
                if (r == -ENODATA) {
                        r = 0;
                        continue;
                }
                if (r >= 0)
                        r = buf_append(ret, names[i], strlen(names[i]) + 1);
        }
        node_table_put(ns->nodes, node);
        return r;
}
