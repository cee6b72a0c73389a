#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check-main.h"
#include "tree/fetch-queue.h"
#include "util/clock.h"

/* Which requests the queue makes of what is wanted. Nothing is sent: the test ends them. */

#define FAR_RTT (200 * USEC_PER_MSEC)

static BlobWant blob(unsigned i, uint64_t size) {
        BlobWant want = {.oid.algo = OID_SHA1, .size = size};

        memcpy(want.oid.id, &i, sizeof(i));
        return want;
}

/* At the end of a lane. */
static int add_want(FetchQueue *q, FetchLane lane, const BlobWant *want) {
        FetchBatch *b = fetch_batch_new(lane, NULL, 0, NULL);

        ck_assert_ptr_nonnull(b);
        int r = fetch_batch_add_locked(q, b, want);
        if (r > 0)
                TAILQ_FIRST(&b->wants)->waited = lane == LANE_WAITING;
        fetch_queue_merge_locked(q, b);
        return r;
}

static void add(FetchQueue *q, FetchLane lane, unsigned from, unsigned n, uint64_t size) {
        for (unsigned i = from; i < from + n; i++) {
                const BlobWant want = blob(i, size);
                ck_assert_int_eq(add_want(q, lane, &want), 1);
        }
}

static FetchBatch *next(FetchQueue *q, uint64_t rtt) {
        uint64_t when;

        return fetch_queue_next_locked(q, rtt, &when);
}

/* The next request, which must be of this lane, for so many. */
static FetchBatch *expect(FetchQueue *q, FetchLane lane, size_t n) {
        FetchBatch *b = next(q, 0);

        ck_assert_ptr_nonnull(b);
        ck_assert_int_eq(b->lane, lane);
        ck_assert_uint_eq(b->n, n);
        return b;
}

static void end(FetchQueue *q, FetchBatch *b) {
        WantList rest = TAILQ_HEAD_INITIALIZER(rest);

        fetch_queue_ended_locked(q, b);
        fetch_queue_detach_locked(q, b, &rest);
        for (Want *want = TAILQ_FIRST(&rest), *after; want; want = after) {
                after = TAILQ_NEXT(want, entry);
                free(want);
        }
        if (b->feed)
                b->feed->n_batches--;
        fetch_batch_free(b);
}

static void end_all(FetchQueue *q) {
        FetchBatch *b;

        while ((b = next(q, 0)))
                end(q, b);
        fetch_queue_done(q);
}

static bool promote(FetchQueue *q, unsigned i, uint64_t rtt) {
        const BlobWant want = blob(i, 0);
        Want *found = fetch_queue_find_locked(q, &want.oid);

        ck_assert_ptr_nonnull(found);
        return fetch_queue_promote_locked(q, found, rtt);
}

static unsigned first_of(const FetchBatch *b) {
        unsigned i;

        memcpy(&i, TAILQ_FIRST(&b->wants)->blob.oid.id, sizeof(i));
        return i;
}

/* The first goes at once, the others together, a little later; where the server is near, at once.
 */
START_TEST(a_burst_is_gathered) {
        FetchQueue q;
        uint64_t when;

        fetch_queue_init(&q);
        add(&q, LANE_WAITING, 0, 1, 10);
        FetchBatch *first = fetch_queue_next_locked(&q, FAR_RTT, &when);
        ck_assert_ptr_nonnull(first);
        add(&q, LANE_WAITING, 1, 63, 10);
        uint64_t now = now_usec();
        ck_assert_ptr_null(fetch_queue_next_locked(&q, FAR_RTT, &when));
        ck_assert_uint_gt(when, now);
        ck_assert_uint_lt(when, now + FAR_RTT);
        FetchBatch *rest = expect(&q, LANE_WAITING, 63);
        end(&q, first);
        end(&q, rest);

        /* When the request under way ends nothing is left to wait for. */
        add(&q, LANE_WAITING, 0, 1, 10);
        first = next(&q, FAR_RTT);
        add(&q, LANE_WAITING, 1, 2, 10);
        ck_assert_ptr_null(next(&q, FAR_RTT));
        end(&q, first);
        rest = next(&q, FAR_RTT);
        ck_assert_ptr_nonnull(rest);
        ck_assert_uint_eq(rest->n, 2);
        end(&q, rest);
        end_all(&q);
}
END_TEST

