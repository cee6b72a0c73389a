#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/caller.h"
#include "lib/check-main.h"

/* Which process a call comes from, and how many of them may wait. */

typedef struct Thread {
        pthread_t thread;
        sem_t known, end;
        atomic_int id;
} Thread;

static void *thread_main(void *userdata) {
        Thread *t = userdata;

        /* A name that looks like the line that is looked for. */
        (void) prctl(PR_SET_NAME, "x\nTgid:\t1\n");
        atomic_store(&t->id, gettid());
        (void) sem_post(&t->known);
        while (sem_wait(&t->end) < 0)
                ;
        return NULL;
}

START_TEST(a_thread_belongs_to_its_process) {
        Thread t = {0};

        ck_assert_int_eq(sem_init(&t.known, 0, 0), 0);
        ck_assert_int_eq(sem_init(&t.end, 0, 0), 0);
        ck_assert_int_eq(pthread_create(&t.thread, NULL, thread_main, &t), 0);
        while (sem_wait(&t.known) < 0)
                ck_assert_int_eq(errno, EINTR);
        ck_assert_int_ne(atomic_load(&t.id), getpid());
        ck_assert_int_eq(caller_process(atomic_load(&t.id)), getpid());
        ck_assert_int_eq(caller_process(getpid()), getpid());
        ck_assert_int_eq(sem_post(&t.end), 0);
        ck_assert_int_eq(pthread_join(t.thread, NULL), 0);
        ck_assert_int_eq(sem_destroy(&t.known), 0);
        ck_assert_int_eq(sem_destroy(&t.end), 0);
}
END_TEST

START_TEST(who_cannot_be_seen_is_nobody_in_particular) {
        pid_t child = fork();

        ck_assert_int_ge(child, 0);
        if (child == 0)
                _exit(0);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        ck_assert_int_eq(caller_process(child), 0);
        ck_assert_int_eq(caller_process(0), 0);
        ck_assert_int_eq(caller_process(-1), 0);
}
END_TEST

static int enter(CallerTable *t, pid_t process, uint64_t n_free, Caller **ret) {
        const uint64_t free_of_all[_CALLER_KIND_MAX] = {[CALLER_ALL] = n_free};

        return callers_enter(t, process, CALLER_ALL, free_of_all, ret);
}

static void leave(CallerTable *t, Caller *caller) {
        callers_leave(t, CALLER_ALL, caller);
}

/* As many as it gets of `n_places`, in all of which n_taken are taken. */
static unsigned
fill(CallerTable *t, pid_t process, unsigned n_places, unsigned *n_taken, Caller **ret) {
        unsigned n = 0;

        while (*n_taken < n_places && enter(t, process, n_places - *n_taken, &ret[n]) == 0) {
                n++;
                (*n_taken)++;
        }
        return n;
}

START_TEST(a_process_has_as_many_places_as_it_leaves) {
        enum { PLACES = 64 };
        Caller *callers[3][PLACES] = {0};
        CallerTable t = {0};
        Caller *more = NULL;
        unsigned n_taken = 0;

        ck_assert_uint_eq(fill(&t, 101, PLACES, &n_taken, callers[0]), PLACES / 2);
        ck_assert_uint_eq(fill(&t, 102, PLACES, &n_taken, callers[1]), PLACES / 4);
        ck_assert_uint_eq(fill(&t, 103, PLACES, &n_taken, callers[2]), PLACES / 8);
        ck_assert_int_eq(enter(&t, 101, PLACES - n_taken, &more), -EDQUOT);
        /* Who comes now finds a place. */
        ck_assert_int_eq(enter(&t, 104, PLACES - n_taken, &more), 0);
        leave(&t, more);

        for (unsigned i = 0; i < PLACES / 2; i++)
                leave(&t, callers[0][i]);
        n_taken -= PLACES / 2;
        /* What was given back counts for nobody. */
        ck_assert_uint_eq(fill(&t, 101, PLACES, &n_taken, callers[0]), PLACES * 5 / 16);
        for (unsigned i = 0; i < PLACES * 5 / 16; i++)
                leave(&t, callers[0][i]);
        for (unsigned i = 0; i < PLACES / 4; i++)
                leave(&t, callers[1][i]);
        for (unsigned i = 0; i < PLACES / 8; i++)
                leave(&t, callers[2][i]);
        leave(&t, NULL);
        callers_done(&t);
}
END_TEST

START_TEST(the_last_place_is_for_who_has_none) {
        CallerTable t = {0};
        Caller *a = NULL, *b = NULL;

        ck_assert_int_eq(enter(&t, 1, 2, &a), 0);
        ck_assert_int_eq(enter(&t, 1, 1, &b), -EDQUOT);
        ck_assert_ptr_null(b);
        ck_assert_int_eq(enter(&t, 0, 1, &b), 0);
        leave(&t, a);
        leave(&t, b);
        callers_done(&t);
}
END_TEST

START_TEST(places_of_one_kind_are_counted_apart) {
        const uint64_t few[_CALLER_KIND_MAX] = {[CALLER_ALL] = 100, [CALLER_BACKGROUND] = 2};
        CallerTable t = {0};
        Caller *a = NULL, *b = NULL, *c = NULL, *d = NULL;

        /* What else it has waiting takes no such place. */
        ck_assert_int_eq(callers_enter(&t, 1, CALLER_ALL, few, &a), 0);
        ck_assert_int_eq(callers_enter(&t, 1, CALLER_ALL, few, &a), 0);
        ck_assert_int_eq(callers_enter(&t, 1, CALLER_BACKGROUND, few, &b), 0);
        ck_assert_int_eq(callers_enter(&t, 1, CALLER_BACKGROUND, few, &c), 0);
        ck_assert_int_eq(callers_enter(&t, 1, CALLER_BACKGROUND, few, &d), -EDQUOT);
        ck_assert_int_eq(callers_enter(&t, 1, CALLER_ALL, few, &d), 0);
        /* But a place among all, too. */
        const uint64_t none[_CALLER_KIND_MAX] = {[CALLER_ALL] = 5, [CALLER_BACKGROUND] = 100};
        ck_assert_int_eq(callers_enter(&t, 1, CALLER_BACKGROUND, none, &d), -EDQUOT);

        callers_leave(&t, CALLER_BACKGROUND, b);
        ck_assert_int_eq(callers_enter(&t, 1, CALLER_BACKGROUND, few, &b), 0);
        callers_leave(&t, CALLER_BACKGROUND, b);
        callers_leave(&t, CALLER_BACKGROUND, c);
        for (unsigned i = 0; i < 3; i++)
                callers_leave(&t, CALLER_ALL, a);
        callers_done(&t);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_thread_belongs_to_its_process);
        tcase_add_test(tc, who_cannot_be_seen_is_nobody_in_particular);
        tcase_add_test(tc, a_process_has_as_many_places_as_it_leaves);
        tcase_add_test(tc, places_of_one_kind_are_counted_apart);
        tcase_add_test(tc, the_last_place_is_for_who_has_none);
}

CHECK_MAIN("fuse-caller", add_tests)
