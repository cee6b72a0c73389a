/* Nodes made, found and forgotten by several threads in different directories (R20, R26, R29): run
 * under ThreadSanitizer, too. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"
#include "tree/node-table.h"
#include "util/mutex.h"
#include "util/stats.h"

#define N_THREADS 4
#define N_DIRS 16 /* for each thread */
#define N_FILES 128
#define N_SPECS (N_DIRS * N_FILES)
#define N_ROUNDS 8

/* --- which locks a thread takes: the linker hands all calls of mutex_lock() to us --- */

static _Thread_local const Mutex *last_locked;
static _Thread_local unsigned n_locked;

void __real_mutex_lock(Mutex *m);
void __wrap_mutex_lock(Mutex *m);

void __wrap_mutex_lock(Mutex *m) {
        last_locked = m;
        n_locked++;
        __real_mutex_lock(m);
}

/* --- what a thread makes --- */

typedef struct Maker {
        pthread_t thread;
        NodeTable *table;
        unsigned number;
        Node *dirs[N_DIRS]; /* references */
        char names[N_FILES][16];
        const Mutex *lock_of[N_SPECS]; /* that making it took */
        const Mutex *held;             /* somebody has this one: nothing below it is made */
        unsigned n_wrong;
} Maker;

static NodeSpec spec_of(const Maker *m, unsigned i) {
        const char *name = m->names[i % N_FILES];

        return (NodeSpec){
                .kind = NODE_FILE,
                .parent = m->dirs[i / N_FILES],
                .name = name,
                .name_len = strlen(name),
                .oid = {.id = {(uint8_t) m->number, (uint8_t) i}, .algo = OID_SHA1},
                .size = i,
        };
}

static void maker_init(Maker *m, NodeTable *t, unsigned number) {
        *m = (Maker){.table = t, .number = number};
        for (unsigned i = 0; i < N_FILES; i++)
                (void) snprintf(m->names[i], sizeof(m->names[i]), "file%u", i);
        for (unsigned i = 0; i < N_DIRS; i++) {
                char name[16];
                (void) snprintf(name, sizeof(name), "%u.%u", number, i);
                const NodeSpec spec = {
                        .kind = NODE_SUBMODULE,
                        .parent = node_table_root(t),
                        .name = name,
                        .name_len = strlen(name),
                };
                ck_assert_int_eq(node_table_get_or_add(t, &spec, &m->dirs[i]), 1);
        }
}

static void maker_done(Maker *m) {
        for (unsigned i = 0; i < N_DIRS; i++)
                node_table_put(m->table, m->dirs[i]);
}

/* Makes one, looks whether it is there by either way, and keeps it for "the kernel". */
static void make(Maker *m, unsigned i) {
        const NodeSpec spec = spec_of(m, i);
        Node *node = NULL;

        n_locked = 0;
        if (node_table_give(m->table, &spec, &node) != 1) {
                m->n_wrong++;
                return;
        }
        m->n_wrong += n_locked != 1;
        m->lock_of[i] = last_locked;
        uint64_t id = node->id;
        node_table_put(m->table, node);

        Node *by_id = node_table_get(m->table, id);
        Node *by_name = node_table_find(m->table, &spec);
        m->n_wrong += !by_id || by_id != by_name || by_id->id != id || node_size(by_id) != i;
        if (by_id)
                node_table_put(m->table, by_id);
        if (by_name)
                node_table_put(m->table, by_name);
}

static void forget(Maker *m, unsigned i) {
        const NodeSpec spec = spec_of(m, i);

        node_table_kernel_put(m->table, node_id(&spec), 1);
        Node *node = node_table_find(m->table, &spec);
        m->n_wrong += node != NULL;
        if (node)
                node_table_put(m->table, node);
}

static void *maker_main(void *userdata) {
        Maker *m = userdata;

        for (unsigned round = 0; round < N_ROUNDS; round++) {
                for (unsigned i = 0; i < N_SPECS; i++)
                        if (!m->held || m->lock_of[i] != m->held)
                                make(m, i);
                for (unsigned i = 0; i < N_SPECS; i++)
                        if (!m->held || m->lock_of[i] != m->held)
                                forget(m, i);
        }
        return NULL;
}

static Maker makers[N_THREADS];

static void run(unsigned n, const Mutex *held) {
        for (unsigned i = 0; i < n; i++) {
                makers[i].held = held;
                ck_assert_int_eq(
                        pthread_create(&makers[i].thread, NULL, maker_main, &makers[i]), 0);
        }
        for (unsigned i = 0; i < n; i++) {
                ck_assert_int_eq(pthread_join(makers[i].thread, NULL), 0);
                ck_assert_uint_eq(makers[i].n_wrong, 0);
        }
}

START_TEST(threads_make_nodes_each_with_one_lock_of_many_R20_R26_R29) {
        int64_t before = stat_get(STAT_NODES_NOW);
        NodeTable *t;

        for (unsigned n = 1; n <= N_THREADS; n *= 2) {
                ck_assert_int_eq(node_table_new(&t), 0);
                for (unsigned i = 0; i < n; i++)
                        maker_init(&makers[i], t, i);
                run(n, NULL);
                for (unsigned i = 0; i < n; i++)
                        maker_done(&makers[i]);
                ck_assert_int_eq(stat_get(STAT_NODES_NOW), before + 1); /* the root */
                node_table_free(t);
        }
}
END_TEST

/* No lock is that of more than a sixteenth of a directory's nodes, or of all: on average it is one
 * of 64. */
START_TEST(no_lock_is_that_of_many_nodes_R26) {
        static unsigned n_of[N_SPECS];
        NodeTable *t;

        ck_assert_int_eq(node_table_new(&t), 0);
        maker_init(&makers[0], t, 0);
        run(1, NULL);
        for (unsigned i = 0; i < N_SPECS; i++) {
                unsigned first = 0;
                while (makers[0].lock_of[first] != makers[0].lock_of[i])
                        first++;
                n_of[first]++;
        }
        for (unsigned i = 0; i < N_SPECS; i++)
                ck_assert_uint_le(n_of[i], N_SPECS / 16);
        maker_done(&makers[0]);
        node_table_free(t);
}
END_TEST

/* Somebody is kept for ever in the middle of making a node. */
START_TEST(who_stands_still_with_a_lock_stops_only_those_who_need_it_R26) {
        NodeTable *t;

        ck_assert_int_eq(node_table_new(&t), 0);
        for (unsigned i = 0; i < N_THREADS; i++)
                maker_init(&makers[i], t, i);
        run(N_THREADS, NULL); /* finds out who needs which */
        Mutex *held = (Mutex *) makers[0].lock_of[0];
        mutex_lock(held);
        run(N_THREADS, held);
        mutex_unlock(held);
        for (unsigned i = 0; i < N_THREADS; i++)
                maker_done(&makers[i]);
        node_table_free(t);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, threads_make_nodes_each_with_one_lock_of_many_R20_R26_R29);
        tcase_add_test(tc, no_lock_is_that_of_many_nodes_R26);
        tcase_add_test(tc, who_stands_still_with_a_lock_stops_only_those_who_need_it_R26);
}

CHECK_MAIN("stress-nodes", add_tests)
