#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"
#include "tree/name-list.h"

/* A list that grows while it is read. */

static NameList *new_list(void) {
        NameList *l;

        ck_assert_int_eq(name_list_new(&l), 0);
        return l;
}

START_TEST(names_keep_the_order_of_the_server_and_come_once) {
        _cleanup_(name_list_unrefp) NameList *l = new_list();

        ck_assert_int_eq(name_list_add(l, "b", FORGE_REPO), 1);
        ck_assert_int_eq(name_list_add(l, "a", FORGE_OWNER), 1);
        ck_assert_int_eq(name_list_add(l, "b", FORGE_OWNER), 0);
        ck_assert_uint_eq(name_list_count(l), 2);
        ck_assert_ptr_null(name_list_at(l, 0)); /* not shown yet */
        ck_assert(name_list_show(l));
        ck_assert(!name_list_show(l));
        ck_assert_str_eq(name_list_at(l, 0)->name, "b");
        ck_assert_str_eq(name_list_at(l, 1)->name, "a");
        ck_assert_ptr_null(name_list_at(l, 2));
        ck_assert_int_eq(name_list_find(l, "b")->kind, FORGE_REPO);
        ck_assert_int_eq(name_list_find(l, "a")->kind, FORGE_OWNER);
        ck_assert_ptr_null(name_list_find(l, "c"));
        ck_assert_uint_eq(name_list_n_repos(l), 1);
        ck_assert(!name_list_state(l).ended);

        ck_assert_int_eq(name_list_add(l, "c", FORGE_REPO), 1);
        name_list_end(l, 0);
        ck_assert(name_list_state(l).ended);
        ck_assert_uint_eq(name_list_state(l).n_shown, 3);
        ck_assert_str_eq(name_list_at(l, 2)->name, "c");
}
END_TEST

START_TEST(a_server_without_an_order_gets_one) {
        _cleanup_(name_list_unrefp) NameList *l = new_list();

        name_list_sort(l);
        ck_assert_int_eq(name_list_add(l, "b", FORGE_REPO), 1);
        ck_assert_int_eq(name_list_add(l, "a", FORGE_REPO), 1);
        name_list_sort(l);
        name_list_end(l, 0);
        ck_assert_str_eq(name_list_at(l, 0)->name, "a");
        ck_assert_str_eq(name_list_at(l, 1)->name, "b");
        ck_assert_ptr_nonnull(name_list_find(l, "a"));
}
END_TEST

START_TEST(lists_are_compared_by_what_is_in_them) {
        _cleanup_(name_list_unrefp) NameList *a = new_list();
        _cleanup_(name_list_unrefp) NameList *b = new_list();
        _cleanup_(name_list_unrefp) NameList *c = new_list();
        _cleanup_(name_list_unrefp) NameList *empty = new_list();

        ck_assert_int_eq(name_list_add(a, "x", FORGE_REPO), 1);
        ck_assert_int_eq(name_list_add(a, "y", FORGE_REPO), 1);
        ck_assert_int_eq(name_list_add(b, "y", FORGE_REPO), 1);
        ck_assert_int_eq(name_list_add(b, "x", FORGE_REPO), 1);
        ck_assert_int_eq(name_list_add(c, "x", FORGE_REPO), 1);
        ck_assert_int_eq(name_list_add(c, "y", FORGE_OWNER), 1);
        name_list_end(a, 0);
        name_list_end(b, 0);
        name_list_end(c, 0);
        name_list_end(empty, 0);
        ck_assert(name_list_equal(a, b));
        ck_assert(!name_list_equal(a, c));
        ck_assert(!name_list_equal(a, empty));
        ck_assert_uint_eq(name_list_hash(a), name_list_hash(c));
        ck_assert_uint_ne(name_list_hash(a), name_list_hash(b));
}
END_TEST

#define N_NAMES 20000

static void *grow(void *userdata) {
        NameList *l = userdata;
        char name[32];

        for (unsigned i = 0; i < N_NAMES; i++) {
                (void) snprintf(name, sizeof(name), "name-%u", i);
                if (name_list_add(l, name, FORGE_REPO) != 1)
                        break;
                if (i % 100 == 99)
                        (void) name_list_show(l);
        }
        name_list_end(l, 0);
        return NULL;
}

START_TEST(a_reader_sees_every_name_once) {
        _cleanup_(name_list_unrefp) NameList *l = new_list();
        NameListState state;
        pthread_t thread;
        char name[32];
        size_t i = 0;

        ck_assert_int_eq(pthread_create(&thread, NULL, grow, l), 0);
        do {
                const NameEntry *e;
                state = name_list_state(l);
                for (; (e = name_list_at(l, i)); i++) {
                        (void) snprintf(name, sizeof(name), "name-%zu", i);
                        ck_assert_str_eq(e->name, name);
                        ck_assert_ptr_eq(name_list_find(l, name), e);
                }
        } while (!state.ended);
        ck_assert_uint_eq(i, N_NAMES);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, names_keep_the_order_of_the_server_and_come_once);
        tcase_add_test(tc, a_server_without_an_order_gets_one);
        tcase_add_test(tc, lists_are_compared_by_what_is_in_them);
        tcase_add_test(tc, a_reader_sees_every_name_once);
}

CHECK_MAIN("tree/name-list", add_tests)
