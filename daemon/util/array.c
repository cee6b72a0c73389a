#include "util/array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#define N_MIN 16

int array_grow(void *array, size_t *allocated, size_t n, size_t element) {
        size_t larger = MAX(*allocated * 2, (size_t) N_MIN);
        void *elements;

        /* A pointer to another type than void is none to assign to. */
        memcpy(&elements, array, sizeof(elements));
        larger = MAX(larger, n);
        elements = reallocarray(elements, larger, element);
        if (!elements)
                return -ENOMEM;
        memcpy(array, &elements, sizeof(elements));
        *allocated = larger;
        return 0;
}
