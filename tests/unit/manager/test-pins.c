#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "manager/job.h"
#include "manager/manager-private.h"
#include "manager/pins.h"
#include "tree/checkout.h"
#include "tree/org.h"
#include "tree/repo.h"
#include "util/buf.h"
#include "util/path.h"

/* When a pin is tried, and what it keeps. Its jobs do nothing: they say what the test wants. Time
 * is what the test tells: at NOW only those are due that do not wait, LATER all of them. */

#define MIB (UINT64_C(1) << 20)
#define NOW 0
#define LATER (UINT64_MAX / 2)
#define MAX_STARTED 16

static TempDir dir;
static Manager manager;
static Org *org;
static Repo *repo;
static struct {
        uint32_t id;
        char path[32];
} started[MAX_STARTED];
static unsigned n_started;

int __wrap_manager_start_pin_job(
        Manager *m, const char *path, bool background, uint32_t *ret_job, Failure *ret_failure);
int __wrap_manager_cancel_job(Manager *m, uint32_t id);

int __wrap_manager_start_pin_job(
        Manager *m, const char *path, bool background, uint32_t *ret_job, Failure *ret_failure) {
        ck_assert_uint_lt(n_started, MAX_STARTED);
        started[n_started].id = *ret_job = ++m->next_job_id;
        ck_assert_uint_lt(strlen(path), sizeof(started->path));
        memcpy(started[n_started++].path, path, strlen(path) + 1);
        return 0;
}

int __wrap_manager_cancel_job(Manager *m, uint32_t id) {
        return -ENOENT;
}

static void source_free(Source *source) {
        free(source);
}

static Repo *add_repo(void) {
        static const SourceOps nothing = {.free = source_free};
        Source *source = calloc(1, sizeof(*source));
        Repo *r;

        ck_assert_ptr_nonnull(source);
        source->ops = &nothing;
        source->ref = REF_INIT;
        ck_assert_int_ge(owner_add_repo(&org->root, "r", source, &r), 0);
        source_unref(source);
        return r;
}

static void set_up(void) {
        static const ForgeContext context;
        _cleanup_(org_config_freep) OrgConfig *oc = NULL;
        _cleanup_free_ char *documents = NULL, *cache = NULL;
        StoreConfig sc = {.disk_limit = 16 * MIB, .memory_limit = MIB};
        Failure failure;

        ck_assert_int_eq(object_library_init(), 0);
        temp_dir_init(&dir);
        cache = path_join(dir.path, "cache", NULL);
        sc.directory = cache;
        n_started = 0;
        manager = (Manager){.config_home = dir.path};
        TAILQ_INIT(&manager.jobs);
        documents = path_join(dir.path, "documents", NULL);
        ck_assert_int_eq(documents_open(documents, MIB, &manager.documents), 0);
        ck_assert_int_eq(store_open(&sc, &manager.store), 0);
        ck_assert_int_eq(pool_new(1, &manager.pool), 0);
        ck_assert_int_eq(org_config_new("o", ORG_LOCAL, dir.path, &oc), 0);
        ck_assert_int_eq(org_new(oc, &context, &org, &failure), 0);
        repo = add_repo();
}

/* All that was published is in the store and in the documents. */
static void drain(void) {
        manager.pool = pool_free(manager.pool);
}

static void tear_down(void) {
        drain();
        pins_free(manager.pins);
        repo_unref(repo);
        org_close(org);
        org_unref(org);
        store_close(manager.store);
        documents_close(manager.documents);
        temp_dir_done(&dir);
        object_library_done();
}

static void load(const char *list) {
        temp_dir_write(&dir, "pins", list, strlen(list));
        ck_assert_int_eq(pins_new(&manager, &manager.pins), 0);
}

static Checkout *add_checkout(uint8_t commit) {
        const CheckoutState state = {.commit = {.id = {commit}}};
        Checkout *c;

        ck_assert_int_eq(checkout_new(repo, "", "refs/heads/main", true, &state, &c), 0);
        Checkout *kept = repo_add_checkout(repo, c);
        checkout_unref(c);
        return kept;
}

