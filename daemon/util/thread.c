#include "util/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

#include "gitfs/macro.h"

/* For the handler of a fault that is the end of the thread's own stack. The pages are not there
 * until they are used; the kernel's frame takes some ten kilobytes on large processors. */
#define SIGNAL_STACK_SIZE (64u << 10)

typedef struct Start {
        void *(*run)(void *);
        void *userdata;
        uint8_t signal_stack[SIGNAL_STACK_SIZE];
} Start;

static void *thread_main(void *data) {
        _cleanup_free_ Start *start = data;
        const stack_t stack = {.ss_sp = start->signal_stack, .ss_size = SIGNAL_STACK_SIZE};
        stack_t before;

        /* Fails only for what is no stack; a sanitizer has one of its own, and frees it. */
        (void) sigaltstack(&stack, &before);
        void *result = start->run(start->userdata);
        (void) sigaltstack(&before, NULL);
        return result;
}

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *userdata) {
        static const int faults[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};
        _cleanup_free_ Start *start = malloc(sizeof(*start)); /* its stack as it comes */
        sigset_t all, before;

        if (!start)
                return -ENOMEM;
        start->run = run;
        start->userdata = userdata;
        (void) sigfillset(&all); /* cannot fail, nor can setting a valid mask */
        /* They are about what this very thread does: map-guard.h and crash-mark.h handle them. */
        for (size_t i = 0; i < ELEMENTSOF(faults); i++)
                (void) sigdelset(&all, faults[i]);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        int e = pthread_create(ret, NULL, thread_main, start);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (e != 0)
                return -e;
        TAKE_PTR(start);
        (void) pthread_setname_np(*ret, name); /* fails for one that is too long */
        return 0;
}
