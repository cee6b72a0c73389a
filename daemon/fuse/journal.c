#include "fuse/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse/crash-mark.h"
#include "util/fd.h"
#include "util/htable.h"

/* Between read() and the reply a request is known to nobody but the process that read it: the
 * kernel waits, for ever if need be. So no request is ever read anywhere but into shared memory.
 * The kernel itself writes it there; the length in front of it, which is never zero, is what says
 * that the slot is in use, so there is no moment between the two. Clearing the length after the
 * reply ends it.
 *
 * A reader has one slot, as it reads the next request only when the last one is answered or parked.
 * Who parks a request copies it to a slot of its own first. A crash at any point leaves each
 * request in one slot or in two, never in none, and one that was answered may still be there: the
 * kernel refuses its second answer, which does no harm.
 *
 *      header | JOURNAL_READERS reader slots | n_parked parked slots
 *
 * Who is suspected of a crash. If the thread that crashed was running an operation: that request.
 * If it did something that requests wait for (as a rule it unpacks what a server sent): those that
 * wait for something of the same scope, or where that is not known, all that were begun. If the
 * process could say nothing, or was killed: those that were running just then. Suspicion costs
 * nothing but company: recovery.c runs suspects a few at a time, then one at a time, so that only
 * who crashes its daemon alone is suspected again.
 *
 * The layout is for this machine and this boot. What would change it, changes VERSION. */

#define MAGIC "gitfssn"
#define VERSION 2
#define PARKED_MAX ((1u << 24) + (1u << 12))

typedef struct JournalHeader {
        char magic[8];
        uint32_t version;
        uint32_t n_parked;
        uint32_t connection;
        uint32_t passed;
        char mount_point[PATH_MAX];
        uint64_t check; /* of all before */

        JournalTerms terms;
        atomic_uint n_parked_used; /* no slot from there on was ever used */
        CrashMark crash;
        uint32_t n_condemned;                      /* ever */
        uint64_t condemned[JOURNAL_CONDEMNED_MAX]; /* call_hash() */
        atomic_uint root_is_new; /* see journal_root_is_used(); 0 where nobody has noted it */
} JournalHeader;

#define HEADER_SIZE 8192
_Static_assert(sizeof(JournalHeader) <= HEADER_SIZE, "the header has grown");
_Static_assert(offsetof(JournalSlot, data) == JOURNAL_SLOT_HEAD, "the head of a slot has grown");

struct Journal {
        int fd;
        uint8_t *map;
        size_t size;
        uint32_t *free_slots; /* a stack of n_free indices of parked slots */
        uint32_t n_free;
        uint32_t n_parked;
        bool follows_crash;
};

static JournalHeader *header_of(const Journal *j) {
        return (JournalHeader *) (void *) j->map;
}

static size_t file_size(uint32_t n_parked) {
        return HEADER_SIZE + (size_t) JOURNAL_READERS * JOURNAL_READER_SIZE +
               (size_t) n_parked * JOURNAL_PARKED_SIZE;
}

static JournalSlot *parked_slot(const Journal *j, uint32_t i) {
        return (JournalSlot *) (void *) (j->map + file_size(0) + (size_t) i * JOURNAL_PARKED_SIZE);
}

JournalSlot *journal_reader_slot(Journal *j, unsigned i) {
        assert(i < JOURNAL_READERS);
        return (JournalSlot *) (void *) (j->map + HEADER_SIZE + (size_t) i * JOURNAL_READER_SIZE);
}

bool journal_slot_is_parked(const Journal *j, const JournalSlot *slot) {
        return (const uint8_t *) slot >= j->map + file_size(0);
}

static size_t capacity(const Journal *j, const JournalSlot *slot) {
        return (journal_slot_is_parked(j, slot) ? JOURNAL_PARKED_SIZE : JOURNAL_READER_SIZE) -
               JOURNAL_SLOT_HEAD;
}

/* --- the file --- */

