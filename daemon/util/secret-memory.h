#pragma once

#include <stddef.h>

#include "gitfs/macro.h"

/* Memory for what must not outlive its use: left out of core dumps, kept off the swap where the
 * limits allow it, wiped when it is freed. Any thread. The allocating functions return NULL when
 * out of memory; the contents of secret_alloc() are undefined.
 *
 * Pieces up to 64 KiB come from lists by size, which are never given back to the system. */
void *secret_alloc(size_t size);
void *secret_calloc(size_t n, size_t size);
/* As realloc(3); the old piece is wiped. */
void *secret_realloc(void *p, size_t size);
char *secret_strdup(const char *s);
char *secret_strndup(const char *s, size_t len);
/* Wipes and frees; NULL is fine. Returns NULL. */
void *secret_free(void *p);

static inline void secret_freep(void *p) {
        secret_free(*(void **) p);
}
#define _cleanup_secret_free_ _cleanup_(secret_freep)
