#include "object/pack-resolver.h"

#include <errno.h>
#include <string.h>

#include "object/delta.h"
#include "util/array.h"

/* Every delta is applied to a base that is whole already, so a chain of deltas costs neither stack
 * nor time beyond its own links, whatever its depth. A delta whose base is not known yet waits
 * under the base's name, or under the base's entry where that is itself a delta without a name.
 * Each object that gets its name moves those that waited for it onto a stack of ready ones, which
 * is worked off in a loop. So the whole is linear, a cycle simply never becomes ready, and what
 * waits is bounded by its bytes.
 */

#define NO_ENTRY SIZE_MAX
/* Deltas stand near their bases, and what is not cached any more is in the sink's store. */
#define BASE_CACHE_MAX ((size_t) 16 << 20)

struct WaitingDelta {
        HTableLink link;
        WaitingDelta *next_ready;
        size_t entry;      /* what this delta will be */
        size_t base_entry; /* NO_ENTRY when it waits for a name */
        Oid base;          /* set when ready, or when it waits for a name */
        size_t len;
        uint8_t delta[];
};

/* A base, held in place while a delta is applied to it. */
typedef struct Base {
        PackResolver *resolver; /* NULL when nothing has to be released */
        ObjectType type;
        const uint8_t *data;
        uint64_t size;
        void *token;
} Base;

static void base_done(Base *b) {
        if (b->resolver)
                b->resolver->sink->release(b->resolver->userdata, b->token);
}

/* The part of the memory that the waiting deltas leave is the cache's. */
static size_t cache_limit(const PackResolver *s) {
        return MIN(s->limits.max_pending_bytes - s->waiting_bytes, BASE_CACHE_MAX);
}

static void account_waiting(PackResolver *s, size_t bytes) {
        s->waiting_bytes = bytes;
        base_cache_set_limit(&s->cache, cache_limit(s));
}

static void waiting_delta_free(PackResolver *s, WaitingDelta *w) {
        account_waiting(s, s->waiting_bytes - sizeof(*w) - w->len);
        free(w);
}

static WaitingDelta *pop_ready(PackResolver *s) {
        WaitingDelta *w = s->ready;

        if (w)
                s->ready = w->next_ready;
        return w;
}

void pack_resolver_init(
        PackResolver *s,
        OidAlgo algo,
        const PackLimits *limits,
        const PackSink *sink,
        void *userdata) {
        *s = (PackResolver){.algo = algo, .limits = *limits, .sink = sink, .userdata = userdata};
        base_cache_init(&s->cache, cache_limit(s));
}

static void forget_waiting(HTableLink *link, void *userdata) {
        PackResolver *s = userdata;

        htable_remove(&s->waiting, link);
        free(container_of(link, WaitingDelta, link));
}

void pack_resolver_done(PackResolver *s) {
        htable_each(&s->waiting, forget_waiting, s);
        htable_done(&s->waiting);
        for (WaitingDelta *w; (w = pop_ready(s));)
                free(w);
        base_cache_done(&s->cache);
        free(s->entries);
        *s = (PackResolver){0};
}

int pack_object_begin(PackResolver *s, ObjectType type, uint64_t size, PackObject *ret) {
        PackObject o = {.type = type, .size = size};

        if (size > s->limits.max_object_size || size > SIZE_MAX / 2)
                return -EFBIG;
        if (size > 0) {
                int r = s->sink->begin(s->userdata, type, size, &o.data, &o.token);
                if (r < 0)
                        return r;
                o.resolver = s;
        }
        *ret = o;
        return 0;
}

void pack_object_done(PackObject *o) {
        if (o->resolver)
                o->resolver->sink->abandon(o->resolver->userdata, o->token);
        *o = (PackObject){0};
}

static int add_entry(PackResolver *s, uint64_t offset, size_t *ret) {
        /* Grows with what has come, not with what the header promised. */
        int r = ARRAY_RESERVE(s->entries, s->n_entries_allocated, s->n_entries + 1);
        if (r < 0)
                return r;
        *ret = s->n_entries;
        s->entries[s->n_entries++] = (PackEntry){.offset = offset};
        return 0;
}

static size_t find_entry(const PackResolver *s, uint64_t offset) {
        size_t low = 0, high = s->n_entries;

        while (low < high) {
                size_t mid = low + (high - low) / 2;
                if (s->entries[mid].offset < offset)
                        low = mid + 1;
                else
                        high = mid;
        }
        return low < s->n_entries && s->entries[low].offset == offset ? low : NO_ENTRY;
}

static uint64_t waiting_hash(size_t base_entry, const Oid *base) {
        if (base_entry != NO_ENTRY)
                return hash_bytes(&base_entry, sizeof(base_entry), 1);
        return hash_bytes(base->id, sizeof(base->id), 2);
}

/* Moves the deltas that wait for this entry, or for this name if base_entry is NO_ENTRY, to the
 * ready ones. */
static void wake(PackResolver *s, size_t base_entry, const Oid *oid) {
        HTableLink *next;

        for (HTableLink *l = htable_first(&s->waiting, waiting_hash(base_entry, oid)); l;
             l = next) {
                WaitingDelta *w = container_of(l, WaitingDelta, link);
                next = htable_next(l);
                if (w->base_entry != base_entry)
                        continue;
                if (base_entry == NO_ENTRY && !oid_equal(&w->base, oid))
                        continue;
                htable_remove(&s->waiting, l);
                w->base = *oid;
                w->next_ready = s->ready;
                s->ready = w;
        }
}

