#include "util/thread.h"

#include <signal.h>

#include "gitfs/macro.h"

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *userdata) {
        static const int faults[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};
        sigset_t all, before;

        (void) sigfillset(&all); /* cannot fail, nor can setting a valid mask */
        /* They are about what this very thread does: map-guard.h and crash-mark.h handle them. */
        for (size_t i = 0; i < ELEMENTSOF(faults); i++)
                (void) sigdelset(&all, faults[i]);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        int e = pthread_create(ret, NULL, run, userdata);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (e == 0)
                (void) pthread_setname_np(*ret, name); /* fails for one that is too long */
        return -e;
}
