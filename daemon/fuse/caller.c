#include "fuse/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"

/* A process may have as many places as it leaves free. So one alone gets half of them, the next
 * half of the rest, of n that want all they can get each one n-th and the same is left, and whoever
 * comes with a single call finds a place. No share has to be chosen, and nobody is refused anything
 * before others have reason to want it.
 *
 * All processes that cannot be seen count as one. */

struct Caller {
        HTableLink link;
        pid_t process;
        uint64_t n[_CALLER_KIND_MAX]; /* the first > 0 */
};

void callers_done(CallerTable *t) {
        htable_done(&t->by_process);
}

/* Not getpgid() or the like, which know no processes; and not a pidfd, which takes Linux 6.9 for a
 * thread. The file is made in the moment of reading, and none of the locks that takes is ever held
 * by somebody who waits for us. */
pid_t caller_process(pid_t thread) {
        char path[32], text[512];
        char *end;

        if (thread <= 0)
                return 0;
        (void) snprintf(path, sizeof(path), "/proc/%d/status", thread);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0;
        ssize_t n = read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return 0;
        text[n] = '\0';
        /* The name comes first, and newlines are escaped in it. */
        const char *field = strstr(text, "\nTgid:\t");
        if (!field)
                return 0;
        long process = strtol(field + strlen("\nTgid:\t"), &end, 10);
        return *end == '\n' && process > 0 ? (pid_t) process : 0;
}

static uint64_t hash_of(pid_t process) {
        return hash_bytes(&process, sizeof(process), 0);
}

static Caller *find(const CallerTable *t, pid_t process) {
        HTABLE_FOREACH (l, &t->by_process, hash_of(process)) {
                Caller *c = container_of(l, Caller, link);
                if (c->process == process)
                        return c;
        }
        return NULL;
}

static int add(CallerTable *t, pid_t process, Caller **ret) {
        Caller *c = calloc(1, sizeof(*c));

        if (!c)
                return -ENOMEM;
        c->process = process;
        int r = htable_add(&t->by_process, &c->link, hash_of(process));
        if (r < 0) {
                free(c);
                return r;
        }
        *ret = c;
        return 0;
}

int callers_enter(
        CallerTable *t,
        pid_t process,
        CallerKind kind,
        const uint64_t n_free[_CALLER_KIND_MAX],
        Caller **ret) {
        Caller *c = find(t, process);

        for (CallerKind k = 0; k <= kind; k++)
                if ((c ? c->n[k] : 0) >= n_free[k])
                        return -EDQUOT;
        int r = c ? 0 : add(t, process, &c);
        if (r < 0)
                return r;
        for (CallerKind k = 0; k <= kind; k++)
                c->n[k]++;
        *ret = c;
        return 0;
}

void callers_leave(CallerTable *t, CallerKind kind, Caller *caller) {
        if (!caller)
                return;
        for (CallerKind k = 0; k <= kind; k++)
                caller->n[k]--;
        if (caller->n[CALLER_ALL] > 0)
                return;
        htable_remove(&t->by_process, &caller->link);
        free(caller);
}
