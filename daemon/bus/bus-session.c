/* The session bus: optional, and allowed to come back. At the start a missing bus is a fact to
 * log, and a taken name is an error, as two daemons would fight over one mount. Later a lost bus
 * costs its clients, nothing else: the name is asked for again, in the background, until it is
 * had. */

#include <errno.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "bus/bus-internal.h"
#include "util/clock.h"
#include "util/log.h"

#define RETRY_USEC (2 * USEC_PER_SEC)
#define START_TIMEOUT_USEC (10 * USEC_PER_SEC)

static void session_drop(Bus *b) {
        b->session = sd_bus_close_unref(b->session);
}

static void retry_later(Bus *b) {
        session_drop(b);
        int r = sd_event_source_set_time_relative(b->session_retry, RETRY_USEC);
        if (r >= 0)
                r = sd_event_source_set_enabled(b->session_retry, SD_EVENT_ONESHOT);
        if (r < 0)
                log_warning(
                        "cannot arrange to look for the session bus again: %s, ignoring",
                        strerrordesc_np(-r));
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        log_notice("the session bus went away; the private socket still serves");
        retry_later(userdata);
        return 0;
}

/* Opens the connection with our objects on it; the name is not asked for yet. */
static int session_open(Bus *b) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;

        int r = sd_bus_open_user_with_description(&bus, "session");
        if (r < 0)
                return r;
        r = sd_bus_set_exit_on_disconnect(bus, false);
        if (r >= 0)
                r = sd_bus_set_close_on_exit(bus, false); /* bus_free() has answers to send */
        if (r >= 0)
                r = sd_bus_match_signal_async(
                        bus,
                        NULL,
                        "org.freedesktop.DBus.Local",
                        "/org/freedesktop/DBus/Local",
                        "org.freedesktop.DBus.Local",
                        "Disconnected",
                        on_disconnected,
                        NULL,
                        b);
        if (r >= 0)
                r = bus_export(b, bus);
        if (r >= 0)
                r = sd_bus_attach_event(bus, b->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                b->session = TAKE_PTR(bus);
        return r;
}

static int on_name_answer(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Bus *b = userdata;
        uint32_t answer;

        if (sd_bus_message_is_method_error(m, NULL)) {
                retry_later(b);
                return 0;
        }
        int r = sd_bus_message_read(m, "u", &answer);
        if (r >= 0 && answer == 1) /* DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER */
                log_notice("serving " GITFS_BUS_NAME " on the session bus again");
        else {
                log_warning("the session bus is back, but " GITFS_BUS_NAME
                            " is taken; the private socket still serves");
                session_drop(b);
        }
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Bus *b = userdata;

        int r = session_open(b);
        if (r >= 0)
                r = sd_bus_request_name_async(
                        b->session, NULL, GITFS_BUS_NAME, 0, on_name_answer, b);
        if (r < 0)
                retry_later(b);
        return 0;
}

/* The only place where this layer waits: the daemon is not up yet, and must know whether it is the
 * only one. */
static int session_claim(Bus *b) {
        uint64_t usual;

        int r = sd_bus_get_method_call_timeout(b->session, &usual);
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(b->session, START_TIMEOUT_USEC);
        if (r >= 0)
                r = sd_bus_request_name(b->session, GITFS_BUS_NAME, 0);
        return r < 0 ? r : sd_bus_set_method_call_timeout(b->session, usual);
}

int bus_session_start(Bus *b) {
        if (!b->session_wanted)
                return 0;

        int r = sd_event_add_time_relative(
                b->event, &b->session_retry, CLOCK_MONOTONIC, RETRY_USEC, 0, on_retry, b);
        if (r >= 0)
                r = sd_event_source_set_enabled(b->session_retry, SD_EVENT_OFF);
        if (r < 0) {
                log_error("cannot create a timer: %s", strerrordesc_np(-r));
                return r;
        }

        r = session_open(b);
        if (r >= 0)
                r = session_claim(b);
        if (r >= 0)
                return 0;
        session_drop(b);
        if (r == -EEXIST) {
                log_error("the D-Bus name " GITFS_BUS_NAME
                          " is taken: another gitfsd serves this session; stop it first");
                return -EADDRINUSE;
        }
        log_info("no session bus (%s): only the private socket serves", strerrordesc_np(-r));
        return 0;
}

void bus_session_stop(Bus *b) {
        b->session_retry = sd_event_source_disable_unref(b->session_retry);
        session_drop(b); /* not flushed, which could wait: see bus_server_stop() */
}
