#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "gitfs/macro.h"

/* D-Bus values as JSON. The verbs work on JSON only: what --json prints and what the tables show
 * is the same data. */

DEFINE_CLEANUP(json_object *, json_object_put)

/* Reads all that is left of the message's body, or of the container it is in: the value itself when
 * it is one, else an array. A dictionary becomes an object, with keys in snake_case ("MountPoint"
 * is "mount_point"). *ret is owned by the caller. */
int json_from_message(sd_bus_message *m, json_object **ret);

/* A member's value as text or number; "" or 0 where it is missing or of another type. */
const char *json_text(json_object *object, const char *key);
uint64_t json_number(json_object *object, const char *key);
bool json_flag(json_object *object, const char *key);

/* Prints to stdout, indented, with a newline at the end: 0 or a negative errno. */
int json_print(json_object *object);
