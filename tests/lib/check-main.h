#pragma once

#include <check.h>
#include <stdlib.h>

/* The main() of a libcheck program with one suite: CHECK_MAIN("name", add_tests) where
 * add_tests(TCase *) calls tcase_add_test(). */
#define CHECK_MAIN(name, add_tests)                                                                \
        int main(void) {                                                                           \
                Suite *suite = suite_create(name);                                                 \
                TCase *tc = tcase_create(name);                                                    \
                tcase_set_timeout(tc, 120);                                                        \
                add_tests(tc);                                                                     \
                suite_add_tcase(suite, tc);                                                        \
                SRunner *runner = srunner_create(suite);                                           \
                srunner_run_all(runner, CK_ENV);                                                   \
                int failed = srunner_ntests_failed(runner);                                        \
                srunner_free(runner);                                                              \
                return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;                                  \
        }
