#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "mount/fixture.h"
#include "mount/server.h"
#include "util/clock.h"
#include "util/stats.h"

/* How many calls may wait, of all processes and of one (R3). The number of places is so small that
 * every call is counted. */

#define PLACES 12
#define CROWD_MAX 64

/* A process that makes as many calls at once as it is told to. */
typedef struct CrowdShared {
        sem_t order, ended; /* once for each call; once for each that has ended */
        char dir[PATH_MAX]; /* in which they look for names */
        int errors[CROWD_MAX];
} CrowdShared;

typedef struct Crowd {
        pid_t pid;
        unsigned n_ordered, n_ended;
        CrowdShared *shared;
} Crowd;

typedef struct CrowdCall {
        CrowdShared *shared;
        unsigned i;
} CrowdCall;

static void *crowd_call(void *userdata) {
        const CrowdCall *call = userdata;
        char path[PATH_MAX + 32];
        struct stat st;

        (void) snprintf(path, sizeof(path), "%s/%d-%u", call->shared->dir, getpid(), call->i);
        call->shared->errors[call->i] = lstat(path, &st) < 0 ? errno : 0;
        (void) sem_post(&call->shared->ended); /* cannot overflow */
        return NULL;
}

static _Noreturn void crowd_main(CrowdShared *shared) {
        static CrowdCall calls[CROWD_MAX];
        pthread_t thread;

        if (close_range(3, ~0U, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                _exit(1);
        for (unsigned i = 0; i < CROWD_MAX; i++) {
                while (sem_wait(&shared->order) < 0)
                        ;
                calls[i] = (CrowdCall){.shared = shared, .i = i};
                if (pthread_create(&thread, NULL, crowd_call, &calls[i]) != 0)
                        _exit(1);
        }
        for (;;)
                (void) pause();
}

/* Before this process has threads: under ThreadSanitizer a child of one that has may start none. */
static void crowd_start(Crowd *crowd) {
        void *shared =
                mmap(NULL,
                     sizeof(CrowdShared),
                     PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS,
                     -1,
                     0);
        ck_assert_ptr_ne(shared, MAP_FAILED);
        *crowd = (Crowd){.shared = shared};
        ck_assert_int_eq(sem_init(&crowd->shared->order, 1, 0), 0);
        ck_assert_int_eq(sem_init(&crowd->shared->ended, 1, 0), 0);
        crowd->pid = fork();
        ck_assert_int_ge(crowd->pid, 0);
        if (crowd->pid == 0)
                crowd_main(crowd->shared);
}

/* Where it calls from then on. */
static void crowd_enter(Crowd *crowd, const char *dir) {
        (void) snprintf(crowd->shared->dir, sizeof(crowd->shared->dir), "%s", dir);
}

static void crowd_order(Crowd *crowd, unsigned n) {
        for (crowd->n_ordered += n; n > 0; n--)
                ck_assert_int_eq(sem_post(&crowd->shared->order), 0);
        ck_assert_uint_le(crowd->n_ordered, CROWD_MAX);
}

/* Returns when n more of its calls have ended. */
static void crowd_await(Crowd *crowd, unsigned n) {
        for (crowd->n_ended += n; n > 0; n--)
                while (sem_wait(&crowd->shared->ended) < 0)
                        ck_assert_int_eq(errno, EINTR);
}

static unsigned crowd_n_failed(const Crowd *crowd, int error) {
        unsigned n = 0;

        for (unsigned i = 0; i < crowd->n_ordered; i++)
                n += crowd->shared->errors[i] == error;
        return n;
}

/* All its calls have ended. */
static void crowd_end(Crowd *crowd) {
        ck_assert_uint_eq(crowd->n_ended, crowd->n_ordered);
        ck_assert_int_eq(kill(crowd->pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(crowd->pid, NULL, 0), crowd->pid);
        ck_assert_int_eq(munmap(crowd->shared, sizeof(*crowd->shared)), 0);
}

static Fixture f;

START_TEST(a_process_leaves_as_many_places_as_it_takes) {
        MountConfig config = fixture_config();
        Crowd first, second;
        Call single;

        config.max_pending = PLACES;
        crowd_start(&first);
        crowd_start(&second);
        fixture_init(&f);
        fixture_mount(&f, &config);
        uint64_t slow = fake_add_dir(f.ns, NS_ROOT_ID, "slow");
        int64_t refused = stat_get(STAT_FUSE_REFUSED);
        crowd_enter(&first, fixture_path(&f, "slow"));
        crowd_enter(&second, fixture_path(&f, "slow"));

        fake_set_mode(f.ns, slow, FAKE_PARKS, 0);
        crowd_order(&first, 20);
        crowd_await(&first, 20 - PLACES / 2);
        crowd_order(&second, 20);
        crowd_await(&second, 20 - PLACES / 4);
        call_start(&single, CALL_STAT, fixture_path(&f, "slow/one"));
        fake_wait_parked(f.ns, PLACES / 2 + PLACES / 4 + 1);
        ck_assert_int_eq(stat_get(STAT_FUSE_PARKED_NOW), PLACES / 2 + PLACES / 4 + 1);
        ck_assert_int_eq(stat_get(STAT_FUSE_REFUSED) - refused, 40 - PLACES / 2 - PLACES / 4);
        fake_land(f.ns, slow, 0, NULL);
        ck_assert_int_eq(call_join(&single), ENOENT);
        crowd_await(&first, PLACES / 2);
        crowd_await(&second, PLACES / 4);
        ck_assert_uint_eq(crowd_n_failed(&first, EAGAIN), 20 - PLACES / 2);
        ck_assert_uint_eq(crowd_n_failed(&first, ENOENT), PLACES / 2);
        ck_assert_uint_eq(crowd_n_failed(&second, EAGAIN), 20 - PLACES / 4);

        /* What has ended is counted no more: the second one has the half now. */
        fake_set_mode(f.ns, slow, FAKE_PARKS, 0);
        crowd_order(&second, 20);
        crowd_await(&second, 20 - PLACES / 2);
        fake_land(f.ns, slow, 0, NULL);
        crowd_await(&second, PLACES / 2);
        ck_assert_uint_eq(crowd_n_failed(&second, ENOENT), PLACES / 4 + PLACES / 2);
        crowd_end(&first);
        crowd_end(&second);
        fixture_done(&f);
}
END_TEST

/* In a process of its own, one call after the other, each of which waits for a worker: how many
 * were refused. */
static int count_refused(const char *dir, unsigned n_calls) {
        char path[PATH_MAX + 32];
        struct stat st;
        int n = 0, status;

        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                if (close_range(3, ~0U, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                        _exit(UINT8_MAX);
                for (unsigned i = 0; i < n_calls && n < UINT8_MAX; i++) {
                        (void) snprintf(path, sizeof(path), "%s/%u", dir, i);
                        n += lstat(path, &st) == 0 || errno != ENOENT;
                }
                _exit(n);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFEXITED(status));
        return WEXITSTATUS(status);
}

/* There is one place, and it is free before the call that had it returns: its caller may be back
 * sooner than the worker is done with it. */
START_TEST(who_was_answered_has_left_his_place_R3) {
        MountConfig config = fixture_config();

        config.max_pending = 1;
        fixture_init(&f);
        fixture_mount(&f, &config);
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        fake_set_mode(f.ns, dir, FAKE_BLOCKS, 0);
        ck_assert_int_eq(count_refused(fixture_path(&f, "dir"), 5000), 0);
        ck_assert_int_eq(stat_get(STAT_FUSE_PARKED_NOW), 0);
        fixture_done(&f);
}
END_TEST

/* The kernel allows this mount so many READs, of which a quarter is left to those that do not wait.
 */
#define BACKGROUND 16
#define READS (BACKGROUND / 4 * 3)

START_TEST(reads_of_what_is_here_find_a_place_R9) {
        MountConfig config = fixture_config();
        Call waiting[READS], call;
        uint64_t files[READS + 1];
        char name[16];

        config.max_background = BACKGROUND;
        fixture_init(&f);
        fixture_mount(&f, &config);
        fake_add_file(f.ns, NS_ROOT_ID, "quick", "content");
        for (unsigned i = 0; i <= READS; i++) {
                (void) snprintf(name, sizeof(name), "%u", i);
                files[i] = fake_add_file(f.ns, NS_ROOT_ID, name, "late");
                fake_set_mode(f.ns, files[i], FAKE_PARKS, 0);
                if (i < READS)
                        call_start(&waiting[i], CALL_READ, fixture_path(&f, name));
        }
        fake_wait_parked(f.ns, READS);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, name)), EAGAIN);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "quick")), 0);
        ck_assert_str_eq(call.result.text, "content");
        /* Other calls do not need such a place. */
        uint64_t dir = fake_add_dir(f.ns, NS_ROOT_ID, "dir");
        fake_set_mode(f.ns, dir, FAKE_PARKS, 0);
        call_start(&call, CALL_STAT, fixture_path(&f, "dir/name"));
        fake_wait_parked(f.ns, READS + 1);
        fake_land(f.ns, dir, 0, NULL);
        ck_assert_int_eq(call_join(&call), ENOENT);

        for (unsigned i = 0; i <= READS; i++)
                fake_land(f.ns, files[i], 0, NULL);
        for (unsigned i = 0; i < READS; i++) {
                ck_assert_int_eq(call_join(&waiting[i]), 0);
                ck_assert_str_eq(waiting[i].result.text, "late");
        }
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, name)), 0);
        ck_assert_str_eq(call.result.text, "late");
        fixture_done(&f);
}
END_TEST