/* R3: read-ahead keeps no reader waiting. */
START_TEST(readers_go_before_the_others) {
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 0, 5000, 100);
        FetchBatch *a = expect(&q, LANE_READAHEAD, 2000);
        FetchBatch *b = expect(&q, LANE_READAHEAD, 2000);
        ck_assert_ptr_null(next(&q, 0)); /* two are enough to keep a server busy */
        add(&q, LANE_WAITING, 9000, 1, 10);
        FetchBatch *c = expect(&q, LANE_WAITING, 1);
        ck_assert_ptr_null(next(&q, 0));
        end(&q, a);
        FetchBatch *d = expect(&q, LANE_READAHEAD, 1000);
        end(&q, b);
        end(&q, c);
        end(&q, d);
        end_all(&q);
}
END_TEST

/* The second request has to be worth it. */
START_TEST(read_ahead_is_collected) {
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 0, 10, 100);
        FetchBatch *a = expect(&q, LANE_READAHEAD, 10);
        add(&q, LANE_READAHEAD, 10, 999, 100);
        ck_assert_ptr_null(next(&q, 0));
        add(&q, LANE_READAHEAD, 2000, 1, 100);
        end(&q, expect(&q, LANE_READAHEAD, 1000));
        add(&q, LANE_READAHEAD, 3000, 3, UINT64_C(4) << 20); /* few, but large */
        end(&q, expect(&q, LANE_READAHEAD, 3));
        end(&q, a);
        end_all(&q);
}
END_TEST

START_TEST(batches_are_bounded_by_bytes) {
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 0, 100, UINT64_C(1) << 20);
        add(&q, LANE_READAHEAD, 100, 1, UINT64_C(1) << 40);
        for (unsigned n = 0; n < 96; n += 32)
                end(&q, expect(&q, LANE_READAHEAD, 32));
        end(&q, expect(&q, LANE_READAHEAD, 4));
        end(&q, expect(&q, LANE_READAHEAD, 1)); /* too large for any, so alone */
        end_all(&q);
}
END_TEST

/* R8: whoever wants a size waits for the file that a walk is about to read, but for no job. */
START_TEST(who_wants_a_size_waits_for_a_walk) {
        const BlobWant ahead = blob(1, 1), job = blob(3000, 1);
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 0, 2000, 1);
        add(&q, LANE_PREFETCH, 3000, 10, 1);
        ck_assert(fetch_queue_is_soon_locked(fetch_queue_find_locked(&q, &ahead.oid), FAR_RTT));
        ck_assert(!fetch_queue_is_soon_locked(fetch_queue_find_locked(&q, &job.oid), FAR_RTT));
        FetchBatch *b = expect(&q, LANE_READAHEAD, 2000);
        ck_assert(fetch_queue_is_soon_locked(fetch_queue_find_locked(&q, &ahead.oid), FAR_RTT));
        b->sent_usec -= 60 * USEC_PER_SEC;
        ck_assert(!fetch_queue_is_soon_locked(fetch_queue_find_locked(&q, &ahead.oid), FAR_RTT));
        end(&q, b);
        end_all(&q);
}
END_TEST

/* Files far smaller than was guessed do not make those that follow seem far. */
START_TEST(what_follows_a_small_file_is_soon) {
        const BlobWant first = blob(0, 0), last = blob(9, 0);
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 0, 10, SIZE_UNKNOWN);
        FetchBatch *b = expect(&q, LANE_READAHEAD, 10);
        fetch_queue_count_locked(&q, b, &first.oid, 1);
        b->first_usec -= 2 * USEC_PER_MSEC;
        ck_assert(fetch_queue_is_soon_locked(fetch_queue_find_locked(&q, &last.oid), FAR_RTT));
        end(&q, b);
        end_all(&q);
}
END_TEST