static uint64_t header_check(const JournalHeader *h) {
        return hash_bytes_stable(h, offsetof(JournalHeader, check), VERSION);
}

/* Maps fd, which is the journal's from then on. */
static int map_file(Journal *j, int fd, uint32_t n_parked) {
        j->size = file_size(n_parked);
        j->n_parked = n_parked;
        j->free_slots = calloc(n_parked, sizeof(*j->free_slots));
        if (!j->free_slots)
                return -ENOMEM;
        void *map = mmap(NULL, j->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        j->map = map;
        /* The kernel could not write a request to a page that is missing once the process has been
         * killed. Where this fails, that is as likely as before. */
        (void) madvise(map, file_size(0), MADV_POPULATE_WRITE);
        j->fd = fd;
        return 0;
}

static Journal *new_journal(void) {
        Journal *j = calloc(1, sizeof(*j));

        if (j)
                j->fd = -1;
        return j;
}

int journal_new(const JournalMount *mount, unsigned n_parked, Journal **ret) {
        _cleanup_(journal_freep) Journal *j = new_journal();
        size_t len = strlen(mount->mount_point);

        if (!j)
                return -ENOMEM;
        if (len >= PATH_MAX)
                return -ENAMETOOLONG;
        n_parked = MIN(n_parked, PARKED_MAX);
        _cleanup_close_ int fd = memfd_create("gitfs-session", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t) file_size(n_parked)) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return -errno;
        int r = map_file(j, fd, n_parked);
        if (r < 0)
                return r;
        TAKE_FD(fd);
        assert(j->map);

        JournalHeader *h = header_of(j);
        memcpy(h->magic, MAGIC, sizeof(h->magic));
        h->version = VERSION;
        h->n_parked = n_parked;
        h->connection = mount->connection;
        h->passed = mount->passed;
        memcpy(h->mount_point, mount->mount_point, len + 1);
        h->check = header_check(h);
        atomic_store(&h->root_is_new, 1);
        for (uint32_t i = n_parked; i > 0; i--)
                j->free_slots[j->n_free++] = i - 1;
        *ret = TAKE_PTR(j);
        return 0;
}

static int damaged(Failure *f) {
        (void) failure_set(f, FAILURE_LOCAL, "its journal is damaged");
        return -EBADMSG;
}

static int read_header(int fd, JournalHeader *ret, Failure *f) {
        struct stat st;

        ssize_t n = pread(fd, ret, sizeof(*ret), 0);
        if (n < 0 || fstat(fd, &st) < 0)
                return -errno;
        if ((size_t) n < sizeof(*ret) || memcmp(ret->magic, MAGIC, sizeof(ret->magic)) != 0)
                return damaged(f);
        if (ret->version != VERSION) {
                (void) failure_set(
                        f,
                        FAILURE_LOCAL,
                        "its journal has layout %u, this version of gitfsd knows %u",
                        ret->version,
                        VERSION);
                return -EPROTONOSUPPORT;
        }
        if (ret->check != header_check(ret) || ret->n_parked > PARKED_MAX ||
            (uint64_t) st.st_size != file_size(ret->n_parked) ||
            ret->terms.init_size > JOURNAL_INIT_MAX || ret->mount_point[PATH_MAX - 1])
                return damaged(f);
        return 0;
}

int journal_open(int fd, Journal **ret, Failure *ret_failure) {
        _cleanup_(journal_freep) Journal *j = new_journal();
        JournalHeader header;

        if (!j)
                return -ENOMEM;
        int r = read_header(fd, &header, ret_failure);
        if (r >= 0)
                r = map_file(j, fd, header.n_parked);
        if (r < 0)
                return r;
        for (uint32_t i = j->n_parked; i > 0; i--)
                if (i > atomic_load(&header_of(j)->n_parked_used) ||
                    journal_slot_size(parked_slot(j, i - 1)) == 0)
                        j->free_slots[j->n_free++] = i - 1;
        j->follows_crash = atomic_load(&header_of(j)->crash.crashed) != 0;
        *ret = TAKE_PTR(j);
        return 0;
}

