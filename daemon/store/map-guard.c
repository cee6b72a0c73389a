#include "store/map-guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "util/mutex.h"

/* The handler runs in the thread that touched the page, at any instruction, so it takes no lock and
 * follows no pointer that might be freed: guards lie in chunks that are kept for ever and used
 * again. A guard in use has a start. The mapping that the thread is in cannot go away meanwhile,
 * because the thread holds a reference on what it belongs to; others may come and go.
 *
 * A SIGBUS elsewhere is what it was: the end of the process. */

#define CHUNK_GUARDS 256

struct MapGuard {
        atomic_uintptr_t start; /* 0: free */
        atomic_uintptr_t end;
        atomic_bool tripped;
};

typedef struct Chunk Chunk;
struct Chunk {
        MapGuard guards[CHUNK_GUARDS];
        _Atomic(Chunk *) next;
};

static Chunk first_chunk;
static Mutex lock; /* for adding */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uintptr_t page_size;

static MapGuard *find_guard(uintptr_t address) {
        for (Chunk *chunk = &first_chunk; chunk; chunk = atomic_load(&chunk->next))
                for (size_t i = 0; i < CHUNK_GUARDS; i++) {
                        MapGuard *guard = &chunk->guards[i];
                        uintptr_t start = atomic_load(&guard->start);
                        /* It may be taken for another mapping in between. */
                        if (start != 0 && address >= start && address < atomic_load(&guard->end) &&
                            atomic_load(&guard->start) == start)
                                return guard;
                }
        return NULL;
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
        int error = errno;
        void *page = (void *) ((uintptr_t) info->si_addr & ~(page_size - 1)); // NOLINT: an address
        MapGuard *guard = info->si_code > 0 ? find_guard((uintptr_t) info->si_addr) : NULL;

        if (guard) {
                atomic_store(&guard->tripped, true);
                const int prot = PROT_READ | PROT_WRITE;
                const int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS;
                const void *empty = mmap(page, page_size, prot, flags, -1, 0);
                if (empty == MAP_FAILED)
                        guard = NULL;
        }
        if (!guard)
                (void) signal(SIGBUS, SIG_DFL); /* and once more, to the end */
        errno = error;
}

static void set_up(void) {
        struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

        page_size = (uintptr_t) getpagesize();
        mutex_init(&lock, LOCK_RANK_LEAF);
        (void) sigemptyset(&action.sa_mask);     /* cannot fail, nor can */
        (void) sigaction(SIGBUS, &action, NULL); /* this with a valid signal */
}

/* A free guard, which is not to be found yet; NULL without memory. */
static MapGuard *take_guard_locked(void) {
        Chunk *last = NULL;

        for (Chunk *chunk = &first_chunk; chunk; chunk = atomic_load(&chunk->next)) {
                for (size_t i = 0; i < CHUNK_GUARDS; i++)
                        if (atomic_load(&chunk->guards[i].start) == 0)
                                return &chunk->guards[i];
                last = chunk;
        }
        Chunk *chunk = calloc(1, sizeof(*chunk));
        if (!chunk)
                return NULL;
        atomic_store(&last->next, chunk);
        return &chunk->guards[0];
}

int map_guard_add(const void *start, size_t size, MapGuard **ret) {
        (void) pthread_once(&once, set_up); /* cannot fail */
        MUTEX_GUARD(&lock);
        MapGuard *guard = take_guard_locked();
        if (!guard)
                return -ENOMEM;
        atomic_store(&guard->tripped, false);
        atomic_store(&guard->end, (uintptr_t) start + size);
        atomic_store(&guard->start, (uintptr_t) start);
        *ret = guard;
        return 0;
}

void map_guard_remove(MapGuard *guard) {
        if (guard)
                atomic_store(&guard->start, 0);
}

void map_guard_trip(MapGuard *guard) {
        atomic_store(&guard->tripped, true);
}

bool map_guard_tripped(const MapGuard *guard) {
        return atomic_load_explicit(&guard->tripped, memory_order_acquire);
}
