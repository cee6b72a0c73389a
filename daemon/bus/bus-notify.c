/* The manager's news as D-Bus signals, on every connection.
 *
 * That an object came or went is told at once, so that a client never hears of an object it was
 * not told about. What changed on it is told later: the objects are put on a list, each once, and
 * an event source of low priority sends one PropertiesChanged for each with the values of that
 * moment. A job that makes progress a thousand times in one turn of the loop costs one signal. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "bus/bus-internal.h"
#include "util/log.h"

struct BusChange {
        char *path;            /* owned */
        const char *interface; /* static */
        const char *property;  /* static; NULL for all that emit changes */
        uint32_t job;          /* 0 when it is no job */
        TAILQ_ENTRY(BusChange) link;
};

static BusChange *change_free(BusChange *c) {
        if (!c)
                return NULL;
        free(c->path);
        free(c);
        return NULL;
}
DEFINE_CLEANUP(BusChange *, change_free)

static BusChange *change_find(Bus *b, const char *path) {
        BusChange *c;

        TAILQ_FOREACH (c, &b->changes, link)
                if (strcmp(c->path, path) == 0)
                        return c;
        return NULL;
}

static void change_drop(Bus *b, BusChange *c) {
        TAILQ_REMOVE(&b->changes, c, link);
        change_free(c);
}

static int send_change(sd_bus *bus, void *userdata) {
        const BusChange *c = userdata;
        char *names[] = {(char *) c->property, NULL};

        return sd_bus_emit_properties_changed_strv(
                bus, c->path, c->interface, c->property ? names : NULL);
}

static int send_finished(sd_bus *bus, void *userdata) {
        const JobInfo *info = userdata;
        _cleanup_free_ char *path = bus_job_path(info->id);

        if (!path)
                return -ENOMEM;
        return sd_bus_emit_signal(
                bus,
                GITFS_BUS_PATH,
                GITFS_BUS_MANAGER,
                "JobFinished",
                "uos",
                info->id,
                path,
                job_state_name(info->state));
}

static int on_changes(sd_event_source *source, void *userdata) {
        Bus *b = userdata;
        BusChange *first;

        while ((first = TAILQ_FIRST(&b->changes))) {
                _cleanup_(change_freep) BusChange *c = first;
                JobInfo job;

                TAILQ_REMOVE(&b->changes, c, link);
                bus_each_connection(b, send_change, c);
                if (c->job != 0 && manager_get_job(b->manager, c->job, &job) > 0 &&
                    job.state != JOB_RUNNING)
                        bus_each_connection(b, send_finished, &job);
        }
        return 0;
}

/* Takes the path. Losing a change for want of memory is told to nobody but the log: the properties
 * themselves stay right for whoever asks. */
static void
changed(Bus *b, char *owned_path, const char *interface, const char *property, uint32_t job) {
        _cleanup_free_ char *path = owned_path;

        if (path && change_find(b, path))
                return;
        BusChange *c = path ? calloc(1, sizeof(*c)) : NULL;
        if (!c) {
                log_warning("out of memory while telling of a change, ignoring");
                return;
        }
        *c = (BusChange){
                .path = TAKE_PTR(path),
                .interface = interface,
                .property = property,
                .job = job,
        };
        TAILQ_INSERT_TAIL(&b->changes, c, link);
        int r = sd_event_source_set_enabled(b->changes_source, SD_EVENT_ONESHOT);
        if (r < 0)
                log_warning("cannot schedule signals: %s, ignoring", strerrordesc_np(-r));
}

typedef struct Announcement {
        const char *path, *interface;
} Announcement;

static int send_added(sd_bus *bus, void *userdata) {
        const Announcement *a = userdata;
        return sd_bus_emit_interfaces_added(bus, a->path, a->interface, NULL);
}

static int send_removed(sd_bus *bus, void *userdata) {
        const Announcement *a = userdata;
        return sd_bus_emit_interfaces_removed(bus, a->path, a->interface, NULL);
}

static void added(Bus *b, char *owned_path, const char *interface) {
        _cleanup_free_ char *path = owned_path;

        if (path)
                bus_each_connection(b, send_added, &(Announcement){path, interface});
}

static void removed(Bus *b, char *owned_path, const char *interface) {
        _cleanup_free_ char *path = owned_path;

        if (!path)
                return;
        BusChange *c = change_find(b, path);
        if (c)
                change_drop(b, c);
        bus_each_connection(b, send_removed, &(Announcement){path, interface});
}

static void on_org_added(const char *name, void *userdata) {
        added(userdata, bus_org_path(name), GITFS_BUS_ORG);
}

static void on_org_removed(const char *name, void *userdata) {
        removed(userdata, bus_org_path(name), GITFS_BUS_ORG);
}

static void on_org_changed(const char *name, void *userdata) {
        changed(userdata, bus_org_path(name), GITFS_BUS_ORG, NULL, 0);
}

static void on_job_added(uint32_t id, void *userdata) {
        added(userdata, bus_job_path(id), GITFS_BUS_JOB);
}

static void on_job_changed(uint32_t id, void *userdata) {
        changed(userdata, bus_job_path(id), GITFS_BUS_JOB, NULL, id);
}

static void on_job_removed(uint32_t id, void *userdata) {
        removed(userdata, bus_job_path(id), GITFS_BUS_JOB);
}

static void on_ready(void *userdata) {
        changed(userdata, strdup(GITFS_BUS_PATH), GITFS_BUS_MANAGER, "Ready", 0);
}

int bus_notify_start(Bus *b) {
        b->observer = (ManagerObserver){
                .org_added = on_org_added,
                .org_removed = on_org_removed,
                .org_changed = on_org_changed,
                .job_added = on_job_added,
                .job_changed = on_job_changed,
                .job_removed = on_job_removed,
                .ready = on_ready,
                .userdata = b,
        };

        int r = sd_event_add_defer(b->event, &b->changes_source, on_changes, b);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(b->changes_source, "bus-changes"); /* cosmetic */
        r = sd_event_source_set_priority(b->changes_source, SD_EVENT_PRIORITY_NORMAL + 10);
        if (r >= 0)
                r = sd_event_source_set_enabled(b->changes_source, SD_EVENT_OFF);
        if (r >= 0)
                manager_set_observer(b->manager, &b->observer);
        return r;
}

void bus_notify_stop(Bus *b) {
        BusChange *c;

        manager_set_observer(b->manager, NULL);
        b->changes_source = sd_event_source_disable_unref(b->changes_source);
        while ((c = TAILQ_FIRST(&b->changes)))
                change_drop(b, c);
}