START_TEST(sizes_are_guessed_by_those_that_came) {
        const Oid none = {0};
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 0, 1, 1);
        FetchBatch *b = expect(&q, LANE_READAHEAD, 1);
        for (unsigned i = 0; i < 1000; i++)
                fetch_queue_count_locked(&q, b, &none, 100000);
        ck_assert_uint_ge(q.mean_bytes, 99000);
        ck_assert_uint_le(q.mean_bytes, 101000);
        fetch_queue_count_locked(&q, b, &none, UINT64_C(1) << 40);
        ck_assert_uint_le(q.mean_bytes, 120000); /* one does not stand for all */
        for (unsigned i = 0; i < 1000; i++)
                fetch_queue_count_locked(&q, b, &none, 100);
        ck_assert_uint_le(q.mean_bytes, 200);
        end(&q, b);
        end_all(&q);
}
END_TEST

/* A reader gets what is queued as read-ahead, with a little of what follows. */
START_TEST(a_reader_catches_up) {
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 0, 10, 100);
        FetchBatch *a = expect(&q, LANE_READAHEAD, 10);
        add(&q, LANE_READAHEAD, 10, 900, 100);
        promote(&q, 200, 0);
        FetchBatch *b = expect(&q, LANE_WAITING, 500);
        ck_assert_uint_eq(first_of(b), 200);
        end(&q, a);
        FetchBatch *c = expect(&q, LANE_READAHEAD, 400);
        ck_assert_uint_eq(first_of(c), 10);
        end(&q, b);
        end(&q, c);
        end_all(&q);
}
END_TEST

/* What its host's other requests hold back is raised there, and not asked for twice. */
START_TEST(a_reader_does_not_wait_for_other_repositories) {
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 0, 900, 100);
        FetchBatch *a = expect(&q, LANE_READAHEAD, 900);
        ck_assert(!promote(&q, 100, FAR_RTT));
        atomic_store(&a->held, true);
        ck_assert(promote(&q, 200, FAR_RTT));
        ck_assert_ptr_null(next(&q, 0));
        ck_assert(a->waited);
        end(&q, a);
        end_all(&q);
}
END_TEST

/* A job may have others of its kind before it at its host. */
START_TEST(a_reader_does_not_wait_for_a_job_that_is_held_back) {
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_PREFETCH, 0, 100, 100);
        FetchBatch *a = expect(&q, LANE_PREFETCH, 100);
        atomic_store(&a->held, true);
        ck_assert(!promote(&q, 50, FAR_RTT));
        FetchBatch *b = expect(&q, LANE_WAITING, 1);
        ck_assert_uint_eq(first_of(b), 50);
        end(&q, a);
        end(&q, b);
        end_all(&q);
}
END_TEST

/* Far behind in a large answer, it is asked for once more. */
START_TEST(a_reader_does_not_wait_for_everything) {
        const FetchName tree = {.oid = {.algo = OID_SHA1, .id = {1}}, .is_tree = true};
        FetchQueue q;

        fetch_queue_init(&q);
        FetchBatch *b = fetch_batch_new(LANE_PREFETCH, &tree, 1, NULL);
        for (unsigned i = 0; i < 20000; i++) {
                const BlobWant want = blob(i, 10000);
                ck_assert_int_eq(fetch_batch_add_locked(&q, b, &want), 1);
        }
        fetch_queue_append_locked(&q, b);
        ck_assert_ptr_eq(expect(&q, LANE_PREFETCH, 20000), b);
        ck_assert_uint_eq(b->n_names, 1);
        /* Its answer has begun, at a megabyte a millisecond. */
        b->first_usec = now_usec() - 10 * USEC_PER_MSEC;
        b->bytes_in = 10 << 20;
        promote(&q, 1100, 0); /* comes soon */
        ck_assert_ptr_null(next(&q, 0));
        promote(&q, 19000, 0);
        FetchBatch *alone = expect(&q, LANE_WAITING, 1);
        ck_assert_uint_eq(first_of(alone), 19000);
        end(&q, alone);
        end(&q, b);
        end_all(&q);
}
END_TEST

