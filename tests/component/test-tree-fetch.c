#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "component/fake-forge.h"
#include "component/tree-fixture.h"
#include "lib/check-main.h"
#include "tree/namespace-private.h"
#include "tree/prefetch.h"

/* Which requests for contents reach a source, and what becomes of them: a repository "f/r" of the
 * fake forge whose objects come from the local one, when the test says so. */

#define N_FILES 40
#define MAX_FETCHES 128

typedef struct HeldSource {
        Source source;
        Source *inner;         /* of "o/work" */
        pthread_mutex_t mutex; /* guards what follows */
        pthread_cond_t cond;
        bool holds, fails;        /* keeps what comes; ends it with some result, mostly bad */
        Fetch *held[MAX_FETCHES]; /* each that is not let go yet */
        struct {
                FetchKind kind;
                FetchPriority priority;
                size_t n_oids;
        } seen[MAX_FETCHES]; /* fetches of contents */
        unsigned n_seen, n_held;
        Pool *pool;
        atomic_uint n_ended;
} HeldSource;

static void held_free(Source *source) {
        (void) source; /* the test's */
}

/* Some single files come; all else ends in every way there is. */
static void end_somehow(HeldSource *s, Fetch *fetch) {
        static const int results[] = {-EIO, 0, -EOPNOTSUPP, -ENOENT};
        unsigned n = atomic_fetch_add(&s->n_ended, 1);
        int result = results[n / 2 % ELEMENTSOF(results)];

        if (fetch_is_cancelled(fetch))
                result = -ECANCELED;
        else if (fetch->kind == FETCH_BLOBS && fetch->n_oids == 1 && n % 16 == 0) {
                source_fetch(s->inner, fetch);
                return;
        } else if (fetch->kind == FETCH_BLOBS && (result == 0 || result == -EOPNOTSUPP))
                result = -EIO;
        source_fetch_end(s->pool, fetch, result, NULL);
}

static void held_fetch(Source *source, Fetch *fetch) {
        HeldSource *s = container_of(source, HeldSource, source);
        bool contents = fetch->kind == FETCH_BLOBS || fetch->kind == FETCH_CLOSURE;
        bool hold = false;

        if (contents && s->fails) {
                end_somehow(s, fetch);
                return;
        }
        if (contents) {
                (void) pthread_mutex_lock(&s->mutex);
                if (s->n_seen == MAX_FETCHES)
                        abort();
                s->seen[s->n_seen].kind = fetch->kind;
                s->seen[s->n_seen].priority = fetch->priority;
                s->seen[s->n_seen++].n_oids = fetch->n_oids;
                hold = s->holds;
                if (hold)
                        s->held[s->n_held++] = fetch;
                (void) pthread_cond_broadcast(&s->cond);
                (void) pthread_mutex_unlock(&s->mutex);
        }
        if (!hold)
                source_fetch(s->inner, fetch);
}

static const SourceOps held_ops = {.free = held_free, .fetch = held_fetch};

/* Waits until so many fetches are held; the last of them. */
static Fetch *expect_held(HeldSource *s, unsigned n) {
        (void) pthread_mutex_lock(&s->mutex);
        while (s->n_held < n)
                (void) pthread_cond_wait(&s->cond, &s->mutex);
        Fetch *last = s->held[s->n_held - 1];
        ck_assert_uint_eq(s->n_held, n);
        (void) pthread_mutex_unlock(&s->mutex);
        return last;
}

/* Lets all go that are held, and all that come. */
static void let_go(HeldSource *s) {
        (void) pthread_mutex_lock(&s->mutex);
        s->holds = false;
        unsigned n = s->n_held;
        s->n_held = 0;
        (void) pthread_mutex_unlock(&s->mutex);
        for (unsigned i = 0; i < n; i++)
                source_fetch(s->inner, s->held[i]);
}

