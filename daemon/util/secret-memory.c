/* An allocator of its own, because a core dump leaves out whole mappings: what is secret has to lie
 * in mappings where nothing else does. libcurl's memory comes from here too (forge/http.c): it
 * copies tokens into headers and buffers of its own.
 *
 * A piece has a header that tells its size. Sizes are rounded up to powers of two; free pieces of
 * one size are a list. What is larger than that is a mapping of its own. */

#include "util/secret-memory.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "util/mutex.h"

#define SMALLEST ((size_t) 64)
#define N_SIZES 11u /* up to 64 KiB, header included */
#define CHUNK ((size_t) 64 * 1024)
#define CHUNK_PIECES 4u /* at least, of the large ones */

typedef struct Piece Piece;
struct Piece {
        size_t size; /* with this header */
        union {
                Piece *next; /* while it is free */
                max_align_t align;
        };
};
#define HEADER offsetof(Piece, next)

static_assert(HEADER % _Alignof(max_align_t) == 0, "what is handed out is aligned");

static Mutex lock = MUTEX_INIT(LOCK_RANK_LEAF);
static Piece *free_pieces[N_SIZES]; /* guarded by lock */

static void *map(size_t size) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
                return NULL;
        if (madvise(p, size, MADV_DONTDUMP) < 0) { /* without it this would be plain memory */
                (void) munmap(p, size);
                return NULL;
        }
        /* A child that only makes system calls has no use for it, and may live longer. */
        (void) madvise(p, size, MADV_WIPEONFORK); /* there are kernels without it */
        /* Over RLIMIT_MEMLOCK it may be swapped, as everything may. */
        (void) mlock2(p, size, MLOCK_ONFAULT);
        return p;
}

/* N_SIZES for what gets a mapping of its own. */
static unsigned size_index(size_t size) {
        unsigned i = 0;

        while (i < N_SIZES && SMALLEST << i < size)
                i++;
        return i;
}

static Piece *take(unsigned i) {
        MUTEX_GUARD(&lock);
        Piece *piece = free_pieces[i];

        if (piece)
                free_pieces[i] = piece->next;
        return piece;
}

static void put(Piece *piece, unsigned i) {
        MUTEX_GUARD(&lock);
        piece->next = free_pieces[i];
        free_pieces[i] = piece;
}

/* Cuts a new chunk up; the first piece is for the caller. */
static Piece *refill(unsigned i) {
        size_t size = SMALLEST << i, chunk = MAX(CHUNK, size * CHUNK_PIECES);
        uint8_t *p = map(chunk);

        if (!p)
                return NULL;
        for (size_t at = 0; at < chunk; at += size) {
                Piece *piece = (Piece *) (void *) (p + at);
                piece->size = size;
                if (at > 0)
                        put(piece, i);
        }
        return (Piece *) (void *) p;
}

void *secret_alloc(size_t size) {
        Piece *piece;

        if (size > SIZE_MAX / 2)
                return NULL;
        size += HEADER;
        unsigned i = size_index(size);
        if (i < N_SIZES) {
                piece = take(i);
                if (!piece)
                        piece = refill(i);
        } else {
                piece = map(size);
                if (piece)
                        piece->size = size;
        }
        return piece ? (uint8_t *) piece + HEADER : NULL;
}

static Piece *piece_of(void *p) {
        return (Piece *) (void *) ((uint8_t *) p - HEADER);
}

void *secret_free(void *p) {
        if (!p)
                return NULL;
        Piece *piece = piece_of(p);
        size_t size = piece->size;
        unsigned i = size_index(size);

        if (i < N_SIZES) {
                explicit_bzero(p, size - HEADER);
                put(piece, i);
        } else
                (void) munmap(piece, size); /* a mapping of ours: cannot fail, and leaves nothing */
        return NULL;
}

void *secret_calloc(size_t n, size_t size) {
        size_t total;

        if (__builtin_mul_overflow(n, size, &total))
                return NULL;
        void *p = secret_alloc(total);
        return p ? memset(p, 0, total) : NULL;
}

void *secret_realloc(void *p, size_t size) {
        size_t old = p ? piece_of(p)->size - HEADER : 0;

        if (p && size <= old && size > old / 4)
                return p;
        void *fresh = secret_alloc(size);
        if (!fresh)
                return NULL;
        if (p)
                memcpy(fresh, p, MIN(old, size));
        secret_free(p);
        return fresh;
}

char *secret_strndup(const char *s, size_t len) {
        size_t n = strnlen(s, len);
        char *copy = secret_alloc(n + 1);

        if (!copy)
                return NULL;
        memcpy(copy, s, n);
        copy[n] = '\0';
        return copy;
}

char *secret_strdup(const char *s) {
        return secret_strndup(s, strlen(s));
}
