#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "forge/tree-paths.h"
#include "lib/check-main.h"
#include "util/buf.h"

static Store *open_store(void) {
        const StoreConfig config = {.memory_limit = 64 << 20};
        Store *store = NULL;

        ck_assert_int_eq(store_open(&config, &store), 0);
        return store;
}

static Oid blob_id(unsigned number) {
        Oid oid = {.algo = OID_SHA1};
        memcpy(oid.id, &number, sizeof(number));
        oid.id[19] = 1;
        return oid;
}

static void add_entry(Buf *tree, const char *mode, const char *name, const Oid *oid) {
        ck_assert_int_eq(buf_appendf(tree, "%s %s", mode, name), 0);
        ck_assert_int_eq(buf_append(tree, "", 1), 0);
        ck_assert_int_eq(buf_append(tree, oid->id, OID_SHA1_RAW), 0);
}

static Oid put_tree(Store *store, Buf *tree) {
        Oid oid;

        ck_assert_int_eq(object_hash(OID_SHA1, OBJECT_TREE, tree->data, tree->len, &oid), 0);
        ck_assert_int_eq(
                store_put(
                        store,
                        STORE_MEMORY,
                        STORE_OBJECT,
                        &oid,
                        OBJECT_TREE,
                        tree->data,
                        tree->len),
                0);
        buf_done(tree);
        return oid;
}

static const char *path_of(const TreePaths *paths, const Oid *oid) {
        for (size_t i = 0; i < paths->n; i++)
                if (oid_equal(&paths->items[i].oid, oid))
                        return paths->items[i].path;
        return NULL;
}

START_TEST(blobs_and_trees_are_found_where_they_lie) {
        _cleanup_(store_closep) Store *store = open_store();
        _cleanup_tree_paths_ TreePaths paths = {0};
        Oid wanted[6];
        Buf b = {0};

        for (unsigned i = 0; i < 4; i++)
                wanted[i] = blob_id(i);
        add_entry(&b, "100644", "deep.c", &wanted[0]);
        add_entry(&b, "160000", "module", &wanted[1]); /* a commit elsewhere */
        wanted[4] = put_tree(store, &b);
        add_entry(&b, "40000", "inner", &wanted[4]);
        Oid outer = put_tree(store, &b);
        add_entry(&b, "120000", "link", &wanted[2]);
        add_entry(&b, "40000", "outer", &outer);
        wanted[5] = put_tree(store, &b);

        ck_assert_int_eq(tree_paths_find(store, &wanted[5], wanted, 6, &paths), 0);
        ck_assert_uint_eq(paths.n, 4);
        ck_assert_str_eq(path_of(&paths, &wanted[0]), "outer/inner/deep.c");
        ck_assert_ptr_null(path_of(&paths, &wanted[1]));
        ck_assert_str_eq(path_of(&paths, &wanted[2]), "link");
        ck_assert_ptr_null(path_of(&paths, &wanted[3]));
        ck_assert_str_eq(path_of(&paths, &wanted[4]), "outer/inner");
        ck_assert_str_eq(path_of(&paths, &wanted[5]), "");
}
END_TEST

START_TEST(what_is_not_here_is_passed_by) {
        _cleanup_(store_closep) Store *store = open_store();
        _cleanup_tree_paths_ TreePaths paths = {0};
        const Oid wanted = blob_id(1), absent = blob_id(2);
        Buf b = {0};

        add_entry(&b, "40000", "absent", &absent);
        add_entry(&b, "100644", "z", &wanted);
        Oid root = put_tree(store, &b);
        ck_assert_int_eq(tree_paths_find(store, &root, &wanted, 1, &paths), 0);
        ck_assert_str_eq(path_of(&paths, &wanted), "z");
        tree_paths_done(&paths);
        ck_assert_int_eq(tree_paths_find(store, &absent, &wanted, 1, &paths), 0);
        ck_assert_uint_eq(paths.n, 0);
}
END_TEST

/* 100 ^ 12 paths: a search that goes everywhere never ends. */
START_TEST(a_tree_that_repeats_is_read_once) {
        _cleanup_(store_closep) Store *store = open_store();
        _cleanup_tree_paths_ TreePaths paths = {0};
        const Oid wanted[] = {blob_id(1), blob_id(2)};
        Oid below = wanted[0];
        Buf b = {0};

        for (unsigned level = 0; level < 12; level++) {
                for (unsigned i = 0; i < 100; i++) {
                        char name[8];
                        (void) snprintf(name, sizeof(name), "%02u", i);
                        add_entry(&b, level == 0 ? "100644" : "40000", name, &below);
                }
                below = put_tree(store, &b);
        }
        ck_assert_int_eq(tree_paths_find(store, &below, wanted, 2, &paths), 0);
        ck_assert_uint_eq(paths.n, 1);
        ck_assert_str_eq(paths.items[0].path, "00/00/00/00/00/00/00/00/00/00/00/00");
}
END_TEST

START_TEST(no_path_is_longer_than_the_system_takes) {
        _cleanup_(store_closep) Store *store = open_store();
        _cleanup_tree_paths_ TreePaths paths = {0};
        const Oid wanted = blob_id(1);
        char name[201];
        Oid below = wanted;
        Buf b = {0};

        memset(name, 'n', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        for (unsigned level = 0; level < 30; level++) {
                add_entry(&b, level == 0 ? "100644" : "40000", name, &below);
                below = put_tree(store, &b);
        }
        ck_assert_int_eq(tree_paths_find(store, &below, &wanted, 1, &paths), 0);
        ck_assert_uint_eq(paths.n, 0);
        tree_paths_done(&paths);

        /* From further down it fits. */
        memset(name, 'm', sizeof(name) - 1);
        Oid near = wanted;
        for (unsigned level = 0; level < 20; level++) {
                add_entry(&b, level == 0 ? "100644" : "40000", name, &near);
                near = put_tree(store, &b);
        }
        ck_assert_int_eq(tree_paths_find(store, &near, &wanted, 1, &paths), 0);
        ck_assert_uint_eq(paths.n, 1);
        ck_assert_uint_lt(strlen(paths.items[0].path), PATH_MAX);
        ck_assert_uint_eq(strlen(paths.items[0].path), 20 * sizeof(name) - 1);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, blobs_and_trees_are_found_where_they_lie);
        tcase_add_test(tc, what_is_not_here_is_passed_by);
        tcase_add_test(tc, a_tree_that_repeats_is_read_once);
        tcase_add_test(tc, no_path_is_longer_than_the_system_takes);
}

CHECK_MAIN("forge-tree-paths", add_tests)
