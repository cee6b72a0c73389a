#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "lib/check-main.h"
#include "util/array.h"

START_TEST(room_is_made_in_steps) {
        uint32_t *array = NULL;
        size_t allocated = 0, n_grown = 0, none = 0;

        ck_assert_int_eq(ARRAY_RESERVE(array, allocated, none), 0);
        ck_assert_ptr_null(array);
        for (uint32_t n = 0; n < 1000; n++) {
                size_t before = allocated;
                ck_assert_int_eq(ARRAY_RESERVE(array, allocated, n + 1), 0);
                ck_assert_uint_gt(allocated, n);
                n_grown += allocated != before;
                array[n] = n;
        }
        ck_assert_uint_le(n_grown, 7);
        for (uint32_t n = 0; n < 1000; n++)
                ck_assert_uint_eq(array[n], n);
        free(array);
}
END_TEST

START_TEST(much_is_made_room_for_at_once) {
        uint64_t *array = NULL;
        size_t allocated = 0;

        ck_assert_int_eq(ARRAY_RESERVE(array, allocated, 12345), 0);
        ck_assert_uint_eq(allocated, 12345);
        array[12344] = 1;
        free(array);
}
END_TEST

START_TEST(a_failure_changes_nothing) {
        uint64_t *array = NULL;
        size_t allocated = 0;

        ck_assert_int_eq(ARRAY_RESERVE(array, allocated, 1), 0);
        array[0] = 7;
        size_t before = allocated;
        ck_assert_int_eq(ARRAY_RESERVE(array, allocated, SIZE_MAX / 4), -ENOMEM);
        ck_assert_uint_eq(allocated, before);
        ck_assert_uint_eq(array[0], 7);
        free(array);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, room_is_made_in_steps);
        tcase_add_test(tc, much_is_made_room_for_at_once);
        tcase_add_test(tc, a_failure_changes_nothing);
}

CHECK_MAIN("array", add_tests)