static void move(Checkout *c, uint8_t commit) {
        MUTEX_GUARD(&c->lock);
        c->commit = (Oid){.id = {commit}};
}

static Job job_of(const char *path) {
        static const JobOps ops = {.kind = "pin"};
        Job job = {.ops = &ops, .manager = &manager};

        for (unsigned i = 0; i < n_started; i++)
                if (strcmp(started[i].path, path) == 0)
                        job.id = started[i].id;
        ck_assert_uint_ne(job.id, 0);
        mutex_init(&job.lock, LOCK_RANK_JOB);
        return job;
}

static void end(const char *path, int result, Checkout *c) {
        Job job = job_of(path);
        CheckoutState state = {0};

        job.state = result < 0 ? JOB_FAILED : JOB_DONE;
        job.result = result;
        if (c)
                checkout_get_state(c, &state);
        pins_job_ended(&job, c, &state.commit);
        mutex_destroy(&job.lock);
}

static int list(const char *path, uint8_t object, uint64_t bytes) {
        Job job = job_of(path);
        _cleanup_pinned_ Pinned objects = {0};
        Failure failure;

        ck_assert_int_eq(pinned_add(&objects, &(Oid){.id = {object}}), 0);
        pinned_seal(&objects);
        int r = pins_job_listed(&job, &objects, bytes, &failure);
        mutex_destroy(&job.lock);
        return r;
}

static void assert_started(unsigned n, const char *last) {
        ck_assert_uint_eq(n_started, n);
        ck_assert_str_eq(started[n - 1].path, last);
}

START_TEST(a_failure_after_a_move_is_not_tried_at_once) {
        _cleanup_(checkout_unrefp) Checkout *c = add_checkout(1);

        load("o/r\n");
        pins_tick(manager.pins, NOW);
        assert_started(1, "o/r");
        end("o/r", 0, c);
        pins_tick(manager.pins, NOW);
        ck_assert_uint_eq(n_started, 1);
        move(c, 2);
        pins_tick(manager.pins, NOW);
        assert_started(2, "o/r");
        end("o/r", -EHOSTDOWN, c);
        pins_tick(manager.pins, NOW);
        ck_assert_uint_eq(n_started, 2);
        pins_tick(manager.pins, LATER);
        assert_started(3, "o/r");
}
END_TEST

START_TEST(who_waits_longest_is_next) {
        load("o/a\no/b\no/c\n");
        pins_tick(manager.pins, NOW);
        assert_started(2, "o/b");
        end("o/a", -EHOSTDOWN, NULL);
        end("o/b", -EHOSTDOWN, NULL);
        pins_tick(manager.pins, LATER);
        ck_assert_uint_eq(n_started, 4);
        ck_assert_str_eq(started[2].path, "o/c");
        ck_assert_str_eq(started[3].path, "o/a");
}
END_TEST

/* A repository that was gone for a while is another one, whose branch moves on without the old one.
 */
START_TEST(who_lost_its_repository_asks_again) {
        _cleanup_(checkout_unrefp) Checkout *c = add_checkout(1);

        load("o/r\n");
        pins_tick(manager.pins, NOW);
        end("o/r", 0, c);
        pins_tick(manager.pins, NOW);
        ck_assert_uint_eq(n_started, 1);
        atomic_store(&repo->doubtful, true);
        owner_forget_repo(&org->root, "r");
        pins_tick(manager.pins, NOW);
        assert_started(2, "o/r");
        end("o/r", -ENOENT, NULL);
        pins_tick(manager.pins, NOW);
        ck_assert_uint_eq(n_started, 2);

        repo_unref(repo);
        repo = add_repo();
        _cleanup_(checkout_unrefp) Checkout *again = add_checkout(1);
        pins_tick(manager.pins, LATER);
        assert_started(3, "o/r");
        end("o/r", 0, again);
        pins_tick(manager.pins, NOW);
        ck_assert_uint_eq(n_started, 3);
}
END_TEST

