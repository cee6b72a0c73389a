#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"
#include "tree/node-table.h"
#include "util/stats.h"

static NodeSpec dir_spec(Node *parent, const char *name) {
        return (NodeSpec){
                .kind = NODE_SUBMODULE, .parent = parent, .name = name, .name_len = strlen(name)};
}

static NodeSpec file_spec(Node *parent, const char *name, uint8_t content) {
        NodeSpec spec = {
                .kind = NODE_FILE,
                .parent = parent,
                .name = name,
                .name_len = strlen(name),
                .oid = {.id = {content}, .algo = OID_SHA1},
                .size = content,
        };
        return spec;
}

START_TEST(test_ids_are_stable_and_name_the_content) {
        NodeTable *t;
        Node *a, *b;

        ck_assert_int_eq(node_table_new(&t), 0);
        Node *root = node_table_root(t);
        const NodeSpec one = file_spec(root, "f", 1), two = file_spec(root, "f", 2);

        /* F7: the number is the same after the node was forgotten. */
        ck_assert_int_eq(node_table_get_or_add(t, &one, &a), 1);
        uint64_t id = a->id;
        ck_assert_uint_eq(id, node_id(&one));
        node_table_put(t, a);
        ck_assert_ptr_null(node_table_get(t, id));
        ck_assert_int_eq(node_table_get_or_add(t, &one, &a), 1);
        ck_assert_uint_eq(a->id, id);

        /* Other content under the same name is another node, and both live side by side. */
        ck_assert_int_eq(node_table_get_or_add(t, &two, &b), 1);
        ck_assert_uint_ne(b->id, id);
        ck_assert_uint_eq(node_size(a), 1);
        ck_assert_uint_eq(node_size(b), 2);
        node_table_put(t, a);
        node_table_put(t, b);
        node_table_free(t);
}
END_TEST

START_TEST(test_a_node_is_what_it_was_made_of) {
        static const int64_t times[] = {0, 1, -1, 1234567890, -((INT64_C(1) << 39) - 1), INT64_MAX};
        static const int64_t shown[] = {
                0, 1, -1, 1234567890, -((INT64_C(1) << 39) - 1), (INT64_C(1) << 39) - 1};
        char name[NAME_MAX + 2];
        NodeTable *t;
        Node *dir, *node;

        ck_assert_int_eq(node_table_new(&t), 0);
        const NodeSpec parent = dir_spec(node_table_root(t), "dir");
        ck_assert_int_eq(node_table_get_or_add(t, &parent, &dir), 1);
        for (size_t len = 1; len <= NAME_MAX; len++) {
                memset(name, 'n', len);
                name[len] = '\0';
                NodeSpec spec = file_spec(dir, name, (uint8_t) len);
                spec.kind = len % 3 == 0 ? NODE_SYMLINK : NODE_EXEC;
                spec.mtime = times[len % ELEMENTSOF(times)];
                spec.size = UINT64_MAX - len;
                if (len % 2 == 0)
                        memset(&spec.oid, OID_SHA256, sizeof(spec.oid));
                ck_assert_int_eq(node_table_get_or_add(t, &spec, &node), 1);
                Oid oid = node_oid(node);
                ck_assert(oid_equal(&oid, &spec.oid));
                ck_assert_int_eq(node->kind, spec.kind);
                ck_assert_uint_eq(node_size(node), spec.size);
                ck_assert_int_eq(node_mtime(node), shown[len % ELEMENTSOF(times)]);
                ck_assert_str_eq(node_name(node), name);
                ck_assert_ptr_eq(node_parent(node), dir);
                node_table_put(t, node);
        }
        memset(name, 'n', NAME_MAX + 1);
        name[NAME_MAX + 1] = '\0';
        const NodeSpec spec = file_spec(dir, name, 1);
        ck_assert_int_eq(node_table_get_or_add(t, &spec, &node), -ENAMETOOLONG);
        node_table_put(t, dir);
        node_table_free(t);
}
END_TEST

START_TEST(test_a_directory_shows_one_tree_after_the_other) {
        NodeTable *t;
        Node *dir;

        ck_assert_int_eq(node_table_new(&t), 0);
        const NodeSpec spec = dir_spec(node_table_root(t), "dir");
        ck_assert_int_eq(node_table_get_or_add(t, &spec, &dir), 1);
        ck_assert(oid_is_none(&node_shown(dir)->tree));
        for (uint8_t i = 1; i < 10; i++) {
                const Oid tree = {.id = {i}, .algo = OID_SHA1};
                const NodeShown shown = {.tree = tree, .mtime = i};
                node_show_locked(dir, &shown);
                ck_assert(oid_equal(&node_shown(dir)->tree, &tree));
                ck_assert_int_eq(node_mtime(dir), i);
        }
        /* Those before it, for whoever reads one of them. */
        unsigned found = 0;
        for (size_t i = 0; i < NODE_N_PAST_TREES; i++)
                for (uint8_t k = 8; k > 8 - NODE_N_PAST_TREES; k--)
                        found += node_dir(dir)->past->trees[i].id[0] == k;
        ck_assert_uint_eq(found, NODE_N_PAST_TREES);
        node_table_put(t, dir);
        node_table_free(t);
}
END_TEST

