#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "forge/api-forge-private.h"
#include "object/tree-object.h"

struct ApiSizes {
        Fetch *fetch;
        GitWants wants;
};

int api_sizes_new(Fetch *fetch, ApiSizes **ret) {
        ApiSizes *sizes = calloc(1, sizeof(*sizes));
        if (!sizes)
                return -ENOMEM;
        int r = git_wants_init(&sizes->wants, fetch->oids, fetch->n_oids);
        if (r < 0) {
                free(sizes);
                return r;
        }
        sizes->fetch = fetch;
        *ret = sizes;
        return 0;
}

ApiSizes *api_sizes_free(ApiSizes *sizes) {
        if (!sizes)
                return NULL;
        git_wants_done(&sizes->wants);
        free(sizes);
        return NULL;
}

void api_sizes_found(ApiSizes *sizes, const char *hex, uint64_t size) {
        Oid oid;

        if (size > INT64_MAX || oid_from_hex(&oid, hex, strlen(hex)) < 0)
                return;
        if (git_wants_arrived(&sizes->wants, &oid) && sizes->fetch->size)
                sizes->fetch->size(sizes->fetch, &oid, size);
}

bool api_sizes_wanted(const ApiSizes *sizes, const Oid *oid) {
        return git_wants_is_open(&sizes->wants, oid);
}

size_t api_sizes_open(const ApiSizes *sizes) {
        return sizes->wants.n_open;
}

/* --- one directory --- */

static int collect_open(const GitWants *wants, OidAlgo algo, const ObjectRef *tree, Oid *oids) {
        TreeIter it;
        TreeEntry entry;
        size_t n = 0;
        int r;

        tree_iter_init(&it, algo, tree->data, tree->size);
        while ((r = tree_iter_next(&it, &entry)) > 0)
                if (git_wants_is_open(wants, &entry.oid))
                        oids[n++] = entry.oid;
        return r < 0 ? r : (int) n;
}

/* "100644 n", a NUL and the id: there are no shorter entries. */
#define ENTRY_SIZE_MIN (9 + OID_SHA1_RAW)

int api_wants_in_tree(const GitWants *wants, Store *store, const Oid *tree, Oid **ret, size_t *n) {
        _cleanup_object_ref_ ObjectRef object = {0};
        _cleanup_free_ Oid *oids = NULL;

        int r = oid_is_none(tree) ? 0 : store_get(store, STORE_OBJECT, tree, &object);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        if (object.type != OBJECT_TREE)
                return -ENOENT;
        oids = calloc(object.size / ENTRY_SIZE_MIN + 1, sizeof(*oids));
        if (!oids)
                return -ENOMEM;
        r = collect_open(wants, tree->algo, &object, oids);
        if (r < 0)
                return r;
        *n = (size_t) r;
        *ret = TAKE_PTR(oids);
        return 0;
}

bool api_sizes_lacks(const ApiSizes *sizes, Store *store, const Oid *tree) {
        _cleanup_free_ Oid *oids = NULL;
        size_t n;

        if (sizes->wants.n_open == 0)
                return false;
        return api_wants_in_tree(&sizes->wants, store, tree, &oids, &n) < 0 || n > 0;
}
