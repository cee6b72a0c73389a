/* The part of org.gitfs1.Manager that pins. */

#include <errno.h>
#include <stdlib.h>

#include "gitfs/bus-names.h"

#include "bus/bus-error.h"
#include "bus/bus-internal.h"
#include "bus/bus-object.h"

static int append_path(sd_bus_message *m, const void *info) {
        return bus_append_bytes(m, ((const PinInfo *) info)->path);
}

static int append_state(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "s", pin_state_name(((const PinInfo *) info)->state));
}

static int append_done(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "t", ((const PinInfo *) info)->done);
}

static int append_total(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "t", ((const PinInfo *) info)->total);
}

static int append_bytes(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "t", ((const PinInfo *) info)->bytes);
}

static int append_error_name(sd_bus_message *m, const void *info) {
        const PinInfo *pin = info;

        return bus_append_error_name(m, pin->result, &pin->failure);
}

static int append_error_message(sd_bus_message *m, const void *info) {
        const PinInfo *pin = info;

        return bus_append_error_message(m, pin->result, &pin->failure);
}

static const BusProperty properties[] = {
        {"Path", "s", append_path},
        {"State", "s", append_state},
        {"Done", "t", append_done},
        {"Total", "t", append_total},
        {"Bytes", "t", append_bytes},
        {"ErrorName", "s", append_error_name},
        {"ErrorMessage", "s", append_error_message},
};

static int append_pin(const PinInfo *info, void *userdata) {
        return bus_properties_append(userdata, properties, ELEMENTSOF(properties), info);
}

static int append_pins(sd_bus_message *reply, Manager *manager) {
        return manager_each_pin(manager, append_pin, reply);
}

static int method_list_pins(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_reply_list(userdata, m, append_pins);
}

static int method_pin(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *path = NULL;
        Bus *b = userdata;
        Failure f = {0};
        uint32_t id;

        int r = bus_read_path(b, m, &path, error);
        if (r < 0)
                return r;
        r = manager_pin(b->manager, path, &id, &f);
        return r < 0 ? bus_error_set(error, r, &f) : bus_reply_job(m, id);
}

static int method_unpin(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *path = NULL;
        Bus *b = userdata;
        Failure f = {0};

        int r = bus_read_path(b, m, &path, error);
        if (r < 0)
                return r;
        r = manager_unpin(b->manager, path, &f);
        return r < 0 ? bus_error_set(error, r, &f) : sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS(
                "Pin",
                SD_BUS_ARGS("s", path),
                SD_BUS_RESULT("u", id, "o", job),
                method_pin,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Unpin",
                SD_BUS_ARGS("s", path),
                SD_BUS_NO_RESULT,
                method_unpin,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "ListPins",
                SD_BUS_NO_ARGS,
                SD_BUS_RESULT("aa{sv}", pins),
                method_list_pins,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int bus_pin_export(Bus *b, sd_bus *bus) {
        return sd_bus_add_object_vtable(bus, NULL, GITFS_BUS_PATH, GITFS_BUS_MANAGER, vtable, b);
}
