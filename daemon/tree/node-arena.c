/* A page is taken by a pool when none of its pages has room for a slot of that size, and given back
 * when its last slot is free. Pages with room are chained, each with a list of its free slots;
 * those that were never used need no list.
 *
 * Which pages are taken is in a bitmap of this process. A page is wiped by punching a hole, after
 * which it takes no memory, before it is marked as free: so who takes one finds zeros. */

#include "tree/node-arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/stats.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* as gcc says it */
#endif
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, len) ((void) (p), (void) (len))
#define ASAN_UNPOISON_MEMORY_REGION(p, len) ((void) (p), (void) (len))
#endif

#define PAGE_BYTES 4096u
#define SLOT_UNIT 8u
#define SLOT_MIN 16u

/* Addresses, of which only those are memory that are in use. Numbers of slots reach to 32 GiB. */
#define ARENA_MAX (UINT64_C(16) << 30)
#define ARENA_MIN (UINT64_C(64) << 20)

typedef struct Page {
        uint8_t size; /* of a slot, in SLOT_UNIT */
        uint8_t pool;
        uint8_t n_used;      /* slots in use */
        uint8_t n_ever;      /* slots that were ever in use: the first ones */
        uint8_t free;        /* the first free slot of those, and one; 0: none */
        uint32_t next, prev; /* pages of that pool and size with room */
        uint8_t slots[] __attribute__((aligned(16)));
} Page;

struct NodeArena {
        int fd;
        uint8_t *base; /* the first page is not used */
        uint32_t n_pages;
        atomic_uint_least64_t *taken; /* a bit for each page; owned */
        atomic_size_t first;          /* the word where a free one is looked for first: a hint */
};

static Page *page_at(const NodeArena *a, uint32_t page) {
        return (Page *) (void *) (a->base + (size_t) page * PAGE_BYTES);
}

static uint32_t page_of(const NodeArena *a, const void *slot) {
        return (uint32_t) ((size_t) ((const uint8_t *) slot - a->base) / PAGE_BYTES);
}

static size_t slot_bytes(const Page *p) {
        return (size_t) p->size * SLOT_UNIT;
}

static size_t page_n_slots(const Page *p) {
        return (PAGE_BYTES - offsetof(Page, slots)) / slot_bytes(p);
}

/* Where the addresses are limited, less will do. */
static int map_all(NodeArena *a) {
        for (uint64_t size = ARENA_MAX; size >= ARENA_MIN; size /= 2) {
                void *p = mmap(
                        NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, a->fd, 0);
                if (p == MAP_FAILED)
                        continue;
                a->base = p;
                a->n_pages = (uint32_t) (size / PAGE_BYTES);
                return ftruncate(a->fd, (off_t) size) < 0 ? -errno : 0;
        }
        return -ENOMEM;
}

