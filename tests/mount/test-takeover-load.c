#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check-main.h"
#include "mount/fixture.h"
#include "mount/server.h"

/* Many processes use a mount whose server is killed again and again, and none notices. */

static Fixture f;
static Server server;

#define N_FILES 24
#define FILE_MAX 60000

static char *new_content(unsigned i) {
        size_t len = (i * 7919 + 1) % FILE_MAX;
        char *text = malloc(len + 1);

        if (!text)
                abort();
        for (size_t k = 0; k < len; k++)
                text[k] = (char) ('a' + (i * 31 + k / 3 + k % 11) % 26);
        text[len] = '\0';
        return text;
}

static void make_tree(Namespace *ns, void *userdata) {
        char name[16];

        uint64_t dir = fake_add_dir(ns, NS_ROOT_ID, "dir");
        for (unsigned i = 0; i < N_FILES; i++) {
                _cleanup_free_ char *content = new_content(i);
                (void) snprintf(name, sizeof(name), "%u", i);
                uint64_t id = fake_add_file(ns, dir, name, content);
                if (i % 3 == 0)
                        fake_set_mode(ns, id, FAKE_BLOCKS, 0);
        }
        fake_add_link(ns, dir, "link", "target");
}

#define N_WORKERS 8
#define N_KILLS 20

typedef struct Load {
        atomic_bool stop;
        sem_t progress; /* posted after each call that went well */
        char trouble[N_WORKERS + 1][128];
} Load;

static Load *load;

#define COMPLAIN(worker, what)                                                                     \
        do {                                                                                       \
                (void) snprintf(                                                                   \
                        load->trouble[worker],                                                     \
                        sizeof(load->trouble[0]),                                                  \
                        "%s: %s",                                                                  \
                        what,                                                                      \
                        strerrordesc_np(errno));                                                   \
                _exit(1);                                                                          \
        } while (0)

/* Past the page cache, so that each is a request. */
static void read_file_of(unsigned worker, unsigned i) {
        static char buffer[FILE_MAX];
        _cleanup_free_ char *content = new_content(i);
        char path[128];
        size_t len = 0;
        ssize_t n;

        (void) snprintf(path, sizeof(path), "%s/dir/%u", f.mnt, i);
        int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0)
                COMPLAIN(worker, "open");
        while ((n = read(fd, buffer + len, sizeof(buffer) - len)) > 0)
                len += (size_t) n;
        if (n < 0)
                COMPLAIN(worker, "read");
        if (len != strlen(content) || memcmp(buffer, content, len) != 0)
                COMPLAIN(worker, "wrong bytes");
        (void) close(fd);
}

static void list_of(unsigned worker) {
        char path[128];
        unsigned n = 0;

        (void) snprintf(path, sizeof(path), "%s/dir", f.mnt);
        DIR *dir = opendir(path);
        if (!dir)
                COMPLAIN(worker, "opendir");
        errno = 0;
        while (readdir(dir)) // NOLINT(concurrency-mt-unsafe): this function's own stream
                n++;
        if (errno != 0 || n != N_FILES + 3)
                COMPLAIN(worker, "listing");
        (void) closedir(dir);
}

static void look_for(unsigned worker, unsigned n) {
        struct stat st;
        char path[128], target[128];

        (void) snprintf(path, sizeof(path), "%s/dir/no-%u-%u", f.mnt, worker, n);
        if (lstat(path, &st) == 0 || errno != ENOENT)
                COMPLAIN(worker, "a name that does not exist");
        (void) snprintf(path, sizeof(path), "%s/dir/link", f.mnt);
        if (readlink(path, target, sizeof(target)) != 6)
                COMPLAIN(worker, "link");
}

static _Noreturn void worker_main(unsigned worker) {
        (void) close_range(3, ~0U, 0);
        for (unsigned n = worker; !atomic_load(&load->stop); n++) {
                if (n % 4 == 0)
                        list_of(worker);
                else if (n % 4 == 1)
                        look_for(worker, n);
                else
                        read_file_of(worker, n * 13 % N_FILES);
                (void) sem_post(&load->progress);
        }
        _exit(0);
}

