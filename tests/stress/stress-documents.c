/* Threads that put, get, remove and clear the same few documents in a directory that is too small
 * for all. Whatever is read is one of the versions, as a whole. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "store/documents.h"

#define N_THREADS 6
#define N_ROUNDS 300
#define N_KEYS 5
#define CONTENT_SIZE 20000

static Documents *documents;
static atomic_uint n_read, n_bad;

static void look(const char *key) {
        _cleanup_buf_ Buf b = {0};

        int r = documents_get(documents, key, &b);
        if (r == 0)
                return;
        bool good = r == 1 && b.len == CONTENT_SIZE && b.data[0] == (uint8_t) key[0];
        for (size_t i = 2; good && i < b.len; i++)
                good = b.data[i] == b.data[1];
        atomic_fetch_add(good ? &n_read : &n_bad, 1);
}

static void *work(void *arg) {
        unsigned seed = (unsigned) (uintptr_t) arg;
        char content[CONTENT_SIZE];

        for (unsigned i = 0; i < N_ROUNDS; i++) {
                char key[2] = {(char) ('a' + (seed + i) % N_KEYS), '\0'};
                memset(content, (int) (seed * N_ROUNDS + i), sizeof(content));
                content[0] = key[0];
                if (documents_put(documents, key, content, sizeof(content)) < 0)
                        atomic_fetch_add(&n_bad, 1);
                look(key);
                if (i % 50 == 17)
                        documents_remove(documents, key);
                if (seed == 0 && i % 100 == 99)
                        documents_clear(documents);
        }
        return NULL;
}

START_TEST(a_document_is_one_version_of_it) {
        pthread_t threads[N_THREADS];
        TempDir dir;

        temp_dir_init(&dir);
        ck_assert_int_eq(documents_open(dir.path, 3 * CONTENT_SIZE + 20000, &documents), 0);
        for (uintptr_t i = 0; i < N_THREADS; i++)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *) i), 0);
        for (unsigned i = 0; i < N_THREADS; i++)
                ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_eq(n_bad, 0);
        ck_assert_uint_gt(n_read, 0);
        documents = documents_close(documents);
        temp_dir_done(&dir);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_document_is_one_version_of_it);
}

CHECK_MAIN("stress-documents", add_tests)
