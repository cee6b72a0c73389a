/* From a tree's id to its parsed directory, through every place that may have it: the listings in
 * memory, the store, and only then the server. */

#include <errno.h>

#include "tree/namespace-private.h"
#include "util/stats.h"

/* Trees up to this size are parsed on the thread that asks, larger ones on a worker. */
#define PARSE_INLINE_MAX (256u << 10)

int ns_object(Namespace *ns, const NsCall *call, StoreKind kind, const Oid *oid, ObjectRef *ret) {
        int r = store_get_resident(ns->context->store, kind, oid, ret);
        if (r != -EAGAIN)
                return r;
        if (!(call->flags & NS_MAY_BLOCK))
                return NS_BLOCKS;
        return store_get(ns->context->store, kind, oid, ret);
}

int ns_listing(Namespace *ns, const NsCall *call, Checkout *c, const Oid *tree, Listing **ret) {
        *ret = listing_cache_get(ns->listings, tree);
        if (*ret)
                return 1;

        _cleanup_object_ref_ ObjectRef object = {0};
        int r = ns_object(ns, call, STORE_OBJECT, tree, &object);
        if (r == 0)
                return c ? demand_tree(ns, call, c, tree) : NS_PARKED;
        if (r < 0)
                return r;
        if (object.type != OBJECT_TREE)
                return -EBADMSG;
        if (object.size > PARSE_INLINE_MAX && !(call->flags & NS_MAY_BLOCK))
                return NS_BLOCKS;

        _cleanup_object_ref_ ObjectRef sizes = {0};
        r = ns_object(ns, call, STORE_SIZES, tree, &sizes);
        if (r < 0)
                return r;
        _cleanup_(listing_unrefp) Listing *l = NULL;
        r = listing_new(tree, object.data, object.size, &l);
        if (r >= 0 && sizes.data)
                (void) listing_apply_sizes(
                        l, sizes.data, sizes.size); /* how many are missing is asked later */
        if (object_ref_is_torn(&object) || object_ref_is_torn(&sizes))
                return ns_listing(ns, call, c, tree, ret); /* it is not in the store any more */
        if (r < 0) {
                stat_add(STAT_TREE_REFUSED, r == -EBADMSG);
                return r;
        }
        *ret = listing_cache_add(ns->listings, TAKE_PTR(l));
        return 1;
}

uint64_t ns_entry_size(Namespace *ns, ListingEntry *e) {
        uint64_t size = listing_size(e);
        ObjectType type;

        if (size == SIZE_UNKNOWN && entry_is_blob(e) &&
            store_stat(ns->context->store, STORE_OBJECT, &e->oid, &type, &size) > 0)
                listing_set_size(e, size);
        return size;
}

bool ns_sizes_known(Namespace *ns, Listing *l) {
        bool known = true;

        for (size_t i = 0; i < l->n_entries; i++)
                known = ns_entry_size(ns, &l->entries[i]) != SIZE_UNKNOWN && known;
        return known;
}

void ns_keep_sizes(Namespace *ns, const Source *source, Listing *const *listings, size_t n) {
        StoreTier tier = source->objects_in_memory ? STORE_MEMORY : STORE_DISK;
        Store *store = ns->context->store;

        for (size_t i = 0; i < n; i++) {
                const Listing *l = listings[i];
                if (l->n_entries == 0 || store_has(store, STORE_SIZES, &l->oid) ||
                    !ns_sizes_known(ns, listings[i]))
                        continue;
                _cleanup_free_ uint8_t *data = listing_format_sizes(l);
                size_t size = l->n_entries * sizeof(uint64_t);
                if (data)
                        (void) store_put(
                                store, tier, STORE_SIZES, &l->oid, OBJECT_TREE, data, size);
        }
}
