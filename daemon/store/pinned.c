#include "store/pinned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"

static uint64_t key_of(const Oid *oid) {
        uint64_t key;

        memcpy(&key, oid->id, sizeof(key));
        return key;
}

int pinned_add(Pinned *p, const Oid *oid) {
        int r = ARRAY_RESERVE(p->keys, p->n_allocated, p->n + 1);
        if (r >= 0)
                p->keys[p->n++] = key_of(oid);
        return r;
}

int pinned_add_all(Pinned *p, const Pinned *other) {
        int r = ARRAY_RESERVE(p->keys, p->n_allocated, p->n + other->n);
        if (r < 0 || other->n == 0)
                return r;
        memcpy(p->keys + p->n, other->keys, other->n * sizeof(*p->keys));
        p->n += other->n;
        return 0;
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x > y) - (x < y);
}

void pinned_seal(Pinned *p) {
        size_t n = 0;

        if (p->n == 0)
                return;
        qsort(p->keys, p->n, sizeof(*p->keys), compare);
        for (size_t i = 0; i < p->n; i++)
                if (n == 0 || p->keys[n - 1] != p->keys[i])
                        p->keys[n++] = p->keys[i];
        p->n = n;
}

bool pinned_has(const Pinned *p, const Oid *oid) {
        uint64_t key = key_of(oid);

        return p->n > 0 && bsearch(&key, p->keys, p->n, sizeof(key), compare);
}

void pinned_done(Pinned *p) {
        free(p->keys);
        *p = (Pinned){0};
}
