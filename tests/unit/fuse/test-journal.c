#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/journal.h"
#include "lib/check-main.h"
#include "util/thread.h"
#include "work/blame.h"

/* What a process leaves to its successor: here the same process opens the file a second time. */

static const JournalMount mount = {.mount_point = "/run/mnt", .connection = 77, .passed = true};

static struct fuse_in_header *header_of(JournalSlot *slot) {
        return (struct fuse_in_header *) (void *) slot->data;
}

/* As the kernel writes it. */
static void fill(JournalSlot *slot, uint64_t unique, uint32_t size) {
        memset(slot->data, 'x', size);
        slot->data[size - 1] = '\0';
        header_of(slot)->unique = unique;
        header_of(slot)->opcode = FUSE_LOOKUP;
        header_of(slot)->len = size;
}

static Journal *new_journal(unsigned n_parked) {
        Journal *j = NULL;
        ck_assert_int_eq(journal_new(&mount, n_parked, &j), 0);
        return j;
}

static int reopen(const Journal *j, Journal **ret) {
        Failure failure = {0};
        int fd = dup(journal_fd(j));
        ck_assert_int_ge(fd, 0);
        int r = journal_open(fd, ret, &failure);
        if (r < 0) {
                ck_assert_int_eq(close(fd), 0);
                ck_assert(failure.text[0]);
        }
        return r;
}

/* Where its parts lie is nobody's business but here. */
static void poke(const Journal *j, off_t offset, uint8_t value) {
        ck_assert_int_eq(pwrite(journal_fd(j), &value, 1, offset), 1);
}

START_TEST(a_successor_knows_the_mount_and_the_terms) {
        struct fuse_in_header in = {.len = sizeof(in), .opcode = FUSE_INIT, .unique = 5};
        Journal *j = new_journal(3), *next;
        JournalMount there;

        ck_assert_uint_eq(journal_terms(j)->init_size, 0);
        ck_assert_int_eq(journal_record_init(j, &in, sizeof(in)), 0);
        journal_record_answer(j, 0x1234, 4096);
        ck_assert_int_eq(reopen(j, &next), 0);
        journal_mount(next, &there);
        ck_assert_str_eq(there.mount_point, "/run/mnt");
        ck_assert_uint_eq(there.connection, 77);
        ck_assert(there.passed);
        ck_assert_uint_eq(journal_n_parked(next), 3);
        ck_assert_uint_eq(journal_terms(next)->init_size, sizeof(in));
        ck_assert_int_eq(memcmp(journal_terms(next)->init, &in, sizeof(in)), 0);
        ck_assert_uint_eq(journal_terms(next)->want, 0x1234);
        ck_assert_uint_eq(journal_terms(next)->max_readahead, 4096);
        journal_free(next);
        journal_free(j);
}
END_TEST

START_TEST(only_an_init_is_recorded_as_one) {
        struct fuse_in_header in = {.len = sizeof(in), .opcode = FUSE_LOOKUP};
        uint8_t large[JOURNAL_INIT_MAX + 1] = {0};
        Journal *j = new_journal(1);

        ck_assert_int_eq(journal_record_init(j, &in, sizeof(in)), -EMSGSIZE);
        in.opcode = FUSE_INIT;
        memcpy(large, &in, sizeof(in));
        ck_assert_int_eq(journal_record_init(j, large, sizeof(large)), -EMSGSIZE);
        ck_assert_int_eq(journal_record_init(j, &in, 0), -EMSGSIZE);
        ck_assert_uint_eq(journal_terms(j)->init_size, 0);
        journal_free(j);
}
END_TEST

START_TEST(another_layout_and_damage_are_told_apart) {
        Journal *j = new_journal(1), *next;
        int fds[2];

        poke(j, 8, 200); /* the version */
        ck_assert_int_eq(reopen(j, &next), -EPROTONOSUPPORT);
        journal_free(j);
        j = new_journal(1);
        poke(j, 0, 'x'); /* the magic */
        ck_assert_int_eq(reopen(j, &next), -EBADMSG);
        journal_free(j);
        j = new_journal(1);
        poke(j, 40, 'x'); /* the mount point */
        ck_assert_int_eq(reopen(j, &next), -EBADMSG);
        journal_free(j);
        /* Not a file at all. */
        ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
        ck_assert_int_lt(journal_open(fds[0], &next, NULL), 0);
        ck_assert_int_eq(close(fds[0]), 0);
        ck_assert_int_eq(close(fds[1]), 0);
        /* And nobody can cut it. */
        j = new_journal(1);
        ck_assert_int_eq(ftruncate(journal_fd(j), 100), -1);
        journal_free(j);
}
END_TEST

