/* Asks every getter of every value. Strings, written again and parsed again, are the same. */

#include <errno.h>
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

static int look_at(const char *key, const Json *value, void *userdata) {
        const Json *parent = userdata;
        uint64_t n;

        look_at_string(value);
        if (key) {
                const char *s = json_get_string(parent, key);
                FUZZ_CHECK(!s || s == json_string(value));
                FUZZ_CHECK(!json_get_object(parent, key) || !json_get_array(parent, key));
                FUZZ_CHECK(!json_get_bool(parent, key) || !json_get_uint64(parent, key, &n));
        }
        for (size_t i = 0; i < json_array_size(value); i++)
                (void) look_at(NULL, json_array_get(value, i), NULL); /* always 0 */
        return json_each(value, look_at, (void *) value);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(json_freep) Json *json = NULL;

        int r = json_parse(data, size, &json);
        FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EFBIG);
        if (r == 0)
                FUZZ_CHECK(look_at(NULL, json, NULL) == 0);
        return 0;
}
