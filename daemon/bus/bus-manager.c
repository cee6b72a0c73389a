/* org.gitfs1.Manager. A handler reads and checks its arguments, calls the manager and answers, or
 * leaves a Request behind; none waits. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gitfs/bus-names.h"

#include "bus/bus-error.h"
#include "bus/bus-internal.h"
#include "bus/bus-object.h"
#include "bus/bus-request.h"
#include "util/stats.h"
#include "version.h"

static_assert(
        GITFS_BUS_FLUSH_KERNEL == FLUSH_KERNEL && GITFS_BUS_FLUSH_MEMORY == FLUSH_MEMORY &&
                GITFS_BUS_FLUSH_DISK == FLUSH_DISK,
        "the flags go over the bus as they are");
#define FLUSH_ALL (GITFS_BUS_FLUSH_KERNEL | GITFS_BUS_FLUSH_MEMORY | GITFS_BUS_FLUSH_DISK)

/* --- orgs --- */

static int append_org(const OrgInfo *info, void *userdata) {
        return bus_org_append(userdata, info);
}

static int append_orgs(sd_bus_message *reply, Manager *manager) {
        return manager_each_org(manager, append_org, reply);
}

static int method_list_orgs(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_reply_list(userdata, m, append_orgs);
}

static int reply_path(sd_bus_message *m, char *owned_path) {
        _cleanup_free_ char *path = owned_path;
        return path ? sd_bus_reply_method_return(m, "o", path) : -ENOMEM;
}

/* What the call began goes on (r >= 0): the request is its callback's now, which answers. */
static int answer_later(Request **req, int r, sd_bus_error *error) {
        if (r < 0)
                return bus_error_set(error, r, NULL);
        (void) TAKE_PTR(*req);
        return 1;
}

/* Answers with nothing, or with this path, once the kernel knows of what was done: a client that
 * looks at the mount next sees it. */
static int reply_settled(Bus *b, sd_bus_message *m, char *owned_path, sd_bus_error *error) {
        _cleanup_(request_freep) Request *req = NULL;
        _cleanup_free_ char *path = owned_path;

        int r = request_new(b, m, &req);
        if (r >= 0 && path)
                r = request_set_path(req, path);
        if (r >= 0)
                r = manager_settle(b->manager, request_done, req);
        return answer_later(&req, r, error);
}

static int refuse_org(sd_bus_error *error, const char *name) {
        Failure f;

        int r = failure_set(&f, FAILURE_NOT_FOUND, "No org is named \"%s\"", name);
        return bus_error_set(error, r, &f);
}

static int method_get_org(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *name = NULL;
        Bus *b = userdata;
        OrgInfo info;

        int r = bus_read_bytes(m, &name, error);
        if (r < 0)
                return r;
        r = manager_get_org(b->manager, name, &info);
        if (r < 0)
                return bus_error_set(error, r, NULL);
        return r == 0 ? refuse_org(error, name) : reply_path(m, bus_org_path(name));
}

static int method_add_org(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(org_config_freep) OrgConfig *config = NULL;
        Bus *b = userdata;
        Failure f = {0};

        int r = bus_read_org_config(m, &config, error);
        if (r < 0)
                return sd_bus_error_is_set(error) ? r : bus_error_set(error, r, NULL);
        r = manager_add_org(b->manager, config, &f);
        if (r < 0)
                return bus_error_set(error, r, &f);
        char *path = bus_org_path(config->name);
        return path ? reply_settled(b, m, path, error) : -ENOMEM;
}

static int method_remove_org(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *name = NULL;
        Bus *b = userdata;
        Failure f = {0};

        int r = bus_read_bytes(m, &name, error);
        if (r < 0)
                return r;
        r = manager_remove_org(b->manager, name, &f);
        if (r == -ENOENT && f.text[0] == '\0')
                return refuse_org(error, name);
        return r < 0 ? bus_error_set(error, r, &f) : reply_settled(b, m, NULL, error);
}

static int method_list_hosts(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_reply_list(userdata, m, bus_hosts_append);
}

/* --- jobs --- */

