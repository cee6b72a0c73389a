/* org.gitfs1.Job: one object per job, from its start until a minute after its end. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gitfs/bus-names.h"

#include "bus/bus-check.h"
#include "bus/bus-error.h"
#include "bus/bus-internal.h"
#include "bus/bus-object.h"

static int append_id(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "u", ((const JobInfo *) info)->id);
}

static int append_kind(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "s", ((const JobInfo *) info)->kind);
}

static int append_path(sd_bus_message *m, const void *info) {
        return bus_append_bytes(m, ((const JobInfo *) info)->path);
}

static int append_state(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "s", job_state_name(((const JobInfo *) info)->state));
}

static int append_done(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "t", ((const JobInfo *) info)->done);
}

static int append_total(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "t", ((const JobInfo *) info)->total);
}

static int append_bytes(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "t", ((const JobInfo *) info)->bytes);
}

static int append_damaged(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "t", ((const JobInfo *) info)->damaged);
}

/* That it was cancelled is no error. */
static int error_of(const JobInfo *job) {
        return job->state == JOB_FAILED ? job->result : 0;
}

static int append_error_name(sd_bus_message *m, const void *info) {
        const JobInfo *job = info;

        return bus_append_error_name(m, error_of(job), &job->failure);
}

static int append_error_message(sd_bus_message *m, const void *info) {
        const JobInfo *job = info;

        return bus_append_error_message(m, error_of(job), &job->failure);
}

static const BusProperty properties[] = {
        {"Id", "u", append_id},
        {"Kind", "s", append_kind},
        {"Path", "s", append_path},
        {"State", "s", append_state},
        {"Done", "t", append_done},
        {"Total", "t", append_total},
        {"Bytes", "t", append_bytes},
        {"Damaged", "t", append_damaged},
        {"ErrorName", "s", append_error_name},
        {"ErrorMessage", "s", append_error_message},
};

int bus_job_append(sd_bus_message *m, const JobInfo *info) {
        return bus_properties_append(m, properties, ELEMENTSOF(properties), info);
}

char *bus_job_path(uint32_t id) {
        char *path;

        return asprintf(&path, GITFS_BUS_JOB_PREFIX "/%" PRIu32, id) < 0 ? NULL : path;
}

static int get_job(Bus *b, const char *path, JobInfo *ret) {
        uint32_t id;

        int r = bus_job_id(path, &id);
        return r <= 0 ? r : manager_get_job(b->manager, id, ret);
}

static int find_job(
        sd_bus *bus,
        const char *path,
        const char *interface,
        void *userdata,
        void **ret_found,
        sd_bus_error *error) {
        JobInfo info;

        int r = get_job(userdata, path, &info);
        if (r > 0)
                *ret_found = userdata;
        return r;
}

static int get_property(
        sd_bus *bus,
        const char *path,
        const char *interface,
        const char *property,
        sd_bus_message *reply,
        void *userdata,
        sd_bus_error *error) {
        JobInfo info;

        int r = get_job(userdata, path, &info);
        if (r <= 0)
                return bus_error_set(error, r < 0 ? r : -ENOENT, NULL);
        return bus_property_find(properties, ELEMENTSOF(properties), property)
                ->append(reply, &info);
}

static int method_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Bus *b = userdata;
        uint32_t id;

        int r = bus_job_id(sd_bus_message_get_path(m), &id);
        if (r >= 0)
                r = r == 0 ? -ENOENT : manager_cancel_job(b->manager, id);
        return r < 0 ? bus_error_set(error, r, NULL) : sd_bus_reply_method_return(m, NULL);
}

static int collect_path(const JobInfo *info, void *userdata) {
        return bus_paths_add(userdata, bus_job_path(info->id));
}

static int enumerate_jobs(
        sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error) {
        _cleanup_(bus_paths_done) BusPaths paths = {0};
        Bus *b = userdata;

        int r = manager_each_job(b->manager, collect_path, &paths);
        return r < 0 ? r : bus_paths_take(&paths, ret_nodes);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Id", "u", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Kind", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Path", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Done", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Total", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Bytes", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Damaged", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ErrorName", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ErrorMessage", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_METHOD("Cancel", NULL, NULL, method_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int bus_job_export(Bus *b, sd_bus *bus) {
        int r = sd_bus_add_fallback_vtable(
                bus, NULL, GITFS_BUS_JOB_PREFIX, GITFS_BUS_JOB, vtable, find_job, b);
        if (r >= 0)
                r = sd_bus_add_node_enumerator(bus, NULL, GITFS_BUS_JOB_PREFIX, enumerate_jobs, b);
        return r;
}
