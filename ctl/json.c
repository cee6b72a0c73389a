#include "ctl/json.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/buf.h"

static int read_value(sd_bus_message *m, json_object **ret);

static char *snake_case(const char *name) {
        _cleanup_buf_ Buf b = {0};
        int r = 0;

        for (const char *p = name; *p && r >= 0; p++) {
                bool starts_word =
                        isupper((unsigned char) p[0]) && p > name && islower((unsigned char) p[-1]);
                r = buf_appendf(&b, "%s%c", starts_word ? "_" : "", tolower((unsigned char) p[0]));
        }
        if (r < 0 || !buf_str(&b))
                return NULL;
        return (char *) TAKE_PTR(b.data);
}

static int read_basic(sd_bus_message *m, char type, json_object **ret) {
        union {
                const char *s;
                int b, i;
                int64_t x;
                uint32_t u;
                uint64_t t;
                double d;
        } v;
        json_object *o;

        int r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;
        switch (type) {
        case SD_BUS_TYPE_STRING:
        case SD_BUS_TYPE_OBJECT_PATH:
        case SD_BUS_TYPE_SIGNATURE:
                o = json_object_new_string(v.s);
                break;
        case SD_BUS_TYPE_BOOLEAN:
                o = json_object_new_boolean(v.b);
                break;
        case SD_BUS_TYPE_INT32:
                o = json_object_new_int(v.i);
                break;
        case SD_BUS_TYPE_INT64:
                o = json_object_new_int64(v.x);
                break;
        case SD_BUS_TYPE_UINT32:
                o = json_object_new_uint64(v.u);
                break;
        case SD_BUS_TYPE_UINT64:
                o = json_object_new_uint64(v.t);
                break;
        case SD_BUS_TYPE_DOUBLE:
                o = json_object_new_double(v.d);
                break;
        default:
                return -EBADMSG; /* no method of ours returns it */
        }
        if (!o)
                return -ENOMEM;
        *ret = o;
        return 0;
}

/* Inside an array of dictionary entries. */
static int read_entries(sd_bus_message *m, json_object *object) {
        const char *contents;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(m, &type, &contents)) > 0) {
                _cleanup_(json_object_putp) json_object *value = NULL;
                const char *key;

                r = sd_bus_message_enter_container(m, 'e', contents);
                if (r >= 0)
                        r = sd_bus_message_read(m, "s", &key);
                if (r >= 0)
                        r = read_value(m, &value);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
                _cleanup_free_ char *name = snake_case(key);
                if (!name || json_object_object_add(object, name, value) < 0)
                        return -ENOMEM;
                (void) TAKE_PTR(value); /* the object's */
        }
        return r;
}

static int read_array(sd_bus_message *m, json_object *array) {
        int r;

        while ((r = sd_bus_message_at_end(m, /* complete= */ false)) == 0) {
                _cleanup_(json_object_putp) json_object *value = NULL;

                r = read_value(m, &value);
                if (r < 0)
                        return r;
                if (json_object_array_add(array, value) < 0)
                        return -ENOMEM;
                (void) TAKE_PTR(value); /* the array's */
        }
        return r < 0 ? r : 0;
}

static int read_container(sd_bus_message *m, char type, const char *contents, json_object **ret) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        bool dictionary = type == SD_BUS_TYPE_ARRAY && contents[0] == '{';

        int r = sd_bus_message_enter_container(m, type, contents);
        if (r < 0)
                return r;
        if (type == SD_BUS_TYPE_VARIANT)
                r = read_value(m, &o);
        else {
                o = dictionary ? json_object_new_object() : json_object_new_array();
                if (!o)
                        return -ENOMEM;
                r = dictionary ? read_entries(m, o) : read_array(m, o);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r >= 0)
                *ret = TAKE_PTR(o);
        return r;
}

static int read_value(sd_bus_message *m, json_object **ret) {
        const char *contents;
        char type;

        int r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        if (r == 0)
                return -ENODATA;
        return contents ? read_container(m, type, contents, ret) : read_basic(m, type, ret);
}

int json_from_message(sd_bus_message *m, json_object **ret) {
        _cleanup_(json_object_putp) json_object *all = json_object_new_array();

        if (!all)
                return -ENOMEM;
        int r = read_array(m, all);
        if (r < 0)
                return r;
        *ret = json_object_array_length(all) == 1
                       ? json_object_get(json_object_array_get_idx(all, 0))
                       : TAKE_PTR(all);
        return 0;
}

const char *json_text(json_object *object, const char *key) {
        json_object *o = json_object_object_get(object, key);
        return json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "";
}

uint64_t json_number(json_object *object, const char *key) {
        json_object *o = json_object_object_get(object, key);
        return json_object_is_type(o, json_type_int) ? json_object_get_uint64(o) : 0;
}

bool json_flag(json_object *object, const char *key) {
        return json_object_get_boolean(json_object_object_get(object, key));
}

int json_print(json_object *object) {
        const char *text = json_object_to_json_string_ext(
                object,
                JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);

        if (!text)
                return -ENOMEM;
        return puts(text) < 0 ? -EIO : 0;
}