typedef struct Fixture {
        TreeFixture f;
        FakeForge fake;
        HeldSource source;
        Org *org;
        NsTarget target; /* "f/r"; references */
        sem_t resolved, done;
        Prefetch *prefetch;
        PrefetchProgress progress;
        int result;
        Failure failure;
} Fixture;

static void
on_resolved(int result, const NsTarget *target, const Failure *failure, void *userdata) {
        Fixture *x = userdata;

        if (result >= 0) {
                x->target = *target;
                ns_target_ref(target);
        }
        (void) sem_post(&x->resolved); /* cannot overflow; likewise below */
}

static void wait_for(sem_t *sem) {
        while (sem_wait(sem) < 0)
                ck_assert_int_eq(errno, EINTR);
}

static void fixture_init(Fixture *x) {
        static const FakeName names[] = {{"", "r", FORGE_REPO, false, 0}, {0}};
        HeldSource *s = &x->source;

        memset(x, 0, sizeof(*x));
        tree_fixture_init(&x->f);
        x->f.config.disk_limit = 1 << 30;
        for (unsigned i = 0; i < N_FILES; i++) {
                char name[32];
                (void) snprintf(name, sizeof(name), "d%u/f%02u", i % 4, i);
                git_fixture_write(&x->f.repo, name, name, strlen(name));
        }
        git_fixture_commit(&x->f.repo, "files");
        x->org = fake_forge_init(&x->fake, &x->f, NULL);
        ck_assert_int_gt(fs_walk(&x->f, "o/work"), 0);
        _cleanup_(checkout_unrefp) Checkout *c = tree_fixture_checkout(&x->f, "");
        s->inner = source_ref(c->repo->source);
        s->source.ops = &held_ops;
        s->source.ref = REF_INIT;
        s->source.algo = s->inner->algo;
        s->source.url = s->inner->url;
        (void) pthread_mutex_init(&s->mutex, NULL); /* cannot fail on Linux, nor can the next */
        (void) pthread_cond_init(&s->cond, NULL);
        s->pool = x->f.context.pool;
        x->fake.names = names;
        x->fake.source = &s->source;
        ck_assert_int_eq(sem_init(&x->resolved, 0, 0), 0);
        ck_assert_int_eq(sem_init(&x->done, 0, 0), 0);
        ck_assert_int_eq(ns_resolve(x->f.ns, "f/r", on_resolved, x), 0);
        wait_for(&x->resolved);
        ck_assert_ptr_nonnull(x->target.checkout);
        s->holds = true;
}

static void fixture_done(Fixture *x) {
        ns_stop(x->f.ns); /* whoever called back still uses what is here */
        prefetch_unref(x->prefetch);
        ns_target_unref(x->f.ns, &x->target);
        org_unref(x->org);
        tree_fixture_done(&x->f);
        source_unref(x->source.inner);
        (void) pthread_cond_destroy(&x->source.cond); /* nobody waits */
        (void) pthread_mutex_destroy(&x->source.mutex);
        fake_forge_done(&x->fake);
        (void) sem_destroy(&x->resolved);
        (void) sem_destroy(&x->done);
}

/* --- prefetch --- */

static void on_progress(const PrefetchProgress *progress, void *userdata) {
        Fixture *x = userdata;

        (void) pthread_mutex_lock(&x->source.mutex);
        x->progress.total = progress->total;
        x->progress.done = MAX(x->progress.done, progress->done);
        (void) pthread_mutex_unlock(&x->source.mutex);
}

static void on_done(int result, const Failure *failure, void *userdata) {
        Fixture *x = userdata;

        x->result = result;
        if (failure)
                x->failure = *failure;
        (void) sem_post(&x->done);
}

static void start_prefetch(Fixture *x) {
        const PrefetchObserver observer = {.progress = on_progress, .done = on_done, .userdata = x};

        ck_assert_int_eq(prefetch_start(x->f.ns, &x->target, true, &observer, &x->prefetch), 0);
}

