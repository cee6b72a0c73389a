#include "tree/oid-set.h"

#include <errno.h>
#include <stdlib.h>

typedef struct Member {
        HTableLink link;
        Oid oid;
} Member;

int oid_set_add(OidSet *set, const Oid *oid) {
        uint64_t hash = hash_bytes(oid->id, OID_RAW_MAX, 0);

        HTABLE_FOREACH (l, &set->table, hash)
                if (oid_equal(&container_of(l, Member, link)->oid, oid))
                        return 0;
        Member *m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        m->oid = *oid;
        int r = htable_add(&set->table, &m->link, hash);
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