static int append_job(const JobInfo *info, void *userdata) {
        return bus_job_append(userdata, info);
}

static int append_jobs(sd_bus_message *reply, Manager *manager) {
        return manager_each_job(manager, append_job, reply);
}

static int method_list_jobs(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_reply_list(userdata, m, append_jobs);
}

static int method_get_job(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Bus *b = userdata;
        JobInfo info;
        uint32_t id;

        int r = sd_bus_message_read(m, "u", &id);
        if (r < 0)
                return r;
        r = manager_get_job(b->manager, id, &info);
        if (r < 0)
                return bus_error_set(error, r, NULL);
        if (r == 0) {
                Failure f;
                r = failure_set(&f, FAILURE_NOT_FOUND, "There is no job %u", id);
                return bus_error_set(error, r, &f);
        }
        return reply_path(m, bus_job_path(id));
}

static int method_prefetch(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *path = NULL;
        Bus *b = userdata;
        Failure f = {0};
        uint64_t flags;
        uint32_t id;

        int r = bus_read_path(b, m, &path, error);
        if (r >= 0)
                r = bus_read_flags(m, GITFS_BUS_PREFETCH_CONTENTS, &flags, error);
        if (r < 0)
                return r;
        r = manager_prefetch(b->manager, path, (flags & GITFS_BUS_PREFETCH_CONTENTS) != 0, &id, &f);
        return r < 0 ? bus_error_set(error, r, &f) : bus_reply_job(m, id);
}

static int method_verify(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Bus *b = userdata;
        Failure f = {0};
        uint32_t id;

        int r = manager_verify(b->manager, &id, &f);
        return r < 0 ? bus_error_set(error, r, &f) : bus_reply_job(m, id);
}

/* --- paths --- */

static int method_flush(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(request_freep) Request *req = NULL;
        _cleanup_free_ char *path = NULL;
        Bus *b = userdata;
        uint64_t flags;

        int r = bus_read_flags(m, FLUSH_ALL, &flags, error);
        if (r >= 0)
                r = bus_read_path(b, m, &path, error);
        if (r < 0)
                return r;
        if (flags == 0)
                return bus_refuse(error, "No flags: nothing to drop");
        r = request_new(b, m, &req);
        if (r >= 0)
                r = manager_flush(b->manager, (unsigned) flags, path, request_done, req);
        return answer_later(&req, r, error);
}

static int method_refresh(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(request_freep) Request *req = NULL;
        _cleanup_free_ char *path = NULL;
        Bus *b = userdata;

        int r = bus_read_path(b, m, &path, error);
        if (r < 0)
                return r;
        r = request_new(b, m, &req);
        if (r >= 0)
                r = manager_refresh(b->manager, path, request_done, req);
        return answer_later(&req, r, error);
}

static int method_which(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(request_freep) Request *req = NULL;
        _cleanup_free_ char *path = NULL;
        Bus *b = userdata;

        int r = bus_read_path(b, m, &path, error);
        if (r < 0)
                return r;
        r = request_new(b, m, &req);
        if (r >= 0)
                r = manager_which(b->manager, path, request_which_done, req);
        return answer_later(&req, r, error);
}

/* --- the daemon --- */

