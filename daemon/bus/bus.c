#include "bus/bus.h"

#include <errno.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "bus/bus-internal.h"
#include "bus/bus-request.h"
#include "util/log.h"

int bus_export(Bus *b, sd_bus *bus) {
        int r = sd_bus_add_object_manager(bus, NULL, GITFS_BUS_PATH);
        if (r >= 0)
                r = bus_manager_export(b, bus);
        if (r >= 0)
                r = bus_token_export(b, bus);
        if (r >= 0)
                r = bus_pin_export(b, bus);
        if (r >= 0)
                r = bus_org_export(b, bus);
        if (r >= 0)
                r = bus_job_export(b, bus);
        return r;
}

int bus_new(sd_event *event, Manager *m, bool session, Bus **ret) {
        _cleanup_(bus_freep) Bus *b = calloc(1, sizeof(*b));

        if (!b)
                return -ENOMEM;
        b->event = sd_event_ref(event);
        b->manager = m;
        b->session_wanted = session;
        TAILQ_INIT(&b->clients);
        TAILQ_INIT(&b->changes);
        TAILQ_INIT(&b->requests);

        int r = bus_server_start(b);
        if (r >= 0)
                r = bus_session_start(b);
        if (r >= 0) {
                r = bus_notify_start(b);
                if (r < 0)
                        log_error("cannot watch the manager: %s", strerrordesc_np(-r));
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(b);
        return 0;
}

Bus *bus_free(Bus *b) {
        if (!b)
                return NULL;
        bus_notify_stop(b);
        request_cancel_all(b);
        bus_session_stop(b);
        bus_server_stop(b);
        sd_event_unref(b->event);
        free(b);
        return NULL;
}
