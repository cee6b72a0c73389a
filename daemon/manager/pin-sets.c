/* A task on the pool does what takes time, the union and the documents, as often as something
 * changed. It alone frees sets, so it may use their keys without the lock. */

#include "manager/pin-sets.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/buf.h"
#include "util/log.h"

/* A document: bytes, and then the keys of the objects. */
#define KEY_PREFIX "pin "

static void set_free(PinSet *set) {
        pinned_done(&set->objects);
        free(set->key);
        free(set);
}

/* --- the store --- */

static int gather(PinSets *s, Pinned *ret) {
        PinSet *set;
        int r = 0;

        MUTEX_GUARD(&s->lock);
        s->changed = false;
        TAILQ_FOREACH (set, &s->list, entry)
                if (r >= 0)
                        r = pinned_add_all(ret, &set->objects);
        return r;
}

static int publish_union(PinSets *s) {
        _cleanup_pinned_ Pinned all = {0};

        int r = gather(s, &all);
        if (r < 0)
                return r;
        pinned_seal(&all);
        return store_set_pinned(s->store, &all);
}

/* --- documents --- */

/* What a document is to say, and of which set. */
typedef struct Note {
        PinSet *set;
        Pinned objects;
        uint64_t bytes;
        bool dropped;
} Note;

/* 1, or 0 when all is noted. */
static int take_note(PinSets *s, Note *ret) {
        PinSet *set;

        MUTEX_GUARD(&s->lock);
        TAILQ_FOREACH (set, &s->list, entry)
                if (!set->noted)
                        break;
        if (!set)
                return 0;
        *ret = (Note){.set = set, .bytes = set->bytes, .dropped = set->dropped};
        int r = pinned_add_all(&ret->objects, &set->objects);
        if (r < 0)
                return r;
        set->noted = true;
        if (set->dropped)
                TAILQ_REMOVE(&s->list, set, entry);
        return 1;
}

static int put_document(Documents *documents, const Note *note) {
        _cleanup_buf_ Buf content = {0};
        const uint64_t bytes = htole64(note->bytes);
        const Pinned *objects = &note->objects;

        int r = buf_append(&content, &bytes, sizeof(bytes));
        if (r >= 0)
                r = buf_append(&content, objects->keys, objects->n * sizeof(*objects->keys));
        return r < 0 ? r : documents_put(documents, note->set->key, content.data, content.len);
}

static void write_note(PinSets *s, Note *note) {
        int r = 0;

        if (s->documents && note->objects.n == 0)
                documents_remove(s->documents, note->set->key);
        else if (s->documents)
                r = put_document(s->documents, note);
        if (r < 0)
                log_debug(
                        "what is pinned is not noted for the next start: %s, ignoring",
                        strerrorname_np(-r));
        pinned_done(&note->objects);
        if (note->dropped)
                set_free(note->set);
}

static void read_document(PinSets *s, PinSet *set) {
        _cleanup_buf_ Buf kept = {0};
        uint64_t bytes;

        /* What cannot be read, or is not one, is found out anew. */
        if (documents_get(s->documents, set->key, &kept) <= 0 || kept.len < sizeof(bytes) ||
            kept.len % sizeof(uint64_t) != 0)
                return;
        memcpy(&bytes, kept.data, sizeof(bytes));
        const Pinned objects = {
                .keys = (uint64_t *) (void *) kept.data + 1,
                .n = kept.len / sizeof(uint64_t) - 1,
        };
        if (pinned_add_all(&set->objects, &objects) < 0)
                return;
        pinned_seal(&set->objects);
        set->bytes = le64toh(bytes);
}

/* --- the task --- */

static void run(Task *task) {
        PinSets *s = container_of(task, PinSets, task);

        for (;;) {
                Note note;
                int r = publish_union(s);
                if (r < 0)
                        log_debug("the pinned objects stay as they were: %s", strerrorname_np(-r));
                while (take_note(s, &note) > 0)
                        write_note(s, &note);
                MUTEX_GUARD(&s->lock);
                s->publishing = s->changed;
                if (!s->publishing)
                        return;
        }
}

static void changed_locked(PinSets *s, PinSet *set) {
        set->noted = false;
        s->changed = true;
        if (s->publishing)
                return;
        s->publishing = true;
        pool_submit(s->pool, &s->task, TASK_NORMAL);
}

