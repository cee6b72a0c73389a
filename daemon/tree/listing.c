#include "tree/listing.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "util/stats.h"

/* One pass to learn how much memory it takes, so that a listing is three allocations whatever its
 * size. */
static int measure(const Oid *oid, const void *data, size_t len, size_t *ret_n, size_t *ret_names) {
        TreeIter it;
        TreeEntry e;
        size_t n = 0, names = 0;
        int r;

        tree_iter_init(&it, oid->algo, data, len);
        while ((r = tree_iter_next(&it, &e)) > 0) {
                if (++n > LISTING_MAX_ENTRIES)
                        return -E2BIG;
                if (e.name_len <= NAME_MAX)
                        names += e.name_len + 1;
        }
        if (r < 0)
                return r;
        if (names > UINT32_MAX)
                return -E2BIG;
        *ret_n = n;
        *ret_names = names;
        return 0;
}

static void fill(Listing *l, const void *data, size_t len) {
        TreeIter it;
        TreeEntry e;
        size_t n = 0, at = 0;

        tree_iter_init(&it, l->oid.algo, data, len);
        while (n < l->n_entries && tree_iter_next(&it, &e) > 0) {
                ListingEntry *out = &l->entries[n++];
                out->kind = (uint8_t) e.kind;
                out->oid = e.oid;
                out->name_len = LISTING_NAME_TOO_LONG;
                listing_set_size(out, entry_is_blob(out) ? SIZE_UNKNOWN : 0);
                if (e.name_len > NAME_MAX)
                        continue;
                out->name_offset = (uint32_t) at;
                out->name_len = (uint16_t) e.name_len;
                memcpy(l->names + at, e.name, e.name_len);
                at += e.name_len + 1;
        }
}

static int compare_names(const char *a, size_t a_len, const char *b, size_t b_len) {
        int c = memcmp(a, b, MIN(a_len, b_len));
        if (c != 0)
                return c;
        return a_len < b_len ? -1 : a_len > b_len;
}

static int compare_index(const void *a, const void *b, void *userdata) {
        const Listing *l = userdata;
        const ListingEntry *x = &l->entries[*(const uint32_t *) a];
        const ListingEntry *y = &l->entries[*(const uint32_t *) b];

        return compare_names(listing_name(l, x), x->name_len, listing_name(l, y), y->name_len);
}

/* git sorts a directory as if its name ended in '/', so names are nearly sorted but not quite; and
 * a hostile tree need not be sorted at all. Returns the number of names, or -EBADMSG where one
 * comes twice. */
static int sort_names(Listing *l, size_t *ret_n) {
        size_t n = 0;

        for (size_t i = 0; i < l->n_entries; i++)
                if (l->entries[i].name_len != LISTING_NAME_TOO_LONG)
                        l->by_name[n++] = (uint32_t) i;
        qsort_r(l->by_name, n, sizeof(uint32_t), compare_index, l);
        for (size_t i = 1; i < n; i++)
                if (compare_index(&l->by_name[i - 1], &l->by_name[i], l) == 0)
                        return -EBADMSG;
        *ret_n = n;
        return 0;
}

int listing_new(const Oid *oid, const void *data, size_t len, Listing **ret) {
        size_t n, names;

        int r = measure(oid, data, len, &n, &names);
        if (r < 0)
                return r;

        Listing *alloc = calloc(1, sizeof(*alloc));
        if (!alloc)
                return -ENOMEM;
        stat_add(STAT_LISTINGS_NOW, 1);
        _cleanup_(listing_unrefp) Listing *l = alloc;
        l->ref = REF_INIT;
        l->oid = *oid;
        l->n_entries = n;
        l->entries = calloc(n + 1, sizeof(*l->entries));
        l->by_name = calloc(n + 1, sizeof(*l->by_name));
        l->names = calloc(names + 1, 1);
        if (!l->entries || !l->by_name || !l->names)
                return -ENOMEM;
        l->memory = sizeof(*l) + (n + 1) * (sizeof(*l->entries) + sizeof(*l->by_name)) + names;

        fill(l, data, len);
        size_t n_names;
        r = sort_names(l, &n_names);
        if (r < 0)
                return r;
        /* Entries without a name end the index: a search never meets them. */
        for (size_t i = n_names; i < n; i++)
                l->by_name[i] = UINT32_MAX;
        *ret = TAKE_PTR(l);
        return 0;
}

Listing *listing_ref(Listing *l) {
        ref_get(&l->ref);
        return l;
}

Listing *listing_unref(Listing *l) {
        if (l && ref_put(&l->ref)) {
                free(l->entries);
                free(l->by_name);
                free(l->names);
                free(l);
                stat_add(STAT_LISTINGS_NOW, -1);
        }
        return NULL;
}

ListingEntry *listing_find(const Listing *l, const char *name, size_t name_len) {
        size_t lo = 0, hi = l->n_entries;

        while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;
                uint32_t i = l->by_name[mid];
                if (i == UINT32_MAX) {
                        hi = mid;
                        continue;
                }
                ListingEntry *e = &l->entries[i];
                int c = compare_names(listing_name(l, e), e->name_len, name, name_len);
                if (c == 0)
                        return e;
                if (c < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return NULL;
}

size_t listing_apply_sizes(Listing *l, const void *data, size_t len) {
        const uint8_t *p = data;
        size_t missing = 0;
        bool usable = len == l->n_entries * sizeof(uint64_t);

        for (size_t i = 0; i < l->n_entries; i++) {
                ListingEntry *e = &l->entries[i];
                if (!entry_is_blob(e) || listing_size(e) != SIZE_UNKNOWN)
                        continue;
                uint64_t v = UINT64_MAX;
                if (usable)
                        memcpy(&v, p + i * sizeof(v), sizeof(v));
                v = le64toh(v);
                if (v == UINT64_MAX)
                        missing++;
                else
                        listing_set_size(e, v);
        }
        return missing;
}

uint8_t *listing_format_sizes(const Listing *l) {
        uint8_t *out = malloc(l->n_entries * sizeof(uint64_t) + 1);
        if (!out)
                return NULL;
        for (size_t i = 0; i < l->n_entries; i++) {
                const ListingEntry *e = &l->entries[i];
                uint64_t v = htole64(entry_is_blob(e) ? listing_size(e) : UINT64_MAX);
                memcpy(out + i * sizeof(v), &v, sizeof(v));
        }
        return out;
}
