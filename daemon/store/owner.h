#pragma once

#include <stdbool.h>

#include "gitfs/macro.h"

#include "util/ref.h"

/* What keeps the bytes of an ObjectRef alive: a segment's mapping or a block of the memory tier. */
typedef struct StoreOwner StoreOwner;
struct StoreOwner {
        Ref ref;
        /* Gives one reference back; frees the owner with the last. */
        void (*unref)(StoreOwner *owner);
        /* True once some of the bytes could not be had; NULL: that never is so. */
        bool (*is_torn)(const StoreOwner *owner);
        /* Makes it so; NULL: nothing happens. */
        void (*give_up)(StoreOwner *owner);
};
