#include "forge/git-wants.h"
#include "lib/check-main.h"

#define N 1000

static Oid oids[N];

static void make_oids(void) {
        for (size_t i = 0; i < N; i++) {
                oids[i] = (Oid){.algo = OID_SHA1};
                oids[i].id[0] = (uint8_t) i;
                oids[i].id[1] = (uint8_t) (i >> 8);
        }
}

START_TEST(what_did_not_arrive_stays_wanted) {
        GitWants w;
        size_t position = 0;

        make_oids();
        ck_assert_int_eq(git_wants_init(&w, oids, N), 0);
        for (size_t i = 0; i < N; i++)
                if (i != 7 && i != 999)
                        ck_assert(git_wants_arrived(&w, &oids[i]));
        ck_assert(!git_wants_arrived(&w, &oids[0])); /* a second time */
        ck_assert_uint_eq(w.n_open, 2);
        ck_assert_ptr_eq(git_wants_next(&w, &position), &oids[7]);
        ck_assert_ptr_eq(git_wants_next(&w, &position), &oids[999]);
        ck_assert_ptr_null(git_wants_next(&w, &position));
        git_wants_done(&w);
}
END_TEST

START_TEST(an_object_named_twice_is_wanted_once) {
        GitWants w;

        make_oids();
        oids[5] = oids[3];
        ck_assert_int_eq(git_wants_init(&w, oids, 10), 0);
        ck_assert_uint_eq(w.n_open, 9);
        ck_assert(git_wants_arrived(&w, &oids[5]));
        ck_assert_uint_eq(w.n_open, 8);
        git_wants_done(&w);
}
END_TEST

START_TEST(a_stranger_changes_nothing) {
        GitWants w;

        make_oids();
        ck_assert_int_eq(git_wants_init(&w, oids, 10), 0);
        ck_assert(!git_wants_arrived(&w, &oids[20]));
        ck_assert(!git_wants_give_up(&w, &oids[20]));
        ck_assert_uint_eq(w.n_open, 10);
        ck_assert_uint_eq(w.n_missing, 0);
        git_wants_done(&w);
}
END_TEST

START_TEST(reopening_spares_what_is_missing) {
        GitWants w;

        make_oids();
        ck_assert_int_eq(git_wants_init(&w, oids, 10), 0);
        for (size_t i = 0; i < 9; i++)
                ck_assert(git_wants_arrived(&w, &oids[i]));
        ck_assert(git_wants_give_up(&w, &oids[9]));
        git_wants_reopen(&w, 6);
        ck_assert_uint_eq(w.n_open, 3);
        ck_assert_uint_eq(w.n_missing, 1);
        git_wants_done(&w);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, what_did_not_arrive_stays_wanted);
        tcase_add_test(tc, an_object_named_twice_is_wanted_once);
        tcase_add_test(tc, a_stranger_changes_nothing);
        tcase_add_test(tc, reopening_spares_what_is_missing);
}

CHECK_MAIN("git-wants", add_tests)
