/* What is asked of a path: where it lies, to refresh it, to drop it from the caches. Each walks to
 * the path on the pool, does its work there, and comes back to the main thread with the result. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/manager-private.h"
#include "object/oid.h"
#include "tree/checkout.h"
#include "tree/repo.h"
#include "util/path.h"
#include "util/ref.h"
#include "util/stats.h"

/* --- which --- */

typedef struct WhichCall {
        MailboxItem item;
        Manager *manager;
        ManagerWhichDone done;
        void *userdata;
        int result;
        Failure failure;
        char *url, *org, *owner, *repo, *ref;
        char commit[OID_HEX_MAX + 1], oid[OID_HEX_MAX + 1];
        uint32_t mode;
        uint64_t size;
        bool resident;
        char path[];
} WhichCall;

static const char *type_name(uint32_t mode) {
        if (S_ISREG(mode))
                return "file";
        return S_ISLNK(mode) ? "symlink" : "directory";
}

static void which_main(MailboxItem *item) {
        WhichCall *c = container_of(item, WhichCall, item);
        const WhichInfo info = {
                .org = c->org ? c->org : "",
                .owner = c->owner ? c->owner : "",
                .repo = c->repo ? c->repo : "",
                .ref = c->ref ? c->ref : "",
                .url = c->url ? c->url : "",
                .commit = c->commit,
                .oid = c->oid,
                .type = type_name(c->mode),
                .path = c->path,
                .size = c->size,
                .resident = c->resident,
        };

        c->done(c->result, c->result >= 0 ? &info : NULL, &c->failure, c->userdata);
        free(c->url);
        free(c->org);
        free(c->owner);
        free(c->repo);
        free(c->ref);
        free(c);
}

/* Below an org always; below a repository only where there is one. */
static int copy_which(WhichCall *c, const NsTarget *target) {
        CheckoutState state;

        c->org = strdup(target->org->config->name);
        c->owner = strdup(target->owner ? target->owner->path : "");
        if (!c->org || !c->owner)
                return -ENOMEM;
        if (!target->checkout)
                return 0;
        checkout_get_state(target->checkout, &state);
        (void) oid_to_hex(&state.commit, c->commit);
        c->repo = strdup(target->checkout->repo->name);
        c->ref = strdup(target->checkout->resolved);
        c->url = strdup(target->checkout->repo->source->url);
        return c->repo && c->ref && c->url ? 0 : -ENOMEM;
}

static void fill_which(WhichCall *c, const NsTarget *target) {
        c->mode = target->mode;
        c->size = S_ISDIR(target->mode) ? 0 : target->size;
        c->resident = ns_is_resident(c->manager->ns, target);
        (void) oid_to_hex(&target->oid, c->oid);
        if (target->org)
                c->result = copy_which(c, target);
}

static void
which_resolved(int result, const NsTarget *target, const Failure *failure, void *userdata) {
        WhichCall *c = userdata;

        c->result = result;
        if (failure)
                c->failure = *failure;
        if (target)
                fill_which(c, target);
        manager_post(c->manager, &c->item);
}

int manager_which(Manager *m, const char *path, ManagerWhichDone done, void *userdata) {
        size_t len = strlen(path) + 1;

        WhichCall *c = calloc(1, sizeof(*c) + len);
        if (!c)
                return -ENOMEM;
        c->item.run = which_main;
        c->manager = m;
        c->done = done;
        c->userdata = userdata;
        memcpy(c->path, path, len);
        int r = ns_resolve(m->ns, path, which_resolved, c);
        if (r < 0)
                free(c);
        return r;
}

/* --- refresh and flush: calls that end with a result only --- */

typedef struct PathCall {
        MailboxItem item;
        NotifyWaiter waiter;
        Ref pending; /* parts that have not ended */
        Manager *manager;
        ManagerDone done;
        void *userdata;
        unsigned flags;
        bool whole; /* the root of the mount */
        Mutex lock; /* guards result and failure: the first failure stays */
        int result;
        Failure failure;
} PathCall;

static void path_call_main(MailboxItem *item) {
        PathCall *c = container_of(item, PathCall, item);

        c->done(c->result, &c->failure, c->userdata);
        mutex_destroy(&c->lock);
        free(c);
}

static void kernel_told(NotifyWaiter *waiter) {
        PathCall *c = container_of(waiter, PathCall, waiter);

        manager_post(c->manager, &c->item);
}

static int
path_call_new(Manager *m, const char *path, ManagerDone done, void *userdata, PathCall **ret) {
        PathCall *c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->item.run = path_call_main;
        c->waiter.told = kernel_told;
        c->pending = REF_INIT;
        c->manager = m;
        c->done = done;
        c->userdata = userdata;
        c->whole = path[0] == '\0';
        mutex_init(&c->lock, LOCK_RANK_LEAF);
        *ret = c;
        return 0;
}

