#include "bus/service.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "util/clock.h"
#include "util/log.h"
#include "util/path.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define TIMEOUT_USEC (2 * USEC_PER_SEC)
/* A manager that executes itself again cannot be asked for a moment. */
#define TRIES 30
#define PAUSE_MSEC 100

static int connect_to_manager(sd_bus **ret) {
        _cleanup_free_ char *socket = NULL;
        char address[256];
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;

        int r = path_runtime("systemd/private", &socket);
        if (r < 0)
                return r;
        int n = snprintf(address, sizeof(address), "unix:path=%s", socket);
        if (n < 0 || (size_t) n >= sizeof(address))
                return -ENAMETOOLONG;
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(bus, TIMEOUT_USEC);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

/* The object of the unit that this process belongs to. */
static int own_unit(sd_bus *bus, char **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path;

        int r = sd_bus_call_method(
                bus,
                SYSTEMD,
                "/org/freedesktop/systemd1",
                SYSTEMD ".Manager",
                "GetUnitByPID",
                NULL,
                &reply,
                "u",
                (uint32_t) getpid());
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;
        *ret = strdup(path);
        return *ret ? 0 : -ENOMEM;
}

/* How many descriptors are kept for the unit. */
static int n_kept(sd_bus *bus, const char *unit) {
        uint32_t n = 0;

        int r = sd_bus_get_property_trivial(
                bus, SYSTEMD, unit, SYSTEMD ".Service", "NFileDescriptorStore", NULL, 'u', &n);
        return r < 0 ? r : (int) MIN(n, (uint32_t) INT_MAX);
}

/* 1 and the type of the job that the unit has, or 0. */
static int job_of(sd_bus *bus, const char *unit, char **ret_type) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *job;
        uint32_t id = 0;

        int r = sd_bus_get_property(
                bus, SYSTEMD, unit, SYSTEMD ".Unit", "Job", NULL, &reply, "(uo)");
        if (r >= 0)
                r = sd_bus_message_read(reply, "(uo)", &id, &job);
        if (r < 0 || id == 0)
                return r < 0 ? r : 0;
        r = sd_bus_get_property_string(
                bus, SYSTEMD, job, SYSTEMD ".Job", "JobType", NULL, ret_type);
        return r < 0 ? r : 1;
}

/* 0 or a negative errno; *ret_job is NULL where there is none. */
static int ask_once(unsigned *ret_n_kept, char **ret_job) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        _cleanup_free_ char *unit = NULL;
        int n = 0;

        int r = connect_to_manager(&bus);
        if (r >= 0)
                r = own_unit(bus, &unit);
        if (r >= 0)
                r = n = n_kept(bus, unit);
        if (r >= 0)
                r = job_of(bus, unit, ret_job);
        if (r < 0) {
                log_debug("The service manager does not say: %s", strerrordesc_np(-r));
                return r;
        }
        *ret_n_kept = (unsigned) n;
        return 0;
}

/* What depends on the answer cannot be undone: who was started by a service manager insists. */
static int ask(unsigned *ret_n_kept, char **ret_job) {
        bool service = getenv("INVOCATION_ID"); // NOLINT(concurrency-mt-unsafe): nobody sets it
        int r = ask_once(ret_n_kept, ret_job);

        for (unsigned i = 1; r < 0 && service && i < TRIES; i++) {
                (void) poll(NULL, 0, PAUSE_MSEC);
                r = ask_once(ret_n_kept, ret_job);
        }
        return r;
}

bool service_restarts(void) {
        _cleanup_free_ char *job = NULL;
        unsigned n;

        return ask(&n, &job) >= 0 && n > 0 && job && strcmp(job, "restart") == 0;
}

int service_keeps_mount(void) {
        _cleanup_free_ char *job = NULL;
        unsigned n;

        int r = ask(&n, &job);
        /* The connection alone, or all three of MountFds. A connection that has ended is dropped by
         * the manager, which leaves two. */
        return r < 0 ? r : n == 1 || n == 3;
}

bool service_is_stale(void) {
        const char *code = getenv("EXIT_CODE");     // NOLINT(concurrency-mt-unsafe): no threads
        const char *status = getenv("EXIT_STATUS"); // NOLINT(concurrency-mt-unsafe): no threads
        char stale[16];

        (void) snprintf(stale, sizeof(stale), "%d", SERVICE_EXIT_STALE);
        return code && status && strcmp(code, "exited") == 0 && strcmp(status, stale) == 0;
}

bool service_has_stopped(void) {
        const char *result = getenv("SERVICE_RESULT"); // NOLINT(concurrency-mt-unsafe): no threads
        _cleanup_free_ char *job = NULL;
        unsigned n;

        int r = ask(&n, &job);
        if (r >= 0 && job)
                return strcmp(job, "stop") == 0;
        /* Ended by itself: after a failure it is started again. */
        return result && strcmp(result, "success") == 0;
}
