#include "bus/bus-object.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus-error.h"
#include "bus/bus-internal.h"
#include "util/array.h"
#include "util/text.h"

const BusProperty *bus_property_find(const BusProperty *table, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (strcmp(table[i].name, name) == 0)
                        return &table[i];
        assert(false);
        return NULL;
}

static int append_entry(sd_bus_message *m, const BusProperty *p, const void *info) {
        int r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", p->name);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', p->signature);
        if (r >= 0)
                r = p->append(m, info);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int bus_properties_append(sd_bus_message *m, const BusProperty *table, size_t n, const void *info) {
        int r = sd_bus_message_open_container(m, 'a', "{sv}");
        for (size_t i = 0; i < n && r >= 0; i++)
                r = append_entry(m, &table[i], info);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int bus_append_bytes(sd_bus_message *m, const char *bytes) {
        _cleanup_free_ char *text = text_escape(bytes ? bytes : "");

        if (!text)
                return -ENOMEM;
        return sd_bus_message_append_basic(m, 's', text);
}

int bus_append_sentence(sd_bus_message *m, const char *text) {
        _cleanup_free_ char *copy = strdup(text);

        if (!copy)
                return -ENOMEM;
        text_sanitize(copy);
        return sd_bus_message_append_basic(m, 's', copy);
}

int bus_append_error_name(sd_bus_message *m, int r, const Failure *f) {
        return sd_bus_message_append(m, "s", r < 0 ? bus_error_name(r, f) : "");
}

int bus_append_error_message(sd_bus_message *m, int r, const Failure *f) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        if (r < 0)
                (void) bus_error_set(&error, r, f); /* its errno is for handlers */
        return sd_bus_message_append(m, "s", r < 0 ? error.message : "");
}

int bus_reply_list(
        Bus *b, sd_bus_message *call, int (*fill)(sd_bus_message *reply, Manager *manager)) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;

        int r = sd_bus_message_new_method_return(call, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        if (r >= 0)
                r = fill(reply, b->manager);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

int bus_reply_job(sd_bus_message *call, uint32_t id) {
        _cleanup_free_ char *object = bus_job_path(id);

        return object ? sd_bus_reply_method_return(call, "uo", id, object) : -ENOMEM;
}

int bus_paths_add(BusPaths *l, char *owned_path) {
        _cleanup_free_ char *path = owned_path;

        if (!path || ARRAY_RESERVE(l->paths, l->cap, l->n + 2) < 0)
                return -ENOMEM;
        l->paths[l->n++] = TAKE_PTR(path);
        l->paths[l->n] = NULL;
        return 0;
}

int bus_paths_take(BusPaths *l, char ***ret) {
        *ret = l->paths;
        *l = (BusPaths){0};
        return 1;
}

void bus_paths_done(BusPaths *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->paths[i]);
        free(l->paths);
        *l = (BusPaths){0};
}
