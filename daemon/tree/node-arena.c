/* A page is taken by a pool when none of its pages has room for a slot of that size, and given back
 * when its last slot is free. Pages with room are chained, each with a list of its free slots;
 * those that were never used need no list.
 *
 * Which pages are taken is in a bitmap of this process. A page is wiped by punching a hole, after
 * which it takes no memory, before it is marked as free: so who takes one finds zeros.
 *
 * A successor believes of a page only its size of slots and its pool, within bounds, and makes the
 * rest anew. */

#include "tree/node-arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tree/node.h"
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
#define SLOT_MIN 48u /* the least that a node takes */

/* Addresses, of which only those are memory that are in use. Numbers of slots reach to 32 GiB. */
#define ARENA_MAX (UINT64_C(16) << 30)
#define ARENA_MIN (UINT64_C(64) << 20)

static_assert(SLOT_MIN > offsetof(Node, rest), "a slot has room for a node");

typedef struct Page {
        uint8_t size; /* of a slot, in SLOT_UNIT */
        uint8_t pool;
        uint8_t n_used;      /* slots in use */
        uint8_t n_ever;      /* slots that were ever in use: the first ones */
        uint8_t free;        /* the first free slot of those, and one; 0: none */
        uint32_t next, prev; /* pages of that pool and size with room */
        uint8_t slots[] __attribute__((aligned(16)));
} Page;

/* In the first page. What does not say the same is not ours to read. */
typedef struct Header {
        char magic[16];
        uint32_t version; /* NODE_LAYOUT */
        uint32_t page_bytes, node_bytes, dir_bytes;
} Header;

static const Header our_header = {
        .magic = "gitfs nodes",
        .version = NODE_LAYOUT,
        .page_bytes = PAGE_BYTES,
        .node_bytes = offsetof(Node, rest),
        .dir_bytes = offsetof(NodeDir, name),
};

struct NodeArena {
        int fd;
        uint8_t *base; /* the first page holds the header */
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

static void punch(NodeArena *a, uint32_t page) {
        off_t at = (off_t) page * PAGE_BYTES;

        ASAN_UNPOISON_MEMORY_REGION(page_at(a, page), PAGE_BYTES);
        if (fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, PAGE_BYTES) < 0)
                memset(page_at(a, page), 0, PAGE_BYTES);
}

