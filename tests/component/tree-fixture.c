#include "component/tree-fixture.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"
#include "tree/checkout.h"
#include "tree/repo.h"
#include "util/clock.h"
#include "util/path.h"

/* --- life --- */

static void tell(TreeFixture *f, uint64_t id, const char *name) {
        char line[400];

        (void) snprintf(
                line,
                sizeof(line),
                "%llu%s%s\n",
                (unsigned long long) id,
                name ? "/" : "",
                name ? name : "");
        (void) pthread_mutex_lock(&f->mutex);
        (void) buf_append_str(&f->told, line);
        (void) pthread_mutex_unlock(&f->mutex);
}

static void entry_changed(uint64_t parent, const char *name, void *userdata) {
        tell(userdata, parent, name);
}

static void inode_changed(uint64_t id, void *userdata) {
        tell(userdata, id, NULL);
}

static void set_observer(TreeFixture *f) {
        const NsObserver observer = {
                .entry_changed = entry_changed,
                .inode_changed = inode_changed,
                .userdata = f,
        };

        ns_set_observer(f->ns, &observer);
}

void tree_fixture_add_org(TreeFixture *f) {
        _cleanup_(org_config_freep) OrgConfig *org = NULL;
        Failure failure;

        ck_assert_int_eq(org_config_new("o", ORG_LOCAL, f->root.path, &org), 0);
        ck_assert_int_eq(ns_add_org(f->ns, org, &failure), 0);
}

NsConfig tree_fixture_config(void) {
        return (NsConfig){
                .request_timeout_usec = 60 * USEC_PER_SEC,
                .negative_timeout_usec = 60 * USEC_PER_SEC,
                .listing_limit = (uint64_t) 64 << 20,
                .ahead = {.children = true, .sibling_limit = 256 << 10, .walk_limit = 64 << 20},
        };
}

void tree_fixture_init(TreeFixture *f) {
        const StoreConfig store = {.memory_limit = (uint64_t) 256 << 20};
        const NsConfig ns = tree_fixture_config();

        *f = (TreeFixture){.config = {.max_object_size = (uint64_t) 64 << 20}};
        (void) pthread_mutex_init(&f->mutex, NULL); /* cannot fail on Linux */
        ck_assert_int_eq(object_library_init(), 0);
        git_fixture_init(&f->repo, "sha1");
        temp_dir_init(&f->root);
        _cleanup_free_ char *link = path_join(f->root.path, "work", NULL);
        ck_assert_int_eq(symlink(f->repo.dir.path, link), 0);

        f->context.config = &f->config;
        ck_assert_int_eq(pool_new(4, &f->context.pool), 0);
        ck_assert_int_eq(store_open(&store, &f->context.store), 0);
        ck_assert_int_eq(flight_table_new(f->context.pool, &f->flights), 0);
        ck_assert_int_eq(ns_new(&ns, &f->context, f->flights, &f->ns), 0);
        set_observer(f);
        tree_fixture_add_org(f);
}

void tree_fixture_succeed(TreeFixture *f) {
        const NsConfig config = tree_fixture_config();

        int fd = fcntl(ns_nodes_fd(f->ns), F_DUPFD_CLOEXEC, 3);
        ck_assert_int_ge(fd, 0);
        ns_stop(f->ns);
        pool_free(f->context.pool);
        ns_keep_nodes(f->ns);
        ns_free(f->ns);
        flight_table_free(f->flights);
        buf_done(&f->told);
        ck_assert_int_eq(pool_new(4, &f->context.pool), 0);
        ck_assert_int_eq(flight_table_new(f->context.pool, &f->flights), 0);
        ck_assert_int_eq(ns_new_from(&config, &f->context, f->flights, fd, &f->ns), 0);
        set_observer(f);
}

void tree_fixture_done(TreeFixture *f) {
        ns_stop(f->ns);
        pool_free(f->context.pool);
        ns_free(f->ns);
        flight_table_free(f->flights);
        store_close(f->context.store);
        object_library_done();
        temp_dir_done(&f->root);
        git_fixture_done(&f->repo);
        buf_done(&f->told);
        (void) pthread_mutex_destroy(&f->mutex);
}

void tree_fixture_commit(TreeFixture *f, const char *name, const char *content) {
        git_fixture_write(&f->repo, name, content, strlen(content));
        git_fixture_commit(&f->repo, "change");
}

/* --- calls that wait --- */

static void caller_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Caller *c = container_of(waiter, Caller, waiter);

        c->result = result;
        ck_assert_int_eq(sem_post(&c->landed), 0);
}

void caller_init(Caller *c) {
        *c = (Caller){.waiter.landed = caller_landed};
        c->call = (NsCall){.flags = NS_MAY_BLOCK, .waiter = &c->waiter};
        ck_assert_int_eq(sem_init(&c->landed, 0, 0), 0);
}

bool caller_waits(Caller *c, int *r) {
        if (*r != NS_PARKED) {
                (void) sem_destroy(&c->landed); /* nobody waits */
                return false;
        }
        while (sem_wait(&c->landed) < 0)
                ck_assert_int_eq(errno, EINTR);
        if (c->result >= 0)
                return true;
        *r = c->result;
        (void) sem_destroy(&c->landed);
        return false;
}

