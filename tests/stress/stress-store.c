/* The store under threads that put, read, write in place, forget and flush, with limits that hold a
 * tenth of what they ask for (R35): run under ThreadSanitizer and AddressSanitizer, too. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "lib/check-main.h"
#include "lib/store-fixture.h"

#define MIB (UINT64_C(1) << 20)
#define N_THREADS 8
#define N_SAMPLES 400
#define N_STEPS 1500

typedef struct Shared {
        Store *store;
        Sample samples[N_SAMPLES];
        atomic_int n_wrong, n_error, n_refused, n_found, n_running;
} Shared;

typedef struct Actor {
        pthread_t thread;
        Shared *shared;
        uint64_t state;
} Actor;

static int write_in_place(Store *store, const Sample *s, bool commit) {
        StoreWriter *writer;
        uint8_t *data;

        int r = store_writer_begin(store, OBJECT_BLOB, s->size, &writer, &data);
        if (r < 0)
                return r;
        memcpy(data, s->data, s->size);
        if (commit)
                return store_writer_commit(writer, &s->oid);
        store_writer_abort(writer);
        return 0;
}

static void step(Actor *actor) {
        Shared *shared = actor->shared;
        const Sample *s = &shared->samples[random_next(&actor->state) % N_SAMPLES];
        unsigned what = random_next(&actor->state) % 100;
        int r = 0;

        if (what < 50) {
                r = sample_check(shared->store, s);
                if (r == 0)
                        r = sample_put(shared->store, what < 40 ? STORE_DISK : STORE_MEMORY, s);
                else if (r < 0)
                        (void) atomic_fetch_add(&shared->n_wrong, 1);
                else
                        (void) atomic_fetch_add(&shared->n_found, 1);
        } else if (what < 90)
                r = sample_put(shared->store, what < 80 ? STORE_DISK : STORE_MEMORY, s);
        else if (what < 96 && s->size > 0)
                r = write_in_place(shared->store, s, what < 94);
        else if (what < 99)
                store_forget(shared->store, STORE_OBJECT, &s->oid);
        else if (random_next(&actor->state) % 8 == 0)
                r = store_flush_disk(shared->store);
        else
                store_flush_memory(shared->store);
        /* A large object finds no room while readers hold all that could go for it. */
        if (r == -ENOSPC && s->size > MIB)
                (void) atomic_fetch_add(&shared->n_refused, 1);
        else if (r < 0)
                (void) atomic_fetch_add(&shared->n_error, 1);
}

static void *actor_main(void *userdata) {
        Actor *actor = userdata;

        for (int i = 0; i < N_STEPS; i++)
                step(actor);
        (void) atomic_fetch_sub(&actor->shared->n_running, 1);
        return NULL;
}

START_TEST(never_a_wrong_byte_and_never_over_the_limit_R35) {
        _cleanup_free_ char *directory = scratch_new();
        StoreConfig config = {
                .directory = directory, .disk_limit = 16 * MIB, .memory_limit = 2 * MIB};
        static Shared shared;
        Actor actors[N_THREADS];
        uint64_t state = 3;

        ck_assert_int_eq(object_library_init(), 0);
        for (size_t i = 0; i < N_SAMPLES; i++) {
                uint64_t max = i % 40 == 0 ? 1500000 : 60000;
                sample_make(&shared.samples[i], i, random_next(&state) % max);
        }
        ck_assert_int_eq(store_open(&config, &shared.store), 0);
        shared.n_running = N_THREADS;
        for (size_t i = 0; i < N_THREADS; i++) {
                actors[i] = (Actor){.shared = &shared, .state = i + 1};
                ck_assert_int_eq(
                        pthread_create(&actors[i].thread, NULL, actor_main, &actors[i]), 0);
        }
        uint64_t highest = 0;
        while (atomic_load(&shared.n_running) > 0)
                highest = MAX(highest, scratch_usage(directory));
        for (size_t i = 0; i < N_THREADS; i++)
                (void) pthread_join(actors[i].thread, NULL);

        ck_assert_int_eq(shared.n_wrong, 0);
        ck_assert_int_eq(shared.n_error, 0);
        ck_assert_int_gt(shared.n_found, 0);
        ck_assert_int_lt(shared.n_refused, N_THREADS * N_STEPS / 100);
        ck_assert_uint_le(highest, config.disk_limit);

        /* Nothing is held any more, and what is there can be read by the next process. */
        StoreUsage usage;
        store_usage(shared.store, &usage);
        ck_assert_uint_le(usage.disk_bytes, config.disk_limit);
        ck_assert_uint_le(usage.memory_bytes, config.memory_limit);
        store_close(shared.store);
        ck_assert_int_eq(store_open(&config, &shared.store), 0);
        for (size_t i = 0; i < N_SAMPLES; i++) {
                ck_assert_int_ge(sample_check(shared.store, &shared.samples[i]), 0);
                sample_done(&shared.samples[i]);
        }
        ck_assert_int_eq(store_flush_disk(shared.store), 0);
        store_usage(shared.store, &usage);
        ck_assert_uint_eq(usage.disk_bytes, 0);
        ck_assert_uint_eq(usage.n_objects, 0);
        store_close(shared.store);
        object_library_done();
        scratch_remove(directory);
}
END_TEST