static int end_prefetch(Fixture *x) {
        wait_for(&x->done);
        return x->result;
}

/* --- readers --- */

typedef struct Reader {
        FlightWaiter waiter;
        sem_t landed;
        int result;
} Reader;

static void on_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Reader *r = container_of(waiter, Reader, waiter);

        r->result = result;
        (void) sem_post(&r->landed);
}

static Oid file_oid(Fixture *x, unsigned i) {
        char rev[48];

        (void) snprintf(rev, sizeof(rev), "HEAD:d%u/f%02u", i % 4, i);
        _cleanup_free_ char *hex = git_fixture_line(&x->f.repo, "rev-parse", rev, NULL);
        Oid oid;
        ck_assert_int_eq(oid_from_hex(&oid, hex, strlen(hex)), 0);
        return oid;
}

static void reader_want(Fixture *x, Reader *r, const Oid *oid) {
        const NsCall call = {.waiter = &r->waiter};

        *r = (Reader){.waiter.landed = on_landed};
        ck_assert_int_eq(sem_init(&r->landed, 0, 0), 0);
        ck_assert_int_eq(demand_blob(x->f.ns, &call, x->target.checkout->repo, oid), NS_PARKED);
}

static void reader_start(Fixture *x, Reader *r, unsigned i) {
        const Oid oid = file_oid(x, i);

        reader_want(x, r, &oid);
}

static int reader_end(Reader *r) {
        wait_for(&r->landed);
        (void) sem_destroy(&r->landed);
        return r->result;
}

static bool is_here(Fixture *x, unsigned i) {
        const Oid oid = file_oid(x, i);

        return store_has(x->f.context.store, STORE_OBJECT, &oid);
}

START_TEST(little_is_here_so_the_tree_is_wanted) {
        Fixture x;

        fixture_init(&x);
        start_prefetch(&x);
        Fetch *fetch = expect_held(&x.source, 1);
        ck_assert_int_eq(fetch->kind, FETCH_CLOSURE);
        ck_assert(oid_equal(&fetch->oids[0], &x.target.oid));
        ck_assert_int_eq(fetch->priority, FETCH_PREFETCH);
        let_go(&x.source);
        ck_assert_int_eq(end_prefetch(&x), 0);
        ck_assert_uint_eq(x.source.n_seen, 1);
        ck_assert_uint_eq(x.progress.done, N_FILES);
        ck_assert_uint_eq(x.progress.total, N_FILES);
        for (unsigned i = 0; i < N_FILES; i++)
                ck_assert(is_here(&x, i));
        fixture_done(&x);
}
END_TEST

START_TEST(the_rest_is_wanted_file_by_file) {
        enum { N_HERE = N_FILES / 2 };
        Fixture x;
        Reader readers[N_HERE];

        fixture_init(&x);
        x.source.holds = false;
        for (unsigned i = 0; i < N_HERE; i++)
                reader_start(&x, &readers[i], i);
        for (unsigned i = 0; i < N_HERE; i++)
                ck_assert_int_eq(reader_end(&readers[i]), 0);
        x.source.holds = true;
        start_prefetch(&x);
        Fetch *fetch = expect_held(&x.source, 1);
        ck_assert_int_eq(fetch->kind, FETCH_BLOBS);
        ck_assert_uint_eq(fetch->n_oids, N_FILES - N_HERE);
        let_go(&x.source);
        ck_assert_int_eq(end_prefetch(&x), 0);
        ck_assert_uint_eq(x.progress.done, N_FILES);
        fixture_done(&x);
}
END_TEST