START_TEST(test_forget_releases_exactly_what_lookup_gave) { /* R21 */
        int64_t before = stat_get(STAT_NODES_NOW);
        NodeTable *t;
        Node *node;

        ck_assert_int_eq(node_table_new(&t), 0);
        const NodeSpec spec = file_spec(node_table_root(t), "f", 1);
        ck_assert_int_eq(node_table_get_or_add(t, &spec, &node), 1);
        uint64_t id = node->id;
        for (unsigned i = 0; i < 5; i++)
                node_table_kernel_get(t, node);
        node_table_put(t, node);

        node_table_kernel_put(t, id, 4);
        node = node_table_get(t, id);
        ck_assert_ptr_nonnull(node);
        node_table_put(t, node);
        node_table_kernel_put(t, id, 1);
        ck_assert_ptr_null(node_table_get(t, id));
        ck_assert_int_eq(stat_get(STAT_NODES_NOW), before + 1); /* the root */

        /* More than was given, and an id that never was, change nothing. */
        node_table_kernel_put(t, id, 7);
        node_table_kernel_put(t, 12345, 1);
        ck_assert_int_eq(stat_get(STAT_NODES_NOW), before + 1);
        node_table_free(t);
        ck_assert_int_eq(stat_get(STAT_NODES_NOW), before);
}
END_TEST

START_TEST(test_a_deep_chain_goes_with_its_last_reference) {
        int64_t before = stat_get(STAT_NODES_NOW);
        NodeTable *t;

        ck_assert_int_eq(node_table_new(&t), 0);
        Node *parent = node_ref(node_table_root(t));
        for (unsigned i = 0; i < 10000; i++) {
                const NodeSpec spec = dir_spec(parent, "d");
                Node *child;
                ck_assert_int_eq(node_table_get_or_add(t, &spec, &child), 1);
                node_table_put(t, parent);
                parent = child;
        }
        ck_assert_int_eq(stat_get(STAT_NODES_NOW), before + 10001);
        node_table_put(t, parent);
        ck_assert_int_eq(stat_get(STAT_NODES_NOW), before + 1);
        node_table_free(t);
}
END_TEST

typedef struct Racer {
        pthread_t thread;
        NodeTable *table;
        pthread_barrier_t *barrier;
        uint64_t id;
        unsigned n_made;
        int error;
} Racer;

#define N_RACERS 64
#define N_ROUNDS 200

static void *race(void *userdata) {
        Racer *racer = userdata;

        for (unsigned i = 0; i < N_ROUNDS; i++) {
                char name[16];
                Node *node;

                (void) snprintf(name, sizeof(name), "n%u", i);
                const NodeSpec spec = dir_spec(node_table_root(racer->table), name);
                (void) pthread_barrier_wait(racer->barrier);
                int r = node_table_get_or_add(racer->table, &spec, &node);
                if (r < 0) {
                        racer->error = r;
                        continue;
                }
                racer->n_made += (unsigned) r;
                racer->id ^= node->id + i;
                node_table_kernel_get(racer->table, node);
                node_table_put(racer->table, node);
        }
        return NULL;
}

START_TEST(test_64_threads_make_one_node_of_a_name) { /* R27, R28 */
        static Racer racers[N_RACERS];
        pthread_barrier_t barrier;
        NodeTable *t;
        unsigned made = 0;

        ck_assert_int_eq(node_table_new(&t), 0);
        ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, N_RACERS), 0);
        for (unsigned i = 0; i < N_RACERS; i++) {
                racers[i] = (Racer){.table = t, .barrier = &barrier};
                ck_assert_int_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
        }
        for (unsigned i = 0; i < N_RACERS; i++) {
                ck_assert_int_eq(pthread_join(racers[i].thread, NULL), 0);
                ck_assert_int_eq(racers[i].error, 0);
                ck_assert_uint_eq(racers[i].id, racers[0].id);
                made += racers[i].n_made;
        }
        ck_assert_uint_eq(made, N_ROUNDS);
        (void) pthread_barrier_destroy(&barrier);
        node_table_free(t); /* drops what "the kernel" holds */
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_ids_are_stable_and_name_the_content);
        tcase_add_test(tc, test_a_node_is_what_it_was_made_of);
        tcase_add_test(tc, test_a_directory_shows_one_tree_after_the_other);
        tcase_add_test(tc, test_forget_releases_exactly_what_lookup_gave);
        tcase_add_test(tc, test_a_deep_chain_goes_with_its_last_reference);
        tcase_add_test(tc, test_64_threads_make_one_node_of_a_name);
}

CHECK_MAIN("node-table", add_tests)
