#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

/* The few macros that everything in the tree uses. */

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _unused_ __attribute__((unused))

/* Defines fn##p(), for _cleanup_: calls fn() on the variable when it goes out of scope. */
#define DEFINE_CLEANUP(type, fn)                                                                   \
        static inline _unused_ void fn##p(type *p) {                                               \
                if (*p)                                                                            \
                        fn(*p);                                                                    \
        }

static inline void freep(void *p) {
        free(*(void **) p);
}
#define _cleanup_free_ _cleanup_(freep)

/* Hand an owned value on: the variable is left empty, so that its cleanup does nothing. */
#define TAKE_PTR(ptr)                                                                              \
        ({                                                                                         \
                __typeof__(ptr) *_pp = &(ptr);                                                     \
                __typeof__(ptr) _p = *_pp;                                                         \
                *_pp = NULL;                                                                       \
                _p;                                                                                \
        })
#define TAKE_FD(fd)                                                                                \
        ({                                                                                         \
                int *_fdp = &(fd);                                                                 \
                int _fd = *_fdp;                                                                   \
                *_fdp = -1;                                                                        \
                _fd;                                                                               \
        })

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
#define MIN(a, b)                                                                                  \
        ({                                                                                         \
                __typeof__(a) _a = (a);                                                            \
                __typeof__(b) _b = (b);                                                            \
                _a < _b ? _a : _b;                                                                 \
        })
#define MAX(a, b)                                                                                  \
        ({                                                                                         \
                __typeof__(a) _a = (a);                                                            \
                __typeof__(b) _b = (b);                                                            \
                _a > _b ? _a : _b;                                                                 \
        })

#define container_of(ptr, type, member) ((type *) (void *) ((char *) (ptr) -offsetof(type, member)))
