#include "store/store.h"

#include <errno.h>
#include <string.h>

#include "store/disk.h"
#include "store/memory.h"
#include "store/owner.h"
#include "util/log.h"
#include "util/stats.h"

/* Two tiers behind one face: memory is asked first, then the disk. Which one takes an object is the
 * caller's choice, with three exceptions. Without a directory everything goes to memory. An object
 * that would take more than half of the memory tier goes to disk where there is one, because it
 * would throw everything else out. And where the disk takes nothing (full, read-only, gone),
 * objects that fit go to memory, so that reads go on: the disk tier has nothing that cannot be
 * fetched again.
 *
 * A large object is written in its place on disk, so it costs no memory of ours while it arrives,
 * whatever its size. Only where the disk has no room right now, because objects that arrive or are
 * being read fill it to its limit, it is collected in memory, and all such buffers together stay
 * below the limit of the memory tier. What no tier can ever hold is refused before its first byte
 * (-EFBIG). */

struct Store {
        DiskTier *disk; /* NULL without a directory */
        MemoryTier *memory;
        atomic_uint_least64_t in_transit; /* bytes of large objects collected in memory */
        atomic_int disk_error;            /* of the last object that was to go to disk */
};

/* Either a place on disk or a buffer; which one is told by `data`. */
struct StoreWriter {
        Store *store;
        ObjectType type;
        uint64_t size;
        uint8_t *data;       /* owned; NULL when the bytes are written in place */
        uint64_t in_transit; /* what it counts for there */
        DiskReservation reservation;
};

int store_open(const StoreConfig *config, Store **ret) {
        _cleanup_(store_closep) Store *store = calloc(1, sizeof(*store));
        if (!store)
                return -ENOMEM;
        int r = memory_tier_new(config->memory_limit, &store->memory);
        if (r < 0)
                return r;
        if (config->directory) {
                r = disk_tier_open(config, &store->disk);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(store);
        return 0;
}

Store *store_close(Store *store) {
        if (!store)
                return NULL;
        disk_tier_close(store->disk);
        memory_tier_free(store->memory);
        free(store);
        return NULL;
}

static int get(Store *store, StoreKind kind, const Oid *oid, bool verify, ObjectRef *ret) {
        int r = memory_tier_get(store->memory, kind, oid, ret);
        if (r == 0 && store->disk)
                r = disk_tier_get(store->disk, kind, oid, verify, ret);
        if (r >= 0)
                stat_add(r > 0 ? STAT_STORE_HIT : STAT_STORE_MISS, 1);
        return r;
}

int store_get(Store *store, StoreKind kind, const Oid *oid, ObjectRef *ret) {
        return get(store, kind, oid, /* verify= */ true, ret);
}

int store_get_resident(Store *store, StoreKind kind, const Oid *oid, ObjectRef *ret) {
        return get(store, kind, oid, /* verify= */ false, ret);
}

int store_stat(
        Store *store, StoreKind kind, const Oid *oid, ObjectType *ret_type, uint64_t *ret_size) {
        int r = memory_tier_stat(store->memory, kind, oid, ret_type, ret_size);
        if (r == 0 && store->disk)
                r = disk_tier_stat(store->disk, kind, oid, ret_type, ret_size);
        return r;
}

bool store_has(Store *store, StoreKind kind, const Oid *oid) {
        ObjectType type;
        uint64_t size;
        return store_stat(store, kind, oid, &type, &size) > 0;
}

/* What is about to be stored is here already, and its bytes are right: it may have been asked for
 * because nobody has looked at them yet. */
static bool is_here(Store *store, StoreKind kind, const Oid *oid) {
        _cleanup_object_ref_ ObjectRef ref = {0};

        if (memory_tier_get(store->memory, kind, oid, &ref) > 0)
                return true;
        return store->disk && disk_tier_get(store->disk, kind, oid, /* verify= */ true, &ref) > 0;
}

static int count_put(int r, uint64_t size) {
        if (r >= 0) {
                stat_add(STAT_STORE_PUT, 1);
                stat_add(STAT_STORE_PUT_BYTES, (int64_t) size);
        }
        return r;
}

/* Counts what the disk refuses, but not what could never fit. */
static int reserve_on_disk(Store *store, uint64_t size, DiskReservation *ret) {
        int r = disk_tier_reserve(store->disk, size, ret);
        if (r != -EFBIG)
                atomic_store(&store->disk_error, MIN(r, 0));
        if (r < 0 && r != -EFBIG)
                stat_add(STAT_STORE_DISK_REFUSED, 1);
        return r;
}

static int put_on_disk(
        Store *store,
        StoreKind kind,
        const Oid *oid,
        ObjectType type,
        const void *data,
        uint64_t size) {
        DiskReservation reservation;

        if (!store->disk)
                return -EFBIG;
        int r = reserve_on_disk(store, size, &reservation);
        if (r < 0)
                return r;
        if (size > 0)
                memcpy(disk_reservation_data(&reservation), data, size);
        return disk_tier_commit(store->disk, &reservation, kind, oid, type);
}

static int copy_to_memory(
        Store *store,
        StoreKind kind,
        const Oid *oid,
        ObjectType type,
        const void *data,
        uint64_t size) {
        uint8_t *copy = NULL;

        if (!memory_tier_takes(store->memory, size))
                return -EFBIG;
        if (size > 0) {
                copy = malloc(size);
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, data, size);
        }
        return memory_tier_put(store->memory, kind, oid, type, copy, size);
}

