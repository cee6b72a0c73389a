#include "util/array.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#define N_MIN 16

int array_grow(void *array, size_t *allocated, size_t n, size_t element) {
        size_t larger = MAX(*allocated * 2, (size_t) N_MIN);
        void *before;

        /* A pointer to another type than void is none to assign to. */
        memcpy(&before, array, sizeof(before));
        larger = MAX(larger, n);
        if (larger > PTRDIFF_MAX / element)
                return -ENOMEM;
        void *grown = reallocarray(before, larger, element);
        if (!grown)
                return -ENOMEM;
        memcpy(array, &grown, sizeof(grown));
        *allocated = larger;
        return 0;
}
