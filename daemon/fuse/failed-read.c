#include "fuse/failed-read.h"

#include <stdlib.h>

#include "util/clock.h"

/* The kernel reads ahead of what a process reads. Where that fails it does not tell the process,
 * but asks once more on its behalf, at once: so who has waited for a server until the deadline
 * would wait for as long again. The second question gets the answer of the first, and so does
 * whoever else asks in that moment: of many that wait for one page all ask, one after the other. */

#define MOMENT_USEC (1 * USEC_PER_SEC)
#define FAILED_MAX 65536

typedef struct FailedRead {
        HTableLink link;
        TAILQ_ENTRY(FailedRead) entry;
        uint64_t id;
        uint64_t until_usec;
        int error;
} FailedRead;

static uint64_t hash_of(uint64_t id) {
        return hash_bytes(&id, sizeof(id), 0);
}

static FailedRead *find(const FailedReads *f, uint64_t id) {
        HTABLE_FOREACH (l, &f->by_node, hash_of(id)) {
                FailedRead *r = container_of(l, FailedRead, link);
                if (r->id == id)
                        return r;
        }
        return NULL;
}

static void drop(FailedReads *f, FailedRead *r) {
        TAILQ_REMOVE(&f->list, r, entry);
        htable_remove(&f->by_node, &r->link);
        free(r);
}

/* They are all kept for as long. */
static void drop_old(FailedReads *f, uint64_t now) {
        for (FailedRead *r; (r = TAILQ_FIRST(&f->list));) {
                if (r->until_usec > now && f->by_node.n_entries < FAILED_MAX)
                        return;
                drop(f, r);
        }
}

void failed_reads_init(FailedReads *f) {
        *f = (FailedReads){.list = TAILQ_HEAD_INITIALIZER(f->list)};
}

void failed_reads_done(FailedReads *f) {
        drop_old(f, UINT64_MAX);
        htable_done(&f->by_node);
}

void failed_reads_add(FailedReads *f, uint64_t id, int error, uint64_t now) {
        FailedRead *r = find(f, id);

        if (r)
                drop(f, r);
        drop_old(f, now);
        r = calloc(1, sizeof(*r));
        if (!r)
                return;
        r->id = id;
        r->until_usec = now + MOMENT_USEC;
        r->error = error;
        if (htable_add(&f->by_node, &r->link, hash_of(id)) < 0) {
                free(r);
                return;
        }
        TAILQ_INSERT_TAIL(&f->list, r, entry);
}

int failed_reads_find(const FailedReads *f, uint64_t id, uint64_t now) {
        const FailedRead *r = find(f, id);

        return r && r->until_usec > now ? r->error : 0;
}