/* What is here of a tree comes again with it, and may only be next to nothing. */
START_TEST(a_tree_is_wanted_while_nearly_all_of_it_is) {
        const FetchName tree = {.oid = {.algo = OID_SHA1, .id = {1}}, .is_tree = true};
        FetchQueue q;

        fetch_queue_init(&q);
        for (unsigned n_here = 1; n_here <= 2; n_here++) {
                FetchBatch *b = fetch_batch_new(LANE_READAHEAD, &tree, 1, NULL);
                for (unsigned i = 0; i < 100; i++) {
                        const BlobWant want = blob(i, 10);
                        ck_assert_int_eq(fetch_batch_add_locked(&q, b, &want), 1);
                }
                fetch_queue_append_locked(&q, b);
                for (unsigned i = 0; i < n_here; i++) {
                        const BlobWant want = blob(i, 10);
                        Want *here = fetch_queue_find_locked(&q, &want.oid);
                        fetch_queue_drop_locked(&q, here);
                }
                expect(&q, LANE_READAHEAD, 100 - n_here);
                ck_assert_uint_eq(b->n_names, n_here == 1);
                end(&q, b);
        }
        end_all(&q);
}
END_TEST

static void no_object(FetchFeed *feed, uint64_t size) {
        (void) feed;
        (void) size;
}

static void no_end(FetchFeed *feed, int result, const Failure *failure) {
        (void) feed;
        (void) result;
        (void) failure;
}

/* A prefetch takes its share, and what is only read ahead; the rest is left to who has it. */
START_TEST(a_feed_is_eaten_batch_by_batch) {
        enum { N = 5000 };
        BlobWant *wants = calloc(N, sizeof(*wants));
        FetchFeed feed = {.wants = wants, .n = N, .object = no_object, .done = no_end};
        FetchQueue q;

        fetch_queue_init(&q);
        for (unsigned i = 0; i < N; i++)
                wants[i] = blob(i, 100);
        add(&q, LANE_WAITING, 0, 10, 100);
        FetchBatch *waiting = expect(&q, LANE_WAITING, 10);
        TAILQ_INSERT_TAIL(&q.feeds, &feed, entry);
        FetchBatch *a = expect(&q, LANE_PREFETCH, 2000);
        ck_assert_uint_eq(first_of(a), 10);
        FetchBatch *b = expect(&q, LANE_PREFETCH, 2000);
        ck_assert_ptr_null(next(&q, 0));
        ck_assert_ptr_null(fetch_queue_finished_feed_locked(&q));
        end(&q, a);
        end(&q, expect(&q, LANE_PREFETCH, N - 4010));
        ck_assert_ptr_null(fetch_queue_finished_feed_locked(&q));
        end(&q, b);
        ck_assert_ptr_eq(fetch_queue_finished_feed_locked(&q), &feed);
        end(&q, waiting);
        end_all(&q);
        free(wants);
}
END_TEST

/* Whoever has had nothing for long enough is next, beyond what background work may have. */
START_TEST(nobody_starves) {
        BlobWant wants[] = {blob(1, 100)};
        FetchFeed feed = {.wants = wants, .n = 1, .object = no_object, .done = no_end};
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 1000, 9000, 100);
        FetchBatch *a = expect(&q, LANE_READAHEAD, 2000);
        FetchBatch *b = expect(&q, LANE_READAHEAD, 2000);
        TAILQ_INSERT_TAIL(&q.feeds, &feed, entry);
        ck_assert_ptr_null(next(&q, 0));
        end(&q, a);
        a = expect(&q, LANE_READAHEAD, 2000);
        q.lanes[LANE_PREFETCH].since_usec -= 2 * USEC_PER_SEC;
        FetchBatch *c = expect(&q, LANE_PREFETCH, 1);
        end(&q, a);
        end(&q, b);
        end(&q, c);
        ck_assert_ptr_eq(fetch_queue_finished_feed_locked(&q), &feed);
        end_all(&q);
}
END_TEST

