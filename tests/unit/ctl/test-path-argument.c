#include <errno.h>

#include "gitfs/macro.h"

#include "ctl/path-argument.h"
#include "lib/check-main.h"

static const struct {
        const char *cwd, *arg;
        const char *expected; /* NULL: outside of the mount */
} cases[] = {
        /* absolute */
        {"/home/u", "/run/m", ""},
        {"/home/u", "/run/m/", ""},
        {"/home/u", "/run//m/./org/repo/", "org/repo"},
        {"/run/m/org", "/run/m/other", "other"},
        {"/home/u", "/run/mount", NULL},
        {"/home/u", "/run", NULL},
        {"/home/u", "/run/m/../n", NULL},
        {"/home/u", "/etc/../run/m/org", "org"},
        /* relative, from elsewhere: to the mount */
        {"/home/u", "org/repo", "org/repo"},
        {"/home/u", "org/repo/../other", "org/other"},
        {"/home/u", "org/../../etc", NULL},
        {"/home/u", "...", "..."},
        {"/home/u", ".hidden", ".hidden"},
        {NULL, "org", "org"},
        /* relative by its looks: to the current directory */
        {"/home/u", "./org", NULL},
        {"/home/u", ".", NULL},
        {"/run", "./m/org", "org"},
        {NULL, "./org", NULL},
        /* relative, from inside: to the current directory */
        {"/run/m", "org/repo", "org/repo"},
        {"/run/m/org/repo/src", "main.c", "org/repo/src/main.c"},
        {"/run/m/org/repo/src", "../README", "org/repo/README"},
        {"/run/m/org/repo/src", ".", "org/repo/src"},
        {"/run/m/org", "..", ""},
        {"/run/m/org", "../..", NULL},
        {"/run/m/org", "/../../run/m/x", "x"},
        /* bytes that are no text */
        {"/home/u", "org/caf\xe9", "org/caf\xe9"},
};

START_TEST(paths_mean_what_the_header_says) {
        _cleanup_free_ char *path = NULL;

        int r = path_argument("/run/m", cases[_i].cwd, cases[_i].arg, &path);
        if (cases[_i].expected) {
                ck_assert_int_eq(r, 0);
                ck_assert_str_eq(path, cases[_i].expected);
        } else
                ck_assert_int_eq(r, -EXDEV);
}
END_TEST

START_TEST(a_directory_is_made_absolute) {
        _cleanup_free_ char *up = path_absolute("/home/u/x", "../repos/"),
                            *same = path_absolute("/home/u/x", "/srv//git");

        ck_assert_str_eq(up, "/home/u/repos");
        ck_assert_str_eq(same, "/srv/git");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_loop_test(tc, paths_mean_what_the_header_says, 0, (int) ELEMENTSOF(cases));
        tcase_add_test(tc, a_directory_is_made_absolute);
}

CHECK_MAIN("path-argument", add_tests)