START_TEST(what_was_not_answered_is_found_once_and_in_order) {
        Journal *j = new_journal(4), *next;
        JournalSlot **slots = NULL;
        size_t n = 0;

        fill(journal_reader_slot(j, 0), 30, 300);
        fill(journal_reader_slot(j, 15), 10, 60);
        JournalSlot *parked = journal_take(j), *answered = journal_take(j);
        /* Parked, and not cleared in its reader's slot yet. */
        journal_slot_copy(parked, journal_reader_slot(j, 0));
        fill(answered, 5, 60);
        journal_slot_clear(answered);
        journal_give(j, answered);

        ck_assert_int_eq(reopen(j, &next), 0);
        ck_assert_int_eq(journal_pending(next, &slots, &n), 0);
        ck_assert_uint_eq(n, 2);
        ck_assert_uint_eq(header_of(slots[0])->unique, 10);
        ck_assert_uint_eq(header_of(slots[1])->unique, 30);
        ck_assert_uint_eq(journal_slot_size(slots[1]), 300);
        ck_assert_uint_eq(slots[1]->data[298], 'x');
        ck_assert_uint_eq(journal_slot_size(journal_reader_slot(j, 0)), 0);
        /* One of four is in use. */
        for (int i = 0; i < 3; i++)
                ck_assert_ptr_nonnull(journal_take(next));
        ck_assert_ptr_null(journal_take(next));
        journal_slot_clear(slots[1]);
        journal_give(next, slots[1]);
        ck_assert_ptr_eq(journal_take(next), slots[1]);
        free(slots);
        journal_free(next);
        journal_free(j);
}
END_TEST

static JournalSlot *only_pending(Journal *j) {
        JournalSlot **slots = NULL;
        size_t n = 0;

        ck_assert_int_eq(journal_pending(j, &slots, &n), 0);
        ck_assert_uint_eq(n, 1);
        JournalSlot *slot = slots[0];
        free(slots);
        return slot;
}

START_TEST(only_what_was_running_counts_an_attempt) {
        Journal *j = new_journal(2);
        JournalSlot *slot = journal_take(j);

        fill(slot, 1, 60);
        ck_assert_uint_eq(only_pending(j)->n_attempts, 0);
        journal_slot_enter(slot);
        ck_assert_uint_eq(only_pending(j)->n_attempts, 1);
        ck_assert_uint_eq(only_pending(j)->n_attempts, 1);
        journal_slot_enter(slot);
        journal_slot_leave(slot);
        ck_assert_uint_eq(only_pending(j)->n_attempts, 1);
        /* They stay with the request where it is parked again, and end with it. */
        JournalSlot *other = journal_take(j);
        journal_slot_copy(other, slot);
        journal_slot_clear(slot);
        ck_assert_uint_eq(only_pending(j)->n_attempts, 1);
        journal_slot_clear(other);
        ck_assert_uint_eq(other->n_attempts, 0);
        journal_free(j);
}
END_TEST

/* Three requests: one runs, one waits for something in `scope`, one for something else; and one
 * that nobody has begun with. */
static int scope, elsewhere;

static void fill_for_crash(Journal *j) {
        const int *scopes[] = {NULL, &scope, &elsewhere, NULL};

        for (unsigned i = 0; i < ELEMENTSOF(scopes); i++) {
                JournalSlot *slot = journal_take(j);
                fill(slot, i + 1, 60);
                if (i < 3)
                        journal_slot_enter(slot);
                if (i > 0)
                        journal_slot_leave(slot);
                atomic_store(&slot->scope, (uintptr_t) scopes[i]);
        }
}

/* A child that watches the journal, and dies as `die` has it. */
static Journal *after_death(int number, void (*die)(Journal *j), bool crash, const char *suspects) {
        const struct rlimit no_core = {0, 0};
        Journal *j = new_journal(4), *next;
        JournalSlot **slots = NULL;
        size_t n = 0;
        int status;

        fill_for_crash(j);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                (void) setrlimit(RLIMIT_CORE, &no_core);
                (void) signal(SIGSEGV, SIG_DFL); /* a sanitizer has a handler for it */
                journal_watch(j);
                die(j);
                _exit(0);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status));
        ck_assert_int_eq(WTERMSIG(status), number);
        ck_assert_int_eq(reopen(j, &next), 0);
        journal_free(j);
        ck_assert_int_eq(journal_follows_crash(next), crash);
        ck_assert_int_eq(journal_pending(next, &slots, &n), 0);
        ck_assert_uint_eq(n, 4);
        for (size_t i = 0; i < n; i++)
                ck_assert_uint_eq(slots[i]->n_attempts, suspects[i] == 'x');
        free(slots);
        /* It is counted once. */
        ck_assert_int_eq(journal_pending(next, &slots, &n), 0);
        for (size_t i = 0; i < n; i++)
                ck_assert_uint_eq(slots[i]->n_attempts, suspects[i] == 'x');
        free(slots);
        return next;
}

