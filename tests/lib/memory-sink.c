#include "lib/memory-sink.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t oid_hash(const Oid *oid) {
        return hash_bytes(oid->id, sizeof(oid->id), oid->algo);
}

static int
sink_begin(void *userdata, ObjectType type, uint64_t size, uint8_t **ret_data, void **ret_token) {
        MemorySink *s = userdata;

        assert(size > 0);
        if (s->bytes_max > 0 && size > s->bytes_max - s->bytes)
                return -ENOSPC;
        uint8_t *data = malloc(size);
        if (!data)
                return -ENOMEM;
        s->bytes += size;
        s->n_begun++;
        *ret_data = data;
        *ret_token = data;
        return 0;
}

static void sink_abandon(void *userdata, void *token) {
        MemorySink *s = userdata;

        assert(token && s->n_begun > 0);
        s->n_begun--;
        free(token);
}

static int sink_commit(
        void *userdata,
        ObjectType type,
        const Oid *oid,
        uint8_t *data,
        uint64_t size,
        void *token) {
        _cleanup_free_ uint8_t *owned = token;
        MemorySink *s = userdata;

        assert(token == data && (size > 0) == (data != NULL));
        if (size > 0) {
                assert(s->n_begun > 0);
                s->n_begun--;
        }
        s->n_commits++;
        if (s->n_commits == s->fail_commit)
                return -EDQUOT;
        if (memory_sink_find(s, oid))
                return 0;

        MemoryObject *o = calloc(1, sizeof(*o));
        if (!o)
                return -ENOMEM;
        *o = (MemoryObject){.oid = *oid, .type = type, .size = size, .data = TAKE_PTR(owned)};
        int r = htable_add(&s->table, &o->link, oid_hash(oid));
        assert(r == 0);
        return r;
}

static int sink_base(
        void *userdata,
        const Oid *oid,
        ObjectType *ret_type,
        const uint8_t **ret_data,
        uint64_t *ret_size,
        void **ret_token) {
        MemorySink *s = userdata;

        const MemoryObject *o = s->hide_bases ? NULL : memory_sink_find(s, oid);
        if (!o)
                return 0;
        s->n_held++;
        *ret_type = o->type;
        *ret_data = o->data;
        *ret_size = o->size;
        *ret_token = (void *) o;
        return 1;
}

static void sink_release(void *userdata, void *token) {
        MemorySink *s = userdata;

        assert(token && s->n_held > 0);
        s->n_held--;
}

const PackSink memory_sink_ops = {
        .begin = sink_begin,
        .commit = sink_commit,
        .abandon = sink_abandon,
        .base = sink_base,
        .release = sink_release,
};

const MemoryObject *memory_sink_find(const MemorySink *s, const Oid *oid) {
        HTABLE_FOREACH (l, &s->table, oid_hash(oid)) {
                MemoryObject *o = container_of(l, MemoryObject, link);
                if (oid_equal(&o->oid, oid))
                        return o;
        }
        return NULL;
}

static void forget(HTableLink *link, void *userdata) {
        MemorySink *s = userdata;
        MemoryObject *o = container_of(link, MemoryObject, link);

        htable_remove(&s->table, link);
        free(o->data);
        free(o);
}

void memory_sink_done(MemorySink *s) {
        htable_each(&s->table, forget, s);
        htable_done(&s->table);
        *s = (MemorySink){0};
}