Journal *journal_free(Journal *j) {
        if (!j)
                return NULL;
        if (j->map)
                crash_mark_forget(&header_of(j)->crash);
        if (j->map)
                (void) munmap(j->map, j->size); /* cannot fail: it is what mmap() returned */
        (void) safe_close(j->fd);
        free(j->free_slots);
        free(j);
        return NULL;
}

int journal_fd(const Journal *j) {
        return j->fd;
}

void journal_mount(const Journal *j, JournalMount *ret) {
        const JournalHeader *h = header_of(j);

        *ret = (JournalMount){
                .mount_point = h->mount_point,
                .connection = h->connection,
                .passed = h->passed != 0,
        };
}

unsigned journal_n_parked(const Journal *j) {
        return j->n_parked;
}

/* --- what was agreed --- */

const JournalTerms *journal_terms(const Journal *j) {
        return &header_of(j)->terms;
}

/* What is complete is marked by the field written last. */

int journal_record_init(Journal *j, const void *data, size_t size) {
        JournalTerms *t = &header_of(j)->terms;
        const struct fuse_in_header *in = data;

        if (size < sizeof(*in) || size > JOURNAL_INIT_MAX || in->opcode != FUSE_INIT)
                return -EMSGSIZE;
        memcpy(t->init, data, size);
        atomic_store(&t->init_size, (unsigned) size);
        return 0;
}

void journal_record_answer(Journal *j, uint32_t want, uint32_t max_readahead) {
        JournalTerms *t = &header_of(j)->terms;

        t->want = want;
        t->max_readahead = max_readahead;
        atomic_store(&t->answered, 1);
}

bool journal_root_is_used(const Journal *j) {
        return !atomic_load(&header_of(j)->root_is_new);
}

void journal_note_use(Journal *j, const JournalSlot *slot) {
        const struct fuse_in_header *in = (const void *) slot->data;

        if (in->nodeid == FUSE_ROOT_ID && !journal_root_is_used(j) &&
            (in->opcode == FUSE_LOOKUP || in->opcode == FUSE_READDIR ||
             in->opcode == FUSE_READDIRPLUS))
                atomic_store(&header_of(j)->root_is_new, 0);
}

/* --- slots --- */

static atomic_uint *length_of(JournalSlot *slot) {
        return (atomic_uint *) (void *) slot->data;
}

uint32_t journal_slot_size(const JournalSlot *slot) {
        return *(const volatile uint32_t *) (const void *) slot->data;
}

static uint64_t unique_of(const JournalSlot *slot) {
        return ((const struct fuse_in_header *) (const void *) slot->data)->unique;
}

void journal_slot_clear(JournalSlot *slot) {
        /* In this order: a slot in use with what was counted for its request, or a free one. What
         * is in memory is all there is to see, so the order is that of one processor's stores. */
        atomic_store_explicit(length_of(slot), 0, memory_order_release);
        atomic_store_explicit(&slot->running, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->begun, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->scope, 0, memory_order_relaxed);
        slot->n_attempts = 0;
        slot->n_applied = 0;
        crash_mark_enter(0);
}

static unsigned mark_of_thread(void) {
        static atomic_uint n_threads;
        static _Thread_local unsigned mark;

        if (mark == 0)
                mark = atomic_fetch_add(&n_threads, 1) + 1;
        return mark;
}

void journal_slot_enter(JournalSlot *slot) {
        atomic_store_explicit(&slot->running, mark_of_thread(), memory_order_relaxed);
        atomic_store_explicit(&slot->begun, 1, memory_order_relaxed);
        crash_mark_enter(unique_of(slot));
}