/* Adds what the next process would keep for this path: how many bytes, and these objects. */
static uint64_t add_kept(const char *path, Pinned *all) {
        _cleanup_free_ char *key = NULL;
        _cleanup_buf_ Buf kept = {0};
        uint64_t bytes;

        ck_assert_int_gt(asprintf(&key, "pin %s", path), 0);
        if (documents_get(manager.documents, key, &kept) == 0)
                return 0;
        ck_assert_uint_ge(kept.len, 2 * sizeof(bytes)); /* of one that is empty there is none */
        memcpy(&bytes, kept.data, sizeof(bytes));
        const Pinned objects = {
                .keys = (uint64_t *) (void *) kept.data + 1,
                .n = kept.len / sizeof(uint64_t) - 1,
        };
        ck_assert_int_eq(pinned_add_all(all, &objects), 0);
        return le64toh(bytes);
}

/* The next process keeps these objects, and so many bytes. */
static void assert_kept(uint8_t first, uint8_t last, uint64_t bytes) {
        _cleanup_pinned_ Pinned all = {0};

        drain();
        ck_assert_uint_eq(add_kept("o/a", &all) + add_kept("o/b", &all), bytes);
        pinned_seal(&all);
        for (unsigned i = 0; i < 10; i++)
                ck_assert(pinned_has(&all, &(Oid){.id = {i}}) == (i >= first && i <= last));
}

/* What the last process kept. */
static void keep(const char *key, uint64_t bytes, uint8_t object) {
        const uint64_t content[] = {htole64(bytes), htole64(object)};

        ck_assert_int_eq(documents_put(manager.documents, key, content, sizeof(content)), 0);
}

static uint64_t n_bytes;

static int note_bytes(const PinInfo *info, void *userdata) {
        if (strcmp(info->path, userdata) == 0)
                n_bytes = info->bytes;
        return 0;
}

static uint64_t bytes_of(const char *path) {
        n_bytes = UINT64_MAX;
        ck_assert_int_eq(manager_each_pin(&manager, note_bytes, (char *) path), 0);
        return n_bytes;
}

START_TEST(what_was_kept_stays_until_its_pin_has_told) {
        keep("pin o/a", 4 * MIB, 1);
        keep("pin o/b", 5 * MIB, 3);
        load("o/a\no/b\n");
        ck_assert_uint_eq(bytes_of("o/a"), 4 * MIB);
        pins_tick(manager.pins, NOW);
        ck_assert_int_eq(list("o/a", 2, 2 * MIB), 0);
        ck_assert_uint_eq(bytes_of("o/a"), 2 * MIB);
        end("o/b", -EHOSTDOWN, NULL);
        assert_kept(2, 3, 7 * MIB);
}
END_TEST

/* The others' share is known from the first moment. */
START_TEST(what_was_kept_takes_room) {
        keep("pin o/b", 5 * MIB, 3);
        load("o/a\no/b\n");
        pins_tick(manager.pins, NOW);
        ck_assert_int_eq(list("o/a", 2, 4 * MIB), -EFBIG);
        ck_assert_int_eq(list("o/a", 2, 3 * MIB), 0);
}
END_TEST

/* But they may need less by now, so it costs nobody what he had. */
START_TEST(what_others_have_kept_takes_nothing_away) {
        keep("pin o/a", 3 * MIB, 1);
        keep("pin o/b", 5 * MIB, 3);
        load("o/a\no/b\n");
        pins_tick(manager.pins, NOW);
        ck_assert_int_eq(list("o/a", 2, 4 * MIB), -EFBIG);
        ck_assert_uint_eq(bytes_of("o/a"), 3 * MIB);
        end("o/a", -EFBIG, NULL);
        ck_assert_uint_eq(bytes_of("o/a"), 3 * MIB);
        ck_assert_int_eq(list("o/b", 3, 2 * MIB), 0);
        pins_tick(manager.pins, LATER);
        assert_started(3, "o/a");
        ck_assert_int_eq(list("o/a", 2, 4 * MIB), 0);
        assert_kept(2, 3, 6 * MIB);
}
END_TEST

