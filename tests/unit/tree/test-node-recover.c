/* What a successor makes of the inode table of a process that ended, at whatever moment. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "tree/checkout.h"
#include "tree/node-table.h"
#include "tree/org.h"
#include "tree/repo.h"
#include "util/fd.h"
#include "util/stats.h"

/* --- what directories belong to --- */

static void stub_source_free(Source *source) {
}

static const SourceOps stub_source_ops = {.free = stub_source_free};

typedef struct World {
        Org org;
        Source source;
        Repo *repo;
        Checkout *checkout;
        NodeTable *table;
        Node *top; /* of the checkout */
} World;

#define RESOLVED "refs/heads/main"
#define URL "https://example.org/repo"

static void world_init(World *w) {
        const CheckoutState state = {
                .commit = {.id = {1}, .algo = OID_SHA1},
                .root = {.id = {2}, .algo = OID_SHA1},
                .time = 1234567890,
        };

        *w = (World){
                .org.ref = REF_INIT,
                .source = {.ops = &stub_source_ops, .ref = REF_INIT, .url = (char *) URL},
        };
        ck_assert_int_eq(owner_init(&w->org.root, &w->org), 0);
        ck_assert_int_eq(repo_new(&w->org.root, "repo", &w->source, &w->repo), 0);
        ck_assert_int_eq(checkout_new(w->repo, "", RESOLVED, true, &state, &w->checkout), 0);
}

static void world_done(World *w) {
        checkout_unref(w->checkout);
        repo_unref(w->repo);
        ck_assert_uint_eq(w->org.ref.n, 1);
        owner_done(&w->org.root);
}

static Node *add(World *w, NodeKind kind, Node *parent, const char *name, uint8_t content) {
        const NodeSpec spec = {
                .kind = kind,
                .parent = parent,
                .name = name,
                .name_len = strlen(name),
                .oid = {.id = {content}, .algo = OID_SHA1},
                .size = content,
                .mtime = content,
                .owner = &w->org.root,
                .checkout = w->checkout,
        };
        Node *node;

        ck_assert_int_ge(node_table_get_or_add(w->table, &spec, &node), 0);
        return node;
}

/* Nobody but the kernel knows it, which was given it n times. */
static uint64_t give(World *w, Node *node, unsigned n) {
        uint64_t id = node->id;

        for (unsigned i = 0; i < n; i++)
                node_table_kernel_get(w->table, node);
        node_table_put(w->table, node);
        return id;
}

/* org/repo, and the kernel knows neither. */
static void make_top(World *w) {
        Node *org = add(w, NODE_ORG, node_table_root(w->table), "org", 0);

        w->top = add(w, NODE_CHECKOUT, org, "repo@x", 2);
        node_table_put(w->table, org);
}

/* The process ends; a new one takes over. */
static NodeTable *succeed(World *w) {
        NodeTable *t;

        int fd = fcntl(node_table_fd(w->table), F_DUPFD_CLOEXEC, 3);
        ck_assert_int_ge(fd, 0);
        node_table_keep(w->table);
        node_table_free(w->table);
        ck_assert_int_eq(node_table_recover(fd, &t), 0);
        w->table = t;
        return t;
}