/* Names an object and hands it on; o's memory belongs to the sink after that. */
static int commit_object(PackResolver *s, size_t entry, PackObject *o) {
        Oid oid;

        int r = object_hash(s->algo, o->type, o->data, o->size, &oid);
        if (r < 0)
                return r;
        base_cache_put(&s->cache, o->type, &oid, o->data, o->size);

        o->resolver = NULL;
        r = s->sink->commit(s->userdata, o->type, &oid, o->data, o->size, o->token);
        if (r < 0)
                return r;
        s->entries[entry].oid = oid;
        s->n_committed++;
        if (s->waiting.n_entries > 0) {
                wake(s, entry, &oid);
                wake(s, NO_ENTRY, &oid);
        }
        return 0;
}

/* 1 found, 0 not, < 0 error. */
static int find_base(PackResolver *s, const Oid *oid, Base *ret) {
        const BaseCacheEntry *e = base_cache_get(&s->cache, oid);
        if (e) {
                *ret = (Base){.type = e->type, .data = e->data, .size = e->size};
                return 1;
        }

        Base b = {.resolver = s};
        int r = s->sink->base(s->userdata, oid, &b.type, &b.data, &b.size, &b.token);
        if (r <= 0)
                return r;
        /* Where there is one delta on this base there are often more. */
        base_cache_put(&s->cache, b.type, oid, b.data, b.size);
        *ret = b;
        return 1;
}

/* 1, or 0 when the base is not to be had yet. */
static int
apply(PackResolver *s, size_t entry, const Oid *base_oid, const uint8_t *delta, size_t len) {
        _cleanup_(base_done) Base base = {0};
        _cleanup_(pack_object_done) PackObject o = {0};
        uint64_t base_size, size;
        size_t header_len;

        int r = find_base(s, base_oid, &base);
        if (r <= 0)
                return r;
        r = delta_sizes(delta, len, &base_size, &size, &header_len);
        if (r < 0)
                return r;
        r = pack_object_begin(s, base.type, size, &o);
        if (r < 0)
                return r;
        r = delta_apply(base.data, base.size, delta, len, o.data, o.size);
        if (r < 0)
                return r;
        r = commit_object(s, entry, &o);
        return r < 0 ? r : 1;
}

/* Applies everything whose base has come, and what becomes ready by that. */
static int settle(PackResolver *s) {
        for (WaitingDelta *w; (w = pop_ready(s));) {
                int r = apply(s, w->entry, &w->base, w->delta, w->len);
                waiting_delta_free(s, w);
                if (r < 0)
                        return r;
                if (r == 0)
                        return -ENODATA; /* it was there a moment ago */
        }
        return 0;
}

static int wait_for_base(
        PackResolver *s,
        size_t entry,
        size_t base_entry,
        const Oid *base,
        const uint8_t *delta,
        size_t len) {
        size_t bytes = sizeof(WaitingDelta) + len;

        if (bytes > s->limits.max_pending_bytes - s->waiting_bytes)
                return -EFBIG;
        _cleanup_free_ WaitingDelta *w = malloc(bytes);
        if (!w)
                return -ENOMEM;
        *w = (WaitingDelta){.entry = entry, .base_entry = base_entry, .len = len};
        if (base)
                w->base = *base;
        memcpy(w->delta, delta, len);

        int r = htable_add(&s->waiting, &w->link, waiting_hash(base_entry, base));
        if (r < 0)
                return r;
        (void) TAKE_PTR(w); /* the table owns it */
        account_waiting(s, s->waiting_bytes + bytes);
        return 0;
}

int pack_resolver_add_object(PackResolver *s, uint64_t offset, PackObject *o) {
        size_t entry;

        int r = add_entry(s, offset, &entry);
        if (r >= 0)
                r = commit_object(s, entry, o);
        pack_object_done(o);
        return r < 0 ? r : settle(s);
}

int pack_resolver_add_offset_delta(
        PackResolver *s, uint64_t offset, uint64_t base_offset, const uint8_t *delta, size_t len) {
        size_t entry, base_entry = find_entry(s, base_offset);

        if (base_entry == NO_ENTRY)
                return -EBADMSG;
        int r = add_entry(s, offset, &entry);
        if (r < 0)
                return r;
        if (oid_is_none(&s->entries[base_entry].oid))
                return wait_for_base(s, entry, base_entry, NULL, delta, len);

        Oid base = s->entries[base_entry].oid;
        r = apply(s, entry, &base, delta, len);
        if (r == 0)
                return -ENODATA;
        return r < 0 ? r : settle(s);
}

int pack_resolver_add_ref_delta(
        PackResolver *s, uint64_t offset, const Oid *base, const uint8_t *delta, size_t len) {
        size_t entry;

        int r = add_entry(s, offset, &entry);
        if (r < 0)
                return r;
        r = apply(s, entry, base, delta, len);
        if (r == 0)
                return wait_for_base(s, entry, NO_ENTRY, base, delta, len);
        return r < 0 ? r : settle(s);
}

int pack_resolver_finish(const PackResolver *s) {
        return s->waiting.n_entries == 0 ? 0 : -EBADMSG;
}
