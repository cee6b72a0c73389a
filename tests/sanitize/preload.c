/* Loaded into what runs under valgrind.
 *
 * A daemon whose threads answer what another one asks its mount needs valgrind's hint
 * fuse-compatible, and with that valgrind 3.19 fails an assertion in close_range() and readlink().
 *
 * A forked process has all memory of the daemon and but one of its threads: to search it for leaks
 * takes long and tells nothing. So it ends as another program, one that valgrind does not watch. */

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <valgrind/valgrind.h>

/* More than any of our tests has open; valgrind needs its time for each. */
#define MOST_OPEN 2048u

static pid_t first;

__attribute__((constructor)) static void remember_first(void) {
        first = getpid();
}

int close_range(unsigned from, unsigned to, int flags) {
        for (unsigned fd = from; fd <= to && fd < MOST_OPEN; fd++)
                (void) close((int) fd); /* most of them are not open */
        return 0;
}

ssize_t readlink(const char *restrict path, char *restrict buf, size_t len) {
        return readlinkat(AT_FDCWD, path, buf, len);
}

void _exit(int status) { // NOLINT: it is the name
        if (RUNNING_ON_VALGRIND && getpid() != first)
                (void) execl(status == 0 ? "/bin/true" : "/bin/false", "exit", NULL);
        for (;;)
                (void) syscall(SYS_exit_group, status);
}
