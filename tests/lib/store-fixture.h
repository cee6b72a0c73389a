#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "object/object.h"
#include "store/store.h"

/* Objects made from a number, and directories to keep them in. Functions abort the program where
 * the machine fails them (no memory, no temporary directory). */

typedef struct Sample {
        Oid oid;
        uint8_t *data; /* owned; NULL when size is 0 */
        uint64_t size;
} Sample;

/* The same number and size give the same blob, others do not. */
void sample_make(Sample *sample, uint64_t number, uint64_t size);
void sample_done(Sample *sample);
#define _cleanup_sample_ _cleanup_(sample_done)

/* True if the store has exactly these bytes under the sample's id, 0 if it has nothing; -1: wrong.
 */
int sample_check(Store *store, const Sample *sample);
int sample_put(Store *store, StoreTier tier, const Sample *sample);

/* Many: each `step` bytes longer than the one before. */
void samples_make(Sample *samples, size_t n, uint64_t size, uint64_t step);
void samples_done(Sample *samples, size_t n);
void samples_put(Store *store, const Sample *samples, size_t n);
/* How many of them the store has. */
size_t samples_count(Store *store, const Sample *samples, size_t n);

/* A new empty directory below the temporary one. free() the path. */
char *scratch_new(void);
void scratch_remove(const char *path);
/* Bytes that the files in a directory occupy on disk. */
uint64_t scratch_usage(const char *path);
/* Copies the regular files of a directory, and their holes. */
void scratch_copy(const char *from, const char *to);
/* free() the path. */
char *scratch_segment(const char *directory, unsigned number);

/* A configuration with a new directory, and what a test needs around it: to be done with once. */
void scratch_store_init(StoreConfig *ret, uint64_t disk_limit, uint64_t memory_limit);
void scratch_store_done(StoreConfig *config);
Store *scratch_store_open(const StoreConfig *config);

/* A generator that gives the same numbers everywhere. */
uint64_t random_next(uint64_t *state);
