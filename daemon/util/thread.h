#pragma once

#include <pthread.h>

/* Starts a thread that takes no signals: those are the main thread's business, and a broken
 * connection must not raise SIGPIPE. It has a second stack, for handlers with SA_ONSTACK. The name,
 * of 15 bytes at most, is for people. The caller joins the thread. 0 or a negative errno. */
int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *userdata);