/* The kernel asks again where reading ahead has failed. */
START_TEST(a_read_waits_until_its_deadline_once) {
        Call call;

        const MountConfig config = fixture_config();
        fixture_init(&f);
        fixture_mount(&f, &config);
        uint64_t file = fake_add_file(f.ns, NS_ROOT_ID, "file", "content");
        fake_set_mode(f.ns, file, FAKE_PARKS, 0);
        int64_t parked = stat_get(STAT_FUSE_PARKED);
        int64_t reads = stat_get(STAT_FUSE_READ);
        call_start(&call, CALL_READ, fixture_path(&f, "file"));
        fake_wait_parked(f.ns, 1);
        mount_session_tick(f.session, now_usec() + 7200 * USEC_PER_SEC);
        ck_assert_int_eq(call_join(&call), ETIMEDOUT);
        ck_assert_int_eq(stat_get(STAT_FUSE_PARKED) - parked, 1);
        ck_assert_int_eq(stat_get(STAT_FUSE_READ) - reads, 2);
        fake_land(f.ns, file, 0, NULL);
        ck_assert_int_eq(call_now(&call, CALL_READ, fixture_path(&f, "file")), 0);
        ck_assert_str_eq(call.result.text, "content");
        fixture_done(&f);
}
END_TEST

/* --- and after a crash --- */