/* R32: whoever comes meanwhile joins. */
START_TEST(readers_join_a_prefetch) {
        Fixture x;
        Reader readers[4];

        fixture_init(&x);
        /* So far away that no answer is late enough to be asked for again. */
        x.source.source.rtt_usec = 3600 * USEC_PER_SEC;
        start_prefetch(&x);
        expect_held(&x.source, 1);
        for (unsigned i = 0; i < ELEMENTSOF(readers); i++)
                reader_start(&x, &readers[i], 7 + i / 2);
        let_go(&x.source);
        for (unsigned i = 0; i < ELEMENTSOF(readers); i++)
                ck_assert_int_eq(reader_end(&readers[i]), 0);
        ck_assert_int_eq(end_prefetch(&x), 0);
        ck_assert_uint_eq(x.source.n_seen, 1);
        fixture_done(&x);
}
END_TEST

static void follow(Fixture *x, Reader *r, const Oid *oid) {
        Repo *repo = x->target.checkout->repo;

        *r = (Reader){.waiter.landed = on_landed};
        ck_assert_int_eq(sem_init(&r->landed, 0, 0), 0);
        ck_assert(demand_blob_follow(x->f.ns, &r->waiter, repo, oid));
}

static void fetch_ahead(Fixture *x, const Oid *oid) {
        const BlobWant want = {.oid = *oid, .size = SIZE_UNKNOWN};
        const BlobWants blobs = {.wants = &want, .n = 1};

        fetch_queue_ahead(x->f.ns, x->target.checkout->repo, LANE_READAHEAD, &blobs);
}

/* Whoever follows what is read ahead is in no hurry, and keeps nobody from being in one. */
START_TEST(a_reader_overtakes_who_only_follows) {
        Fixture x;
        Reader follower, reader;

        fixture_init(&x);
        const Oid first = file_oid(&x, 3), second = file_oid(&x, 4), none = file_oid(&x, 5);
        fetch_ahead(&x, &first);
        fetch_ahead(&x, &second); /* waits until the first has come */
        expect_held(&x.source, 1);
        follow(&x, &follower, &second);
        ck_assert(!demand_blob_follow(
                x.f.ns, &reader.waiter, x.target.checkout->repo, &none)); /* not on its way */
        reader_want(&x, &reader, &second);
        ck_assert_int_eq(expect_held(&x.source, 2)->priority, FETCH_WAITING);
        let_go(&x.source);
        ck_assert_int_eq(reader_end(&reader), 0);
        ck_assert_int_eq(reader_end(&follower), 0);
        ck_assert_uint_eq(x.source.n_seen, 2);
        fixture_done(&x);
}
END_TEST

/* R32: between gathering what a request names and sending it a reader has asked for some of it. */
START_TEST(what_a_reader_has_asked_for_is_not_named_again) {
        Fixture x;
        Reader reader;

        fixture_init(&x);
        const FetchName names[] = {{.oid = file_oid(&x, 3)}, {.oid = file_oid(&x, 4)}};
        const BlobWant wants[] = {
                {.oid = names[0].oid, .size = SIZE_UNKNOWN},
                {.oid = names[1].oid, .size = SIZE_UNKNOWN},
        };
        const BlobWants blobs = {.wants = wants, .n = 2, .names = names, .n_names = 2, .n_new = 1};
        reader_want(&x, &reader, &names[0].oid);
        expect_held(&x.source, 1);
        fetch_queue_ahead(x.f.ns, x.target.checkout->repo, LANE_READAHEAD, &blobs);
        const Fetch *ahead = expect_held(&x.source, 2);
        ck_assert_int_eq(ahead->kind, FETCH_CLOSURE);
        ck_assert_uint_eq(ahead->n_oids, 1);
        ck_assert(oid_equal(&ahead->oids[0], &names[1].oid));
        let_go(&x.source);
        ck_assert_int_eq(reader_end(&reader), 0);
        fixture_done(&x);
}
END_TEST