/* R2: sizes were guessed, and files are far larger: what comes stops, but for readers. */
START_TEST(a_request_ends_that_brings_far_more_than_it_should) {
        WantList rest = TAILQ_HEAD_INITIALIZER(rest);
        unsigned n_came = 0, n_rest = 0;
        FetchQueue q;
        Want *want;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 0, 100, SIZE_UNKNOWN);
        FetchBatch *b = expect(&q, LANE_READAHEAD, 100);
        promote(&q, 99, FAR_RTT);
        do {
                const BlobWant came = blob(n_came++, SIZE_UNKNOWN);
                ck_assert_uint_lt(n_came, 10);
                fetch_queue_count_locked(&q, b, &came.oid, UINT64_C(128) << 20);
                Want *here = fetch_queue_find_locked(&q, &came.oid);
                if (here)
                        fetch_queue_drop_locked(&q, here);
        } while (!fetch_queue_stop_excess_locked(&q, b, &rest));
        ck_assert_uint_eq(n_came, 5);
        ck_assert(atomic_load(&b->cancelled));
        while ((want = TAILQ_FIRST(&rest))) {
                TAILQ_REMOVE(&rest, want, entry);
                free(want);
                n_rest++;
        }
        ck_assert_uint_eq(n_rest, 99 - 5);
        end(&q, b);
        FetchBatch *again = expect(&q, LANE_WAITING, 1);
        ck_assert_uint_eq(first_of(again), 99);
        end(&q, again);
        end_all(&q);
}
END_TEST

/* The same where another one waits for its turn again, and readers for all of it. */
START_TEST(what_is_queued_behind_it_ends_too) {
        const FetchName tree = {.oid = {.algo = OID_SHA1, .id = {1}}, .is_tree = true};
        WantList rest = TAILQ_HEAD_INITIALIZER(rest);
        const BlobWant other = blob(7, 100);
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_READAHEAD, 100, 3, SIZE_UNKNOWN);
        FetchBatch *b = expect(&q, LANE_READAHEAD, 3);
        FetchBatch *again = fetch_batch_new(LANE_READAHEAD, &tree, 1, NULL);
        ck_assert_int_eq(fetch_batch_add_locked(&q, again, &other), 1);
        fetch_queue_append_locked(&q, again);
        ck_assert_ptr_eq(expect(&q, LANE_READAHEAD, 1), again);
        promote(&q, 7, FAR_RTT);
        ck_assert_uint_eq(again->n, 1);
        fetch_queue_ended_locked(&q, again);
        fetch_queue_requeue_locked(&q, again); /* the server takes no trees */
        const BlobWant came = blob(100, SIZE_UNKNOWN);
        fetch_queue_count_locked(&q, b, &came.oid, UINT64_C(1) << 30);
        fetch_queue_drop_locked(&q, fetch_queue_find_locked(&q, &came.oid));
        ck_assert(fetch_queue_stop_excess_locked(&q, b, &rest));
        for (Want *want = TAILQ_FIRST(&rest), *next; want; want = next) {
                next = TAILQ_NEXT(want, entry);
                free(want);
        }
        end(&q, b);
        FetchBatch *alone = expect(&q, LANE_WAITING, 1);
        ck_assert_uint_eq(first_of(alone), 7);
        end(&q, alone);
        end_all(&q);
}
END_TEST

/* R2: what nobody waits for is bounded over all repositories. */
START_TEST(too_much_is_refused) {
        FetchQueue q[3];
        unsigned n = 0;
        int r = 0;

        for (unsigned i = 0; i < ELEMENTSOF(q); i++)
                fetch_queue_init(&q[i]);
        for (; r >= 0 && n < 1000000; n++) {
                const BlobWant want = blob(n, 1);
                r = add_want(&q[n % 2], LANE_READAHEAD, &want);
        }
        ck_assert_int_eq(r, -ENOBUFS);
        const BlobWant want = blob(0, 1);
        ck_assert_int_eq(add_want(&q[2], LANE_READAHEAD, &want), -ENOBUFS);
        ck_assert_int_eq(add_want(&q[2], LANE_WAITING, &want), 1);
        for (unsigned i = 0; i < ELEMENTSOF(q); i++)
                end_all(&q[i]);
}
END_TEST

