/* Sizes, from the trees of the API. One recursive tree tells all sizes of a repository, up to a
 * hundred thousand entries or 7 MB: then it is cut off, and says so. Of a repository as large as
 * that, directories are asked for one by one as somebody looks at them, with all below them if that
 * is not too much either. What is learnt about other directories by the way is reported; what is
 * not is asked for again when it is somebody's turn. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-forge-private.h"
#include "forge/github.h"
#include "util/stats.h"

/* In ApiSource.notes: the whole tree does not fit into an answer. */
#define NOTE_LARGE 1u

typedef struct SizesOp {
        ApiSource *source; /* a reference */
        Fetch *fetch;
        ApiSizes *sizes;
        Oid tree; /* the one that was asked for */
        bool recursive;
        char *path, *what;
} SizesOp;

static void sizes_end(SizesOp *op, int result, const Failure *failure) {
        Fetch *fetch = op->fetch;
        Failure copy = *failure;

        (void) api_sizes_free(op->sizes);
        (void) source_unref(&op->source->source);
        free(op->path);
        free(op->what);
        free(op);
        fetch->done(fetch, result, &copy);
}

static void sizes_ask(SizesOp *op);

/* 1: the tree is complete; 0: it is cut off; -EBADMSG. */
static int read_tree(SizesOp *op, const Json *json) {
        const Json *tree = json_get_array(json, "tree");

        if (!tree)
                return -EBADMSG;
        for (size_t i = 0; i < json_array_size(tree); i++) {
                const Json *entry = json_array_get(tree, i);
                const char *type = json_get_string(entry, "type");
                const char *sha = json_get_string(entry, "sha");
                uint64_t size;
                if (type && sha && strcmp(type, "blob") == 0 &&
                    json_get_uint64(entry, "size", &size) > 0)
                        api_sizes_found(op->sizes, sha, size);
        }
        return !json_get_bool(json, "truncated");
}

/* The answer was cut off: asks for less. False: there is no less. */
static bool ask_for_less(SizesOp *op) {
        if (!op->recursive)
                return false;
        atomic_fetch_or_explicit(&op->source->notes, NOTE_LARGE, memory_order_relaxed);
        if (oid_equal(&op->tree, &op->fetch->tree))
                op->recursive = false;
        else
                op->tree = op->fetch->tree;
        sizes_ask(op);
        return true;
}

static void sizes_fail(SizesOp *op, FailureClass class, const char *text) {
        Failure failure;

        int r = failure_set(&failure, class, "%s: %s", op->what, text);
        sizes_end(op, r, &failure);
}

static Store *store_of(const SizesOp *op) {
        return op->source->forge->context->store;
}

/* All of this tree was told; is that all that was asked for? In a large repository the directory
 * that somebody looks at has to do. */
static void tree_told(SizesOp *op) {
        bool whole = oid_equal(&op->tree, &op->fetch->root) && op->recursive;
        size_t n = api_sizes_open(op->sizes);

        if (whole ? n > 0 : api_sizes_lacks(op->sizes, store_of(op), &op->fetch->tree)) {
                stat_add(STAT_FETCH_MISSING, (int64_t) n);
                sizes_fail(op, FAILURE_NOT_FOUND, "not all sizes are told");
        } else
                sizes_end(op, 0, &(const Failure){0});
}

static void on_tree(void *userdata, int result, const ApiAnswer *answer, const Failure *failure) {
        SizesOp *op = userdata;

        if (result < 0) {
                sizes_end(op, result, failure);
                return;
        }
        int r = read_tree(op, answer->json);
        if (r < 0)
                sizes_fail(op, FAILURE_SERVER, "a tree that makes no sense");
        else if (r == 0 && api_sizes_open(op->sizes) > 0) {
                if (!ask_for_less(op))
                        sizes_fail(op, FAILURE_UNSUPPORTED, "too large a directory to be told");
        } else
                tree_told(op);
}

static void sizes_ask(SizesOp *op) {
        char hex[OID_HEX_MAX + 1];
        _cleanup_free_ char *path = NULL;

        free(op->path);
        op->path = NULL;
        int r = api_path(
                &path,
                "/repos/%/%/git/trees/%",
                op->source->owner,
                op->source->name,
                oid_to_hex(&op->tree, hex));
        if (r < 0 || asprintf(&op->path, "%s%s", path, op->recursive ? "?recursive=1" : "") < 0) {
                op->path = NULL; /* undefined after a failure */
                sizes_fail(op, FAILURE_LOCAL, "out of memory");
                return;
        }
        const ApiAsk ask = {
                .path = op->path,
                .what = op->what,
                .priority = op->fetch->priority,
                .deadline_usec = op->fetch->deadline_usec,
                .done = on_tree,
                .userdata = op,
        };
        api_ask(op->source->forge, &ask);
}

void github_fetch_sizes(ApiSource *source, Fetch *fetch) {
        unsigned notes = atomic_load_explicit(&source->notes, memory_order_relaxed);
        SizesOp *op = calloc(1, sizeof(*op));

        stat_add(STAT_FETCH_SIZES, 1);
        if (!op || api_sizes_new(fetch, &op->sizes) < 0 ||
            asprintf(&op->what, "the tree of %s/%s", source->owner, source->name) < 0) {
                Failure failure;
                if (op)
                        (void) api_sizes_free(op->sizes);
                free(op);
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                source_fetch_end(source->forge->context->pool, fetch, -ENOMEM, &failure);
                return;
        }
        op->source = source;
        op->fetch = fetch;
        (void) source_ref(&source->source);
        op->recursive = true;
        op->tree = notes & NOTE_LARGE || oid_is_none(&fetch->root) ? fetch->tree : fetch->root;
        if (notes & NOTE_LARGE && oid_equal(&fetch->tree, &fetch->root))
                op->recursive = false;
        sizes_ask(op);
}
