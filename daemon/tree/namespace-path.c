/* Walking to a path outside of FUSE, for gitfsctl: the same steps the kernel would take, each of
 * which may have to wait. */

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "util/path.h"

/* Waiting for the same thing over and over means that something is wrong with it. */
#define MAX_ROUNDS_PER_STEP 64

struct NsPath {
        FlightWaiter waiter;
        Task task;
        Namespace *ns;
        void (*done)(int result, const NsTarget *target, const Failure *failure, void *userdata);
        void *userdata;
        Node *node;       /* a reference: how far it has come */
        const char *rest; /* into path */
        unsigned rounds;
        char path[];
};

static void path_end(NsPath *p, int result, const Failure *failure) {
        Namespace *ns = p->ns;
        NsTarget target = {0};

        if (result >= 0) {
                Node *node = p->node;
                NsAttr attr;
                ns_node_attr(ns, node, &attr);
                target = (NsTarget){
                        .node = node, .id = node->id, .mode = attr.mode, .size = attr.size};
                if (node_is_owner(node))
                        target.owner = node_owner(node);
                else if (node->kind != NODE_ROOT) {
                        target.checkout = node_checkout(node);
                        target.owner = target.checkout->repo->owner;
                        target.oid = node_is_dir(node) ? checkout_dir_tree(target.checkout, node)
                                                       : node_oid(node);
                }
        }
        target.org = target.owner ? target.owner->org : NULL;
        p->done(result, result >= 0 ? &target : NULL, failure, p->userdata);
        node_table_put(ns->nodes, p->node);
        free(p);
        ns_operation_end(ns);
}

/* Copies the first component of `rest` and returns what follows it; NULL if it is too long for any
 * name. */
static const char *split_component(const char *rest, char name[NAME_MAX + 1]) {
        const char *slash = strchrnul(rest, '/');
        size_t len = (size_t) (slash - rest);

        if (len > NAME_MAX)
                return NULL;
        memcpy(name, rest, len);
        name[len] = '\0';
        return *slash ? slash + 1 : slash;
}

static void path_step(NsPath *p) {
        while (*p->rest) {
                char name[NAME_MAX + 1];
                const char *next = split_component(p->rest, name);
                const NsCall call = {
                        .flags = NS_MAY_BLOCK,
                        .waiter = &p->waiter,
                };
                Namespace *ns = p->ns;
                Node *child = NULL;
                /* path_landed() may run, and let go of p->node, before ns_child() has returned. */
                Node *node = node_ref(p->node);

                int r = next ? ns_child(ns, &call, node, name, &child) : -ENAMETOOLONG;
                node_table_put(ns->nodes, node);
                if (r == NS_PARKED)
                        return; /* p is no longer ours */
                if (r == 0)
                        r = -ENOENT;
                if (r < 0) {
                        path_end(p, r, NULL);
                        return;
                }
                node_table_put(p->ns->nodes, p->node);
                p->node = child;
                p->rest = next;
                p->rounds = 0;
        }
        path_end(p, 0, NULL);
}

static void path_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        NsPath *p = container_of(waiter, NsPath, waiter);

        if (result >= 0 && ++p->rounds > MAX_ROUNDS_PER_STEP)
                result = -EIO;
        if (result < 0)
                path_end(p, result, failure);
        else
                path_step(p);
}

static void path_start(Task *task) {
        path_step(container_of(task, NsPath, task));
}

int ns_resolve(
        Namespace *ns,
        const char *path,
        void (*done)(int result, const NsTarget *target, const Failure *failure, void *userdata),
        void *userdata) {
        size_t len = strlen(path) + 1;

        NsPath *p = calloc(1, sizeof(*p) + len);
        if (!p)
                return -ENOMEM;
        int r = ns_operation_begin(ns);
        if (r < 0) {
                free(p);
                return r;
        }
        memcpy(p->path, path, len);
        path_simplify(p->path);
        p->rest = p->path;
        while (*p->rest == '/')
                p->rest++;
        p->waiter.landed = path_landed;
        p->task.run = path_start;
        p->ns = ns;
        p->done = done;
        p->userdata = userdata;
        p->node = node_ref(node_table_root(ns->nodes));
        pool_submit(ns->context->pool, &p->task, TASK_NORMAL);
        return 0;
}

int ns_path(Namespace *ns, uint64_t id, Buf *ret) {
        _cleanup_buf_ Buf path = {0};
        int r = 0;

        Node *node = node_table_get(ns->nodes, id);
        if (!node)
                return -ESTALE;
        /* From the node up: every name goes in front of what is there. */
        for (const Node *n = node; r >= 0 && node_parent(n); n = node_parent(n)) {
                _cleanup_buf_ Buf b = {0};
                r = buf_append(&b, node_name(n), n->name_len);
                if (r >= 0 && path.len > 0)
                        r = buf_append(&b, "/", 1);
                if (r >= 0)
                        r = buf_append(&b, path.data, path.len);
                buf_done(&path);
                path = b;
                b = (Buf){0};
        }
        node_table_put(ns->nodes, node);
        return r < 0 ? r : buf_append(ret, path.data, path.len);
}

void ns_target_ref(const NsTarget *target) {
        node_ref(target->node);
}

void ns_target_unref(Namespace *ns, const NsTarget *target) {
        node_table_put(ns->nodes, target->node);
}