/* One part has ended; the last one takes the call back to the main thread. */
static void part_done(int result, const Failure *failure, void *userdata) {
        PathCall *c = userdata;

        mutex_lock(&c->lock);
        if (result < 0 && c->result >= 0) {
                c->result = result;
                if (failure)
                        c->failure = *failure;
        }
        mutex_unlock(&c->lock);
        if (!ref_put(&c->pending))
                return;
        /* Whoever is told that it is done must see it done. */
        mount_session_when_told(c->manager->session, &c->waiter);
}

int manager_settle(Manager *m, ManagerDone done, void *userdata) {
        PathCall *c;

        int r = path_call_new(m, "", done, userdata, &c);
        if (r < 0)
                return r;
        part_done(0, NULL, c);
        return 0;
}

static int path_call_start(
        PathCall *c,
        const char *path,
        void (*resolved)(
                int result, const NsTarget *target, const Failure *failure, void *userdata)) {
        int r = ns_resolve(c->manager->ns, path, resolved, c);
        if (r < 0) {
                mutex_destroy(&c->lock);
                free(c);
        }
        return r;
}

static void refresh_one(PathCall *c, Checkout *checkout) {
        ref_get(&c->pending);
        int r = ns_refresh(c->manager->ns, checkout, part_done, c);
        if (r < 0)
                part_done(r, NULL, c);
}

static void refresh_moving(Checkout *checkout, void *userdata) {
        if (checkout->moves)
                refresh_one(userdata, checkout);
}

static void refresh_repo(Repo *repo, void *userdata) {
        repo_each_checkout(repo, refresh_moving, userdata);
}

static void refresh_owner(Owner *owner, void *userdata) {
        PathCall *c = userdata;

        ref_get(&c->pending);
        int r = ns_relist(c->manager->ns, owner, part_done, c);
        if (r < 0)
                part_done(r, NULL, c);
        owner_each_repo(owner, refresh_repo, c);
}

static int refresh_org(Org *org, void *userdata) {
        owner_each(&org->root, refresh_owner, userdata);
        return 0;
}

static void
refresh_resolved(int result, const NsTarget *target, const Failure *failure, void *userdata) {
        PathCall *c = userdata;

        if (target && target->checkout)
                refresh_one(c, target->checkout);
        else if (target && target->owner)
                owner_each(target->owner, refresh_owner, c);
        else if (target)
                result = ns_each_org(c->manager->ns, refresh_org, c);
        part_done(result, failure, c);
}

/* Before the path is looked up: it may be of a repository or a ref that is new. */
static int forget_negatives(Org *org, void *userdata) {
        const Manager *m = userdata;

        ns_forget_negatives(m->ns, org);
        return 0;
}

int manager_refresh(Manager *m, const char *path, ManagerDone done, void *userdata) {
        PathCall *c;

        int r = ns_each_org(m->ns, forget_negatives, m);
        if (r < 0)
                return r;
        r = path_call_new(m, path, done, userdata, &c);
        return r < 0 ? r : path_call_start(c, path, refresh_resolved);
}

static void drop_from_kernel(uint64_t id, uint64_t parent, const char *name, void *userdata) {
        const NsObserver *kernel = userdata;

        if (parent != 0)
                kernel->entry_changed(parent, name, kernel->userdata);
        kernel->inode_changed(id, kernel->userdata);
}

static int flush_kernel(PathCall *c, const NsTarget *target) {
        MountSession *s = c->manager->session;
        NsObserver kernel;

        if (c->whole) {
                mount_session_invalidate_all(s);
                return 0;
        }
        mount_session_observer(s, &kernel);
        return ns_each_known(c->manager->ns, target, drop_from_kernel, &kernel);
}

static void
flush_resolved(int result, const NsTarget *target, const Failure *failure, void *userdata) {
        PathCall *c = userdata;
        Manager *m = c->manager;

        if (target && (c->flags & FLUSH_DISK)) {
                stat_add(STAT_STORE_FLUSHES, 1);
                if (c->whole) {
                        result = store_flush_disk(m->store);
                        if (m->documents)
                                documents_clear(m->documents);
                } else
                        ns_flush_objects(m->ns, target);
        }
        if (target && (c->flags & FLUSH_MEMORY)) {
                store_flush_memory(m->store);
                credentials_flush(m->credentials);
                ns_flush_memory(m->ns);
        }
        if (target && (c->flags & FLUSH_KERNEL)) {
                int r = flush_kernel(c, target);
                result = result < 0 ? result : r;
        }
        part_done(result, failure, c);
}

int manager_flush(Manager *m, unsigned flags, const char *path, ManagerDone done, void *userdata) {
        PathCall *c;

        int r = path_call_new(m, path, done, userdata, &c);
        if (r < 0)
                return r;
        c->flags = flags;
        return path_call_start(c, path, flush_resolved);
}
