#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/object.h"
#include "store/pinned.h"

/* The content-addressed store: objects by id, shared by all orgs, repositories and refs. Two tiers
 * behind one interface: a persistent tier of log segments on disk under a strict byte limit, and a
 * memory tier (LRU by bytes, strict limit) for objects that exist on this machine anyway and must
 * not be copied to disk. All functions may be called from any thread; none holds a lock while it
 * hashes or touches the disk.
 *
 * Nothing enters that was not verified by its writer, and nothing read back from disk is handed out
 * before its bytes matched its id once in this process. */
typedef struct Store Store;

/* What is kept under an id. */
typedef enum StoreKind {
        STORE_OBJECT = 0, /* the git object of that id */
        STORE_SIZES = 1, /* id names a tree: the sizes of its entries, in their order, little-endian
                          * uint64_t each; UINT64_MAX for entries that have none */
} StoreKind;

typedef enum StoreTier {
        STORE_DISK,
        STORE_MEMORY,
} StoreTier;

typedef struct StoreConfig {
        const char *directory; /* created if missing; NULL: no disk tier, everything in memory */
        uint64_t disk_limit;   /* bytes on disk, never exceeded */
        uint64_t free_space_floor; /* bytes to leave free on that file system */
        uint64_t scan_limit;   /* bytes that an opening may read to find what unfinished segments
                                  hold; 0: 256 MiB, or two segments where those are larger */
        uint64_t memory_limit; /* bytes of the memory tier, never exceeded except by what is in use
                                */
} StoreConfig;

/* A handle on one object's bytes: valid until object_ref_done(), whatever is evicted meanwhile. */
typedef struct ObjectRef {
        ObjectType type;
        const uint8_t *data; /* NULL when size is 0 */
        const uint8_t
                *out; /* the same, to be handed to system calls and not touched otherwise: where
                         the disk fails they say EFAULT, while data may be zeros by then */
        uint64_t size;
        void *owner; /* private */
} ObjectRef;

/* Opens the store, recovering what a crash left: only unfinished segments are scanned, and no more
 * than scan_limit of them, the newest first; what is beyond it is lost. 0;
 * -EBUSY where another daemon uses the directory; other errno where it cannot be used: then the
 * store may still be opened without one. */
int store_open(const StoreConfig *config, Store **ret);
/* Seals and closes. All ObjectRefs must be gone. */
Store *store_close(Store *store);
DEFINE_CLEANUP(Store *, store_close)

/* Looks in memory, then on disk. 1 and a reference; 0 not here (also when the bytes on disk turned
 * out to be damaged: the entry is dropped and counted); < 0 errno. May read and hash from disk. */
int store_get(Store *store, StoreKind kind, const Oid *oid, ObjectRef *ret);
/* The same, but without hashing: 1, 0 not here, -EAGAIN when store_get() has to verify first (every
 * object on disk, once in each process). The bytes of an object on disk are a mapping: where the
 * kernel dropped them, whoever reads them waits for the disk. */
int store_get_resident(Store *store, StoreKind kind, const Oid *oid, ObjectRef *ret);
/* Type and size from the index alone. 1 or 0. */
int store_stat(
        Store *store, StoreKind kind, const Oid *oid, ObjectType *ret_type, uint64_t *ret_size);
bool store_has(Store *store, StoreKind kind, const Oid *oid);

/* Copies `size` bytes in. The caller has verified them (object_hash()). Storing what is here
 * already is a cheap success. 0; -EFBIG larger than the limit can ever hold; -ENOSPC; other errno.
 *
 * The tier is a wish. What would take more than half of the memory tier goes to disk, because it
 * would throw everything else out; what the disk does not take (full, read-only) goes to memory if
 * it fits, and is counted as store-disk-refused. */
int store_put(
        Store *store,
        StoreTier tier,
        StoreKind kind,
        const Oid *oid,
        ObjectType type,
        const void *data,
        uint64_t size);
/* Like store_put() into the memory tier, taking over malloc'ed data, also on failure. */
int store_put_take(
        Store *store,
        StoreKind kind,
        const Oid *oid,
        ObjectType type,
        uint8_t *data,
        uint64_t size);

/* Writing in place, for objects whose id is known only when the last byte is there. begin()
 * reserves `size` (> 0) bytes and gives the memory to fill; exactly one of commit() and abort()
 * follows. Nobody else sees the bytes before the commit. begin() fails at once with -EFBIG where no
 * tier can ever hold the object, and with -ENOSPC where none can right now. */
typedef struct StoreWriter StoreWriter;
int store_writer_begin(
        Store *store, ObjectType type, uint64_t size, StoreWriter **ret, uint8_t **ret_data);
int store_writer_commit(StoreWriter *writer, const Oid *oid);
void store_writer_abort(StoreWriter *writer);

/* Drops one object from both tiers / everything that only memory holds / everything. Bytes in use
 * live on until their references are gone. A forgotten object's bytes stay in their segment: the
 * next process may find them there, and verifies them as all others. */
void store_forget(Store *store, StoreKind kind, const Oid *oid);
void store_flush_memory(Store *store);
int store_flush_disk(Store *store);

/* Checking all that is on disk. Owned by whoever runs it, in any thread but one at a time. */
typedef struct StoreVerification {
        uint64_t checked, damaged; /* objects so far */
        uint64_t bytes;            /* that were hashed */
        uint64_t total;            /* objects there were at the start */

        /* private: where the next step goes on */
        uint64_t segment, end;
        uint32_t record;
        bool segment_damaged;
} StoreVerification;
/* From here on what is on disk now is walked; what is added later is not looked at. */
void store_verify_start(Store *store, StoreVerification *v);
/* Hashes some megabytes more, or one object if that is larger. What is damaged is counted in the
 * statistics and never found again, also by the next process where there is room to copy what
 * shares a file with it. 1; 0 at the end; -ENOMEM. */
int store_verify_step(Store *store, StoreVerification *v);

/* Eviction keeps these objects, of either kind, until another set is given; the sealed set is taken
 * over. It should leave room: see store_pin_limit(). Where it does not, or everything that is not
 * pinned is in use at once, pinned objects go after all, and something is counted as
 * store-pinned-lost. May evict: workers, or before there is traffic. */
int store_set_pinned(Store *store, Pinned *pinned);
/* How many bytes of objects may be pinned at most: half of what is on disk at most. */
uint64_t store_pin_limit(Store *store);

typedef struct StoreUsage {
        uint64_t n_objects;
        uint64_t disk_bytes, disk_limit;
        uint64_t memory_bytes, memory_limit;
        uint64_t n_segments;
        int disk_error; /* negative errno where the disk did not take the last object; or 0 */
} StoreUsage;
void store_usage(Store *store, StoreUsage *ret);
/* For what is added from now on; does not wait for the disk. */
void store_set_limits(Store *store, const StoreConfig *config);
/* Evicts what is over the limit on disk, which may read and hash what is pinned: workers only. */
void store_make_room(Store *store);

/* True where the disk failed under the bytes and some of them may have been read as zeros: asked
 * after use, by whom that matters to. The object is not here any more then. */
bool object_ref_is_torn(const ObjectRef *ref);
/* For who was told that the bytes cannot be read (EFAULT), as the disk fails under them: the object
 * is not here any more. */
void object_ref_give_up(const ObjectRef *ref);
void object_ref_done(ObjectRef *ref);
#define _cleanup_object_ref_ _cleanup_(object_ref_done)