int fs_lookup(TreeFixture *f, uint64_t parent, const char *name, NsAttr *ret) {
        Caller c;
        int r;

        caller_init(&c);
        do
                r = ns_lookup(f->ns, &c.call, parent, name, ret);
        while (caller_waits(&c, &r));
        return r;
}

int64_t fs_walk(TreeFixture *f, const char *path) {
        _cleanup_free_ char *copy = strdup(path);
        uint64_t id = NS_ROOT_ID;
        char *save;

        for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
                NsAttr attr;
                int r = fs_lookup(f, id, name, &attr);
                if (r <= 0)
                        return r;
                id = attr.id;
        }
        return (int64_t) id;
}

char *fs_read(TreeFixture *f, uint64_t id, int *ret_error) {
        _cleanup_object_ref_ ObjectRef content = {0};
        Caller c;
        int r;

        caller_init(&c);
        do
                r = ns_content(f->ns, &c.call, id, &content);
        while (caller_waits(&c, &r));
        *ret_error = r;
        return r < 0 ? NULL
                     : strndup(content.size ? (const char *) content.data : "", content.size);
}

typedef struct Filler {
        TreeFixture *f;
        unsigned n, max;
        uint64_t *offset;
        Buf *names;
} Filler;

static bool fill(const char *name, const NsAttr *attr, uint64_t next_offset, void *userdata) {
        Filler *filler = userdata;
        bool dot = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;

        if (!dot && filler->n == filler->max)
                return false;
        *filler->offset = next_offset;
        if (dot)
                return true;
        filler->n++;
        ck_assert_int_eq(buf_append_str(filler->names, name), 0);
        ck_assert_int_eq(buf_append_str(filler->names, "\n"), 0);
        return true;
}

int fs_list(TreeFixture *f, uint64_t id, bool plus, unsigned max, uint64_t *offset, Buf *names) {
        Filler filler = {.f = f, .max = max, .offset = offset, .names = names};
        Caller c;
        int r;

        caller_init(&c);
        do
                r = ns_readdir(f->ns, &c.call, id, *offset, plus, fill, &filler);
        while (caller_waits(&c, &r));
        return r;
}

char *fs_list_all(TreeFixture *f, uint64_t id, bool plus) {
        uint64_t offset = 0;
        Buf names = {0};

        ck_assert_int_eq(fs_list(f, id, plus, UINT32_MAX, &offset, &names), 0);
        ck_assert_ptr_nonnull(buf_str(&names));
        return (char *) names.data;
}

static void refreshed(int result, const Failure *failure, void *userdata) {
        Caller *c = userdata;

        caller_landed(&c->waiter, result, failure);
}

Checkout *tree_fixture_checkout(TreeFixture *f, const char *refspec) {
        Org *org = ns_get_org(f->ns, "o");
        Repo *repo = org ? owner_find_repo(&org->root, "work") : NULL;
        Checkout *checkout = repo ? repo_find_checkout(repo, refspec) : NULL;

        repo_unref(repo);
        org_unref(org);
        return checkout;
}

int fs_refresh(TreeFixture *f, const char *refspec) {
        _cleanup_(checkout_unrefp) Checkout *checkout = tree_fixture_checkout(f, refspec);
        Caller c;

        ck_assert_ptr_nonnull(checkout);
        caller_init(&c);
        int r = ns_refresh(f->ns, checkout, refreshed, &c);
        if (r == 0) {
                r = NS_PARKED;
                if (caller_waits(&c, &r)) {
                        r = 0;
                        (void) sem_destroy(&c.landed);
                }
        }
        return r;
}

bool fs_told(TreeFixture *f, uint64_t parent, const char *name) {
        char line[400];

        (void) snprintf(
                line,
                sizeof(line),
                "%llu%s%s\n",
                (unsigned long long) parent,
                name ? "/" : "",
                name ? name : "");
        (void) pthread_mutex_lock(&f->mutex);
        const char *text = f->told.len > 0 ? buf_str(&f->told) : "";
        const char *at = strstr(text, line);
        while (at && at != text && at[-1] != '\n')
                at = strstr(at + 1, line);
        (void) pthread_mutex_unlock(&f->mutex);
        return at != NULL;
}

uint64_t fs_must_walk(TreeFixture *f, const char *path) {
        int64_t id = fs_walk(f, path);

        ck_assert_msg(id > 0, "%s: %lld", path, (long long) id);
        return (uint64_t) id;
}

void fs_must_read(TreeFixture *f, const char *path, const char *content) {
        int error;
        _cleanup_free_ char *text = fs_read(f, fs_must_walk(f, path), &error);

        ck_assert_msg(text, "%s: %d", path, error);
        ck_assert_str_eq(text, content);
}

void fs_must_list(TreeFixture *f, uint64_t id, const char *names) {
        _cleanup_free_ char *plain = fs_list_all(f, id, false);
        _cleanup_free_ char *plus = fs_list_all(f, id, true);

        ck_assert_str_eq(plain, names);
        ck_assert_str_eq(plus, names);
}
