#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fuse/journal.h"

/* The threads that read requests from the kernel. Each reads one, runs its operation to the end or
 * to the point where it is parked, and reads the next. */

#define READERS_MAX JOURNAL_READERS

typedef struct MountSession MountSession;

typedef struct Readers {
        unsigned n; /* threads started */
        pthread_t threads[READERS_MAX];
        int stop_fd;            /* eventfd; readable from the moment they are to end */
        int help_fd;            /* eventfd, semaphore: one for each follower that is called */
        int exited_fd;          /* eventfd, semaphore: one for each thread that ended */
        atomic_bool stop;       /* the same as stop_fd, without a system call */
        atomic_bool led;        /* there is a leader */
        atomic_uint n_sleeping; /* followers that wait to be called */
        atomic_bool ended;      /* somebody has reported that the session ended */
        atomic_uint n_slots;    /* slots of the journal that have a reader */
} Readers;

/* 0 or a negative errno; readers_done() in either case. */
int readers_init(Readers *r);
/* Answers the kernel's first request on this thread, or again the one that the journal has. 0;
 * -ETIMEDOUT, -EPROTO or another errno. */
int readers_negotiate(MountSession *s);
/* Whether the kernel lets itself be read from, as it must. Before readers_start(). 0, -ENODEV or
 * -EPROTO. */
int readers_check(MountSession *s);
int readers_start(MountSession *s);
/* Tells the threads to end. */
void readers_stop(Readers *r);
/* True when all have ended before the deadline. */
bool readers_wait(Readers *r, uint64_t deadline_usec);
/* Joins; may wait for ever for a thread that has not been told to stop. */
void readers_join(Readers *r);
void readers_done(Readers *r);

/* Runs the operation of a request, or refuses one like those that crashed others; when it returns
 * the request is answered or has another slot, and this one is clear. Any thread. */
void reader_run(MountSession *s, JournalSlot *slot);
/* Answers it with an error instead. Leaves the slot as it is. */
void reader_refuse(MountSession *s, const JournalSlot *slot, int error);