/* --- nothing is missed --- */

#define N_PUT 20000

typedef struct Race {
        Store *store;
        Oid oids[N_PUT];
        atomic_uint n_put, n_missed, n_seen;
} Race;

static void *look_up_again_and_again(void *userdata) {
        Race *race = userdata;
        uint64_t state = 5;
        unsigned n;

        while ((n = atomic_load(&race->n_put)) < N_PUT) {
                if (n == 0)
                        continue;
                const Oid *oid = &race->oids[random_next(&state) % n];
                if (store_has(race->store, STORE_OBJECT, oid))
                        (void) atomic_fetch_add(&race->n_seen, 1);
                else
                        (void) atomic_fetch_add(&race->n_missed, 1);
        }
        return NULL;
}

/* What is here is found at every moment, also while its segment is sealed and changes the index: it
 * would be fetched again (R32). */
START_TEST(nothing_is_missed_while_segments_are_sealed_R32) {
        _cleanup_free_ char *directory = scratch_new();
        StoreConfig config = {
                .directory = directory, .disk_limit = 64 * MIB, .memory_limit = 2 * MIB};
        static Race race;
        pthread_t threads[3];
        uint8_t data[2000] = {0};

        ck_assert_int_eq(object_library_init(), 0);
        ck_assert_int_eq(store_open(&config, &race.store), 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                ck_assert_int_eq(
                        pthread_create(&threads[i], NULL, look_up_again_and_again, &race), 0);
        int r = 0;
        for (unsigned i = 0; i < N_PUT && r >= 0; i++) {
                memcpy(data, &i, sizeof(i));
                r = object_hash(OID_SHA1, OBJECT_BLOB, data, sizeof(data), &race.oids[i]);
                if (r >= 0)
                        r = store_put(
                                race.store,
                                STORE_DISK,
                                STORE_OBJECT,
                                &race.oids[i],
                                OBJECT_BLOB,
                                data,
                                sizeof(data));
                atomic_store(&race.n_put, i + 1);
        }
        atomic_store(&race.n_put, N_PUT);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                (void) pthread_join(threads[i], NULL);
        ck_assert_int_eq(r, 0);
        StoreUsage usage;
        store_usage(race.store, &usage);
        ck_assert_uint_gt(usage.n_segments, 3);
        ck_assert_uint_eq(usage.n_objects, N_PUT);
        ck_assert_uint_eq(race.n_missed, 0);
        ck_assert_uint_gt(race.n_seen, 0);
        store_close(race.store);
        object_library_done();
        scratch_remove(directory);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, never_a_wrong_byte_and_never_over_the_limit_R35);
        tcase_add_test(tc, nothing_is_missed_while_segments_are_sealed_R32);
}

CHECK_MAIN("stress/store", add_tests)