START_TEST(who_follows_a_job_that_is_cancelled_goes_on) {
        Fixture x;
        Reader follower;

        fixture_init(&x);
        const Oid oid = file_oid(&x, 7);
        start_prefetch(&x);
        expect_held(&x.source, 1);
        follow(&x, &follower, &oid);
        prefetch_cancel(x.prefetch);
        ck_assert_int_eq(end_prefetch(&x), -ECANCELED);
        ck_assert_int_eq(reader_end(&follower), 0);
        ck_assert(!is_here(&x, 7));
        let_go(&x.source);
        fixture_done(&x);
}
END_TEST

/* And a prefetch leaves to readers what they have under way. */
START_TEST(a_prefetch_waits_for_readers) {
        Fixture x;
        Reader reader;

        fixture_init(&x);
        reader_start(&x, &reader, 3);
        expect_held(&x.source, 1);
        start_prefetch(&x);
        expect_held(&x.source, 2);
        let_go(&x.source);
        ck_assert_int_eq(reader_end(&reader), 0);
        ck_assert_int_eq(end_prefetch(&x), 0);
        ck_assert_uint_eq(x.progress.done, N_FILES);
        ck_assert_uint_eq(x.source.n_seen, 2);
        fixture_done(&x);
}
END_TEST

/* Cancelled in the middle of a transfer, which hurts no reader. */
START_TEST(a_prefetch_is_cancelled) {
        Failure failure;
        Fixture x;
        Reader reader;

        fixture_init(&x);
        start_prefetch(&x);
        Fetch *fetch = expect_held(&x.source, 1);
        reader_start(&x, &reader, 11);
        ck_assert(!fetch_is_cancelled(fetch));
        prefetch_cancel(x.prefetch);
        ck_assert_int_eq(end_prefetch(&x), -ECANCELED);
        ck_assert(fetch_is_cancelled(fetch));
        const Fetch *alone = expect_held(&x.source, 2);
        ck_assert_int_eq(alone->kind, FETCH_BLOBS);
        ck_assert_int_eq(alone->priority, FETCH_WAITING);
        ck_assert_uint_eq(alone->n_oids, 1);
        x.source.held[0] = x.source.held[--x.source.n_held];
        let_go(&x.source);
        ck_assert_int_eq(reader_end(&reader), 0);
        (void) failure_set(&failure, FAILURE_CANCELLED, "cancelled");
        fetch->done(fetch, -ECANCELED, &failure);
        ck_assert(is_here(&x, 11));
        ck_assert(!is_here(&x, 12));
        fixture_done(&x);
}
END_TEST

/* R35: what cannot fit is not begun. */
START_TEST(a_repository_larger_than_the_cache) {
        Fixture x;

        fixture_init(&x);
        x.f.config.disk_limit = 100; /* bytes; the files have 240 */
        start_prefetch(&x);
        ck_assert_int_eq(end_prefetch(&x), -EFBIG);
        ck_assert_int_eq(x.failure.class, FAILURE_TOO_LARGE);
        ck_assert_ptr_nonnull(strstr(x.failure.text, "DiskLimit="));
        ck_assert_uint_eq(x.source.n_seen, 0);
        fixture_done(&x);
}
END_TEST

/* 40 readers of 40 files: the first is not kept waiting, the others go together while it is on its
 * way: in two requests, and a few more where this machine is slower than the round trip. */
START_TEST(a_burst_of_readers_is_gathered) {
        Reader readers[N_FILES];
        Oid oids[N_FILES];
        Fixture x;

        fixture_init(&x);
        atomic_store(&x.source.source.rtt_usec, 200 * USEC_PER_MSEC);
        for (unsigned i = 0; i < N_FILES; i++)
                oids[i] = file_oid(&x, i); /* before, as git takes its time */
        for (unsigned i = 0; i < N_FILES; i++)
                reader_want(&x, &readers[i], &oids[i]);
        (void) pthread_mutex_lock(&x.source.mutex);
        while (x.source.n_held < 2) /* the timer sends it: nothing has ended yet */
                (void) pthread_cond_wait(&x.source.cond, &x.source.mutex);
        (void) pthread_mutex_unlock(&x.source.mutex);
        let_go(&x.source);
        for (unsigned i = 0; i < N_FILES; i++)
                ck_assert_int_eq(reader_end(&readers[i]), 0);
        ck_assert_uint_eq(x.source.seen[0].n_oids, 1);
        ck_assert_uint_le(x.source.n_seen, 4);
        fixture_done(&x);
}
END_TEST