void journal_slot_leave(JournalSlot *slot) {
        unsigned mark = mark_of_thread();

        (void) atomic_compare_exchange_strong(&slot->running, &mark, 0);
        crash_mark_enter(0);
}

bool journal_slot_fits(const JournalSlot *slot) {
        return journal_slot_size(slot) <= JOURNAL_PARKED_SIZE - JOURNAL_SLOT_HEAD;
}

void journal_slot_copy(JournalSlot *to, const JournalSlot *from) {
        uint32_t size = journal_slot_size(from);
        const size_t skip = sizeof(size);

        assert(size >= skip && journal_slot_fits(from));
        to->n_attempts = from->n_attempts;
        memcpy(to->data + skip, from->data + skip, size - skip);
        atomic_store_explicit(length_of(to), size, memory_order_release);
}

JournalSlot *journal_take(Journal *j) {
        atomic_uint *used = &header_of(j)->n_parked_used;

        if (j->n_free == 0)
                return NULL;
        uint32_t i = j->free_slots[--j->n_free];
        if (i >= atomic_load_explicit(used, memory_order_relaxed))
                atomic_store(used, i + 1);
        return parked_slot(j, i);
}

void journal_give(Journal *j, JournalSlot *slot) {
        if (!journal_slot_is_parked(j, slot))
                return;
        assert(j->n_free < j->n_parked);
        j->free_slots[j->n_free++] =
                (uint32_t) (((uint8_t *) slot - j->map - file_size(0)) / JOURNAL_PARKED_SIZE);
}

/* --- what a predecessor left --- */

static bool ends_in(const char *name, size_t size) {
        return memchr(name, '\0', size) != NULL;
}

/* The kernel writes no other, and libfuse looks for the end of a name, and for as many items as are
 * counted, wherever they are. */
static bool is_whole(const JournalSlot *slot) {
        const struct fuse_in_header *in = (const void *) slot->data;
        const size_t rest = journal_slot_size(slot) - sizeof(*in);
        const struct fuse_batch_forget_in *forgets = (const void *) (in + 1);
        const struct fuse_getxattr_in *xattr = (const void *) (in + 1);

        switch (in->opcode) {
        case FUSE_LOOKUP:
                return ends_in((const char *) (in + 1), rest);
        case FUSE_GETXATTR:
                return rest >= sizeof(*xattr) &&
                       ends_in((const char *) (xattr + 1), rest - sizeof(*xattr));
        case FUSE_BATCH_FORGET:
                return rest >= sizeof(*forgets) &&
                       forgets->count <= (rest - sizeof(*forgets)) / sizeof(struct fuse_forget_one);
        default: /* shorter than any slot */
                return true;
        }
}

static void collect(Journal *j, JournalSlot *slot, JournalSlot **list, size_t *n) {
        uint32_t size = journal_slot_size(slot);

        if (size == 0) {
                journal_slot_clear(slot); /* it may have been cleared by half */
                return;
        }
        if (size >= sizeof(struct fuse_in_header) && size <= capacity(j, slot) && is_whole(slot)) {
                list[(*n)++] = slot;
                return;
        }
        journal_slot_clear(slot);
        journal_give(j, slot);
}

/* The kernel's numbers rise. Of two slots with one request the parked one comes first. */
static int compare(const void *a, const void *b) {
        const JournalSlot *x = *(JournalSlot *const *) a, *y = *(JournalSlot *const *) b;
        uint64_t p = unique_of(x), q = unique_of(y);

        if (p != q)
                return p < q ? -1 : 1;
        return x > y ? -1 : x < y;
}

static void merge(Journal *j, JournalSlot *keep, JournalSlot *drop) {
        keep->n_attempts = MAX(keep->n_attempts, drop->n_attempts);
        if (atomic_load(&drop->running))
                atomic_store(&keep->running, 1);
        if (atomic_load(&drop->begun))
                atomic_store(&keep->begun, 1);
        journal_slot_clear(drop);
        journal_give(j, drop);
}

