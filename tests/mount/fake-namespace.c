#include "mount/fake-namespace.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tree/namespace-admin.h"
#include "util/clock.h"
#include "util/thread.h"
#include "work/blame.h"

typedef struct Node {
        uint64_t parent;
        uint32_t mode;
        char *name;
        char *content;
        FakeMode fake_mode;
        int error;
        bool gone; /* replaced: has no name any more */
} Node;

/* Ids are indices; 0 is not used. Everything is guarded by the mutex but the two counters. */
struct Namespace {
        FlightTable *flights;
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        Node nodes[FAKE_NODES_MAX];
        uint64_t n_nodes;
        uint64_t own_counts[FAKE_NODES_MAX];
        uint64_t *counts; /* references of the kernel by node */
        unsigned n_parked;
        uint64_t kernel_refs, refs_given;
        atomic_uint n_blocking;
};

static atomic_uint contents_in_use;

/* Out of memory, or a test that asks for too much: not worth a word. */
static void must(bool ok) {
        if (!ok)
                abort();
}

Namespace *fake_new(FlightTable *flights) {
        Namespace *ns = calloc(1, sizeof(*ns));
        must(ns);
        ns->flights = flights;
        must(pthread_mutex_init(&ns->mutex, NULL) == 0);
        must(pthread_cond_init(&ns->changed, NULL) == 0);
        ns->nodes[NS_ROOT_ID] = (Node){
                .parent = NS_ROOT_ID,
                .mode = S_IFDIR | 0555,
                .content = strdup(""),
        };
        must(ns->nodes[NS_ROOT_ID].content);
        ns->n_nodes = NS_ROOT_ID + 1;
        ns->counts = ns->own_counts;
        return ns;
}

void fake_share_counts(Namespace *ns, uint64_t *counts) {
        ns->counts = counts;
        for (uint64_t i = 0; i < FAKE_NODES_MAX; i++)
                ns->kernel_refs += counts[i];
}

Namespace *fake_free(Namespace *ns) {
        if (!ns)
                return NULL;
        for (uint64_t i = 0; i < ns->n_nodes; i++) {
                free(ns->nodes[i].name);
                free(ns->nodes[i].content);
        }
        must(pthread_cond_destroy(&ns->changed) == 0);
        must(pthread_mutex_destroy(&ns->mutex) == 0);
        free(ns);
        return NULL;
}

static void lock(Namespace *ns) {
        must(pthread_mutex_lock(&ns->mutex) == 0);
}

static void unlock(Namespace *ns) {
        must(pthread_mutex_unlock(&ns->mutex) == 0);
}

static uint64_t find(Namespace *ns, uint64_t parent, const char *name) {
        for (uint64_t i = NS_ROOT_ID + 1; i < ns->n_nodes; i++) {
                const Node *node = &ns->nodes[i];
                if (!node->gone && node->parent == parent && strcmp(node->name, name) == 0)
                        return i;
        }
        return 0;
}

static uint64_t
add(Namespace *ns, uint64_t parent, const char *name, uint32_t mode, const char *content) {
        lock(ns);
        uint64_t old = find(ns, parent, name);
        if (old)
                ns->nodes[old].gone = true;
        must(ns->n_nodes < FAKE_NODES_MAX);
        uint64_t id = ns->n_nodes++;
        ns->nodes[id] = (Node){
                .parent = parent,
                .mode = mode,
                .name = strdup(name),
                .content = strdup(content),
        };
        must(ns->nodes[id].name && ns->nodes[id].content);
        unlock(ns);
        return id;
}

uint64_t fake_add_dir(Namespace *ns, uint64_t parent, const char *name) {
        return add(ns, parent, name, S_IFDIR | 0555, "");
}

uint64_t fake_add_file(Namespace *ns, uint64_t parent, const char *name, const char *content) {
        return add(ns, parent, name, S_IFREG | 0444, content);
}

uint64_t fake_add_link(Namespace *ns, uint64_t parent, const char *name, const char *target) {
        return add(ns, parent, name, S_IFLNK | 0777, target);
}

static FlightKey key_of(Namespace *ns, uint64_t id) {
        FlightKey key = {.scope = ns, .kind = 1};
        memcpy(key.id, &id, sizeof(id));
        return key;
}

void fake_set_mode(Namespace *ns, uint64_t id, FakeMode mode, int error) {
        lock(ns);
        ns->nodes[id].fake_mode = mode;
        ns->nodes[id].error = error;
        unlock(ns);
}

void fake_land(Namespace *ns, uint64_t id, int result, const Failure *failure) {
        const FlightKey key = key_of(ns, id);
        const Failure none = {0};

        fake_set_mode(ns, id, result == 0 ? FAKE_RESIDENT : FAKE_FAILS, result);
        flight_land(ns->flights, &key, result, failure ? failure : &none);
}