START_TEST(what_the_kernel_knows_is_there_again) {
        int64_t before = stat_get(STAT_NODES_NOW);
        World w;

        world_init(&w);
        ck_assert_int_eq(node_table_new(&w.table), 0);
        make_top(&w);
        Node *dir = add(&w, NODE_DIR, w.top, "dir", 3);
        uint64_t file = give(&w, add(&w, NODE_EXEC, dir, "a file", 7), 3);
        uint64_t unknown = give(&w, add(&w, NODE_FILE, dir, "nobody's", 8), 0);
        uint64_t dir_id = give(&w, dir, 0), top_id = give(&w, w.top, 1);

        NodeTable *t = succeed(&w);
        ck_assert_uint_eq(node_table_size(t), 5);
        ck_assert_ptr_null(node_table_get(t, unknown));
        Node *node = node_table_get(t, file);
        ck_assert_ptr_nonnull(node);
        Oid oid = node_oid(node);
        ck_assert_uint_eq(oid.id[0], 7);
        ck_assert_int_eq(node->kind, NODE_EXEC);
        ck_assert_uint_eq(node_size(node), 7);
        ck_assert_int_eq(node_mtime(node), 7);
        ck_assert_str_eq(node_name(node), "a file");
        ck_assert_uint_eq(node_parent(node)->id, dir_id);
        ck_assert_ptr_null(node_checkout(node_parent(node)));
        node_table_put(t, node);

        Node *top = node_table_get(t, top_id);
        const NodeCheckout record = node_checkout_record(top);
        ck_assert_str_eq(record.resolved, RESOLVED);
        ck_assert_str_eq(record.url, URL);
        ck_assert_uint_eq(record.shown.commit.id[0], 1);
        ck_assert_uint_eq(record.shown.tree.id[0], 2);
        ck_assert(record.follows);

        /* It belongs to what the next look-up finds. */
        Node *org = add(&w, NODE_ORG, node_table_root(t), "org", 0);
        ck_assert_ptr_eq(node_owner(org), &w.org.root);
        ck_assert_ptr_eq(add(&w, NODE_CHECKOUT, org, "repo@x", 2), top);
        ck_assert_ptr_eq(node_checkout(top), w.checkout);
        node_table_put(t, top);
        node_table_put(t, top);
        node_table_put(t, org);

        /* R21: forgotten as often as it was given, also by the process before. */
        node_table_kernel_put(t, file, 2);
        ck_assert_uint_eq(node_table_size(t), 5);
        node_table_kernel_put(t, file, 1);
        ck_assert_uint_eq(node_table_size(t), 3);
        node_table_kernel_put(t, top_id, 1);
        ck_assert_uint_eq(node_table_size(t), 1);
        node_table_free(t);
        ck_assert_int_eq(stat_get(STAT_NODES_NOW), before);
        ck_assert_int_eq(stat_get(STAT_NODE_BYTES_NOW), 0);
        world_done(&w);
}
END_TEST

START_TEST(a_move_happened_in_full_or_not_at_all) {
        World w;

        world_init(&w);
        ck_assert_int_eq(node_table_new(&w.table), 0);
        make_top(&w);
        Node *dir = add(&w, NODE_DIR, w.top, "dir", 3);
        NodeShown shown = {.tree = {.id = {13}, .algo = OID_SHA1}, .mtime = 5, .move = 1};
        node_show_locked(dir, &shown);
        uint64_t id = give(&w, dir, 1);
        node_table_put(w.table, w.top);

        NodeTable *t = succeed(&w); /* before the root said that the move is through */
        dir = node_table_get(t, id);
        ck_assert_uint_eq(node_shown(dir)->tree.id[0], 3);
        shown.tree.id[0] = 14;
        node_show_locked(dir, &shown);
        atomic_store(&node_dir(node_root_of(dir))->moved, 1);
        node_table_put(t, dir);

        t = succeed(&w);
        dir = node_table_get(t, id);
        ck_assert_uint_eq(node_shown(dir)->tree.id[0], 14);
        ck_assert_int_eq(node_mtime(dir), 5);
        node_table_put(t, dir);
        node_table_free(t);
        world_done(&w);
}
END_TEST

START_TEST(another_layout_is_refused) {
        NodeTable *t;
        char byte = 0;

        ck_assert_int_eq(node_table_new(&t), 0);
        int fd = fcntl(node_table_fd(t), F_DUPFD_CLOEXEC, 3);
        node_table_keep(t);
        node_table_free(t);
        ck_assert_int_eq(pwrite(fd, &(uint32_t){99}, 4, 16), 4); /* the version */
        ck_assert_int_eq(node_table_recover(fd, &t), -EPROTO);
        safe_close(fd);

        _cleanup_close_ int small = memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        ck_assert_int_eq(write(small, &byte, 1), 1);
        ck_assert_int_eq(node_table_recover(small, &t), -EPROTO);
        ck_assert_int_eq(fcntl(small, F_ADD_SEALS, F_SEAL_SHRINK), 0);
        ck_assert_int_eq(node_table_recover(small, &t), -EPROTO);
}
END_TEST

/* --- a process that is killed --- */

#define N_KILLS 40
#define N_NAMES 512

static uint32_t next_random(uint32_t *state) {
        *state = *state * 1664525 + 1013904223;
        return *state >> 16;
}