static int method_stats(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Bus *b = userdata;

        manager_update_stats(b->manager);
        int r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{st}");
        for (Stat s = 0; s < _STAT_MAX && r >= 0; s++) {
                /* A gauge that two threads move at once may be read below zero for a moment. */
                int64_t value = MAX(stat_get(s), INT64_C(0));
                r = sd_bus_message_append(reply, "{st}", stat_name(s), (uint64_t) value);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_reload(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Bus *b = userdata;
        Failure f = {0};

        int r = manager_reload(b->manager, &f);
        return r < 0 ? bus_error_set(error, r, &f) : reply_settled(b, m, NULL, error);
}

/* --- properties --- */

static Manager *manager_of(const void *bus) {
        return ((const Bus *) bus)->manager;
}

static int append_version(sd_bus_message *m, const void *bus) {
        return sd_bus_message_append(m, "s", GITFS_VERSION);
}

static int append_mount_point(sd_bus_message *m, const void *bus) {
        return bus_append_bytes(m, manager_mount_point(manager_of(bus)));
}

static int append_runtime_directory(sd_bus_message *m, const void *bus) {
        return bus_append_bytes(m, manager_runtime_directory(manager_of(bus)));
}

static int append_cache_directory(sd_bus_message *m, const void *bus) {
        return bus_append_bytes(m, manager_cache_directory(manager_of(bus)));
}

static int append_cache_error(sd_bus_message *m, const void *bus) {
        return bus_append_sentence(m, manager_cache_error(manager_of(bus)));
}

static int append_ready(sd_bus_message *m, const void *bus) {
        return sd_bus_message_append(m, "b", (int) manager_ready(manager_of(bus)));
}

static int append_pid(sd_bus_message *m, const void *bus) {
        return sd_bus_message_append(m, "u", (uint32_t) getpid());
}

static const BusProperty properties[] = {
        {"Version", "s", append_version},
        {"MountPoint", "s", append_mount_point},
        {"RuntimeDirectory", "s", append_runtime_directory},
        {"CacheDirectory", "s", append_cache_directory},
        {"CacheError", "s", append_cache_error},
        {"Ready", "b", append_ready},
        {"Pid", "u", append_pid},
};

static int get_property(
        sd_bus *bus,
        const char *path,
        const char *interface,
        const char *property,
        sd_bus_message *reply,
        void *userdata,
        sd_bus_error *error) {
        return bus_property_find(properties, ELEMENTSOF(properties), property)
                ->append(reply, userdata);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Version", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MountPoint", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("RuntimeDirectory", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("CacheDirectory", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("CacheError", "s", get_property, 0, 0),
        SD_BUS_PROPERTY("Ready", "b", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Pid", "u", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_METHOD_WITH_ARGS(
                "ListOrgs",
                SD_BUS_NO_ARGS,
                SD_BUS_RESULT("aa{sv}", orgs),
                method_list_orgs,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "GetOrg",
                SD_BUS_ARGS("s", name),
                SD_BUS_RESULT("o", org),
                method_get_org,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "AddOrg",
                SD_BUS_ARGS("s", name, "s", forge, "s", url, "as", repos, "a{sv}", options),
                SD_BUS_RESULT("o", org),
                method_add_org,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "RemoveOrg",
                SD_BUS_ARGS("s", name),
                SD_BUS_NO_RESULT,
                method_remove_org,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "ListHosts",
                SD_BUS_NO_ARGS,
                SD_BUS_RESULT("aa{sv}", hosts),
                method_list_hosts,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "ListJobs",
                SD_BUS_NO_ARGS,
                SD_BUS_RESULT("aa{sv}", jobs),
                method_list_jobs,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "GetJob",
                SD_BUS_ARGS("u", id),
                SD_BUS_RESULT("o", job),
                method_get_job,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Prefetch",
                SD_BUS_ARGS("s", path, "t", flags),
                SD_BUS_RESULT("u", id, "o", job),
                method_prefetch,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Verify",
                SD_BUS_NO_ARGS,
                SD_BUS_RESULT("u", id, "o", job),
                method_verify,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Flush",
                SD_BUS_ARGS("t", flags, "s", path),
                SD_BUS_NO_RESULT,
                method_flush,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Refresh",
                SD_BUS_ARGS("s", path),
                SD_BUS_NO_RESULT,
                method_refresh,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Which",
                SD_BUS_ARGS("s", path),
                SD_BUS_RESULT("a{sv}", info),
                method_which,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Stats",
                SD_BUS_NO_ARGS,
                SD_BUS_RESULT("a{st}", values),
                method_stats,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Reload",
                SD_BUS_NO_ARGS,
                SD_BUS_NO_RESULT,
                method_reload,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL_WITH_ARGS("JobFinished", SD_BUS_ARGS("u", id, "o", job, "s", result), 0),
        SD_BUS_VTABLE_END,
};

int bus_manager_export(Bus *b, sd_bus *bus) {
        return sd_bus_add_object_vtable(bus, NULL, GITFS_BUS_PATH, GITFS_BUS_MANAGER, vtable, b);
}