/* --- one set --- */

int pin_set_new(PinSets *s, const char *path, PinSet **ret) {
        PinSet *set = calloc(1, sizeof(*set));
        if (!set)
                return -ENOMEM;
        if (asprintf(&set->key, KEY_PREFIX "%s", path) < 0) {
                free(set);
                return -ENOMEM;
        }
        set->noted = true; /* nobody knows better yet */
        MUTEX_GUARD(&s->lock);
        TAILQ_INSERT_TAIL(&s->list, set, entry);
        *ret = set;
        return 0;
}

void pin_set_drop(PinSets *s, PinSet *set) {
        MUTEX_GUARD(&s->lock);
        set->job = 0;
        set->dropped = true;
        set->bytes = 0;
        pinned_done(&set->objects);
        changed_locked(s, set);
}

void pin_set_expect(PinSets *s, PinSet *set, uint32_t job) {
        MUTEX_GUARD(&s->lock);
        set->job = job;
        if (job != 0)
                set->told = false;
}

void pin_set_clear(PinSets *s, PinSet *set) {
        MUTEX_GUARD(&s->lock);
        if (set->told)
                return;
        set->bytes = 0;
        pinned_done(&set->objects);
        changed_locked(s, set);
}

uint64_t pin_set_bytes(PinSets *s, PinSet *set) {
        MUTEX_GUARD(&s->lock);
        return set->bytes;
}

typedef struct Shares {
        PinSet *own;     /* NULL: none is this job's */
        uint64_t others; /* bytes */
        uint64_t stale;  /* of them: of those whose last job has not told, which may need less */
} Shares;

static Shares count_shares_locked(PinSets *s, uint32_t job) {
        Shares shares = {0};
        PinSet *set;

        TAILQ_FOREACH (set, &s->list, entry) {
                if (set->job == job) {
                        shares.own = set;
                        continue;
                }
                shares.others += set->bytes;
                if (!set->told)
                        shares.stale += set->bytes;
        }
        return shares;
}

/* What does not fit for certain keeps nothing. What fits once others have told that they need less
 * is what it was until it is tried again. */
int pin_sets_tell(
        PinSets *s, uint32_t job, const Pinned *objects, uint64_t bytes, Failure *ret_failure) {
        uint64_t limit = store_pin_limit(s->store);
        _cleanup_pinned_ Pinned copy = {0};

        int r = pinned_add_all(&copy, objects);
        if (r < 0)
                return r;
        MUTEX_GUARD(&s->lock);
        const Shares shares = count_shares_locked(s, job);
        PinSet *set = shares.own;
        if (!set)
                return -ECANCELED;
        const bool fits = bytes + shares.others <= limit;
        set->told = true;
        if (fits || bytes + shares.others - shares.stale > limit) {
                pinned_done(&set->objects);
                set->bytes = 0;
                changed_locked(s, set);
        }
        if (!fits)
                return failure_set(
                        ret_failure,
                        FAILURE_TOO_LARGE,
                        "it takes %" PRIu64 " MiB, other pins take %" PRIu64
                        ", and all together may take %" PRIu64 " (half of DiskLimit=)",
                        bytes >> 20,
                        shares.others >> 20,
                        limit >> 20);
        set->objects = copy;
        copy = (Pinned){0};
        set->bytes = bytes;
        return 0;
}

/* --- all --- */

void pin_sets_init(PinSets *s, Store *store, Documents *documents, Pool *pool) {
        *s = (PinSets){.store = store, .documents = documents, .pool = pool};
        s->task.run = run;
        mutex_init(&s->lock, LOCK_RANK_JOB);
        TAILQ_INIT(&s->list);
}

void pin_sets_load(PinSets *s) {
        PinSet *set;

        if (TAILQ_EMPTY(&s->list) || !s->documents)
                return;
        TAILQ_FOREACH (set, &s->list, entry)
                read_document(s, set);
        (void) publish_union(s); /* likewise found out anew */
}

void pin_sets_done(PinSets *s) {
        PinSet *set;

        while ((set = TAILQ_FIRST(&s->list))) {
                TAILQ_REMOVE(&s->list, set, entry);
                set_free(set);
        }
        mutex_destroy(&s->lock);
}
