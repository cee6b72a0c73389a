#include "forge/git-pack-sink.h"

#include <errno.h>

#include "util/clock.h"
#include "util/stats.h"

/* Larger objects are written into the store in place; smaller ones are cheaper to copy. */
#define WRITER_THRESHOLD (256 * 1024)

/* Memory for one object. Exactly one of the two is set. */
typedef struct Room {
        StoreWriter *writer;
        uint8_t *data;
} Room;

static int
sink_begin(void *userdata, ObjectType type, uint64_t size, uint8_t **ret_data, void **ret_token) {
        GitPackSink *sink = userdata;

        /* A few bytes of delta can stand for a large object: what has come already may take longer
         * than all there is time for. */
        if (now_usec() >= sink->fetch->deadline_usec)
                return -ETIMEDOUT;
        if (fetch_is_cancelled(sink->fetch))
                return -ECANCELED;
        _cleanup_free_ Room *room = calloc(1, sizeof(*room));
        if (!room)
                return -ENOMEM;
        uint8_t *data = NULL;
        if (size >= WRITER_THRESHOLD) {
                /* What no tier takes could not be handed to whoever waits for it: better now than
                 * after the last byte. */
                int r = store_writer_begin(sink->store, type, size, &room->writer, &data);
                if (r < 0)
                        return r;
        } else {
                data = room->data = malloc(size);
                if (!data)
                        return -ENOMEM;
        }
        *ret_data = data;
        *ret_token = TAKE_PTR(room);
        return 0;
}

static void sink_abandon(void *userdata, void *token) {
        Room *room = token;

        if (room->writer)
                store_writer_abort(room->writer);
        free(room->data);
        free(room);
}

/* Takes the room. A full or broken disk is no reason to fail a read: memory serves as well. */
static int
keep(Store *store,
     Room *room,
     ObjectType type,
     const Oid *oid,
     const uint8_t *data,
     uint64_t size) {
        if (room && room->writer)
                return store_writer_commit(TAKE_PTR(room->writer), oid);
        int r = store_put(store, STORE_DISK, STORE_OBJECT, oid, type, data, size);
        if (r == -ENOSPC || r == -EIO || r == -EROFS || r == -EFBIG)
                r = store_put(store, STORE_MEMORY, STORE_OBJECT, oid, type, data, size);
        return r;
}

static int sink_commit(
        void *userdata,
        ObjectType type,
        const Oid *oid,
        uint8_t *data,
        uint64_t size,
        void *token) {
        GitPackSink *sink = userdata;
        Room *room = token;

        int r = keep(sink->store, room, type, oid, data, size);
        if (room) {
                free(room->data);
                free(room);
        }
        if (r < 0)
                return r;
        stat_add(STAT_FETCH_OBJECTS_IN, 1);
        (void) git_wants_arrived(sink->wants, oid); /* what was not asked for is welcome, too */
        if (sink->fetch->object)
                sink->fetch->object(sink->fetch, oid, type, size);
        return 0;
}

static int sink_base(
        void *userdata,
        const Oid *oid,
        ObjectType *ret_type,
        const uint8_t **ret_data,
        uint64_t *ret_size,
        void **ret_token) {
        GitPackSink *sink = userdata;
        _cleanup_free_ ObjectRef *ref = calloc(1, sizeof(*ref));

        if (!ref)
                return -ENOMEM;
        int r = store_get(sink->store, STORE_OBJECT, oid, ref);
        if (r <= 0)
                return r;
        *ret_type = ref->type;
        *ret_data = ref->data;
        *ret_size = ref->size;
        *ret_token = TAKE_PTR(ref);
        return 1;
}

static void sink_release(void *userdata, void *token) {
        object_ref_done(token);
        free(token);
}

const PackSink git_pack_sink = {
        .begin = sink_begin,
        .commit = sink_commit,
        .abandon = sink_abandon,
        .base = sink_base,
        .release = sink_release,
};
