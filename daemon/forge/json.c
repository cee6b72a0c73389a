#include "forge/json.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "util/mutex.h"
#include "util/stats.h"
#include "util/text.h"

/* What json-c allocates for a value, rounded up: a container comes with room for several members.
 */
#define OBJECT_COST 1024
#define ARRAY_COST 512
#define VALUE_COST 128

/* The length of the character at text, of which len bytes are there; 0: it is none. */
static size_t character_length(const char *text, size_t len) {
        char copy[5] = {0}; /* utf8_decode() stops at NUL only */
        uint32_t unused;

        memcpy(copy, text, MIN(len, sizeof(copy) - 1));
        return utf8_decode(copy, &unused);
}

/* What a byte outside of strings costs at most. */
static size_t byte_cost(char c) {
        switch (c) {
        case '{':
                return OBJECT_COST;
        case '[':
                return ARRAY_COST;
        case ',':
        case ':':
                return VALUE_COST;
        default:
                return 0;
        }
}

/* What json-c leaves open. Three bytes of text can become a kilobyte of memory, so it is not asked
 * before the text is known to be cheap enough. The count is exact only for valid JSON, but never
 * too low; for that strings must begin and end where the parser thinks so, which takes apostrophes,
 * too. Nor does it refuse all that is no UTF-8. */
static int check_text(const char *text, size_t len, size_t *ret_cost) {
        size_t cost = 0;
        bool quoted = false;

        for (size_t i = 0; i < len && cost <= JSON_MAX_MEMORY; i++) {
                if ((unsigned char) text[i] >= 0x80) {
                        size_t n = character_length(text + i, len - i);
                        if (n == 0)
                                return -EBADMSG;
                        i += n - 1;
                } else if (text[i] == '"')
                        quoted = !quoted;
                else if (quoted && text[i] == '\\')
                        i++;
                else if (!quoted && text[i] == '\'')
                        return -EBADMSG;
                else if (!quoted)
                        cost += byte_cost(text[i]);
        }
        if (cost > JSON_MAX_MEMORY)
                return -EFBIG;
        *ret_cost = cost;
        return 0;
}

/* --- the memory of all documents --- */

/* First come, first served: else a large document would wait for as long as small ones come. So
 * whoever comes behind it waits with it, also where there would be room.
 *
 * Those who wait are workers, and may be all of them: that ends. Memory is held by threads that run
 * only, from json_parse() to json_free() on one stack, where they ask for no second document, wait
 * for no task of the pool and for nobody who waits here. So all that is taken is given back without
 * a worker more, and then the first in line has room, as no document costs more than there is. */
static Mutex memory_mutex = MUTEX_INIT(LOCK_RANK_LEAF);
static pthread_cond_t memory_freed = PTHREAD_COND_INITIALIZER;
/* guarded by memory_mutex */
static size_t memory_taken;
static uint64_t next_ticket, served; /* of who comes next; of who may take */

static void take_memory(size_t cost) {
        MUTEX_GUARD(&memory_mutex);
        const uint64_t ticket = next_ticket++;
        stat_add(STAT_JSON_WAITING_NOW, 1);
        while (ticket != served || memory_taken + cost > JSON_MAX_MEMORY)
                mutex_wait(&memory_mutex, &memory_freed);
        stat_add(STAT_JSON_WAITING_NOW, -1);
        served++;
        memory_taken += cost;
        stat_add(STAT_JSON_BYTES_NOW, (int64_t) cost);
        (void) pthread_cond_broadcast(&memory_freed); /* to the next; cannot fail */
}

static void give_memory_back(size_t cost) {
        MUTEX_GUARD(&memory_mutex);
        memory_taken -= cost;
        stat_add(STAT_JSON_BYTES_NOW, -(int64_t) cost);
        (void) pthread_cond_broadcast(&memory_freed); /* cannot fail on an initialised one */
}

/* json-c calls it with the last reference. */
static void document_freed(Json *json, void *userdata) {
        give_memory_back((size_t) (uintptr_t) userdata);
}

/* --- parsing --- */

static void tokener_freep(struct json_tokener **tokener) {
        if (*tokener)
                json_tokener_free(*tokener);
}

static int parse_text(const void *data, size_t len, Json **ret) {
        _cleanup_(tokener_freep) struct json_tokener *tokener = json_tokener_new_ex(JSON_MAX_DEPTH);
        if (!tokener)
                return -ENOMEM;
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);

        _cleanup_(json_freep) Json *json = json_tokener_parse_ex(tokener, data, (int) len);
        enum json_tokener_error error = json_tokener_get_error(tokener);
        /* json-c takes a NUL for the end of the text. */
        bool whole = json_tokener_get_parse_end(tokener) == len;
        if (error == json_tokener_continue) {
                /* A number ends only where something else begins. */
                json = json_tokener_parse_ex(tokener, "", 1);
                error = json_tokener_get_error(tokener);
        }
        if (error != json_tokener_success || !whole)
                return -EBADMSG;
        *ret = TAKE_PTR(json);
        return 0;
}

