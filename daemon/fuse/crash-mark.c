#include "fuse/crash-mark.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "work/blame.h"

/* A signal handler that runs in the thread that crashed, whatever state the process is in: it
 * writes three words to shared memory, and the process ends as it would have. A thread whose stack
 * has come to its end has another one for it (thread_start()). SIGBUS is not among
 * the signals: it is about mapped files, and map-guard.h handles it. */

static const int signals[] = {SIGABRT, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};

static _Atomic(CrashMark *) watched;
static atomic_int watcher; /* a child that was forked has the handler as well */
static _Thread_local uint64_t running;

static void on_crash(int number, siginfo_t *info, void *context) {
        CrashMark *mark = atomic_load(&watched);

        if (info->si_code == SI_USER || info->si_code == SI_QUEUE) {
                (void) raise(number); /* sent by somebody; ends the process on return */
                return;
        }
        if (!mark || atomic_load(&watcher) != getpid() || atomic_load(&mark->crashed))
                return;
        atomic_store(&mark->unique, running);
        atomic_store(&mark->scope, (uintptr_t) blame_current());
        atomic_store(&mark->crashed, 1);
}

/* The handler is for once: when it returns, what happened happens again, to the end. */
static void handle(int number) {
        struct sigaction action = {
                .sa_sigaction = on_crash,
                .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_ONSTACK,
        };
        struct sigaction old;

        (void) sigemptyset(
                &action.sa_mask); /* cannot fail, nor can the others with valid signals */
        (void) sigaction(number, NULL, &old);
        if (!(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
                (void) sigaction(number, &action, NULL);
}

void crash_mark_watch(CrashMark *mark) {
        atomic_store(&watcher, getpid());
        atomic_store(&watched, mark);
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                handle(signals[i]);
}

void crash_mark_forget(const CrashMark *mark) {
        CrashMark *expected = (CrashMark *) mark;

        (void) atomic_compare_exchange_strong(&watched, &expected, NULL);
}

void crash_mark_enter(uint64_t unique) {
        running = unique;
}