void fake_land_all(Namespace *ns) {
        for (uint64_t id = NS_ROOT_ID; id < ns->n_nodes; id++)
                fake_land(ns, id, -ECANCELED, NULL);
}

void fake_wait_parked(Namespace *ns, unsigned n) {
        lock(ns);
        while (ns->n_parked < n)
                must(pthread_cond_wait(&ns->changed, &ns->mutex) == 0);
        unlock(ns);
}

void fake_wait_kernel_refs(Namespace *ns, uint64_t n) {
        lock(ns);
        while (ns->kernel_refs > n)
                must(pthread_cond_wait(&ns->changed, &ns->mutex) == 0);
        unlock(ns);
}

uint64_t fake_refs_given(Namespace *ns) {
        lock(ns);
        uint64_t n = ns->refs_given;
        unlock(ns);
        return n;
}

unsigned fake_contents_in_use(Namespace *ns) {
        return atomic_load(&contents_in_use);
}

unsigned fake_n_blocking(Namespace *ns) {
        return atomic_load(&ns->n_blocking);
}

static void *abort_main(void *userdata) {
        BLAME_GUARD(userdata);

        abort();
}

static void abort_behind(Namespace *ns) {
        pthread_t thread;

        must(thread_start(&thread, "aborts", abort_main, ns) == 0);
        must(pthread_detach(thread) == 0);
}

/* 0 when the node may answer. */
static int ask(Namespace *ns, const NsCall *call, uint64_t id) {
        const FlightKey key = key_of(ns, id);

        if (call->flags & NS_MAY_BLOCK)
                atomic_fetch_add(&ns->n_blocking, 1);
        lock(ns);
        bool known = id > 0 && id < ns->n_nodes;
        FakeMode mode = known ? ns->nodes[id].fake_mode : FAKE_FAILS;
        int error = known ? ns->nodes[id].error : -ESTALE;
        unlock(ns);

        switch (mode) {
        case FAKE_RESIDENT:
                return 0;
        case FAKE_BLOCKS:
                return call->flags & NS_MAY_BLOCK ? 0 : NS_BLOCKS;
        case FAKE_FAILS:
                return error;
        case FAKE_ABORTS:
                abort();
        case FAKE_ABORTS_BEHIND:
        case FAKE_PARKS:
        case FAKE_BOUNCES:
                break;
        }
        if (!call->waiter)
                return NS_PARKED;
        int r = flight_join(ns->flights, &key, call->waiter);
        if (r < 0)
                return r;
        lock(ns);
        ns->n_parked++;
        must(pthread_cond_broadcast(&ns->changed) == 0);
        unlock(ns);
        if (mode == FAKE_ABORTS_BEHIND)
                abort_behind(ns);
        if (mode == FAKE_BOUNCES)
                flight_land(ns->flights, &key, 0, NULL);
        return NS_PARKED;
}

static NsAttr attr_locked(Namespace *ns, uint64_t id) {
        const Node *node = &ns->nodes[id];
        return (NsAttr){
                .id = id,
                .ino = id,
                .mode = node->mode,
                .size = node->content ? strlen(node->content) : 0,
                .mtime = 1000000000 + (int64_t) id,
                .entry_timeout_usec = USEC_INFINITY,
                .attr_timeout_usec = USEC_INFINITY,
        };
}

int ns_getattr(Namespace *ns, uint64_t id, NsAttr *ret) {
        lock(ns);
        bool known = id > 0 && id < ns->n_nodes;
        if (known)
                *ret = attr_locked(ns, id);
        unlock(ns);
        return known ? 0 : -ESTALE;
}

static void add_refs_locked(Namespace *ns, uint64_t id, uint64_t n) {
        ns->counts[id] += n;
        ns->kernel_refs += n;
        ns->refs_given += n;
}

int ns_lookup(Namespace *ns, const NsCall *call, uint64_t parent, const char *name, NsAttr *ret) {
        int r = ask(ns, call, parent);
        if (r < 0)
                return r;
        lock(ns);
        uint64_t id = find(ns, parent, name);
        if (id) {
                add_refs_locked(ns, id, 1);
                *ret = attr_locked(ns, id);
        } else
                *ret = (NsAttr){.entry_timeout_usec = USEC_INFINITY};
        unlock(ns);
        return id != 0;
}

void ns_forget(Namespace *ns, uint64_t id, uint64_t n) {
        lock(ns);
        /* More than was given would be somebody's use after free. */
        must(id < ns->n_nodes && ns->counts[id] >= n);
        ns->counts[id] -= n;
        ns->kernel_refs -= n;
        must(pthread_cond_broadcast(&ns->changed) == 0);
        unlock(ns);
}