/* Stands in a directory, with a file open and one mapped. */
static _Noreturn void holder_main(unsigned worker) {
        _cleanup_free_ char *content = new_content(7);
        size_t len = strlen(content);
        char path[128], buffer[64];
        struct stat st;

        (void) close_range(3, ~0U, 0);
        (void) snprintf(path, sizeof(path), "%s/dir", f.mnt);
        if (chdir(path) < 0)
                COMPLAIN(worker, "chdir");
        int fd = open("7", O_RDONLY | O_DIRECT | O_CLOEXEC);
        int mapped = open("7", O_RDONLY | O_CLOEXEC);
        char *map = mmap(NULL, len, PROT_READ, MAP_SHARED, mapped, 0);
        if (fd < 0 || map == MAP_FAILED)
                COMPLAIN(worker, "open and map");
        while (!atomic_load(&load->stop)) {
                if (pread(fd, buffer, sizeof(buffer), 512) != sizeof(buffer) ||
                    memcmp(buffer, content + 512, sizeof(buffer)) != 0)
                        COMPLAIN(worker, "a descriptor that was open");
                (void) madvise(map, len, MADV_DONTNEED);
                if (memcmp(map, content, len) != 0)
                        COMPLAIN(worker, "a mapping");
                if (stat(".", &st) < 0 || stat("7", &st) < 0)
                        COMPLAIN(worker, "the working directory");
                (void) sem_post(&load->progress);
        }
        _exit(0);
}

/* Returns when the load has gone on by that many calls. */
static void await_progress(unsigned n) {
        while (sem_trywait(&load->progress) == 0)
                ;
        for (unsigned i = 0; i < n; i++)
                while (sem_wait(&load->progress) < 0)
                        ck_assert_int_eq(errno, EINTR);
}

static void start_load(pid_t *pids) {
        load = mmap(NULL, sizeof(*load), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(load, MAP_FAILED);
        ck_assert_int_eq(sem_init(&load->progress, /* pshared= */ 1, 0), 0);
        for (unsigned i = 0; i <= N_WORKERS; i++) {
                pids[i] = fork();
                ck_assert_int_ge(pids[i], 0);
                if (pids[i] == 0) {
                        if (i == N_WORKERS)
                                holder_main(i);
                        worker_main(i);
                }
        }
}

static void stop_load(const pid_t *pids) {
        atomic_store(&load->stop, true);
        for (unsigned i = 0; i <= N_WORKERS; i++) {
                ck_assert_int_eq(waitpid(pids[i], NULL, 0), pids[i]);
                ck_assert_str_eq(load->trouble[i], "");
        }
        ck_assert_int_eq(munmap(load, sizeof(*load)), 0);
}

START_TEST(a_load_notices_nothing_of_twenty_kills) {
        pid_t pids[N_WORKERS + 1];

        fixture_make_dir(&f);
        fixture_start_guard(&f);
        server_init(&server, f.mnt, make_tree, NULL);
        server_start(&server);
        start_load(pids);
        for (unsigned i = 0; i < N_KILLS; i++) {
                await_progress(1 + i * 17 % 60);
                if (i % 2)
                        server_invalidate(&server); /* many FORGETs */
                if (i % 5 == 4)
                        server_leave(&server);
                else
                        server_kill(&server);
                if (i % 4 == 3) {
                        /* Before it has served anybody. */
                        ck_assert_int_eq(server_attach(&server), 0);
                        server_kill(&server);
                }
                server_start(&server);
        }
        await_progress(10 * N_WORKERS);
        stop_load(pids);
        server_stop(&server);
        fixture_stop_guard(&f);
        fixture_remove_dir(&f);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_load_notices_nothing_of_twenty_kills);
        skip_without_fuse();
}

CHECK_MAIN("mount-takeover-load", add_tests)
