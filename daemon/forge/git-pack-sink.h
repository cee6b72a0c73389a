#pragma once

#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "forge/git-wants.h"
#include "object/pack-reader.h"
#include "store/store.h"

/* Brings the objects of a pack into the store, tells the fetch about each, and ticks off what was
 * wanted. Embedded in the operation; passed to the PackReader as userdata. */
typedef struct GitPackSink {
        Store *store;
        Fetch *fetch;
        GitWants *wants;
} GitPackSink;

extern const PackSink git_pack_sink;