START_TEST(what_is_not_there_needs_nothing) {
        keep("pin o/b", MIB, 1);
        load("o/a\no/b\n");
        pins_tick(manager.pins, NOW);
        ck_assert_int_eq(list("o/a", 2, MIB), 0);
        end("o/b", -ENOENT, NULL);
        assert_kept(2, 2, MIB);
}
END_TEST

/* A repository on this machine, or an empty one. */
START_TEST(who_has_nothing_to_tell_needs_nothing) {
        keep("pin o/b", MIB, 1);
        load("o/a\no/b\n");
        pins_tick(manager.pins, NOW);
        ck_assert_int_eq(list("o/a", 2, MIB), 0);
        end("o/b", 0, NULL);
        assert_kept(2, 2, MIB);
}
END_TEST

/* One blob that the server has lost is no reason to give up the others. */
START_TEST(what_was_told_stays_when_the_rest_cannot_be_had) {
        load("o/a\n");
        pins_tick(manager.pins, NOW);
        ck_assert_int_eq(list("o/a", 2, MIB), 0);
        end("o/a", -ENOENT, NULL);
        assert_kept(2, 2, MIB);
}
END_TEST

START_TEST(who_is_unpinned_keeps_nothing) {
        Failure failure;

        keep("pin o/a", MIB, 1);
        keep("pin o/b", MIB, 2);
        load("o/a\no/b\n");
        ck_assert_int_eq(manager_unpin(&manager, "o/a", &failure), 0);
        assert_kept(2, 2, MIB);
}
END_TEST

/* Once one document was of all pins: it is nobody's. Others are cut, or hold nothing. */
START_TEST(documents_that_make_no_sense_are_not_there) {
        keep("pinned", 5 * MIB, 3);
        ck_assert_int_eq(documents_put(manager.documents, "pin o/a", "123456789", 9), 0);
        ck_assert_int_eq(documents_put(manager.documents, "pin o/b", "", 0), 0);
        load("o/a\no/b\n");
        ck_assert_uint_eq(bytes_of("o/a"), 0);
        ck_assert_uint_eq(bytes_of("o/b"), 0);
        pins_tick(manager.pins, NOW);
        ck_assert_int_eq(list("o/a", 1, 8 * MIB), 0);
        ck_assert_int_eq(list("o/b", 2, 0), 0);
        assert_kept(1, 2, 8 * MIB);
}
END_TEST

START_TEST(what_does_not_fit_keeps_nothing) {
        load("o/a\no/b\n");
        pins_tick(manager.pins, NOW);
        ck_assert_int_eq(list("o/a", 1, 5 * MIB), 0);
        ck_assert_int_eq(list("o/b", 2, 3 * MIB), 0);
        ck_assert_int_eq(list("o/a", 1, 6 * MIB), -EFBIG);
        assert_kept(2, 2, 3 * MIB);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, a_failure_after_a_move_is_not_tried_at_once);
        tcase_add_test(tc, who_waits_longest_is_next);
        tcase_add_test(tc, who_lost_its_repository_asks_again);
        tcase_add_test(tc, what_was_kept_stays_until_its_pin_has_told);
        tcase_add_test(tc, what_was_kept_takes_room);
        tcase_add_test(tc, what_others_have_kept_takes_nothing_away);
        tcase_add_test(tc, what_is_not_there_needs_nothing);
        tcase_add_test(tc, who_has_nothing_to_tell_needs_nothing);
        tcase_add_test(tc, what_was_told_stays_when_the_rest_cannot_be_had);
        tcase_add_test(tc, who_is_unpinned_keeps_nothing);
        tcase_add_test(tc, documents_that_make_no_sense_are_not_there);
        tcase_add_test(tc, what_does_not_fit_keeps_nothing);
}

CHECK_MAIN("pins", add_tests)
