/* The methods of org.gitfs1.Manager that have to do with tokens. A token comes as a descriptor,
 * never as an argument: messages can be watched, and are copied on their way. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "bus/bus-error.h"
#include "bus/bus-internal.h"
#include "bus/bus-request.h"
#include "manager/manager-login.h"
#include "util/fd.h"

static int method_set_token(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(request_freep) Request *req = NULL;
        _cleanup_free_ char *org = NULL;
        Bus *b = userdata;
        Failure f = {0};
        int fd;

        int r = bus_read_bytes(m, &org, error);
        if (r >= 0)
                r = sd_bus_message_read_basic(m, 'h', &fd);
        if (r < 0)
                return r;
        r = request_new(b, m, &req);
        if (r < 0)
                return bus_error_set(error, r, NULL);
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* the message's own goes with the message */
        r = copy < 0 ? -errno : manager_set_token(b->manager, org, copy, request_done, req, &f);
        if (r < 0)
                return bus_error_set(error, r, &f);
        (void) TAKE_PTR(req);
        return 1;
}

static int method_forget_token(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *org = NULL;
        Bus *b = userdata;
        Failure f = {0};

        int r = bus_read_bytes(m, &org, error);
        if (r < 0)
                return r;
        r = manager_forget_token(b->manager, org, &f);
        return r < 0 ? bus_error_set(error, r, &f) : sd_bus_reply_method_return(m, NULL);
}

static int read_client_id(sd_bus_message *m, char **ret, sd_bus_error *error) {
        int r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                const char *key;

                r = sd_bus_message_read(m, "s", &key);
                if (r < 0)
                        return r;
                if (strcmp(key, GITFS_BUS_OPTION_CLIENT_ID) != 0)
                        return bus_refuse(error, "Unknown option \"%s\"", key);
                r = sd_bus_message_enter_container(m, 'v', "s");
                if (r == -ENXIO)
                        return bus_refuse(error, "Option \"%s\" is not of type s", key);
                free(*ret);
                *ret = NULL;
                if (r >= 0)
                        r = bus_read_bytes(m, ret, error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int method_login(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(request_freep) Request *req = NULL;
        _cleanup_free_ char *org = NULL, *client_id = NULL;
        Bus *b = userdata;
        Failure f = {0};

        int r = bus_read_bytes(m, &org, error);
        if (r >= 0)
                r = read_client_id(m, &client_id, error);
        if (r < 0)
                return r;
        r = request_new(b, m, &req);
        if (r >= 0)
                r = manager_login(b->manager, org, client_id, request_login_done, req, &f);
        if (r < 0)
                return bus_error_set(error, r, &f);
        (void) TAKE_PTR(req);
        return 1;
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS(
                "SetToken",
                SD_BUS_ARGS("s", org, "h", token),
                SD_BUS_NO_RESULT,
                method_set_token,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "ForgetToken",
                SD_BUS_ARGS("s", org),
                SD_BUS_NO_RESULT,
                method_forget_token,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Login",
                SD_BUS_ARGS("s", org, "a{sv}", options),
                SD_BUS_RESULT("s", user_code, "s", verification_uri, "t", expires_usec, "o", job),
                method_login,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int bus_token_export(Bus *b, sd_bus *bus) {
        return sd_bus_add_object_vtable(bus, NULL, GITFS_BUS_PATH, GITFS_BUS_MANAGER, vtable, b);
}