int store_put(
        Store *store,
        StoreTier tier,
        StoreKind kind,
        const Oid *oid,
        ObjectType type,
        const void *data,
        uint64_t size) {
        if (is_here(store, kind, oid))
                return 0;
        if (tier == STORE_MEMORY && memory_tier_takes(store->memory, size))
                return count_put(copy_to_memory(store, kind, oid, type, data, size), size);

        int r = put_on_disk(store, kind, oid, type, data, size);
        if (r < 0 && memory_tier_takes(store->memory, size)) {
                log_debug("the disk takes no object: %s, using memory", strerrorname_np(-r));
                r = copy_to_memory(store, kind, oid, type, data, size);
        }
        return count_put(r, size);
}

int store_put_take(
        Store *store,
        StoreKind kind,
        const Oid *oid,
        ObjectType type,
        uint8_t *data,
        uint64_t size) {
        _cleanup_free_ uint8_t *owned = data;

        if (is_here(store, kind, oid))
                return 0;
        if (!memory_tier_takes(store->memory, size))
                return count_put(put_on_disk(store, kind, oid, type, owned, size), size);
        return count_put(
                memory_tier_put(store->memory, kind, oid, type, TAKE_PTR(owned), size), size);
}

/* 0: there is room for a buffer of this size. Otherwise the reason why one was needed. */
static int reserve_transit(Store *store, uint64_t size, int reason) {
        uint64_t before = atomic_load(&store->in_transit);

        /* Not added on trial: another one that fits would see it, and be refused. */
        do
                if (!memory_tier_fits(store->memory, before + size))
                        return reason;
        while (!atomic_compare_exchange_weak(&store->in_transit, &before, before + size));
        return 0;
}

/* Sets writer->data, or writer->reservation. Small objects are collected in a buffer: a place in
 * the shared segment would keep it from being sealed for as long as the writer takes. */
static int writer_reserve(StoreWriter *writer) {
        Store *store = writer->store;
        int r = 0;

        if (!store->disk && !memory_tier_takes(store->memory, writer->size))
                return -EFBIG;
        if (store->disk && disk_tier_is_large(store->disk, writer->size)) {
                r = reserve_on_disk(store, writer->size, &writer->reservation);
                if (r >= 0)
                        return 0;
                if (r == -EFBIG && !memory_tier_takes(store->memory, writer->size))
                        return r;
                r = reserve_transit(store, writer->size, r);
                if (r < 0)
                        return r;
                writer->in_transit = writer->size;
        }
        writer->data = malloc(writer->size);
        return writer->data ? 0 : -ENOMEM;
}

