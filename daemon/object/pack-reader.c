#define ZLIB_CONST
#include "object/pack-reader.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>
#include <zlib.h>

#include "object/pack-resolver.h"
#include "util/buf.h"

/* A state machine over the bytes of a pack (gitformat-pack(5)): a header of 12 bytes, the entries,
 * the SHA-1 of all that. An entry is a type with a size, for deltas the base, and a zlib stream of
 * exactly that size. Nothing is kept of the input: whole objects are inflated into memory of the
 * sink, deltas into a buffer that is reused. What the entries amount to is pack-resolver.c's part.
 *
 * The declared size bounds what is inflated, byte for byte, so that a zip bomb fails at its first
 * byte too many; buffers of our own grow with what has come, not with what was declared.
 */

#define HEADER_SIZE 12
#define DELTA_SIZE_MIN 2 /* the two sizes that it begins with */
#define EXCESS_ROOM 1    /* where a stream that is longer than declared gives itself away */

typedef enum State {
        STATE_HEADER,
        STATE_TYPE,        /* first byte of an entry: type and four bits of size */
        STATE_SIZE,        /* further bytes of the size */
        STATE_BASE_OFFSET, /* of an offset delta */
        STATE_BASE_OID,    /* of a reference delta */
        STATE_INFLATE,
        STATE_TRAILER,
        STATE_END,
        _STATE_MAX,
} State;

typedef enum PackDeltaType {
        PACK_OFFSET_DELTA = 6,
        PACK_REF_DELTA = 7,
} PackDeltaType;

struct PackReader {
        State state;
        int error; /* sticky */
        OidAlgo algo;
        PackLimits limits;
        PackResolver resolver;
        EVP_MD_CTX *hash;
        z_stream z;
        bool z_ready;

        uint64_t n_consumed; /* bytes of all earlier feeds */
        uint64_t n_expected, n_read;
        uint8_t collected[OID_RAW_MAX]; /* a fixed-size field that may come in pieces */
        size_t n_collected;

        /* The entry being read */
        uint64_t entry_offset;
        unsigned type;        /* ObjectType or PackDeltaType */
        uint64_t size;        /* as declared */
        unsigned size_shift;  /* where the next bits of the size go */
        uint64_t base_offset; /* while it is read: the distance back */
        bool base_begun;      /* the first byte of the distance was read */
        Oid base;
        uint64_t n_inflated;
        PackObject object; /* what is inflated into, if not a delta */
        Buf delta;         /* if a delta; len stays 0, n_inflated counts */
};

/* The bytes of one feed. */
typedef struct Input {
        const uint8_t *p, *end;
        const uint8_t *start;
        const uint8_t *unhashed; /* what lies before went into the hash */
} Input;

static bool is_delta(const PackReader *r) {
        return r->type == PACK_OFFSET_DELTA || r->type == PACK_REF_DELTA;
}

int pack_reader_new(
        OidAlgo algo,
        const PackLimits *limits,
        const PackSink *sink,
        void *userdata,
        PackReader **ret) {
        if (algo != OID_SHA1)
                return -EOPNOTSUPP;

        _cleanup_(pack_reader_freep) PackReader *r = calloc(1, sizeof(*r));
        if (!r)
                return -ENOMEM;
        r->algo = algo;
        r->limits = *limits;
        pack_resolver_init(&r->resolver, algo, limits, sink, userdata);
        /* SHA-1 here only finds accidents on the way: each object is named by object_hash(). */
        r->hash = EVP_MD_CTX_new();
        if (!r->hash || EVP_DigestInit_ex(r->hash, EVP_sha1(), NULL) != 1)
                return -ENOMEM;
        if (inflateInit(&r->z) != Z_OK)
                return -ENOMEM;
        r->z_ready = true;
        *ret = TAKE_PTR(r);
        return 0;
}

PackReader *pack_reader_free(PackReader *r) {
        if (!r)
                return NULL;
        pack_object_done(&r->object);
        pack_resolver_done(&r->resolver);
        buf_done(&r->delta);
        EVP_MD_CTX_free(r->hash);
        if (r->z_ready)
                (void) inflateEnd(&r->z); /* can only complain about the stream's state */
        free(r);
        return NULL;
}

static int hash_input(PackReader *r, Input *in) {
        if (EVP_DigestUpdate(r->hash, in->unhashed, (size_t) (in->p - in->unhashed)) != 1)
                return -ENOMEM;
        in->unhashed = in->p;
        return 0;
}

