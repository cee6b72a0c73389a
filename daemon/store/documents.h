#pragma once

#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "util/buf.h"

/* Small documents kept by key across restarts: the listings of forges, what a server was found to
 * be able to do. One file each in a directory of the cache, replaced as a whole; safe to delete at
 * any time, also while running. What is damaged, or belongs to another key, is not there. Least
 * recently written or touched ones make room.
 *
 * Calls read and write the disk: workers only. Any number of threads. */
typedef struct Documents Documents;

#define DOCUMENT_MAX_SIZE (64u << 20)

/* Makes the directory (0700) where it is missing, now and later. One process only: what another one
 * has not finished writing is taken for the rest of a crash. */
int documents_open(const char *directory, uint64_t max_bytes, Documents **ret);
Documents *documents_close(Documents *d);
DEFINE_CLEANUP(Documents *, documents_close)

/* 1 and the content, appended; 0 there is none, < 0 errno. */
int documents_get(Documents *d, const char *key, Buf *ret);
/* 0; -EFBIG over DOCUMENT_MAX_SIZE or all that there is room for; -ENAMETOOLONG for a key over 4
 * KiB; else an errno: the old one, or none, stays. */
int documents_put(Documents *d, const char *key, const void *data, size_t len);
/* As if it had been put again. */
void documents_touch(Documents *d, const char *key);
void documents_remove(Documents *d, const char *key);
/* Reads all of them, and removes those that are damaged; what cannot be read for another reason is
 * not counted. 0, or an errno of the directory. */
int documents_verify(Documents *d, uint64_t *ret_checked, uint64_t *ret_damaged);
/* All of them. */
void documents_clear(Documents *d);
