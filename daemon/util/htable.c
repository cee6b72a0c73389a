#include "util/htable.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

static size_t bucket_of(const HTable *t, uint64_t hash) {
        return (size_t) hash & (t->n_buckets - 1);
}

static int htable_grow(HTable *t) {
        size_t n = t->n_buckets ? t->n_buckets * 2 : 16;
        HTableLink **buckets = calloc(n, sizeof(*buckets));
        if (!buckets)
                return -ENOMEM;

        for (size_t i = 0; i < t->n_buckets; i++)
                for (HTableLink *l = t->buckets[i], *next; l; l = next) {
                        next = l->next;
                        size_t b = (size_t) l->hash & (n - 1);
                        l->next = buckets[b];
                        buckets[b] = l;
                }
        free(t->buckets);
        t->buckets = buckets;
        t->n_buckets = n;
        return 0;
}

int htable_add(HTable *t, HTableLink *link, uint64_t hash) {
        if (t->n_entries >= t->n_buckets) {
                int r = htable_grow(t);
                if (r < 0 && t->n_buckets == 0)
                        return r;
        }
        size_t b = bucket_of(t, hash);
        link->hash = hash;
        link->next = t->buckets[b];
        t->buckets[b] = link;
        t->n_entries++;
        return 0;
}

void htable_remove(HTable *t, HTableLink *link) {
        assert(t->n_entries > 0);
        HTableLink **p = &t->buckets[bucket_of(t, link->hash)];
        while (*p != link) {
                assert(*p);
                p = &(*p)->next;
        }
        *p = link->next;
        link->next = NULL;
        t->n_entries--;
}

static HTableLink *skip_to(HTableLink *l, uint64_t hash) {
        while (l && l->hash != hash)
                l = l->next;
        return l;
}

HTableLink *htable_first(const HTable *t, uint64_t hash) {
        if (t->n_buckets == 0)
                return NULL;
        return skip_to(t->buckets[bucket_of(t, hash)], hash);
}

HTableLink *htable_next(const HTableLink *link) {
        return skip_to(link->next, link->hash);
}

void htable_each(HTable *t, void (*fn)(HTableLink *link, void *userdata), void *userdata) {
        for (size_t i = 0; i < t->n_buckets; i++)
                for (HTableLink *l = t->buckets[i], *next; l; l = next) {
                        next = l->next;
                        fn(l, userdata);
                }
}

void htable_done(HTable *t) {
        assert(t->n_entries == 0);
        free(t->buckets);
        *t = (HTable){0};
}

static uint64_t process_seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed_init(void) {
        if (getrandom(&process_seed, sizeof(process_seed), GRND_NONBLOCK) < 0)
                process_seed = (uint64_t) (uintptr_t) &process_seed;
}

static uint64_t mix(uint64_t x) {
        /* The finaliser of MurmurHash3 (public domain): every input bit reaches every output bit.
         */
        x ^= x >> 33;
        x *= UINT64_C(0xff51afd7ed558ccd);
        x ^= x >> 33;
        x *= UINT64_C(0xc4ceb9fe1a85ec53);
        return x ^ (x >> 33);
}

uint64_t hash_bytes_stable(const void *data, size_t len, uint64_t seed) {
        const uint8_t *p = data;

        uint64_t h = mix(seed) ^ len;
        for (; len >= 8; len -= 8, p += 8) {
                uint64_t w;
                memcpy(&w, p, 8);
                h = mix(h ^ w) + w;
        }
        uint64_t tail = 0;
        if (len > 0)
                memcpy(&tail, p, len);
        return mix(h ^ tail);
}

uint64_t hash_bytes(const void *data, size_t len, uint64_t seed) {
        (void) pthread_once(&seed_once, seed_init);
        return hash_bytes_stable(data, len, process_seed ^ seed);
}

uint64_t hash_string(const char *s) {
        return hash_bytes(s, strlen(s), 0);
}