int node_arena_new(NodeArena **ret) {
        _cleanup_(node_arena_freep) NodeArena *a = calloc(1, sizeof(*a));
        if (!a)
                return -ENOMEM;
        a->fd = memfd_create("gitfs-nodes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (a->fd < 0)
                return -errno;
        int r = map_all(a);
        if (r < 0)
                return r;
        if (fcntl(a->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return -errno;
        a->taken = calloc(a->n_pages / 64, sizeof(*a->taken));
        if (!a->taken)
                return -ENOMEM;
        atomic_init(&a->taken[0], 1);
        *ret = TAKE_PTR(a);
        return 0;
}

NodeArena *node_arena_free(NodeArena *a) {
        if (!a)
                return NULL;
        if (a->base) {
                ASAN_UNPOISON_MEMORY_REGION(a->base, (size_t) a->n_pages * PAGE_BYTES);
                (void) munmap(a->base, (size_t) a->n_pages * PAGE_BYTES); /* it is a mapping */
        }
        safe_close(a->fd);
        free(a->taken);
        free(a);
        return NULL;
}

uint32_t node_arena_slot(const NodeArena *a, const void *p) {
        return (uint32_t) ((size_t) ((const uint8_t *) p - a->base) / SLOT_UNIT);
}

void *node_arena_at(const NodeArena *a, uint32_t slot) {
        return a->base + (size_t) slot * SLOT_UNIT;
}

/* A page of this word of the bitmap, or 0. */
static uint32_t take_page_of(NodeArena *a, size_t word) {
        uint64_t taken = atomic_load_explicit(&a->taken[word], memory_order_relaxed);

        while (~taken != 0) {
                unsigned n = (unsigned) __builtin_ctzll(~taken);
                uint64_t bit = UINT64_C(1) << n;
                taken = atomic_fetch_or_explicit(&a->taken[word], bit, memory_order_acquire);
                if (!(taken & bit))
                        return (uint32_t) (word * 64 + n);
        }
        return 0;
}

/* 0: there is none left. */
static uint32_t take_page(NodeArena *a) {
        size_t n_words = a->n_pages / 64;
        size_t first = atomic_load_explicit(&a->first, memory_order_relaxed);

        for (size_t i = 0; i < n_words; i++) {
                size_t word = (first + i) % n_words;
                uint32_t page = take_page_of(a, word);
                if (page == 0)
                        continue;
                if (i > 0)
                        atomic_store_explicit(&a->first, word, memory_order_relaxed);
                stat_add(STAT_NODE_BYTES_NOW, PAGE_BYTES);
                return page;
        }
        return 0;
}

void node_arena_give_back(NodeArena *a, uint32_t page) {
        if (page == 0)
                return;
        off_t at = (off_t) page * PAGE_BYTES;
        ASAN_UNPOISON_MEMORY_REGION(page_at(a, page), PAGE_BYTES);
        if (fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, PAGE_BYTES) < 0)
                memset(page_at(a, page), 0, PAGE_BYTES);

        uint64_t bit = UINT64_C(1) << (page % 64);
        atomic_fetch_and_explicit(&a->taken[page / 64], ~bit, memory_order_release);
        if (page / 64 < atomic_load_explicit(&a->first, memory_order_relaxed))
                atomic_store_explicit(&a->first, page / 64, memory_order_relaxed);
        stat_add(STAT_NODE_BYTES_NOW, -(int64_t) PAGE_BYTES);
}

static void link_page(NodeArena *a, NodePool *pool, Page *p) {
        uint32_t number = page_of(a, p), *head = &pool->pages[p->size - 1];

        p->prev = 0;
        p->next = *head;
        if (*head)
                page_at(a, *head)->prev = number;
        *head = number;
}

static void unlink_page(NodeArena *a, NodePool *pool, Page *p) {
        if (p->prev)
                page_at(a, p->prev)->next = p->next;
        else
                pool->pages[p->size - 1] = p->next;
        if (p->next)
                page_at(a, p->next)->prev = p->prev;
}

static Page *page_with_room(NodeArena *a, NodePool *pool, uint8_t size) {
        if (pool->pages[size - 1])
                return page_at(a, pool->pages[size - 1]);
        uint32_t number = take_page(a);
        if (number == 0)
                return NULL;
        Page *p = page_at(a, number);
        p->pool = pool->number;
        p->size = size;
        link_page(a, pool, p);
        return p;
}

/* In a free slot: the next one, counted as in Page.free. */
static uint8_t *free_link(Page *p, size_t index) {
        return p->slots + index * slot_bytes(p);
}

void *node_pool_alloc(NodeArena *a, NodePool *pool, size_t size) {
        assert(size > 0 && size <= NODE_SLOT_MAX);
        size = MAX(size, SLOT_MIN);
        Page *p = page_with_room(a, pool, (uint8_t) ((size + SLOT_UNIT - 1) / SLOT_UNIT));
        if (!p)
                return NULL;
        size_t index;
        if (p->free) {
                index = p->free - 1u;
                p->free = *free_link(p, index);
        } else
                index = p->n_ever++;
        if (++p->n_used == page_n_slots(p))
                unlink_page(a, pool, p);
        uint8_t *slot = p->slots + index * slot_bytes(p);
        ASAN_UNPOISON_MEMORY_REGION(slot, slot_bytes(p));
        return memset(slot, 0, slot_bytes(p));
}

uint32_t node_pool_free(NodeArena *a, NodePool *pool, void *slot) {
        uint32_t number = page_of(a, slot);
        Page *p = page_at(a, number);
        size_t index = (size_t) ((uint8_t *) slot - p->slots) / slot_bytes(p);

        if (p->n_used == page_n_slots(p))
                link_page(a, pool, p);
        *free_link(p, index) = p->free;
        p->free = (uint8_t) (index + 1);
        ASAN_POISON_MEMORY_REGION((uint8_t *) slot + SLOT_UNIT, slot_bytes(p) - SLOT_UNIT);
        if (--p->n_used > 0)
                return 0;
        unlink_page(a, pool, p);
        return number;
}
