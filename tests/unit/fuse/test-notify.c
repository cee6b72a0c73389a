#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/herald.h"
#include "fuse/notify.h"
#include "lib/check-main.h"
#include "mount/fake-namespace.h"
#include "util/stats.h"

/* What the kernel would be told comes out of a pipe here. */

static int to_kernel[2];
static struct rlimit n_files;

static void open_kernel(void) {
        ck_assert_int_eq(pipe2(to_kernel, O_CLOEXEC), 0);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &n_files), 0);
}

static void close_kernel(void) {
        ck_assert_int_eq(close(to_kernel[0]), 0);
        ck_assert_int_eq(close(to_kernel[1]), 0);
}

/* Whether a process can be started: it needs descriptors. */
static void allow_processes(bool allow) {
        struct rlimit limit = n_files;

        if (!allow)
                limit.rlim_cur = 0;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void read_all(void *data, size_t size) {
        for (uint8_t *p = data; size > 0;) {
                ssize_t n = read(to_kernel[0], p, size);
                ck_assert_int_gt(n, 0);
                p += n;
                size -= (size_t) n;
        }
}

/* The kernel hears of this name next. */
static void assert_told(const char *name) {
        struct fuse_out_header out;
        struct fuse_notify_inval_entry_out entry;
        char text[64];

        read_all(&out, sizeof(out));
        ck_assert_int_eq(out.error, FUSE_NOTIFY_INVAL_ENTRY);
        read_all(&entry, sizeof(entry));
        ck_assert_uint_eq(entry.parent, 1);
        ck_assert_uint_le(entry.namelen, sizeof(text) - 1);
        read_all(text, entry.namelen + 1);
        ck_assert_str_eq(text, name);
}

/* Of what this thread has forked only the herald is left; it has told something, so it has its
 * name. */
static void kill_herald(void) {
        char path[64];
        siginfo_t info;
        int pid;

        (void) snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int) gettid());
        FILE *children = fopen(path, "re");
        ck_assert_ptr_nonnull(children);
        ck_assert_int_eq(fscanf(children, "%d", &pid), 1);
        (void) fclose(children);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT), 0);
}

START_TEST(what_a_herald_could_not_tell_it_says) {
        Herald *h;

        open_kernel();
        ck_assert_int_eq(herald_new(to_kernel[1], 0, &h), 0);
        ck_assert_int_eq(herald_drop_entry(h, 1, "first"), 0);
        assert_told("first");
        kill_herald();
        allow_processes(false);
        ck_assert_int_eq(herald_drop_entry(h, 1, "second"), -EAGAIN);
        ck_assert_int_eq(herald_drop_entry(h, 1, "second"), -EAGAIN);
        allow_processes(true);
        ck_assert_int_eq(herald_drop_entry(h, 1, "second"), 0);
        assert_told("second");
        herald_free(h);
        close_kernel();
}
END_TEST

static const uint8_t file[1500] = "content of a file";

static int add_file(Herald *h, uint64_t id) {
        const ObjectRef content = {
                .type = OBJECT_BLOB,
                .data = file,
                .out = file,
                .size = sizeof(file),
        };
        return herald_add_store(h, id, &content);
}

static void assert_stored(uint64_t id) {
        struct fuse_out_header out;
        struct fuse_notify_store_out store;
        uint8_t data[sizeof(file)];

        read_all(&out, sizeof(out));
        ck_assert_int_eq(out.error, FUSE_NOTIFY_STORE);
        ck_assert_uint_eq(out.len, sizeof(out) + sizeof(store) + sizeof(file));
        read_all(&store, sizeof(store));
        ck_assert_uint_eq(store.nodeid, id);
        ck_assert_uint_eq(store.offset, 0);
        ck_assert_uint_eq(store.size, sizeof(file));
        read_all(data, sizeof(data));
        ck_assert_mem_eq(data, file, sizeof(file));
}

START_TEST(a_herald_tells_files_together) {
        HeraldStored stored;
        Herald *h;
        uint64_t id = 1;

        open_kernel();
        ck_assert_int_eq(herald_new(to_kernel[1], sizeof(file), &h), 0);
        ck_assert_int_eq(herald_flush(h, &stored), 0);
        ck_assert_uint_eq(stored.files, 0);

        int r = add_file(h, id);
        for (; r == 0; r = add_file(h, id))
                id++;
        ck_assert_int_eq(r, -ENOBUFS);
        ck_assert_uint_gt(id, 2);
        ck_assert_int_eq(herald_flush(h, &stored), 0);
        ck_assert_uint_eq(stored.files, id - 1);
        ck_assert_uint_eq(stored.bytes, (id - 1) * sizeof(file));
        for (uint64_t i = 1; i < id; i++)
                assert_stored(i);

        /* There is room again; and whoever takes over is given all of them. */
        ck_assert_int_eq(add_file(h, 100), 0);
        ck_assert_int_eq(add_file(h, 101), 0);
        kill_herald();
        ck_assert_int_eq(herald_flush(h, &stored), 0);
        ck_assert_uint_eq(stored.files, 2);
        assert_stored(100);
        assert_stored(101);
        ck_assert_int_eq(herald_drop_entry(h, 1, "name"), 0);
        assert_told("name");
        herald_free(h);
        close_kernel();
}
END_TEST

