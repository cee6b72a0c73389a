/* Asks every getter of every value. Strings, written again and parsed again, are the same. */

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "forge/json.h"
#include "fuzz.h"

static void look_at_string(const Json *value) {
        const char *s = json_string(value);
        _cleanup_buf_ Buf b = {0};
        _cleanup_(json_freep) Json *again = NULL;

        if (!s)
                return;
        FUZZ_CHECK(json_append_string(&b, s) == 0);
        FUZZ_CHECK(json_parse(b.data, b.len, &again) == 0);
        FUZZ_CHECK(strcmp(json_string(again), s) == 0);
}

static void look_at(const Json *parent, const char *key, const Json *value) {
        uint64_t n;

        look_at_string(value);
        if (key) {
                const char *s = json_get_string(parent, key);
                FUZZ_CHECK(!s || s == json_string(value));
                FUZZ_CHECK(!json_get_object(parent, key) || !json_get_array(parent, key));
                FUZZ_CHECK(!json_get_bool(parent, key) || !json_get_uint64(parent, key, &n));
        }
        for (size_t i = 0; i < json_array_size(value); i++)
                look_at(NULL, NULL, json_array_get(value, i));
        if (json_object_is_type(value, json_type_object)) {
                json_object_object_foreach((Json *) value, name, member) {
                        look_at(value, name, member);
                }
        }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(json_freep) Json *json = NULL;

        int r = json_parse(data, size, &json);
        FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EFBIG);
        if (r == 0)
                look_at(NULL, NULL, json);
        return 0;
}
