#include "ctl/job-wait.h"

#include <stdio.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "ctl/bus-client.h"
#include "ctl/progress.h"
#include "util/clock.h"

#define ASK_AGAIN_USEC (5 * USEC_PER_SEC)

static int on_job_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        bool *changed = userdata;

        *changed = true;
        return 0;
}

int job_watch(Ctl *ctl, bool *changed) {
        int r = sd_bus_add_match(
                ctl->bus,
                NULL,
                "type='signal',interface='org.freedesktop.DBus.Properties',"
                "member='PropertiesChanged',path_namespace='" GITFS_BUS_JOB_PREFIX "'",
                on_job_changed,
                changed);
        return r < 0 ? client_report(ctl, r, NULL) : 0;
}

/* Until something is told of a job, ours or another's; or for a while, as nobody tells over a bus
 * that the daemon is gone: asking for the job does. */
static int wait_for_change(Ctl *ctl, bool *changed) {
        for (bool waited = false; !*changed && !waited;) {
                int r = sd_bus_process(ctl->bus, NULL);
                if (r == 0) {
                        r = sd_bus_wait(ctl->bus, ASK_AGAIN_USEC);
                        waited = r == 0;
                }
                if (r < 0)
                        return client_report(ctl, r, NULL);
        }
        *changed = false;
        return 0;
}

int job_wait(Ctl *ctl, const char *path, bool *changed, json_object **ret) {
        for (;;) {
                _cleanup_(json_object_putp) json_object *job = NULL;

                int r = client_get_all(ctl, path, GITFS_BUS_JOB, &job);
                if (r < 0)
                        return r;
                if (strcmp(json_text(job, "state"), "running") != 0) {
                        progress_clear(stderr);
                        *ret = TAKE_PTR(job);
                        return 0;
                }
                progress_draw(
                        stderr,
                        json_number(job, "done"),
                        json_number(job, "total"),
                        json_number(job, "bytes"));
                r = wait_for_change(ctl, changed);
                if (r < 0)
                        return r;
        }
}
