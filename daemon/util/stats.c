#include "util/stats.h"

#include "gitfs/macro.h"

atomic_int_least64_t stats_values[_STAT_MAX];

static const char *const names[_STAT_MAX] = {
#define X(id, name) [STAT_##id] = (name),
        STATS_LIST(X)
#undef X
};

const char *stat_name(Stat s) {
        assert(s >= 0 && s < _STAT_MAX);
        return names[s];
}
