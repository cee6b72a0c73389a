#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"
#include "util/secret-memory.h"

/* Whether the mapping that holds p has the flag "dd" in /proc/self/smaps. */
static bool is_left_out(const void *p) {
        FILE *f = fopen("/proc/self/smaps", "re");
        char line[512];
        bool inside = false, left_out = false;

        ck_assert_ptr_nonnull(f);
        while (fgets(line, sizeof(line), f)) {
                unsigned long long from, to;
                if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
                        inside = from <= (uintptr_t) p && (uintptr_t) p < to;
                else if (inside && strncmp(line, "VmFlags:", 8) == 0)
                        left_out = strstr(line, " dd");
        }
        ck_assert_int_eq(fclose(f), 0);
        return left_out;
}

START_TEST(it_is_left_out_of_core_dumps) {
        static const size_t sizes[] = {1, 40, 1000, 70000, 5000000};

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                void *p = secret_alloc(sizes[i]);

                ck_assert_ptr_nonnull(p);
                ck_assert(is_left_out(p));
                secret_free(p);
        }
}
END_TEST

START_TEST(it_is_wiped_when_freed) {
        static const char text[] = "ghp_0123456789abcdefghijklmn";
        char *p = secret_strdup(text);
        const volatile char *old = p;

        ck_assert_ptr_nonnull(p);
        secret_free(p);
        /* The mapping stays, so that this can be looked at; the list of free pieces begins it. */
        for (size_t i = sizeof(void *); i < sizeof(text); i++)
                ck_assert_int_eq(old[i], 0);
        ck_assert_int_ne(old[0], 'g');
}
END_TEST

START_TEST(pieces_do_not_overlap) {
        unsigned char *p[300], expected[ELEMENTSOF(p) * 97];

        for (size_t i = 0; i < ELEMENTSOF(p); i++) {
                p[i] = secret_alloc(i * 97);
                ck_assert_ptr_nonnull(p[i]);
                ck_assert_uint_eq((uintptr_t) p[i] % _Alignof(max_align_t), 0);
                memset(p[i], (int) (i % 251), i * 97);
        }
        for (size_t i = 0; i < ELEMENTSOF(p); i++) {
                memset(expected, (int) (i % 251), i * 97);
                ck_assert_mem_eq(p[i], expected, i * 97);
                secret_free(p[i]);
        }
}
END_TEST

START_TEST(it_grows_and_shrinks) {
        char *p = secret_realloc(NULL, 10);

        ck_assert_ptr_nonnull(p);
        memcpy(p, "012345678", 10);
        for (size_t size = 20; size < 1000000; size *= 3) {
                p = secret_realloc(p, size);
                ck_assert_ptr_nonnull(p);
                ck_assert_str_eq(p, "012345678");
        }
        p = secret_realloc(p, 10);
        ck_assert_str_eq(p, "012345678");
        secret_free(p);
        ck_assert_ptr_null(secret_calloc(SIZE_MAX / 2, 3));
        ck_assert_ptr_null(secret_alloc(SIZE_MAX));
        ck_assert_ptr_null(secret_free(NULL));
}
END_TEST

static void *churn(void *userdata) {
        const char *word = userdata;

        for (unsigned i = 0; i < 20000; i++) {
                char *p = secret_strdup(word);
                if (!p || strcmp(p, word) != 0)
                        return (void *) 1;
                secret_free(p);
        }
        return NULL;
}

START_TEST(threads_do_not_meet) {
        static const char *const words[] = {"one", "another", "a third", "and a fourth"};
        pthread_t threads[ELEMENTSOF(words)];
        void *failed;

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, (void *) words[i]), 0);
        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
                ck_assert_ptr_null(failed);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, it_is_left_out_of_core_dumps);
        tcase_add_test(tc, it_is_wiped_when_freed);
        tcase_add_test(tc, pieces_do_not_overlap);
        tcase_add_test(tc, it_grows_and_shrinks);
        tcase_add_test(tc, threads_do_not_meet);
}

CHECK_MAIN("secret-memory", add_tests)