/* It may still read what it was given, and would tell the kernel a mixture. */
START_TEST(a_dismissed_herald_is_given_nothing) {
        HeraldStored stored;
        Herald *h;

        open_kernel();
        ck_assert_int_eq(herald_new(to_kernel[1], sizeof(file), &h), 0);
        ck_assert_int_eq(add_file(h, 1), 0);
        herald_dismiss(h);
        ck_assert_int_eq(herald_flush(h, &stored), -ENOTCONN);
        ck_assert_int_eq(add_file(h, 2), -ENOTCONN);
        ck_assert_int_eq(herald_drop_entry(h, 1, "name"), -ENOTCONN);
        herald_free(h);
        close_kernel();
}
END_TEST

typedef struct Waiter {
        NotifyWaiter waiter;
        sem_t told;
} Waiter;

static void on_told(NotifyWaiter *waiter) {
        (void) sem_post(&container_of(waiter, Waiter, waiter)->told); /* once: cannot overflow */
}

static void await(Waiter *w) {
        while (sem_wait(&w->told) < 0)
                ck_assert_int_eq(errno, EINTR);
        ck_assert_int_eq(sem_destroy(&w->told), 0);
}

/* All that is queued. */
static void await_told(Notifier *n) {
        Waiter w = {.waiter.told = on_told};

        ck_assert_int_eq(sem_init(&w.told, 0, 0), 0);
        notifier_when_told(n, &w.waiter);
        await(&w);
}

typedef struct Telling {
        Namespace *ns;
        Journal *journal;
        Notifier *notifier;
        Waiter first, second;
} Telling;

static void start(Telling *t) {
        static const JournalMount mount = {.mount_point = "/mnt"};

        *t = (Telling){.first.waiter.told = on_told, .second.waiter.told = on_told};
        open_kernel();
        ck_assert_int_eq(sem_init(&t->first.told, 0, 0), 0);
        ck_assert_int_eq(sem_init(&t->second.told, 0, 0), 0);
        t->ns = fake_new(NULL); /* nothing is waited for */
        ck_assert_int_eq(journal_new(&mount, 1, &t->journal), 0);
        ck_assert_int_eq(notifier_new(t->ns, &t->notifier), 0);
        ck_assert_int_eq(notifier_start(t->notifier, to_kernel[1], t->journal), 0);
}

/* Two names that cannot be told at the moment, the first of which was tried. */
static void begin(Telling *t) {
        int64_t n_retried = stat_get(STAT_NOTIFY_RETRIED);

        start(t);
        notifier_entry(t->notifier, 1, "before");
        assert_told("before");
        await_told(t->notifier); /* the herald has also said so */
        kill_herald();
        allow_processes(false);
        notifier_entry(t->notifier, 1, "first");
        notifier_when_told(t->notifier, &t->first.waiter);
        notifier_entry(t->notifier, 1, "second");
        notifier_when_told(t->notifier, &t->second.waiter);
        while (stat_get(STAT_NOTIFY_RETRIED) < n_retried + 2)
                (void) sched_yield();
}

static void end(Telling *t) {
        notifier_stop(t->notifier);
        await(&t->first);
        await(&t->second);
        notifier_free(t->notifier);
        journal_free(t->journal);
        fake_free(t->ns);
        close_kernel();
}

START_TEST(what_could_not_be_told_is_told_later_and_in_order) {
        int is_told = -1;
        Telling t;

        begin(&t);
        ck_assert_int_eq(sem_getvalue(&t.first.told, &is_told), 0);
        ck_assert_int_eq(is_told, 0);
        allow_processes(true);
        assert_told("first");
        assert_told("second");
        end(&t);
}
END_TEST

START_TEST(nobody_waits_for_what_cannot_be_told_at_the_end) {
        Telling t;

        begin(&t);
        end(&t);
        allow_processes(true);
}
END_TEST

/* The kernel would drop the first attributes of the root that it gets, and let nobody in. */
START_TEST(a_root_that_nobody_has_come_past_is_not_dropped) {
        struct fuse_out_header out;
        struct fuse_notify_inval_inode_out inode;
        struct fuse_in_header *in;
        Telling t;

        start(&t);
        notifier_inode(t.notifier, NS_ROOT_ID);
        notifier_entry(t.notifier, 1, "name");
        notifier_when_told(t.notifier, &t.first.waiter);
        assert_told("name");

        JournalSlot *slot = journal_reader_slot(t.journal, 0);
        in = (void *) slot->data;
        *in = (struct fuse_in_header){.opcode = FUSE_LOOKUP, .nodeid = NS_ROOT_ID};
        journal_note_use(t.journal, slot);
        notifier_inode(t.notifier, NS_ROOT_ID);
        notifier_when_told(t.notifier, &t.second.waiter);
        read_all(&out, sizeof(out));
        ck_assert_int_eq(out.error, FUSE_NOTIFY_INVAL_INODE);
        read_all(&inode, sizeof(inode));
        ck_assert_uint_eq(inode.ino, NS_ROOT_ID);
        end(&t);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_herald_tells_files_together);
        tcase_add_test(tc, a_dismissed_herald_is_given_nothing);
        tcase_add_test(tc, what_a_herald_could_not_tell_it_says);
        tcase_add_test(tc, what_could_not_be_told_is_told_later_and_in_order);
        tcase_add_test(tc, nobody_waits_for_what_cannot_be_told_at_the_end);
        tcase_add_test(tc, a_root_that_nobody_has_come_past_is_not_dropped);
}

CHECK_MAIN("fuse-notify", add_tests)