static StoreWriter *writer_free(StoreWriter *w) {
        if (!w)
                return NULL;
        (void) atomic_fetch_sub(&w->store->in_transit, w->in_transit);
        free(w->data);
        free(w);
        return NULL;
}
DEFINE_CLEANUP(StoreWriter *, writer_free)

int store_writer_begin(
        Store *store, ObjectType type, uint64_t size, StoreWriter **ret, uint8_t **ret_data) {
        assert(size > 0);

        _cleanup_(writer_freep) StoreWriter *writer = calloc(1, sizeof(*writer));
        if (!writer)
                return -ENOMEM;
        writer->store = store;
        writer->type = type;
        writer->size = size;
        int r = writer_reserve(writer);
        if (r < 0)
                return r;
        *ret_data = writer->data ? writer->data : disk_reservation_data(&writer->reservation);
        *ret = TAKE_PTR(writer);
        return 0;
}

int store_writer_commit(StoreWriter *writer, const Oid *oid) {
        _cleanup_(writer_freep) StoreWriter *w = writer;
        Store *store = w->store;

        if (!w->data)
                return count_put(
                        disk_tier_commit(store->disk, &w->reservation, STORE_OBJECT, oid, w->type),
                        w->size);
        if (is_here(store, STORE_OBJECT, oid))
                return 0;
        /* Copied once more: it is small, or the disk refused it before. */
        int r = put_on_disk(store, STORE_OBJECT, oid, w->type, w->data, w->size);
        if (r < 0)
                r = memory_tier_put(
                        store->memory, STORE_OBJECT, oid, w->type, TAKE_PTR(w->data), w->size);
        return count_put(r, w->size);
}

void store_writer_abort(StoreWriter *writer) {
        _cleanup_(writer_freep) StoreWriter *w = writer;

        if (!w->data)
                disk_tier_abort(w->store->disk, &w->reservation);
}

void store_forget(Store *store, StoreKind kind, const Oid *oid) {
        memory_tier_forget(store->memory, kind, oid);
        if (store->disk)
                disk_tier_forget(store->disk, kind, oid);
}

void store_flush_memory(Store *store) {
        memory_tier_flush(store->memory);
}

int store_flush_disk(Store *store) {
        memory_tier_flush(store->memory);
        return store->disk ? disk_tier_flush(store->disk) : 0;
}

void store_verify_start(Store *store, StoreVerification *v) {
        *v = (StoreVerification){0};
        if (store->disk)
                disk_tier_verify_start(store->disk, v);
}

int store_verify_step(Store *store, StoreVerification *v) {
        return store->disk ? disk_tier_verify_step(store->disk, v) : 0;
}

int store_set_pinned(Store *store, Pinned *pinned) {
        if (store->disk)
                return disk_tier_set_pinned(store->disk, pinned);
        pinned_done(pinned); /* nothing to keep them on */
        return 0;
}

uint64_t store_pin_limit(Store *store) {
        StoreUsage usage = {0};

        store_usage(store, &usage);
        return usage.disk_limit / 2;
}

void store_usage(Store *store, StoreUsage *ret) {
        *ret = (StoreUsage){0};
        memory_tier_usage(store->memory, &ret->n_objects, &ret->memory_bytes, &ret->memory_limit);
        if (store->disk)
                disk_tier_usage(store->disk, ret);
        ret->disk_error = atomic_load(&store->disk_error);
}

void store_set_limits(Store *store, const StoreConfig *config) {
        memory_tier_set_limit(store->memory, config->memory_limit);
        if (store->disk)
                disk_tier_set_limits(store->disk, config);
}

void store_make_room(Store *store) {
        if (store->disk)
                disk_tier_make_room(store->disk);
}

bool object_ref_is_torn(const ObjectRef *ref) {
        const StoreOwner *owner = ref->owner;
        return owner && owner->is_torn && owner->is_torn(owner);
}

void object_ref_give_up(const ObjectRef *ref) {
        StoreOwner *owner = ref->owner;

        if (owner && owner->give_up)
                owner->give_up(owner);
}

void object_ref_done(ObjectRef *ref) {
        StoreOwner *owner = ref->owner;

        if (owner)
                owner->unref(owner);
        *ref = (ObjectRef){0};
}