static FakeMode mode;

static void make_tree(Namespace *ns, void *userdata) {
        uint64_t slow = fake_add_dir(ns, NS_ROOT_ID, "slow");

        fake_set_mode(ns, slow, mode, 0);
}

START_TEST(a_successor_counts_what_its_predecessor_left) {
        Server server;
        Crowd crowd;
        Call single;

        mode = FAKE_PARKS;
        crowd_start(&crowd);
        fixture_make_dir(&f);
        fixture_start_guard(&f);
        server_init(&server, f.mnt, make_tree, NULL);
        server.max_pending = PLACES;
        server_start(&server);
        crowd_enter(&crowd, fixture_path(&f, "slow"));
        crowd_order(&crowd, 20);
        crowd_await(&crowd, 20 - PLACES / 2);
        server_wait_parked(&server, PLACES / 2);

        server_kill(&server);
        server_start(&server);
        server_wait_parked(&server, PLACES / 2);
        crowd_order(&crowd, 5);
        crowd_await(&crowd, 5);
        ck_assert_uint_eq(crowd_n_failed(&crowd, EAGAIN), 20 - PLACES / 2 + 5);

        /* One that allows less refuses nothing that waits already. */
        server_kill(&server);
        server.max_pending = 2;
        server_start(&server);
        server_wait_parked(&server, PLACES / 2);
        crowd_order(&crowd, 1);
        crowd_await(&crowd, 1);
        ck_assert_uint_eq(crowd_n_failed(&crowd, EAGAIN), 20 - PLACES / 2 + 6);

        server_kill(&server);
        server.max_pending = PLACES;
        server_start(&server);
        server_wait_parked(&server, PLACES / 2);
        call_start(&single, CALL_STAT, fixture_path(&f, "slow/one"));
        server_wait_parked(&server, PLACES / 2 + 1);

        server_kill(&server);
        mode = FAKE_RESIDENT;
        server_start(&server);
        crowd_await(&crowd, PLACES / 2);
        ck_assert_uint_eq(crowd_n_failed(&crowd, ENOENT), PLACES / 2);
        ck_assert_int_eq(call_join(&single), ENOENT);
        crowd_end(&crowd);
        server_stop(&server);
        fixture_stop_guard(&f);
        fixture_remove_dir(&f);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_process_leaves_as_many_places_as_it_takes);
        tcase_add_test(tc, who_was_answered_has_left_his_place_R3);
        tcase_add_test(tc, reads_of_what_is_here_find_a_place_R9);
        tcase_add_test(tc, a_read_waits_until_its_deadline_once);
        tcase_add_test(tc, a_successor_counts_what_its_predecessor_left);
        skip_without_fuse();
}

CHECK_MAIN("mount-pending", add_tests)
