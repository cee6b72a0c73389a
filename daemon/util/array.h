#pragma once

#include <stddef.h>

/* Growing arrays: a pointer, how many elements are in use, and for how many there is room. All zero
 * is an empty one. */

/* Makes room for `n` elements in all: 0, or -ENOMEM and it is as before. */
#define ARRAY_RESERVE(array, allocated, n)                                                         \
        ((n) <= (allocated) ? 0 : array_grow(&(array), &(allocated), (n), sizeof(*(array))))

/* `array` is the address of the pointer. At least doubles. */
int array_grow(void *array, size_t *allocated, size_t n, size_t element);