static void die_running(Journal *j) {
        fill(journal_reader_slot(j, 0), 2, 60); /* the second one has another slot */
        journal_slot_enter(journal_reader_slot(j, 0));
        __builtin_trap();
}

static void die_for_scope(Journal *j) {
        BLAME_GUARD(&scope);
        abort();
}

static void die_for_nobody_here(Journal *j) {
        BLAME_GUARD(j);
        abort();
}

static void die_of_something(Journal *j) {
        abort();
}

static unsigned recurse(unsigned depth) {
        volatile uint8_t frame[1024];

        frame[depth % sizeof(frame)] = (uint8_t) depth;
        return depth == UINT_MAX ? 0 : recurse(depth + 1) + frame[depth % sizeof(frame)];
}

static void *overflow(void *userdata) {
        BLAME_GUARD(&scope);
        return (void *) (uintptr_t) recurse(0);
}

static void die_of_recursion(Journal *j) {
        pthread_t thread;

        if (thread_start(&thread, "overflow", overflow, NULL) == 0)
                (void) pthread_join(thread, NULL);
}

static void die_killed(Journal *j) {
        (void) raise(SIGKILL);
}

static void die_by_order(Journal *j) {
        (void) kill(getpid(), SIGABRT);
        (void) pause();
}

START_TEST(who_is_suspected_of_a_crash) {
        journal_free(after_death(SIGILL, die_running, true, "-x--"));
        journal_free(after_death(SIGABRT, die_for_scope, true, "-x--"));
        journal_free(after_death(SIGSEGV, die_of_recursion, true, "-x--"));
        journal_free(after_death(SIGABRT, die_for_nobody_here, true, "xxx-"));
        journal_free(after_death(SIGABRT, die_of_something, true, "xxx-"));
        /* Nobody's fault: but who was running may have made it take too much memory. */
        journal_free(after_death(SIGKILL, die_killed, false, "x---"));
        journal_free(after_death(SIGABRT, die_by_order, false, "x---"));
}
END_TEST

START_TEST(calls_like_one_that_is_condemned_are_known) {
        Journal *j = new_journal(1), *next;
        JournalSlot *slot = journal_reader_slot(j, 0);

        fill(slot, 1, 60);
        ck_assert(!journal_is_condemned(j, slot));
        journal_condemn(j, slot);
        fill(slot, 2, 60);
        ck_assert_int_eq(reopen(j, &next), 0);
        ck_assert(journal_is_condemned(next, slot));
        slot->data[58] = 'y'; /* another name */
        ck_assert(!journal_is_condemned(next, slot));
        header_of(slot)->opcode = FUSE_READ;
        ck_assert(!journal_is_condemned(next, slot));
        journal_condemn(next, slot);
        slot->data[50] = 'y'; /* another place in the same file */
        ck_assert(journal_is_condemned(next, slot));
        header_of(slot)->nodeid++;
        ck_assert(!journal_is_condemned(next, slot));
        /* The first ones make room. */
        for (unsigned i = 0; i < JOURNAL_CONDEMNED_MAX; i++) {
                header_of(slot)->nodeid++;
                journal_condemn(next, slot);
                ck_assert(journal_is_condemned(next, slot));
        }
        fill(slot, 3, 60);
        ck_assert(!journal_is_condemned(next, slot));
        header_of(slot)->opcode = FUSE_READ;
        header_of(slot)->nodeid += 1 + JOURNAL_CONDEMNED_MAX;
        ck_assert(journal_is_condemned(next, slot));
        journal_pardon(next);
        ck_assert(!journal_is_condemned(next, slot));
        journal_free(next);
        journal_free(j);
}
END_TEST

START_TEST(nonsense_in_a_slot_is_dropped) {
        Journal *j = new_journal(1), *next;
        JournalSlot **slots = NULL;
        size_t n = 1;

        fill(journal_reader_slot(j, 3), 1, 60);
        header_of(journal_reader_slot(j, 3))->len = 7;
        JournalSlot *parked = journal_take(j);
        fill(parked, 2, 60);
        header_of(parked)->len = UINT32_MAX;
        ck_assert_int_eq(reopen(j, &next), 0);
        ck_assert_int_eq(journal_pending(next, &slots, &n), 0);
        ck_assert_uint_eq(n, 0);
        ck_assert_ptr_nonnull(journal_take(next));
        free(slots);
        journal_free(next);
        journal_free(j);
}
END_TEST

static uint8_t *arguments_of(JournalSlot *slot) {
        return slot->data + sizeof(struct fuse_in_header);
}

/* A BATCH_FORGET of `size` bytes that says it has `count` items. */
static void fill_forgets(JournalSlot *slot, uint64_t unique, uint32_t size, uint32_t count) {
        fill(slot, unique, size);
        header_of(slot)->opcode = FUSE_BATCH_FORGET;
        ((struct fuse_batch_forget_in *) (void *) arguments_of(slot))->count = count;
}