/* Where the addresses are limited, less will do. */
static int map_new(NodeArena *a) {
        a->fd = memfd_create("gitfs-nodes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (a->fd < 0)
                return -errno;
        for (uint64_t size = ARENA_MAX; size >= ARENA_MIN; size /= 2) {
                void *p = mmap(
                        NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, a->fd, 0);
                if (p == MAP_FAILED)
                        continue;
                a->base = p;
                a->n_pages = (uint32_t) (size / PAGE_BYTES);
                if (ftruncate(a->fd, (off_t) size) < 0 ||
                    fcntl(a->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                        return -errno;
                return 0;
        }
        return -ENOMEM;
}

static int set_up(NodeArena *a) {
        a->taken = calloc(a->n_pages / 64, sizeof(*a->taken));
        if (!a->taken)
                return -ENOMEM;
        /* A core dump would hold gigabytes of holes. Where this fails it does. */
        (void) madvise(a->base, (size_t) a->n_pages * PAGE_BYTES, MADV_DONTDUMP);
        atomic_init(&a->taken[0], 1);
        return 0;
}

static bool is_taken(const NodeArena *a, uint32_t page) {
        uint64_t bits = atomic_load_explicit(&a->taken[page / 64], memory_order_relaxed);

        return page > 0 && (bits & UINT64_C(1) << (page % 64));
}

/* The first page that is taken, from this one on; n_pages at the end. */
static uint32_t next_taken(const NodeArena *a, uint32_t page) {
        for (; page < a->n_pages; page++) {
                if (is_taken(a, page))
                        return page;
                if (atomic_load_explicit(&a->taken[page / 64], memory_order_relaxed) == 0)
                        page |= 63; /* nor is any other of these bits */
        }
        return a->n_pages;
}

int node_arena_new(NodeArena **ret) {
        _cleanup_(node_arena_freep) NodeArena *a = calloc(1, sizeof(*a));
        if (!a)
                return -ENOMEM;
        int r = map_new(a);
        if (r >= 0)
                r = set_up(a);
        if (r < 0)
                return r;
        assert(a->base);
        memcpy(a->base, &our_header, sizeof(our_header));
        *ret = TAKE_PTR(a);
        return 0;
}

/* Only what nobody can shrink under us. */
static int map_as_it_is(NodeArena *a) {
        struct stat st;

        int seals = fcntl(a->fd, F_GET_SEALS);
        if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(a->fd, &st) < 0)
                return -EPROTO;
        uint64_t size = (uint64_t) st.st_size;
        if (size < ARENA_MIN || size > ARENA_MAX || size % ((uint64_t) PAGE_BYTES * 64) != 0)
                return -EPROTO;
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, a->fd, 0);
        if (p == MAP_FAILED)
                return -errno;
        a->base = p;
        a->n_pages = (uint32_t) (size / PAGE_BYTES);
        return memcmp(a->base, &our_header, sizeof(our_header)) == 0 ? 0 : -EPROTO;
}

static bool is_page(const Page *p) {
        return p->size >= SLOT_MIN / SLOT_UNIT && p->size <= NODE_SLOT_MAX / SLOT_UNIT;
}

/* Pages that were never used, or punched out, are not even looked at: that would make them. */
static void find_pages(NodeArena *a) {
        off_t end = (off_t) a->n_pages * PAGE_BYTES, at = PAGE_BYTES;

        while (at < end && (at = lseek(a->fd, at, SEEK_DATA)) >= 0) {
                off_t hole = lseek(a->fd, at, SEEK_HOLE);
                if (hole < 0)
                        return;
                for (uint64_t n = (uint64_t) at / PAGE_BYTES; n < (uint64_t) hole / PAGE_BYTES; n++)
                        if (is_page(page_at(a, (uint32_t) n))) {
                                uint64_t bit = UINT64_C(1) << (n % 64);
                                atomic_fetch_or(&a->taken[n / 64], bit);
                                stat_add(STAT_NODE_BYTES_NOW, PAGE_BYTES);
                        } else
                                punch(a, (uint32_t) n);
                at = hole;
        }
}

int node_arena_open(int fd, NodeArena **ret) {
        _cleanup_(node_arena_freep) NodeArena *a = calloc(1, sizeof(*a));
        if (!a)
                return -ENOMEM;
        a->fd = fd;
        int r = map_as_it_is(a);
        if (r >= 0)
                r = set_up(a);
        if (r < 0) {
                a->fd = -1; /* the caller's */
                return r;
        }
        find_pages(a);
        *ret = TAKE_PTR(a);
        return 0;
}

static void forget_page(NodeArena *a, uint32_t page) {
        ASAN_UNPOISON_MEMORY_REGION(page_at(a, page), PAGE_BYTES);
        stat_add(STAT_NODE_BYTES_NOW, -(int64_t) PAGE_BYTES);
}

NodeArena *node_arena_free(NodeArena *a) {
        if (!a)
                return NULL;
        for (uint32_t n = 1; a->taken && (n = next_taken(a, n)) < a->n_pages; n++)
                forget_page(a, n);
        if (a->base)
                (void) munmap(a->base, (size_t) a->n_pages * PAGE_BYTES); /* it is a mapping */
        safe_close(a->fd);
        free(a->taken);
        free(a);
        return NULL;
}

int node_arena_fd(const NodeArena *a) {
        return a->fd;
}

void node_arena_disown(NodeArena *a) {
        a->fd = -1;
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
        punch(a, page);
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

/* --- taking over --- */

void node_arena_each(
        NodeArena *a,
        void (*fn)(void *slot, size_t size, unsigned pool, void *userdata),
        void *userdata) {
        for (uint32_t n = 1; (n = next_taken(a, n)) < a->n_pages; n++) {
                Page *p = page_at(a, n);
                for (size_t i = 0; i < page_n_slots(p); i++)
                        fn(p->slots + i * slot_bytes(p), slot_bytes(p), p->pool, userdata);
        }
}

bool node_arena_has(const NodeArena *a, uintptr_t address) {
        uintptr_t offset = address - (uintptr_t) a->base;

        if (offset >= (size_t) a->n_pages * PAGE_BYTES ||
            !is_taken(a, (uint32_t) (offset / PAGE_BYTES)))
                return false;
        const Page *p = page_at(a, (uint32_t) (offset / PAGE_BYTES));
        size_t in_page = offset % PAGE_BYTES;
        if (in_page < offsetof(Page, slots))
                return false;
        in_page -= offsetof(Page, slots);
        return in_page % slot_bytes(p) == 0 && in_page / slot_bytes(p) < page_n_slots(p);
}

static void rebuild_page(NodeArena *a, Page *p, bool (*keep)(const void *slot), NodePool *pool) {
        p->n_used = p->free = 0;
        p->n_ever = (uint8_t) page_n_slots(p);
        for (size_t i = page_n_slots(p); i > 0; i--) {
                uint8_t *slot = p->slots + (i - 1) * slot_bytes(p);
                if (pool && keep(slot)) {
                        p->n_used++;
                        continue;
                }
                *free_link(p, i - 1) = p->free;
                p->free = (uint8_t) i;
                ASAN_POISON_MEMORY_REGION(slot + SLOT_UNIT, slot_bytes(p) - SLOT_UNIT);
        }
        if (p->n_used == 0)
                node_arena_give_back(a, page_of(a, p));
        else if (p->n_used < page_n_slots(p))
                link_page(a, pool, p);
}

void node_arena_rebuild(
        NodeArena *a, bool (*keep)(const void *slot), NodePool **pools, size_t n_pools) {
        for (uint32_t n = 1; (n = next_taken(a, n)) < a->n_pages; n++) {
                Page *p = page_at(a, n);
                rebuild_page(a, p, keep, p->pool < n_pools ? pools[p->pool] : NULL);
        }
}
