#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Survives a disk that fails under a mapped file. Where a page cannot be read, or written, because
 * the disk has an error, is full after all, or the file was cut, the kernel sends SIGBUS. In a
 * guarded mapping an empty page of memory then takes the place, the guard remembers it, and the
 * thread goes on. So whoever used the bytes asks afterwards whether they were there. Any thread. */
typedef struct MapGuard MapGuard;

/* Guards a mapping, until map_guard_remove(), which comes before it is unmapped. 0 or -ENOMEM. */
int map_guard_add(const void *start, size_t size, MapGuard **ret);
/* NULL-safe. */
void map_guard_remove(MapGuard *guard);
/* Remembers what somebody else has found out. */
void map_guard_trip(MapGuard *guard);
/* True once a page was missing. */
bool map_guard_tripped(const MapGuard *guard);