/* Of a request that was given up, what readers wait for is asked for again. */
START_TEST(readers_do_not_suffer_from_a_cancel) {
        FetchQueue q;

        fetch_queue_init(&q);
        add(&q, LANE_PREFETCH, 0, 100, 100);
        FetchBatch *b = expect(&q, LANE_PREFETCH, 100);
        promote(&q, 7, 0);
        promote(&q, 9, 0);
        fetch_queue_retry_waited_locked(&q, b);
        end(&q, b);
        end(&q, expect(&q, LANE_WAITING, 2));
        end_all(&q);
}
END_TEST

/* The same where readers wait for all of it, and it has not gone out again yet. */
START_TEST(a_cancel_leaves_a_queued_batch_to_its_readers) {
        const FetchName tree = {.oid = {.algo = OID_SHA1, .id = {1}}, .is_tree = true};
        const BlobWant want = blob(1, 100);
        FetchFeed feed = {.wants = &want, .n = 1, .object = no_object, .done = no_end};
        WantList rest = TAILQ_HEAD_INITIALIZER(rest);
        FetchQueue q;

        fetch_queue_init(&q);
        FetchBatch *b = fetch_batch_new(LANE_PREFETCH, &tree, 1, &feed);
        ck_assert_int_eq(fetch_batch_add_locked(&q, b, &want), 1);
        fetch_queue_append_locked(&q, b);
        feed.n_batches = 1;
        feed.at = 1;
        TAILQ_INSERT_TAIL(&q.feeds, &feed, entry);
        ck_assert_ptr_eq(expect(&q, LANE_PREFETCH, 1), b);
        b->sent_usec = now_usec();
        promote(&q, 1, FAR_RTT);
        ck_assert_uint_eq(b->n, 1);
        /* The server takes no trees. */
        fetch_queue_ended_locked(&q, b);
        fetch_queue_requeue_locked(&q, b);
        ck_assert(fetch_queue_cancel_feed_locked(&q, &feed, &rest));
        ck_assert(TAILQ_EMPTY(&rest));
        ck_assert(TAILQ_EMPTY(&q.lanes[LANE_PREFETCH].queued));
        end(&q, expect(&q, LANE_WAITING, 1));
        end_all(&q);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_burst_is_gathered);
        tcase_add_test(tc, readers_go_before_the_others);
        tcase_add_test(tc, read_ahead_is_collected);
        tcase_add_test(tc, batches_are_bounded_by_bytes);
        tcase_add_test(tc, who_wants_a_size_waits_for_a_walk);
        tcase_add_test(tc, what_follows_a_small_file_is_soon);
        tcase_add_test(tc, sizes_are_guessed_by_those_that_came);
        tcase_add_test(tc, a_reader_catches_up);
        tcase_add_test(tc, a_reader_does_not_wait_for_other_repositories);
        tcase_add_test(tc, a_reader_does_not_wait_for_a_job_that_is_held_back);
        tcase_add_test(tc, a_reader_does_not_wait_for_everything);
        tcase_add_test(tc, a_tree_is_wanted_while_nearly_all_of_it_is);
        tcase_add_test(tc, a_feed_is_eaten_batch_by_batch);
        tcase_add_test(tc, nobody_starves);
        tcase_add_test(tc, too_much_is_refused);
        tcase_add_test(tc, a_request_ends_that_brings_far_more_than_it_should);
        tcase_add_test(tc, what_is_queued_behind_it_ends_too);
        tcase_add_test(tc, readers_do_not_suffer_from_a_cancel);
        tcase_add_test(tc, a_cancel_leaves_a_queued_batch_to_its_readers);
}

CHECK_MAIN("tree/fetch-queue", add_tests)