/* Gives, takes back and moves for ever. The kernel holds dir 0 and its file "kept" all the time. */
static void live(World *w, int to_parent) {
        uint32_t random = 1;
        char name[32];

        make_top(w);
        Node *kept = add(w, NODE_DIR, w->top, "kept", 3);
        (void) give(w, add(w, NODE_FILE, kept, "kept", 9), 1);
        int fd = node_table_fd(w->table);
        if (write(to_parent, &fd, sizeof(fd)) != sizeof(fd))
                _exit(EXIT_FAILURE);
        for (uint8_t round = 0;; round++) {
                (void) snprintf(name, sizeof(name), "dir%u", next_random(&random) % 8);
                Node *dir = add(w, NODE_DIR, w->top, name, 4);
                int len = (int) (next_random(&random) % 24);
                (void) snprintf(
                        name,
                        sizeof(name),
                        "%u%.*s",
                        next_random(&random) % N_NAMES,
                        len,
                        "abcdefghijklmnopqrstuvwxyz");
                Node *file = add(w, NODE_FILE, dir, name, 5);
                uint64_t id = file->id;
                if (next_random(&random) % 2)
                        (void) give(w, file, 1);
                else {
                        node_table_put(w->table, file);
                        node_table_kernel_put(w->table, id, 1);
                }
                atomic_uint_least32_t *moved = &node_dir(w->top)->moved;
                const NodeShown shown = {
                        .tree = {.id = {round, 1}, .algo = OID_SHA1}, .move = *moved + 1};
                node_show_locked(w->top, &shown);
                node_show_locked(kept, &shown);
                *moved = shown.move;
                node_table_put(w->table, dir);
        }
}

static int open_fd_of(pid_t pid, int fd) {
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int) pid, fd);
        return open(path, O_RDWR | O_CLOEXEC);
}

static void check_survivor(NodeTable *t, uint64_t kept_file) {
        Node *file = node_table_get(t, kept_file);

        ck_assert_ptr_nonnull(file);
        ck_assert_uint_eq(node_size(file), 9);
        Node *kept = node_parent(file), *top = node_parent(kept);
        ck_assert_str_eq(node_name(kept), "kept");
        /* Both of one move. */
        if (node_shown(top)->tree.id[1] == 1)
                ck_assert(oid_equal(&node_shown(top)->tree, &node_shown(kept)->tree));
        node_table_put(t, file);
}

START_TEST(a_kill_at_any_moment_loses_nothing_that_is_known) {
        uint32_t random = 7;
        World w;

        world_init(&w);
        for (unsigned i = 0; i < N_KILLS; i++) {
                int p[2], theirs;
                NodeTable *t;

                ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
                pid_t pid = fork();
                ck_assert_int_ge(pid, 0);
                if (pid == 0) {
                        if (node_table_new(&w.table) < 0)
                                _exit(EXIT_FAILURE);
                        live(&w, p[1]);
                }
                safe_close(p[1]);
                ck_assert_int_eq(read(p[0], &theirs, sizeof(theirs)), sizeof(theirs));
                int fd = open_fd_of(pid, theirs);
                ck_assert_int_ge(fd, 0);
                /* However far it comes meanwhile. */
                for (unsigned spin = next_random(&random) % 20000 * 20; spin > 0; spin--)
                        __asm__ volatile("");
                ck_assert_int_eq(kill(pid, SIGKILL), 0);
                ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
                safe_close(p[0]);

                ck_assert_int_eq(node_table_recover(fd, &t), 0);
                const NodeSpec org = {
                        .kind = NODE_ORG,
                        .parent = node_table_root(t),
                        .name = "org",
                        .name_len = 3};
                Node *node = node_table_find(t, &org), *up = node;
                const NodeSpec top = {
                        .kind = NODE_CHECKOUT, .parent = up, .name = "repo@x", .name_len = 6};
                node = node_table_find(t, &top);
                node_table_put(t, up);
                up = node;
                const NodeSpec kept = {
                        .kind = NODE_DIR, .parent = up, .name = "kept", .name_len = 4};
                node = node_table_find(t, &kept);
                node_table_put(t, up);
                up = node;
                const NodeSpec file = {
                        .kind = NODE_FILE,
                        .parent = up,
                        .name = "kept",
                        .name_len = 4,
                        .oid = {.id = {9}, .algo = OID_SHA1},
                };
                node = node_table_find(t, &file);
                node_table_put(t, up);
                ck_assert_ptr_nonnull(node);
                uint64_t id = node->id;
                node_table_put(t, node);
                check_survivor(t, id);
                node_table_free(t);
                ck_assert_int_eq(stat_get(STAT_NODES_NOW), 0);
                ck_assert_int_eq(stat_get(STAT_NODE_BYTES_NOW), 0);
        }
        world_done(&w);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_the_kernel_knows_is_there_again);
        tcase_add_test(tc, a_move_happened_in_full_or_not_at_all);
        tcase_add_test(tc, another_layout_is_refused);
        tcase_add_test(tc, a_kill_at_any_moment_loses_nothing_that_is_known);
}

CHECK_MAIN("node-recover", add_tests)
