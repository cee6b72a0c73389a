/* The directories that orgs come from. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "config/config.h"
#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "util/clock.h"
#include "util/path.h"

static void count_error(const ConfigError *error, void *userdata) {
        unsigned *n = userdata;

        ck_assert_ptr_nonnull(strstr(error->text, "/orgs.d/broken"));
        (*n)++;
}

typedef struct Loaded {
        OrgConfig **orgs;
        size_t n;
        unsigned n_errors;
} Loaded;

static void loaded_done(Loaded *l) {
        for (size_t i = 0; i < l->n; i++)
                org_config_free(l->orgs[i]);
        free(l->orgs);
        *l = (Loaded){0};
}

/* From the directories "etc" and "home". */
static void load(const TempDir *t, Loaded *ret) {
        _cleanup_free_ char *etc = path_join(t->path, "etc", NULL);
        _cleanup_free_ char *home = path_join(t->path, "home", NULL);

        ck_assert(etc && home);
        *ret = (Loaded){0};
        ck_assert_int_eq(
                org_config_load_all(etc, home, count_error, &ret->n_errors, &ret->orgs, &ret->n),
                0);
}

static void put(const TempDir *t, const char *name, const char *text) {
        temp_dir_write(t, name, text, strlen(text));
}

/* A broken file is told of and does not hide the others. */
START_TEST(test_load_all) {
        static const char *const files[][2] = {
                {"home/orgs.d/b.conf", "[Org]\nUrl=https://b\n"},
                {"home/orgs.d/a.conf", "[Org]\nUrl=https://a\n"},
                {"home/orgs.d/broken.conf", "[Org]\nUrl=nothing\n"},
                {"home/orgs.d/broken dir.conf/x", ""},
                {"home/orgs.d/c.conf~", "[Org]\nUrl=nothing\n"},
                {"home/orgs.d/.d.conf", "[Org]\nUrl=nothing\n"},
                {"home/orgs.d/README", "nothing\n"},
        };
        _cleanup_temp_dir_ TempDir t = {0};
        _cleanup_(loaded_done) Loaded l = {0};

        temp_dir_init(&t);
        load(&t, &l);
        ck_assert_uint_eq(l.n, 0);
        loaded_done(&l);

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                put(&t, files[i][0], files[i][1]);
        /* Nobody writes to it: whoever waits for that waits for ever. It reads as empty. */
        _cleanup_free_ char *fifo = path_join(t.path, "home/orgs.d/pipe.conf", NULL);
        ck_assert_int_eq(mkfifo(fifo, 0600), 0);
        load(&t, &l);
        ck_assert_uint_eq(l.n_errors, 2);
        ck_assert_uint_eq(l.n, 2);
        ck_assert_str_eq(l.orgs[0]->name, "a");
        ck_assert_str_eq(l.orgs[1]->url, "https://b");
}
END_TEST

/* The system's orgs are there unless the user has one of that name, which may be nothing at all. */
START_TEST(test_load_system) {
        _cleanup_temp_dir_ TempDir t = {0};
        _cleanup_(loaded_done) Loaded l = {0};

        temp_dir_init(&t);
        put(&t, "etc/orgs.d/a.conf", "[Org]\nUrl=https://system\n");
        put(&t, "etc/orgs.d/b.conf", "[Org]\nUrl=https://system\n");
        put(&t, "etc/orgs.d/broken.conf", "[Org]\nUrl=https://system\n");
        put(&t, "etc/orgs.d/empty.conf", "[Org]\nUrl=https://system\n");
        put(&t, "etc/orgs.d/null.conf", "[Org]\nUrl=https://system\n");
        put(&t, "etc/orgs.d/z.conf", "[Org]\nUrl=https://system\n");
        load(&t, &l);
        ck_assert_uint_eq(l.n, 6);
        loaded_done(&l);

        put(&t, "home/orgs.d/b.conf", "[Org]\nUrl=https://user\n");
        put(&t, "home/orgs.d/c.conf", "[Org]\nUrl=https://user\n");
        put(&t, "home/orgs.d/broken.conf", "[Org]\n");
        put(&t, "home/orgs.d/empty.conf", "");
        _cleanup_free_ char *null = path_join(t.path, "home/orgs.d/null.conf", NULL);
        ck_assert_int_eq(symlink("/dev/null", null), 0);
        load(&t, &l);
        ck_assert_uint_eq(l.n_errors, 1);
        ck_assert_uint_eq(l.n, 4);
        static const char *const expected[][2] = {
                {"a", "https://system"},
                {"b", "https://user"},
                {"c", "https://user"},
                {"z", "https://system"},
        };
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                ck_assert_str_eq(l.orgs[i]->name, expected[i][0]);
                ck_assert_str_eq(l.orgs[i]->url, expected[i][1]);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_load_all);
        tcase_add_test(tc, test_load_system);
}

CHECK_MAIN("org-files", add_tests)
