#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/object.h"

/* Decodes a git pack while it arrives: a push parser that inflates, applies deltas, computes every
 * object's id and hands the object on. What it hands on matches its id by construction. Bytes may
 * come from a hostile server: sizes are bounded, deltas are checked, and a chain of deltas costs
 * the same at any depth.
 *
 * One reader is used by one thread at a time (a strand). It keeps a bounded cache of recent objects
 * as delta bases and asks the sink for the others. Deltas whose base has not come yet (REF_DELTA
 * forwards) wait, up to a bound, until it comes. */
typedef struct PackReader PackReader;

typedef struct PackLimits {
        uint64_t max_object_size; /* larger objects fail the pack with -EFBIG */
        uint64_t max_objects;
        size_t max_pending_bytes; /* base cache and deltas that wait for a base, together; also the
                                     size of one delta. -EFBIG when deltas do not fit */
} PackLimits;

/* Where objects go. All are called on the thread that feeds. */
typedef struct PackSink {
        /* Asks for memory for an object of this size (never 0), to be filled front to back. Sets
         * *ret_data and *ret_token. Negative errno fails the pack. */
        int (*begin)(
                void *userdata,
                ObjectType type,
                uint64_t size,
                uint8_t **ret_data,
                void **ret_token);
        /* The object is complete and this is its id; takes the memory over, also when
         * it fails. The same object may come twice. For an empty object data and token are NULL and
         * begin was not called. Negative errno fails the pack. */
        int (*commit)(
                void *userdata,
                ObjectType type,
                const Oid *oid,
                uint8_t *data,
                uint64_t size,
                void *token);
        /* Gives memory back that begin() handed out, unused. */
        void (*abandon)(void *userdata, void *token);
        /* Finds an object that was committed earlier (or is known from elsewhere) as a delta base:
         * 1 found, 0 not, < 0 error. The bytes stay valid until release(), which may come after
         * calls of begin() and commit(). What this reader committed must be found until it is
         * freed. */
        int (*base)(
                void *userdata,
                const Oid *oid,
                ObjectType *ret_type,
                const uint8_t **ret_data,
                uint64_t *ret_size,
                void **ret_token);
        void (*release)(void *userdata, void *token);
} PackSink;

int pack_reader_new(
        OidAlgo algo,
        const PackLimits *limits,
        const PackSink *sink,
        void *userdata,
        PackReader **ret);
PackReader *pack_reader_free(PackReader *r);
DEFINE_CLEANUP(PackReader *, pack_reader_free)

/* Consumes bytes. 0; -EBADMSG malformed; -EFBIG over a limit; -ENODATA where the sink lost a base
 * that it had been given; -ENOMEM; or what the sink returned. After an error every further call
 * returns the same. */
int pack_reader_feed(PackReader *r, const void *data, size_t len);
/* The stream has ended: 0 if the pack was complete, its trailer hash is right and every delta found
 * its base; -EBADMSG otherwise. */
int pack_reader_finish(PackReader *r);
/* Objects announced by the pack's header (0 before it was read) and committed so far. */
uint64_t pack_reader_expected(const PackReader *r);
uint64_t pack_reader_committed(const PackReader *r);
