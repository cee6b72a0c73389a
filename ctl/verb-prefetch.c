/* prefetch, and the jobs that it starts. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "ctl/bus-client.h"
#include "ctl/job-wait.h"
#include "ctl/progress.h"
#include "ctl/verbs.h"

static int report_result(const Ctl *ctl, json_object *job) {
        const char *state = json_text(job, "state");
        bool done = strcmp(state, "done") == 0;
        char amount[32];

        if (ctl_has(ctl, OPTION_JSON)) {
                if (show_json(ctl, job) != EXIT_SUCCESS)
                        return EXIT_FAILURE;
        } else if (done) {
                bytes_format(amount, sizeof(amount), json_number(job, "bytes"));
                printf("%" PRIu64 " objects, %s\n", json_number(job, "done"), amount);
        }
        if (!done) {
                const char *text = json_text(job, "error_message");
                ctl_error(
                        "the prefetch of \"%s\" %s%s%s",
                        json_text(job, "path"),
                        strcmp(state, "cancelled") == 0 ? "was cancelled" : "failed",
                        text[0] ? ": " : "",
                        text);
                return EXIT_FAILURE;
        }
        return ctl_flush(EXIT_SUCCESS);
}

static int report_started(Ctl *ctl, const char *path, uint32_t id) {
        _cleanup_(json_object_putp) json_object *job = NULL;

        if (!ctl_has(ctl, OPTION_JSON)) {
                printf("%" PRIu32 "\n", id);
                return ctl_flush(EXIT_SUCCESS);
        }
        if (client_get_all(ctl, path, GITFS_BUS_JOB, &job) < 0)
                return EXIT_FAILURE;
        return show_json(ctl, job);
}

int verb_prefetch(Ctl *ctl, char **args) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(json_object_putp) json_object *job = NULL;
        _cleanup_free_ char *path = NULL;
        uint64_t flags = ctl_has(ctl, OPTION_CONTENTS) ? GITFS_BUS_PREFETCH_CONTENTS : 0;
        const char *object;
        bool changed = false;
        uint32_t id;

        if (client_path(ctl, args[0], &path) < 0)
                return EXIT_FAILURE;
        if (ctl_has(ctl, OPTION_WAIT) && job_watch(ctl, &changed) < 0)
                return EXIT_FAILURE;
        if (client_call(ctl, &reply, "Prefetch", "st", path, flags) < 0)
                return EXIT_FAILURE;
        int r = sd_bus_message_read(reply, "uo", &id, &object);
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        if (!ctl_has(ctl, OPTION_WAIT))
                return report_started(ctl, object, id);
        if (job_wait(ctl, object, &changed, &job) < 0)
                return EXIT_FAILURE;
        return report_result(ctl, job);
}

int verb_jobs(Ctl *ctl, char **args) {
        _cleanup_(json_object_putp) json_object *jobs = NULL;

        if (client_call_json(ctl, &jobs, "ListJobs", NULL) < 0)
                return EXIT_FAILURE;
        int shown = show_json(ctl, jobs);
        if (shown >= 0)
                return shown;
        return ctl_flush(show_jobs(jobs) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

int verb_cancel(Ctl *ctl, char **args) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path;
        char *end;

        errno = 0;
        unsigned long id = strtoul(args[0], &end, 10);
        if (errno != 0 || *end || end == args[0] || args[0][0] == '-' || id > UINT32_MAX)
                return ctl_usage_error("\"%s\" is not the number of a job", args[0]);
        if (client_call(ctl, &reply, "GetJob", "u", (uint32_t) id) < 0)
                return EXIT_FAILURE;
        int r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        return client_poke(ctl, path, GITFS_BUS_JOB, "Cancel") < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
