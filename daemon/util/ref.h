#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* An atomic reference count. An object starts with one reference, owned by its creator. */
typedef struct Ref {
        atomic_uint_least32_t n;
} Ref;

#define REF_INIT ((Ref){1})

/* Relaxed: whoever takes a reference already holds one, or the lock that keeps the object alive. */
static inline void ref_get(Ref *r) {
        uint32_t old = atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);
        assert(old > 0);
        (void) old;
}

/* Takes a reference unless the object is already dying. For look-ups in a table that does not own
 * its entries: the caller holds the lock under which the dying object will be removed. */
static inline bool ref_get_unless_zero(Ref *r) {
        uint32_t n = atomic_load_explicit(&r->n, memory_order_relaxed);
        while (n > 0)
                if (atomic_compare_exchange_weak_explicit(
                            &r->n, &n, n + 1, memory_order_relaxed, memory_order_relaxed))
                        return true;
        return false;
}

/* True for the caller that dropped the last reference. Release orders this thread's writes before
 * the drop; acquire makes all of them visible to the thread that destroys. */
static inline bool ref_put(Ref *r) {
        uint32_t old = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);
        assert(old > 0);
        return old == 1;
}