/* Collects a field of n bytes; true once it is complete. */
static bool collect(PackReader *r, Input *in, size_t n) {
        size_t part = MIN(n - r->n_collected, (size_t) (in->end - in->p));

        memcpy(r->collected + r->n_collected, in->p, part);
        in->p += part;
        r->n_collected += part;
        if (r->n_collected < n)
                return false;
        r->n_collected = 0;
        return true;
}

static int next_entry(PackReader *r, Input *in) {
        if (r->n_read < r->n_expected) {
                r->state = STATE_TYPE;
                return 0;
        }
        r->state = STATE_TRAILER;
        return hash_input(r, in);
}

static uint32_t read_be32(const uint8_t *p) {
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static int step_header(PackReader *r, Input *in) {
        if (!collect(r, in, HEADER_SIZE))
                return 0;
        uint32_t version = read_be32(r->collected + 4);
        /* Versions 2 and 3 look the same; git reads both and writes 2. */
        if (memcmp(r->collected, "PACK", 4) != 0 || (version != 2 && version != 3))
                return -EBADMSG;
        r->n_expected = read_be32(r->collected + 8);
        if (r->n_expected > r->limits.max_objects)
                return -EFBIG;
        return next_entry(r, in);
}

static int begin_inflate(PackReader *r) {
        r->n_inflated = 0;
        r->state = STATE_INFLATE;
        if (inflateReset(&r->z) != Z_OK)
                return -ENOMEM;
        if (!is_delta(r))
                return pack_object_begin(&r->resolver, (ObjectType) r->type, r->size, &r->object);
        if (r->size < DELTA_SIZE_MIN)
                return -EBADMSG;
        return r->size > r->limits.max_pending_bytes ? -EFBIG : 0;
}

/* The size is complete. */
static int after_size(PackReader *r) {
        r->base_begun = false;
        switch (r->type) {
        case OBJECT_COMMIT:
        case OBJECT_TREE:
        case OBJECT_BLOB:
        case OBJECT_TAG:
                return begin_inflate(r);
        case PACK_OFFSET_DELTA:
                r->state = STATE_BASE_OFFSET;
                return 0;
        case PACK_REF_DELTA:
                r->state = STATE_BASE_OID;
                return 0;
        default:
                return -EBADMSG;
        }
}

static int step_type(PackReader *r, Input *in) {
        r->entry_offset = r->n_consumed + (uint64_t) (in->p - in->start);
        uint8_t byte = *in->p++;
        r->type = byte >> 4 & 7;
        r->size = byte & 15;
        r->size_shift = 4;
        if (!(byte & 0x80))
                return after_size(r);
        r->state = STATE_SIZE;
        return 0;
}

static int step_size(PackReader *r, Input *in) {
        uint8_t byte = *in->p++;
        uint64_t bits = byte & 0x7f;

        if (r->size_shift >= 64 || bits << r->size_shift >> r->size_shift != bits)
                return -EBADMSG;
        r->size |= bits << r->size_shift;
        r->size_shift += 7;
        return byte & 0x80 ? 0 : after_size(r);
}

/* Big-endian groups of seven bits, each continuation adding one: no number has two spellings. */
static int step_base_offset(PackReader *r, Input *in) {
        uint8_t byte = *in->p++;

        if (!r->base_begun) {
                r->base_begun = true;
                r->base_offset = byte & 0x7f;
        } else {
                if (r->base_offset >= UINT64_MAX >> 8)
                        return -EBADMSG;
                r->base_offset = (r->base_offset + 1) << 7 | (byte & 0x7f);
        }
        if (byte & 0x80)
                return 0;
        if (r->base_offset == 0 || r->base_offset > r->entry_offset)
                return -EBADMSG;
        r->base_offset = r->entry_offset - r->base_offset;
        return begin_inflate(r);
}

static int step_base_oid(PackReader *r, Input *in) {
        if (!collect(r, in, oid_raw_size(r->algo)))
                return 0;
        oid_from_raw(&r->base, r->algo, r->collected);
        return begin_inflate(r);
}

static int finish_entry(PackReader *r, Input *in) {
        int q;

        if (r->n_inflated != r->size)
                return -EBADMSG;
        if (r->type == PACK_OFFSET_DELTA)
                q = pack_resolver_add_offset_delta(
                        &r->resolver, r->entry_offset, r->base_offset, r->delta.data, r->size);
        else if (r->type == PACK_REF_DELTA)
                q = pack_resolver_add_ref_delta(
                        &r->resolver, r->entry_offset, &r->base, r->delta.data, r->size);
        else
                q = pack_resolver_add_object(&r->resolver, r->entry_offset, &r->object);
        if (q < 0)
                return q;
        r->n_read++;
        return next_entry(r, in);
}

/* Points zlib to where the next bytes of the entry go. */
static int provide_output(PackReader *r, uint8_t *excess) {
        uint64_t left = r->size - r->n_inflated;

        if (left == 0) {
                r->z.next_out = excess;
                r->z.avail_out = EXCESS_ROOM;
                return 0;
        }
        if (!is_delta(r)) {
                r->z.next_out = r->object.data + r->n_inflated;
                r->z.avail_out = (uInt) MIN(left, (uint64_t) UINT_MAX);
                return 0;
        }
        if (r->n_inflated == r->delta.cap) {
                r->delta.len = r->n_inflated;
                int q = buf_reserve(&r->delta, (size_t) MIN(left, (uint64_t) 4096));
                r->delta.len = 0;
                if (q < 0)
                        return q;
        }
        r->z.next_out = r->delta.data + r->n_inflated;
        left = MIN(left, (uint64_t) (r->delta.cap - r->n_inflated));
        r->z.avail_out = (uInt) MIN(left, (uint64_t) UINT_MAX);
        return 0;
}

static int step_inflate(PackReader *r, Input *in) {
        uint8_t excess[EXCESS_ROOM];
        int zr;

        r->z.next_in = in->p;
        r->z.avail_in = (uInt) MIN((size_t) (in->end - in->p), (size_t) UINT_MAX);
        do {
                int q = provide_output(r, excess);
                if (q < 0)
                        return q;
                uInt room = r->z.avail_out;
                zr = inflate(&r->z, Z_NO_FLUSH);
                if (r->n_inflated == r->size && r->z.avail_out < room)
                        return -EBADMSG;
                r->n_inflated += room - r->z.avail_out;
                /* As long as the output fills up there may be more without further input. */
        } while (zr == Z_OK && r->z.avail_out == 0);
        in->p = r->z.next_in;

        switch (zr) {
        case Z_STREAM_END:
                return finish_entry(r, in);
        case Z_OK:
        case Z_BUF_ERROR:
                return 0;
        case Z_MEM_ERROR:
                return -ENOMEM;
        default:
                return -EBADMSG;
        }
}

static int step_trailer(PackReader *r, Input *in) {
        uint8_t digest[EVP_MAX_MD_SIZE];

        if (!collect(r, in, OID_SHA1_RAW))
                return 0;
        if (EVP_DigestFinal_ex(r->hash, digest, NULL) != 1)
                return -ENOMEM;
        if (memcmp(digest, r->collected, OID_SHA1_RAW) != 0)
                return -EBADMSG;
        r->state = STATE_END;
        return 0;
}

static int step_end(PackReader *r, Input *in) {
        return -EBADMSG; /* bytes behind the pack */
}

/* Each consumes at least one byte of an input that is not empty, or fails. */
static int (*const steps[_STATE_MAX])(PackReader *r, Input *in) = {
        [STATE_HEADER] = step_header,
        [STATE_TYPE] = step_type,
        [STATE_SIZE] = step_size,
        [STATE_BASE_OFFSET] = step_base_offset,
        [STATE_BASE_OID] = step_base_oid,
        [STATE_INFLATE] = step_inflate,
        [STATE_TRAILER] = step_trailer,
        [STATE_END] = step_end,
};

static int consume(PackReader *r, const uint8_t *data, size_t len) {
        Input in = {.p = data, .end = data + len, .start = data, .unhashed = data};

        while (in.p < in.end) {
                int q = steps[r->state](r, &in);
                if (q < 0)
                        return q;
        }
        r->n_consumed += len;
        return r->state < STATE_TRAILER ? hash_input(r, &in) : 0;
}

int pack_reader_feed(PackReader *r, const void *data, size_t len) {
        if (r->error == 0 && len > 0)
                r->error = consume(r, data, len);
        return r->error;
}

int pack_reader_finish(PackReader *r) {
        if (r->error < 0)
                return r->error;
        return r->state == STATE_END ? pack_resolver_finish(&r->resolver) : -EBADMSG;
}

uint64_t pack_reader_expected(const PackReader *r) {
        return r->n_expected;
}

uint64_t pack_reader_committed(const PackReader *r) {
        return r->resolver.n_committed;
}