/* See the top of this file. scope 0: whatever it waits for. */
static bool is_suspect(const CrashMark *mark, uintptr_t scope, JournalSlot *slot) {
        if (!atomic_load(&mark->crashed))
                return atomic_load(&slot->running);
        if (atomic_load(&mark->unique) != 0)
                return unique_of(slot) == atomic_load(&mark->unique);
        return atomic_load(&slot->begun) && (scope == 0 || atomic_load(&slot->scope) == scope);
}

static void count_attempts(CrashMark *mark, JournalSlot **list, size_t n) {
        uintptr_t scope = 0;

        for (size_t i = 0; i < n && scope == 0; i++)
                if (is_suspect(mark, atomic_load(&mark->scope), list[i]))
                        scope = atomic_load(&mark->scope);
        for (size_t i = 0; i < n; i++) {
                /* First the count: a crash between the two counts once too often, not too little.
                 */
                if (is_suspect(mark, scope, list[i]))
                        list[i]->n_attempts++;
                atomic_store(&list[i]->running, 0);
                atomic_store(&list[i]->begun, 0);
        }
        atomic_store(&mark->crashed, 0);
}

int journal_pending(Journal *j, JournalSlot ***ret, size_t *ret_n) {
        uint32_t n_used = MIN(atomic_load(&header_of(j)->n_parked_used), j->n_parked);
        size_t n = 0, n_kept = 0;

        _cleanup_free_ JournalSlot **list = calloc(n_used + JOURNAL_READERS, sizeof(*list));
        if (!list)
                return -ENOMEM;
        for (unsigned i = 0; i < JOURNAL_READERS; i++)
                collect(j, journal_reader_slot(j, i), list, &n);
        for (uint32_t i = 0; i < n_used; i++)
                collect(j, parked_slot(j, i), list, &n);
        qsort(list, n, sizeof(*list), compare);
        for (size_t i = 0; i < n; i++)
                if (n_kept > 0 && unique_of(list[n_kept - 1]) == unique_of(list[i]))
                        merge(j, list[n_kept - 1], list[i]);
                else
                        list[n_kept++] = list[i];
        count_attempts(&header_of(j)->crash, list, n_kept);
        *ret = TAKE_PTR(list);
        *ret_n = n_kept;
        return 0;
}

bool journal_follows_crash(const Journal *j) {
        return j->follows_crash;
}

void journal_watch(Journal *j) {
        crash_mark_watch(&header_of(j)->crash);
}

/* --- calls that crash who runs them --- */

static uint64_t call_hash(const JournalSlot *slot) {
        const struct fuse_in_header *in = (const void *) slot->data;
        const uint64_t what[2] = {in->opcode, in->nodeid};

        uint64_t hash = hash_bytes_stable(what, sizeof(what), VERSION);
        if (in->opcode == FUSE_LOOKUP)
                hash = hash_bytes_stable(in + 1, journal_slot_size(slot) - sizeof(*in), hash);
        return hash;
}

void journal_condemn(Journal *j, const JournalSlot *slot) {
        JournalHeader *h = header_of(j);

        h->condemned[h->n_condemned++ % JOURNAL_CONDEMNED_MAX] = call_hash(slot);
}

bool journal_is_condemned(const Journal *j, const JournalSlot *slot) {
        const JournalHeader *h = header_of(j);
        uint32_t n = h->n_condemned;

        if (n == 0)
                return false;
        uint64_t hash = call_hash(slot);
        for (uint32_t i = 0; i < n && i < JOURNAL_CONDEMNED_MAX; i++)
                if (h->condemned[i] == hash)
                        return true;
        return false;
}

void journal_pardon(Journal *j) {
        header_of(j)->n_condemned = 0;
}

/* --- the request at hand --- */

static _Thread_local JournalSlot *current;

JournalSlot *journal_current(void) {
        return current;
}

void journal_set_current(JournalSlot *slot) {
        current = slot;
}
