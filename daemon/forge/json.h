#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "util/buf.h"

/* JSON from servers, which may be of any shape: bounded in depth and size, and read through getters
 * that give nothing for what is missing, null or of another type. The only user of json-c in the
 * daemon. A document belongs to one thread at a time; what the getters return is borrowed from it.
 */

typedef struct json_object Json;

#define JSON_MAX_DEPTH 32
/* Of the parsed form, which may take a hundred times more than the text. A tree of a hundred
 * thousand files needs half of it. */
#define JSON_MAX_MEMORY (384u << 20)
/* Documents below are small: as many as there are threads to read them. */
#define JSON_SMALL (1u << 20)

/* All documents together take no more than that, either: waits, where it must, until others have
 * been freed, in the order in which they came. So whoever has one reads it and frees it, and waits
 * for nobody; on a thread that may block.
 *
 * 0; -EBADMSG for what is no JSON (or too deep, has anything behind it, or is no UTF-8); -EFBIG
 * over JSON_MAX_MEMORY; -ENOMEM. A member that is there twice counts the second time. A document
 * that is `null` is NULL. */
int json_parse(const void *data, size_t len, Json **ret);
Json *json_free(Json *json);
DEFINE_CLEANUP(Json *, json_free)

/* A member of an object. NULL where json is NULL or no object, or the member has another type. */
const Json *json_get_object(const Json *json, const char *key);
const Json *json_get_array(const Json *json, const char *key);
/* NULL for strings that hold a NUL, too: no name or id has one. */
const char *json_get_string(const Json *json, const char *key);
/* True if there is such a member, of whatever type, null included. */
bool json_has(const Json *json, const char *key);
/* True if there is such a member, and it is true. */
bool json_get_bool(const Json *json, const char *key);
/* 1: an integer, or a string of digits (large ones come so), that is not negative; 0: none. */
int json_get_uint64(const Json *json, const char *key, uint64_t *ret);

bool json_is_array(const Json *json);
/* 0 for what is no array. */
size_t json_array_size(const Json *json);
const Json *json_array_get(const Json *json, size_t i); /* NULL out of range */
/* The value itself as a string; NULL if it is none. */
const char *json_string(const Json *json);

/* Appends a string as JSON, quoted. Bytes that are no UTF-8 become U+FFFD. 0 or -ENOMEM. */
int json_append_string(Buf *b, const char *s);