START_TEST(what_reaches_beyond_its_slot_is_dropped) {
        const uint32_t head = sizeof(struct fuse_in_header);
        const uint32_t forgets = head + sizeof(struct fuse_batch_forget_in);
        Journal *j = new_journal(1), *next;
        JournalSlot **slots = NULL;
        size_t n = 0;

        fill_forgets(journal_reader_slot(j, 0), 1, forgets + 32, 2); /* as the kernel has it */
        fill_forgets(journal_reader_slot(j, 1), 2, forgets + 32, 3);
        fill_forgets(journal_reader_slot(j, 2), 3, forgets + 31, 2);
        fill_forgets(journal_reader_slot(j, 3), 4, forgets + 32, UINT32_MAX);
        fill_forgets(journal_reader_slot(j, 4), 5, forgets, 0);
        fill_forgets(journal_reader_slot(j, 5), 6, head + 4, 0);
        fill(journal_reader_slot(j, 6), 7, head + 5); /* a name, */
        fill(journal_reader_slot(j, 7), 8, head + 5);
        arguments_of(journal_reader_slot(j, 7))[4] = 'x'; /* one without an end, */
        fill(journal_reader_slot(j, 8), 9, head);         /* and none */
        fill(journal_reader_slot(j, 9), 10, head + sizeof(struct fuse_getxattr_in) + 5);
        header_of(journal_reader_slot(j, 9))->opcode = FUSE_GETXATTR;
        fill(journal_reader_slot(j, 10), 11, head + sizeof(struct fuse_getxattr_in));
        header_of(journal_reader_slot(j, 10))->opcode = FUSE_GETXATTR;

        ck_assert_int_eq(reopen(j, &next), 0);
        ck_assert_int_eq(journal_pending(next, &slots, &n), 0);
        ck_assert_uint_eq(n, 4);
        ck_assert_uint_eq(header_of(slots[0])->unique, 1);
        ck_assert_uint_eq(header_of(slots[1])->unique, 5);
        ck_assert_uint_eq(header_of(slots[2])->unique, 7);
        ck_assert_uint_eq(header_of(slots[3])->unique, 10);
        free(slots);
        journal_free(next);
        journal_free(j);
}
END_TEST

START_TEST(who_has_come_past_the_root_is_known_to_a_successor) {
        Journal *j = new_journal(1), *next;
        JournalSlot *slot = journal_reader_slot(j, 0);

        fill(slot, 1, 60);
        header_of(slot)->nodeid = FUSE_ROOT_ID;
        header_of(slot)->opcode = FUSE_GETATTR;
        journal_note_use(j, slot);
        ck_assert(!journal_root_is_used(j));
        header_of(slot)->opcode = FUSE_LOOKUP;
        header_of(slot)->nodeid++;
        journal_note_use(j, slot);
        ck_assert(!journal_root_is_used(j));
        header_of(slot)->nodeid--;
        journal_note_use(j, slot);
        ck_assert(journal_root_is_used(j));
        ck_assert_int_eq(reopen(j, &next), 0);
        ck_assert(journal_root_is_used(next));
        journal_free(next);
        journal_free(j);
}
END_TEST

START_TEST(what_is_too_long_for_a_parked_slot_is_known) {
        Journal *j = new_journal(1);
        JournalSlot *slot = journal_reader_slot(j, 0);

        fill(slot, 1, JOURNAL_PARKED_SIZE - JOURNAL_SLOT_HEAD);
        ck_assert(journal_slot_fits(slot));
        fill(slot, 1, JOURNAL_PARKED_SIZE - JOURNAL_SLOT_HEAD + 1);
        ck_assert(!journal_slot_fits(slot));
        journal_free(j);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_successor_knows_the_mount_and_the_terms);
        tcase_add_test(tc, only_an_init_is_recorded_as_one);
        tcase_add_test(tc, another_layout_and_damage_are_told_apart);
        tcase_add_test(tc, what_was_not_answered_is_found_once_and_in_order);
        tcase_add_test(tc, only_what_was_running_counts_an_attempt);
        tcase_add_test(tc, who_is_suspected_of_a_crash);
        tcase_add_test(tc, calls_like_one_that_is_condemned_are_known);
        tcase_add_test(tc, nonsense_in_a_slot_is_dropped);
        tcase_add_test(tc, what_reaches_beyond_its_slot_is_dropped);
        tcase_add_test(tc, who_has_come_past_the_root_is_known_to_a_successor);
        tcase_add_test(tc, what_is_too_long_for_a_parked_slot_is_known);
}

CHECK_MAIN("fuse-journal", add_tests)
