#pragma once

#include <stddef.h>
#include <systemd/sd-bus.h>

/* The properties of an exported object as a table, so that the vtable's getters and the
 * dictionaries in which lists of objects are returned cannot drift apart. */

typedef struct BusProperty {
        const char *name;
        const char *signature;
        int (*append)(sd_bus_message *m, const void *info);
} BusProperty;

/* The row of that name; it is there, as the vtable and the table list the same names. */
const BusProperty *bus_property_find(const BusProperty *table, size_t n, const char *name);
/* Appends one a{sv} with every row. */
int bus_properties_append(sd_bus_message *m, const BusProperty *table, size_t n, const void *info);

/* The object paths that a node enumerator returns. */
typedef struct BusPaths {
        char **paths; /* NULL-terminated */
        size_t n, cap;
} BusPaths;

/* Takes the path; NULL counts as out of memory. */
int bus_paths_add(BusPaths *l, char *owned_path);
/* Hands the list over to sd-bus: 1. */
int bus_paths_take(BusPaths *l, char ***ret);
void bus_paths_done(BusPaths *l);