enum { N_THREADS = 4, N_READS = 300, N_PREFETCHES = 60 };

typedef struct ReaderThread {
        pthread_t thread;
        Fixture *x;
        const Oid *oids;
        unsigned number, n_wrong;
} ReaderThread;

static void *read_at_random(void *userdata) {
        ReaderThread *t = userdata;

        for (unsigned i = 0; i < N_READS; i++) {
                const Oid *oid = &t->oids[(i * 7 + t->number * 13) % N_FILES];
                Reader r = {.waiter.landed = on_landed};
                const NsCall call = {.waiter = &r.waiter};
                (void) sem_init(&r.landed, 0, 0); /* cannot fail */
                if (demand_blob(t->x->f.ns, &call, t->x->target.checkout->repo, oid) != NS_PARKED)
                        t->n_wrong++;
                else if (i % 5 == 0 && flight_leave(t->x->f.flights, &r.waiter))
                        ; /* interrupted */
                else
                        while (sem_wait(&r.landed) < 0)
                                ;
                (void) sem_destroy(&r.landed);
        }
        return NULL;
}

/* Readers that come and go, prefetches that are cancelled at any time, and a server that fails:
 * every flight lands, and nothing is left behind in the end. */
START_TEST(nothing_is_lost_in_disorder) {
        ReaderThread threads[N_THREADS];
        Oid oids[N_FILES];
        Fixture x;

        fixture_init(&x);
        x.source.fails = true;
        for (unsigned i = 0; i < N_FILES; i++)
                oids[i] = file_oid(&x, i);
        for (unsigned i = 0; i < N_THREADS; i++) {
                threads[i] = (ReaderThread){.x = &x, .oids = oids, .number = i};
                ck_assert_int_eq(
                        pthread_create(&threads[i].thread, NULL, read_at_random, &threads[i]), 0);
        }
        for (unsigned i = 0; i < N_PREFETCHES; i++) {
                start_prefetch(&x);
                if (i % 2 == 0)
                        prefetch_cancel(x.prefetch);
                (void) end_prefetch(&x); /* in any way */
                x.prefetch = prefetch_unref(x.prefetch);
        }
        for (unsigned i = 0; i < N_THREADS; i++) {
                ck_assert_int_eq(pthread_join(threads[i].thread, NULL), 0);
                ck_assert_uint_eq(threads[i].n_wrong, 0);
        }
        ns_stop(x.f.ns);
        ck_assert_uint_eq(flight_count(x.f.flights), 0);
        ck_assert(fetch_queue_is_idle_locked(&x.target.checkout->repo->queue));
        fixture_done(&x);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, little_is_here_so_the_tree_is_wanted);
        tcase_add_test(tc, the_rest_is_wanted_file_by_file);
        tcase_add_test(tc, readers_join_a_prefetch);
        tcase_add_test(tc, a_reader_overtakes_who_only_follows);
        tcase_add_test(tc, who_follows_a_job_that_is_cancelled_goes_on);
        tcase_add_test(tc, a_prefetch_waits_for_readers);
        tcase_add_test(tc, a_prefetch_is_cancelled);
        tcase_add_test(tc, a_repository_larger_than_the_cache);
        tcase_add_test(tc, a_burst_of_readers_is_gathered);
        tcase_add_test(tc, nothing_is_lost_in_disorder);
        tcase_add_test(tc, what_a_reader_has_asked_for_is_not_named_again);
}

CHECK_MAIN("tree/fetch", add_tests)
