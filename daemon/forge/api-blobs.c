/* Blobs from an API, for when git cannot bring them. One request each and one at a time: this is
 * for a few files while something is broken, and a budget of requests is soon used up. */

#include <errno.h>
#include <string.h>

#include "forge/api-forge-private.h"
#include "util/stats.h"

typedef struct BlobsOp {
        ApiSource *source; /* a reference */
        Fetch *fetch;
        GitWants wants;
        size_t position;
        Oid oid; /* the one that was asked for */
        char *path;
        Failure failure; /* git's */
        int result;      /* likewise */
} BlobsOp;

static void blobs_end(BlobsOp *op, int result, const Failure *failure) {
        Fetch *fetch = op->fetch;
        Failure copy = *failure;

        git_wants_done(&op->wants);
        (void) source_unref(&op->source->source);
        free(op->path);
        free(op);
        fetch->done(fetch, result, &copy);
}

static int keep_blob(BlobsOp *op, const uint8_t *data, size_t len) {
        Store *store = op->source->forge->context->store;
        Oid oid;

        int r = object_hash(op->source->source.algo, OBJECT_BLOB, data, len, &oid);
        if (r < 0)
                return r;
        if (!oid_equal(&oid, &op->oid)) {
                stat_add(STAT_FETCH_CORRUPT, 1);
                return -EBADMSG;
        }
        r = store_put(store, STORE_DISK, STORE_OBJECT, &oid, OBJECT_BLOB, data, len);
        if (r < 0)
                return r;
        stat_add(STAT_FETCH_OBJECTS_IN, 1);
        (void) git_wants_arrived(&op->wants, &oid);
        if (op->fetch->object)
                op->fetch->object(op->fetch, &oid, OBJECT_BLOB, len);
        return 0;
}

static int read_blob(BlobsOp *op, const ApiAnswer *answer) {
        const ApiForgeOps *ops = op->source->forge->ops;
        _cleanup_buf_ Buf content = {0};

        if (!ops->blob_read)
                return keep_blob(op, answer->data, answer->len);
        int r = ops->blob_read(answer->json, &content);
        return r < 0 ? r : keep_blob(op, content.data, content.len);
}

static void blobs_next(BlobsOp *op);

static void on_blob(void *userdata, int result, const ApiAnswer *answer, const Failure *failure) {
        BlobsOp *op = userdata;
        Failure copy;

        if (result >= 0)
                result = read_blob(op, answer);
        else if (failure->class == FAILURE_RATE_LIMITED) {
                blobs_end(op, result, failure); /* it says when to come back */
                return;
        }
        if (result >= 0) {
                blobs_next(op);
                return;
        }
        if (result == -EBADMSG && answer) {
                result = failure_set(
                        &copy,
                        FAILURE_CORRUPT,
                        "%s sent another blob than was asked for",
                        op->source->forge->ops->dialect->name);
                blobs_end(op, result, &copy);
                return;
        }
        blobs_end(op, op->result, &op->failure);
}

static void blobs_next(BlobsOp *op) {
        ApiForge *forge = op->source->forge;
        const Oid *oid = git_wants_next(&op->wants, &op->position);

        if (!oid) {
                blobs_end(op, 0, &(const Failure){0});
                return;
        }
        op->oid = *oid;
        free(op->path);
        op->path = NULL;
        if (forge->ops->blob_path(op->source, oid, &op->path) < 0) {
                blobs_end(op, op->result, &op->failure);
                return;
        }
        const ApiAsk ask = {
                .path = op->path,
                .what = op->source->source.url,
                .accept = forge->ops->blob_accept,
                .raw = !forge->ops->blob_read,
                .max_size = forge->ops->blob_read ? 0 : forge->context->config->max_object_size,
                .priority = op->fetch->priority,
                .deadline_usec = op->fetch->deadline_usec,
                .done = on_blob,
                .userdata = op,
        };
        api_ask(forge, &ask);
}

void api_blobs_fetch(
        ApiSource *source, Fetch *fetch, GitWants *wants, int result, const Failure *failure) {
        BlobsOp *op = calloc(1, sizeof(*op));

        if (!op) {
                Failure copy = *failure;
                git_wants_done(wants);
                fetch->done(fetch, result, &copy);
                return;
        }
        *op = (BlobsOp){
                .source = source,
                .fetch = fetch,
                .wants = *wants,
                .failure = *failure,
                .result = result,
        };
        *wants = (GitWants){0};
        (void) source_ref(&source->source);
        blobs_next(op);
}
