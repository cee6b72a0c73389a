#pragma once

#include <stddef.h>
#include <stdint.h>

/* What libFuzzer, or standalone-main.c in its place, calls. libFuzzer does not look at what the
 * first returns: what cannot begin aborts. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* States a property of the code under test. Not assert(): it must hold with NDEBUG, too. */
#define FUZZ_CHECK(condition)                                                                      \
        do {                                                                                       \
                if (!(condition))                                                                  \
                        __builtin_trap();                                                          \
        } while (0)
