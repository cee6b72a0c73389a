#include "tree/oid-set.h"

#include <errno.h>
#include <stdlib.h>

typedef struct Member {
        HTableLink link;
        Oid oid;
} Member;

static uint64_t hash_of(const Oid *oid) {
        return hash_bytes(oid->id, OID_RAW_MAX, 0);
}

bool oid_set_has(const OidSet *set, const Oid *oid) {
        HTABLE_FOREACH (l, &set->table, hash_of(oid))
                if (oid_equal(&container_of(l, Member, link)->oid, oid))
                        return true;
        return false;
}

int oid_set_add(OidSet *set, const Oid *oid) {
        if (oid_set_has(set, oid))
                return 0;
        Member *m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        m->oid = *oid;
        int r = htable_add(&set->table, &m->link, hash_of(oid));
        if (r < 0) {
                free(m);
                return r;
        }
        return 1;
}

static void drop(HTableLink *link, void *userdata) {
        OidSet *set = userdata;

        htable_remove(&set->table, link);
        free(container_of(link, Member, link));
}

void oid_set_done(OidSet *set) {
        htable_each(&set->table, drop, set);
        htable_done(&set->table);
}