int ns_readdir(
        Namespace *ns,
        const NsCall *call,
        uint64_t id,
        uint64_t offset,
        bool plus,
        NsFill fill,
        void *userdata) {
        int r = ask(ns, call, id);
        if (r < 0)
                return r;
        lock(ns);
        /* Offset 1 is behind ".", 2 behind "..", and i + 2 behind node i. */
        uint64_t at = offset;
        bool room = true;
        for (; room && at < 2; at++) {
                NsAttr attr = attr_locked(ns, at == 0 ? id : ns->nodes[id].parent);
                room = fill(at == 0 ? "." : "..", &attr, at + 1, userdata);
        }
        for (uint64_t i = at < 3 ? NS_ROOT_ID + 1 : at - 1; room && i < ns->n_nodes; i++) {
                if (ns->nodes[i].gone || ns->nodes[i].parent != id)
                        continue;
                NsAttr attr = attr_locked(ns, i);
                room = fill(ns->nodes[i].name, &attr, i + 2, userdata);
                if (room && plus)
                        add_refs_locked(ns, i, 1);
        }
        unlock(ns);
        return 0;
}

static ObjectRef content_locked(Namespace *ns, uint64_t id) {
        const Node *node = &ns->nodes[id];

        atomic_fetch_add(&contents_in_use, 1);
        return (ObjectRef){
                .type = OBJECT_BLOB,
                .data = (const uint8_t *) node->content,
                .out = (const uint8_t *) node->content,
                .size = strlen(node->content),
                .owner = ns,
        };
}

int ns_content(Namespace *ns, const NsCall *call, uint64_t id, ObjectRef *ret) {
        int r = ask(ns, call, id);
        if (r < 0)
                return r;
        lock(ns);
        *ret = content_locked(ns, id);
        unlock(ns);
        return 0;
}

int ns_resident_files(
        Namespace *ns,
        uint64_t dir,
        uint64_t after,
        uint64_t max_size,
        NsFileFn fn,
        void *userdata) {
        bool more = true;

        lock(ns);
        uint64_t i = after ? after + 1 : NS_ROOT_ID + 1;
        for (; more && i < ns->n_nodes; i++) {
                const Node *node = &ns->nodes[i];
                if (node->gone || node->parent != dir || !S_ISREG(node->mode))
                        continue;
                if (node->fake_mode != FAKE_RESIDENT)
                        break;
                ObjectRef content = content_locked(ns, i);
                unlock(ns);
                more = fn(i, content.size > max_size ? NULL : &content, userdata);
                object_ref_done(&content);
                lock(ns);
        }
        bool whole = more && i == ns->n_nodes;
        unlock(ns);
        return whole;
}

uint64_t ns_parent(Namespace *ns, uint64_t id) {
        lock(ns);
        uint64_t parent = ns->nodes[id].parent;
        unlock(ns);
        return parent;
}

/* The store's, which is not linked here: contents belong to the nodes. */
void object_ref_done(ObjectRef *ref) {
        if (ref->owner)
                atomic_fetch_sub(&contents_in_use, 1);
        *ref = (ObjectRef){0};
}

void object_ref_give_up(const ObjectRef *ref) {
}

bool object_ref_is_torn(const ObjectRef *ref) {
        return false;
}

int ns_each_known(
        Namespace *ns,
        const NsTarget *below,
        void (*fn)(uint64_t id, uint64_t parent, const char *name, void *userdata),
        void *userdata) {
        lock(ns);
        for (uint64_t i = NS_ROOT_ID; i < ns->n_nodes; i++) {
                const Node *node = &ns->nodes[i];
                uint64_t parent = i == NS_ROOT_ID ? 0 : node->parent;
                const char *name = node->name; /* lives as long as the name space */
                unlock(ns);
                fn(i, parent, name, userdata);
                lock(ns);
        }
        unlock(ns);
        return 0;
}

/* No branch moves here. */
void ns_retell(Namespace *ns, const NsTeller *teller) {
}

int ns_path(Namespace *ns, uint64_t id, Buf *ret) {
        return buf_appendf(ret, "node-%llu", (unsigned long long) id);
}

int ns_getxattr(Namespace *ns, uint64_t id, const char *name, Buf *ret) {
        return strcmp(name, "user.gitfs.fake") == 0 ? buf_append_str(ret, "value") : -ENODATA;
}

int ns_listxattr(Namespace *ns, uint64_t id, Buf *ret) {
        static const char names[] = "user.gitfs.fake";
        return buf_append(ret, names, sizeof(names));
}