int json_parse(const void *data, size_t len, Json **ret) {
        size_t cost = 0;

        if (len > INT_MAX)
                return -EFBIG;
        int r = len > 0 ? check_text(data, len, &cost) : -EBADMSG;
        if (r < 0)
                return r;
        if (cost <= JSON_SMALL)
                return parse_text(data, len, ret);
        take_memory(cost);
        r = parse_text(data, len, ret);
        if (r < 0)
                give_memory_back(cost);
        else /* what costs that much is a container, and no null */
                json_object_set_userdata(*ret, (void *) (uintptr_t) cost, document_freed);
        return r;
}

Json *json_free(Json *json) {
        (void) json_object_put(json); /* tells whether it was the last reference */
        return NULL;
}

/* A member of this type; NULL otherwise. */
static Json *get(const Json *json, const char *key, enum json_type type) {
        Json *value;

        if (!json || !json_object_is_type(json, json_type_object) ||
            !json_object_object_get_ex(json, key, &value) || !json_object_is_type(value, type))
                return NULL;
        return value;
}

const Json *json_get_object(const Json *json, const char *key) {
        return get(json, key, json_type_object);
}

const Json *json_get_array(const Json *json, const char *key) {
        return get(json, key, json_type_array);
}

const char *json_get_string(const Json *json, const char *key) {
        return json_string(get(json, key, json_type_string));
}

bool json_has(const Json *json, const char *key) {
        return json_object_is_type(json, json_type_object) &&
               json_object_object_get_ex(json, key, NULL);
}

bool json_get_bool(const Json *json, const char *key) {
        const Json *value = get(json, key, json_type_boolean);

        return value && json_object_get_boolean(value);
}

static int parse_digits(const char *s, uint64_t *ret) {
        uint64_t n = 0;

        if (!*s)
                return 0;
        for (; *s; s++)
                if (*s < '0' || *s > '9' || __builtin_mul_overflow(n, UINT64_C(10), &n) ||
                    __builtin_add_overflow(n, (uint64_t) (*s - '0'), &n))
                        return 0;
        *ret = n;
        return 1;
}

int json_get_uint64(const Json *json, const char *key, uint64_t *ret) {
        const Json *number = get(json, key, json_type_int);
        const char *text = json_get_string(json, key);

        if (text)
                return parse_digits(text, ret);
        if (!number || json_object_get_int64(number) < 0)
                return 0;
        uint64_t n = json_object_get_uint64(number);
        if (n == UINT64_MAX)
                return 0; /* json-c makes that of all that is larger, too */
        *ret = n;
        return 1;
}

bool json_is_array(const Json *json) {
        return json_object_is_type(json, json_type_array);
}

size_t json_array_size(const Json *json) {
        return json_is_array(json) ? json_object_array_length(json) : 0;
}

const Json *json_array_get(const Json *json, size_t i) {
        return i < json_array_size(json) ? json_object_array_get_idx(json, i) : NULL;
}

const char *json_string(const Json *json) {
        if (!json || !json_object_is_type(json, json_type_string))
                return NULL;
        /* Of other types this would make a text, and store it in the value; not of strings. */
        const char *s = json_object_get_string((Json *) json);
        return strlen(s) == (size_t) json_object_get_string_len(json) ? s : NULL;
}

static int append_character(Buf *b, const char *s, size_t n) {
        if (n == 0)
                return buf_append_str(b, "\xef\xbf\xbd"); /* U+FFFD */
        if (*s == '"' || *s == '\\')
                return buf_appendf(b, "\\%c", *s);
        if ((unsigned char) *s < 0x20 || *s == 0x7f)
                return buf_appendf(b, "\\u%04x", (unsigned) *s);
        return buf_append(b, s, n);
}

int json_append_string(Buf *b, const char *s) {
        size_t before = b->len, n;

        int r = buf_append_str(b, "\"");
        for (; r >= 0 && *s; s += n > 0 ? n : 1) {
                uint32_t unused;
                n = utf8_decode(s, &unused);
                r = append_character(b, s, n);
        }
        if (r >= 0)
                r = buf_append_str(b, "\"");
        if (r < 0)
                b->len = before;
        return r;
}
